"""What does the built-in world show? 640 gray pictures: 8 categories x 8 objects x 10 images, rendered, not shipped.

In the manner of the images of Majaj et al. (2015): a shaded object at random position, size, pose and lighting on a
natural-looking background that has nothing to do with it. Every picture follows from the seed and its own name alone, so
pictures can be rendered in any order and in any process: bit for bit the same on one platform, within one grey level between
platforms.

References
----------
Majaj, Hong, Solomon & DiCarlo (2015), J. Neuroscience 35, 13402-13418.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engine.errors import EngineError
from engine.scenery.backgrounds import Palette, background, palette
from engine.scenery.creatures import animal, face, fruit
from engine.scenery.furniture import chair, table
from engine.scenery.meshes import Array, Material, Mesh, rotation, unit
from engine.scenery.rasterizing import Fragments, rasterize
from engine.scenery.vehicles import boat, car, plane

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

Noise = tuple[Array, Array]
"""Solid noise to look up at points of an object, coarse and fine, each (64, 64, 64)."""

_SAMPLES = 2
_DISTANCE = 5.5


@dataclass(frozen=True)
class Scene:
    """One picture's name and free parameters.

    ``id`` such as ``cars-3-07``; ``turn`` (3, 3) the pose; ``centre`` (x, y) and ``radius`` of the object in picture sides, y
    down; ``light`` (3,) towards the key light; ``key`` and ``fill`` its strength and that of the sky.
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


def list_scenes(seed: int = 0) -> list[Scene]:
    """Draw the parameters of all 640 scenes, in order of category, object and image."""
    return [
        _draw_scene(seed, category, k, i) for category in range(len(CATEGORIES)) for k in range(N_OBJECTS) for i in range(N_IMAGES)
    ]


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


def render_all(seed: int = 0, *, advance: Callable[[int], None] = lambda n: None) -> NDArray[np.uint8]:
    """Return all pictures of a world, uint8 (640, size, size), rendered in two processes where there are two cores.

    Parameters
    ----------
    seed
        The world's seed.
    advance
        Told how many more are done, after each.

    Raises
    ------
    EngineError
        If the second process fails; its last words are in the message.
    """
    listed = list_scenes(seed)
    pictures = np.empty((len(listed), SIZE_PX, SIZE_PX), dtype=np.uint8)
    n = min(2, os.cpu_count() or 1)
    with ExitStack() as stack:
        helper = stack.enter_context(_Helper(seed, slice(1, None, n))) if n > 1 else None
        for k in range(0, len(listed), n):
            pictures[k] = render([listed[k]], seed)[0]
            advance(n)
        if helper is not None:
            pictures[1::n] = helper.pictures()
    return pictures


class _Helper:
    """A second process that renders every other picture and writes them to a temporary file.

    A plain ``python -m engine.scenes``, so that it works from any script, guarded by ``__main__`` or not.
    """

    def __init__(self, seed: int, part: slice) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="unitscope-")
        self.file = Path(self.folder.name) / "pictures.npy"
        package = str(Path(__file__).parent.parent)
        paths = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-m", "engine.scenes", str(seed), str(part.start), str(part.step), str(self.file)]
        self.process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}, stderr=subprocess.PIPE, text=True)

    def __enter__(self) -> "_Helper":
        return self

    def pictures(self) -> NDArray[np.uint8]:
        _, words = self.process.communicate()
        if self.process.returncode != 0:
            raise EngineError(
                f"The second process that renders the built-in world ended with code {self.process.returncode}: "
                f"{words.strip()[-300:] or 'no message'}. Try again; is there memory and room in {self.file.parent.parent}?"
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
    turn = rotation(z_deg=rng.normal(0, 12)) @ rotation(x_deg=rng.uniform(-10, 40)) @ rotation(y_deg=rng.uniform(-85, 85))
    if CATEGORIES[category] != "faces" and rng.random() < 0.5:
        turn = turn @ rotation(y_deg=180)
    elevation, azimuth = np.deg2rad(rng.uniform(20, 75)), np.deg2rad(rng.uniform(-80, 80))
    light = np.array([np.cos(elevation) * np.sin(azimuth), np.sin(elevation), np.cos(elevation) * np.cos(azimuth)])
    radius = rng.uniform(0.26, 0.46)
    reach = 0.62 - radius
    return Scene(
        f"{CATEGORIES[category]}-{k}-{image:02d}", CATEGORIES[category], k, turn, 0.5 + rng.uniform(-reach, reach, 2), radius, light,
        rng.uniform(0.7, 1.1), rng.uniform(0.25, 0.5),
    )  # fmt: skip


@lru_cache(maxsize=16)
def _object(seed: int, category: str, k: int) -> Mesh:
    """Exemplar ``k``, centred, its farthest vertex at distance 1."""
    mesh = _MAKERS[category](k, np.random.default_rng([seed, 2, CATEGORIES.index(category), k]))
    mesh = mesh.moved(shift=-0.5 * (mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)))
    return mesh.moved(scale=1 / np.linalg.norm(mesh.vertices, axis=1).max())


