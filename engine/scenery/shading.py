"""How bright is each point of an object? Key light with shadow, sky and ground, gloss, solid textures."""

from typing import Final

import numpy as np
from scipy import ndimage

from engine.scenery.meshes import Array, Material, Mesh, unit
from engine.scenery.rasterizing import Fragments, rasterize

Noise = tuple[Array, Array]
"""Solid noise to look up at points of an object, coarse and fine, each (64, 64, 64)."""

VIEWING_DISTANCE: Final = 5.5
"""From the eye to the object's centre, in radii of the object."""


def solid_noise(rng: np.random.Generator, slope: float, side: int = 64) -> Array:
    """Return periodic noise (side, side, side) with amplitude 1 / frequency^slope and unit SD."""
    axis, last = np.fft.fftfreq(side), np.fft.rfftfreq(side)
    frequency = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + last**2)
    frequency[0, 0, 0] = np.inf
    spectrum = frequency**-slope * np.exp(2j * np.pi * rng.random(frequency.shape))
    noise = np.fft.irfftn(spectrum, s=(side, side, side), axes=(0, 1, 2))
    return noise / noise.std()


def shade(mesh: Mesh, posed: Mesh, seen: Fragments, light: Array, strength: tuple[float, float], noise: Noise) -> Array:
    """Return the light from each seen point, (pixel,), linear, 1 = white in full sun.

    Parameters
    ----------
    mesh, posed
        The object as made, on which its textures lie, and as it is turned.
    seen
        Which face each pixel sees.
    light
        Direction (3,) of the key light.
    strength
        Of the key light and of the sky.
    noise
        What the textures are made of.
    """
    key, fill = strength
    corners = posed.faces[seen.face]
    weights = seen.weights * (VIEWING_DISTANCE - posed.vertices[corners, 2]) ** -1
    weights /= weights.sum(axis=1, keepdims=True)
    place = np.einsum("pk,pkd->pd", weights, posed.vertices[corners])
    normal = unit(np.einsum("pk,pkd->pd", weights, posed.normals[corners]))
    view = unit(np.array([0.0, 0.0, VIEWING_DISTANCE]) - place)
    albedo, gloss = _surface(mesh, seen, np.einsum("pk,pkd->pd", weights, mesh.vertices[corners]), noise)
    lit = _lit(posed, place, normal, light)
    facing = np.clip(normal @ light, 0, 1) * lit
    sky = 0.55 + 0.45 * normal[:, 1]
    half = unit(light + view)
    shine = np.clip(np.einsum("pd,pd->p", normal, half), 0, 1) ** (12 + 60 * gloss) * lit
    mirror = 2 * np.einsum("pd,pd->p", normal, view)[:, None] * normal - view
    edge_on = (1 - np.clip(np.einsum("pd,pd->p", normal, view), 0, 1)) ** 4
    world = 0.12 + 0.55 * np.clip(0.5 + 4 * mirror[:, 1], 0, 1) * (1 - 0.4 * np.clip(mirror[:, 1], 0, 1))
    reflection = gloss * (0.08 + 0.6 * edge_on) * world
    return albedo * (key * facing + fill * sky) + 0.5 * gloss * key * shine + reflection


def _lit(posed: Mesh, place: Array, normal: Array, light: Array, side: int = 160) -> Array:
    """Share of the key light that reaches each point, 0..1, by a blurred comparison with what the light sees first."""
    right = unit(np.cross([0.0, 1.0, 0.0], light))
    frame = np.stack([right, np.cross(light, right), light])
    scale = 0.48 * side
    screen = posed.vertices @ frame.T * [scale, -scale, 0.45] + [side / 2, side / 2, 0.5]
    first = rasterize(screen, posed.faces, side, side)
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
    return np.clip(0.5 + 0.35 * _noise_at(fine, at * np.array(stretch)), 0, 1)


def _noise_at(noise: Array, place: Array) -> Array:
    return ndimage.map_coordinates(noise, place.T, order=1, mode="grid-wrap")
