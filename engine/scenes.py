"""What does the built-in world show? 640 gray pictures: 8 categories x 8 objects x 10 images, rendered, not shipped.

In the manner of the images of Majaj et al. (2015): a shaded object at random position, size, pose and lighting on a
natural-looking background that has nothing to do with it. Every picture follows from the seed and its own name alone,
so pictures can be rendered in any order and in any process: bit for bit the same on one platform, within one grey level
between platforms.

References
----------
Majaj, Hong, Solomon & DiCarlo (2015), J. Neuroscience 35, 13402-13418.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engine.errors import EngineError
from engine.scenery.animals import animal
from engine.scenery.backgrounds import Palette, background, palette
from engine.scenery.boats import boat
from engine.scenery.cars import car
from engine.scenery.faces import face
from engine.scenery.fruits import fruit
from engine.scenery.furniture import chair, table
from engine.scenery.meshes import Array, Mesh, rotation
from engine.scenery.planes import plane
from engine.scenery.rasterizing import rasterize
from engine.scenery.shading import VIEWING_DISTANCE, Noise, shade, solid_noise

SCENES_VERSION: Final = 1
"""Goes into what the built-in world is cached by: raise it when a change moves a pixel."""

SIZE_PX: Final = 224
N_OBJECTS: Final = 8
N_IMAGES: Final = 10

_MAKERS: Final[dict[str, Callable[[int, np.random.Generator], Mesh]]] = {
    "animals": animal, "boats": boat, "cars": car, "chairs": chair,
    "faces": face, "fruits": fruit, "planes": plane, "tables": table,
}  # fmt: skip
CATEGORIES: Final = tuple(_MAKERS)

_SAMPLES = 2


@dataclass(frozen=True)
class Scene:
    """One picture's name and free parameters.

    ``id`` such as ``cars-3-07``; ``turn`` (3, 3) the pose; ``centre`` (x, y) and ``radius`` of the object in picture
    sides, y down; ``light`` (3,) towards the key light; ``key`` and ``fill`` its strength and that of the sky.
    """

    id: str
    category: str
    object: int
    turn: Array
    centre: Array
    radius: float
    light: Array
    key: float
    fill: float


def list_scenes(seed: int = 0, n_images: int = N_IMAGES) -> list[Scene]:
    """Draw the parameters of all scenes, ``n_images`` of each object, in order of category, object and image."""
    places = product(range(len(CATEGORIES)), range(N_OBJECTS), range(n_images))
    return [_draw_scene(seed, category, k, image) for category, k, image in places]


def render(scenes: Sequence[Scene], seed: int = 0, size: int = SIZE_PX) -> NDArray[np.uint8]:
    """Return the pictures of ``scenes``, uint8 (scene, size, size), gray.

    Parameters
    ----------
    scenes
        Some of ``list_scenes(seed)``, in any order: the picture of a scene does not depend on the others.
    seed
        The world's seed, the same as the scenes'.
    size
        Side of a picture in pixels.
    """
    pictures = np.empty((len(scenes), size, size), dtype=np.uint8)
    for picture, scene in zip(pictures, scenes, strict=True):
        picture[:] = np.rint(255 * _render_one(scene, seed, size))
    return pictures


def render_all(
    seed: int = 0, n_images: int = N_IMAGES, *, advance: Callable[[int], None] = lambda n: None
) -> NDArray[np.uint8]:
    """Return all pictures of ``list_scenes``, uint8 (scene, 224, 224), rendered in two processes on two cores.

    Parameters
    ----------
    seed, n_images
        As for ``list_scenes``.
    advance
        Told how many more are done.

    Raises
    ------
    EngineError
        If the second process fails; its last words are in the message.
    """
    listed = list_scenes(seed, n_images)
    if (os.cpu_count() or 1) < 2:
        return _render_each(listed, seed, advance)
    pictures = np.empty((len(listed), SIZE_PX, SIZE_PX), dtype=np.uint8)
    with _Helper(seed, n_images) as helper:
        pictures[::2] = _render_each(listed[::2], seed, lambda n: advance(2 * n))
        pictures[1::2] = helper.pictures()
    return pictures


def _render_each(listed: Sequence[Scene], seed: int, advance: Callable[[int], None]) -> NDArray[np.uint8]:
    pictures = []
    for scene in listed:
        pictures.append(render([scene], seed)[0])
        advance(1)
    return np.stack(pictures)


class _Helper:
    """A second process that renders every other picture into a temporary file, and ends with the ``with``.

    A plain ``python -m engine.scenes``, so that it works from any script, guarded by ``__main__`` or not.
    """

    def __init__(self, seed: int, n_images: int) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="unitscope-")
        self.file = Path(self.folder.name) / "pictures.npy"
        package = str(Path(__file__).parent.parent)
        paths = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-m", "engine.scenes", str(seed), str(n_images), str(self.file)]
        environment = {**os.environ, "PYTHONPATH": paths}
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    def __enter__(self) -> "_Helper":
        return self

    def pictures(self) -> NDArray[np.uint8]:
        _, words = self.process.communicate()
        if self.process.returncode != 0:
            raise EngineError(
                f"The second process that renders the built-in world ended with code {self.process.returncode}: "
                f"{words.strip()[-300:] or 'no message'}. "
                f"Is there memory, and room in {self.file.parent.parent}? Then try again."
            )
        return np.load(self.file)

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()
        self.folder.cleanup()


def _draw_scene(seed: int, category: int, k: int, image: int) -> Scene:
    rng = np.random.default_rng([seed, 1, category, k, image])
    turn = (
        rotation(z_deg=rng.normal(0, 12)) @ rotation(x_deg=rng.uniform(-10, 40)) @ rotation(y_deg=rng.uniform(-85, 85))
    )
    if CATEGORIES[category] != "faces" and rng.random() < 0.5:
        turn = turn @ rotation(y_deg=180)
    elevation, azimuth = np.deg2rad(rng.uniform(20, 75)), np.deg2rad(rng.uniform(-80, 80))
    light = np.array([np.cos(elevation) * np.sin(azimuth), np.sin(elevation), np.cos(elevation) * np.cos(azimuth)])
    radius = rng.uniform(0.26, 0.46)
    reach = 0.62 - radius
    return Scene(
        f"{CATEGORIES[category]}-{k}-{image:02d}",
        CATEGORIES[category],
        k,
        turn,
        centre=0.5 + rng.uniform(-reach, reach, 2),
        radius=radius,
        light=light,
        key=rng.uniform(0.7, 1.1),
        fill=rng.uniform(0.25, 0.5),
    )


@lru_cache(maxsize=16)
def _object(seed: int, category: str, k: int) -> Mesh:
    """Exemplar ``k``, centred, its farthest vertex at distance 1."""
    mesh = _MAKERS[category](k, np.random.default_rng([seed, 2, CATEGORIES.index(category), k]))
    mesh = mesh.moved(shift=-0.5 * (mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)))
    return mesh.moved(scale=1 / np.linalg.norm(mesh.vertices, axis=1).max())


@lru_cache(maxsize=2)
def _textures(seed: int) -> tuple[Palette, Noise]:
    """Draw what all pictures of a world share: the backgrounds' textures, the noise that grains the objects."""
    rng = np.random.default_rng([seed, 4])
    return palette(seed), (solid_noise(rng, 1.8), solid_noise(rng, 0.9))