@lru_cache(maxsize=2)
def _textures(seed: int) -> tuple[Palette, Noise]:
    """What all pictures of a world share: the backgrounds' textures, and the noise that grains the objects."""
    rng = np.random.default_rng([seed, 4])
    return palette(seed), (_solid_noise(rng, 1.8), _solid_noise(rng, 0.9))


def _solid_noise(rng: np.random.Generator, slope: float, side: int = 64) -> Array:
    """Periodic noise (side, side, side) with amplitude 1 / frequency^slope and unit SD."""
    axis, last = np.fft.fftfreq(side), np.fft.rfftfreq(side)
    frequency = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + last**2)
    frequency[0, 0, 0] = np.inf
    spectrum = frequency**-slope * np.exp(2j * np.pi * rng.random(frequency.shape))
    noise = np.fft.irfftn(spectrum, s=(side, side, side), axes=(0, 1, 2))
    return noise / noise.std()


def _render_one(scene: Scene, seed: int, size: int) -> Array:
    """One picture (size, size), luminance as shown, 0..1."""
    textures, noise = _textures(seed)
    rng = np.random.default_rng([seed, 3, *scene.id.encode()])
    behind = background(textures, rng, size)
    mesh = _object(seed, scene.category, scene.object)
    posed = mesh.moved(turn=scene.turn)
    fine = size * _SAMPLES
    seen = rasterize(_project(posed.vertices, scene, fine), posed.faces, fine, fine)
    light = _shade(mesh, posed, seen, scene, noise)
    pixel = seen.row // _SAMPLES * size + seen.column // _SAMPLES
    shown = np.sqrt(np.clip(light, 0, 1))  # gamma 2
    layer, cover = (np.bincount(pixel, w, size**2).reshape(size, size) / _SAMPLES**2 for w in (shown, None))
    picture = behind * (1 - cover) + layer
    picture = ndimage.gaussian_filter(picture, 0.45) + 0.012 * rng.standard_normal((size, size))
    return np.clip(picture, 0, 1)


def _project(points: Array, scene: Scene, fine: int) -> Array:
    """Perspective: columns and rows in samples, and nearness 0..1 that is linear on the screen."""
    distance = _DISTANCE - points[:, 2]
    scale = scene.radius * _DISTANCE / distance * fine
    column, row = scene.centre[0] * fine + scale * points[:, 0], scene.centre[1] * fine - scale * points[:, 1]
    return np.stack([column, row, (_DISTANCE - 1.05) / distance], axis=1)


def _shade(mesh: Mesh, posed: Mesh, seen: Fragments, scene: Scene, noise: Noise) -> Array:
    """Linear light from each seen point: key light with shadow, sky above and ground below, gloss, texture."""
    corners = posed.faces[seen.face]
    weights = seen.weights * (_DISTANCE - posed.vertices[corners, 2]) ** -1
    weights /= weights.sum(axis=1, keepdims=True)
    place = np.einsum("pk,pkd->pd", weights, posed.vertices[corners])
    normal = unit(np.einsum("pk,pkd->pd", weights, posed.normals[corners]))
    view = unit(np.array([0.0, 0.0, _DISTANCE]) - place)
    a, b, c = (posed.vertices[corners[:, k]] for k in range(3))
    flat = np.cross(b - a, c - a)
    normal = np.where((np.einsum("pd,pd->p", flat, view) < 0)[:, None], -normal, normal)
    albedo, gloss = _surface(mesh, seen, np.einsum("pk,pkd->pd", weights, mesh.vertices[corners]), noise)
    lit = _lit(posed, place, normal, scene.light)
    facing = np.clip(normal @ scene.light, 0, 1) * lit
    sky = 0.55 + 0.45 * normal[:, 1]
    half = unit(scene.light + view)
    shine = np.clip(np.einsum("pd,pd->p", normal, half), 0, 1) ** (12 + 60 * gloss) * lit
    mirror = 2 * np.einsum("pd,pd->p", normal, view)[:, None] * normal - view
    edge_on = (1 - np.clip(np.einsum("pd,pd->p", normal, view), 0, 1)) ** 4
    world = 0.12 + 0.55 * np.clip(0.5 + 4 * mirror[:, 1], 0, 1) * (1 - 0.4 * np.clip(mirror[:, 1], 0, 1))
    reflection = gloss * (0.08 + 0.6 * edge_on) * world
    return albedo * (scene.key * facing + scene.fill * sky) + 0.5 * gloss * scene.key * shine + reflection


