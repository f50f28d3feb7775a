"""What the built-in world's pictures are made of: meshes, eight categories of objects, backgrounds, a z-buffer."""
