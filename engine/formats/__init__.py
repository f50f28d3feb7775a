"""How recordings come in: one module for each format of a file, each giving the same ``Contents``.

``opening`` finds the file, what is known beside it and its images; ``netcdf``, ``zarr_folder``, ``npz`` and ``tables``
read; ``assemblies`` and ``labelled`` say what labelled arrays mean. Nothing in a file is ever run, no other file is
read because a file names it, and what a file claims to hold is compared with its size before anything is allocated.
"""