def _lit(posed: Mesh, place: Array, normal: Array, light: Array, side: int = 160) -> Array:
    """Share of the key light that reaches each point, 0..1, by a blurred comparison with what the light sees first."""
    right = unit(np.cross([0.0, 1.0, 0.0], light))
    frame = np.stack([right, np.cross(light, right), light])
    scale = 0.48 * side
    screen = posed.vertices @ frame.T * [scale, -scale, 0.45] + [side / 2, side / 2, 0.5]
    first = rasterize(screen, posed.faces, side, side, cull=False)
    depth = np.full((side, side), -1.0)
    depth[first.row, first.column] = first.nearness
    at = (place + 0.02 * normal) @ frame.T * [scale, -scale, 0.45] + [side / 2, side / 2, 0.5]
    lit = np.zeros(len(at))
    for dx, dy in ((0, 0), (1.3, 0.5), (-0.5, 1.3), (-1.3, -0.5), (0.5, -1.3)):
        column, row = (np.clip(np.floor(at[:, d] + o), 0, side - 1).astype(int) for d, o in ((0, dx), (1, dy)))
        lit += at[:, 2] > depth[row, column] - 0.012
    return lit / 5


def _surface(mesh: Mesh, seen: Fragments, place: Array, noise: Noise) -> tuple[Array, Array]:
    """Albedo and gloss of each seen point, from the material of its face and the place on the object."""
    material = mesh.material[seen.face]
    albedo, gloss = (np.array([getattr(m, name) for m in mesh.materials])[material] for name in ("albedo", "gloss"))
    for index in np.unique(material):
        paint = mesh.materials[index]
        if paint.texture != "plain":
            at = material == index
            albedo[at] *= 1 - paint.contrast * _pattern(paint, place[at], noise)
    return albedo, gloss


def _pattern(paint: Material, place: Array, noise: Noise) -> Array:
    """Darkness of a texture, 0..1, at points of the object."""
    broad, fine = noise
    at = place / paint.scale
    if paint.texture == "grain":
        rings = np.hypot(0.9 * at[:, 1], at[:, 2]) * 3 + 0.6 * _noise_at(broad, at * [0.6, 3, 3])
        return np.clip(0.5 + 0.35 * np.sin(2 * np.pi * rings / 3) + 0.25 * _noise_at(broad, 6 * at), 0, 1)
    if paint.texture == "spots":
        return np.clip(0.5 + 2.5 * (_noise_at(broad, 9 * at) - 0.3), 0, 1)
    if paint.texture == "stripes":
        return np.clip(0.5 + 2.5 * np.sin(2 * np.pi * at[:, 0]), 0, 1)
    if paint.texture == "rings":
        phase = at[:, 0] + 0.5 * at[:, 1] + 0.25 * _noise_at(broad, 6 * at)
        return np.clip(0.5 + 2.5 * np.sin(2 * np.pi * phase), 0, 1)
    if paint.texture == "seeds":
        return np.clip(3.5 * np.prod(np.sin(np.pi * at) ** 2, axis=1) - 0.6, 0, 1)
    stretch = {"skin": [4, 4, 4], "fur": [4, 6, 4], "hair": [7, 0.8, 7]}[paint.texture]
    return np.clip(0.5 + 0.35 * _noise_at(fine, at * stretch), 0, 1)


def _noise_at(noise: Array, place: Array) -> Array:
    return ndimage.map_coordinates(noise, place.T, order=1, mode="grid-wrap")


if __name__ == "__main__":
    _seed, _start, _step = map(int, sys.argv[1:4])
    np.save(sys.argv[4], render(list_scenes(_seed)[_start::_step], _seed))