def _render_one(scene: Scene, seed: int, size: int) -> Array:
    """One picture (size, size), luminance as shown, 0..1."""
    rng = np.random.default_rng([seed, 3, *scene.id.encode()])
    textures, noise = _textures(seed)
    picture = background(textures, rng, size)
    mesh = _object(seed, scene.category, scene.object)
    posed = mesh.moved(turn=scene.turn)
    fine = size * _SAMPLES
    seen = rasterize(_project(posed.vertices, scene, fine), posed.faces, fine, fine)
    light = shade(mesh, posed, seen, scene.light, (scene.key, scene.fill), noise)
    pixel = seen.row // _SAMPLES * size + seen.column // _SAMPLES
    shown = np.sqrt(np.clip(light, 0, 1))  # gamma 2
    layer, cover = (np.bincount(pixel, w, size**2).reshape(size, size) / _SAMPLES**2 for w in (shown, None))
    picture = picture * (1 - cover) + layer
    picture = ndimage.gaussian_filter(picture, 0.45) + 0.012 * rng.standard_normal((size, size))
    return np.clip(picture, 0, 1)


def _project(points: Array, scene: Scene, fine: int) -> Array:
    """Perspective: columns and rows in samples, and nearness 0..1 that is linear on the screen."""
    distance = VIEWING_DISTANCE - points[:, 2]
    scale = scene.radius * VIEWING_DISTANCE / distance * fine
    column, row = scene.centre[0] * fine + scale * points[:, 0], scene.centre[1] * fine - scale * points[:, 1]
    return np.stack([column, row, (VIEWING_DISTANCE - 1.05) / distance], axis=1)


if __name__ == "__main__":
    _seed, _n_images = map(int, sys.argv[1:3])
    np.save(sys.argv[3], render(list_scenes(_seed, _n_images)[1::2], _seed))
