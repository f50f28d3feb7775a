"""What lies behind the objects? Natural-looking places that know nothing of them.

Landscapes, seas, woods, close-ups of leaves or stones, and streets, put together from a handful of periodic textures
(1/f noise, relief in raking light, dead leaves) that a palette draws once from its seed.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from engine.scenery.meshes import Array

_SIDE = 512


@dataclass(frozen=True)
class Palette:
    """Periodic textures, float64 (512, 512) or a pyramid of halved ones, zero mean and unit SD.

    ``smooth`` and ``rough`` are 1/f^b noise, clouds and soil; ``grounds`` are what covers the earth near and far.
    """

    smooth: tuple[Array, ...]
    rough: tuple[Array, ...]
    grounds: tuple[tuple[Array, ...], ...]


def palette(seed: int) -> Palette:
    """Draw the textures that all backgrounds of a world share."""
    rng = np.random.default_rng(seed)
    smooth = tuple(_standard(fractal(rng, 1.6)) for _ in range(3))
    rough = tuple(_standard(fractal(rng, 1.05)) for _ in range(3))
    relief = [_relief(fractal(rng, slope), rng) for slope in (1.3, 1.6, 1.9)]
    leaves = [_dead_leaves(rng, kind) for kind in ("leaf", "leaf", "stone", "stone", "blade")]
    return Palette(smooth, rough, tuple(_pyramid(_standard(texture)) for texture in [*relief, *leaves]))


def fractal(rng: np.random.Generator, slope: float, side: int = _SIDE) -> Array:
    """Return periodic noise (side, side) of unit SD, its amplitude falling as 1 / frequency^slope."""
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]
    frequency = np.hypot(fy, fx)
    frequency[0, 0] = np.inf
    spectrum = frequency**-slope * np.exp(2j * np.pi * rng.random(frequency.shape))
    return _standard(np.fft.irfft2(spectrum, s=(side, side)))


def background(textures: Palette, rng: np.random.Generator, size: int) -> Array:
    """Return one background (size, size), luminance in 0..1, drawn at random among five kinds of place."""
    kinds: tuple[Callable[[Palette, np.random.Generator, int], Array], ...] = (
        _land,
        _land,
        _sea,
        _wood,
        _close_up,
        _street,
    )
    picture = kinds[rng.integers(len(kinds))](textures, rng, size)
    blur = rng.choice([0.0, 0.6, 1.2])
    if blur:
        picture = ndimage.gaussian_filter(picture, blur)
    contrast, mean = rng.uniform(0.12, 0.22), rng.uniform(0.34, 0.56)
    return np.clip(0.5 + 0.5 * np.tanh(1.6 * (mean - 0.5 + contrast * _standard(picture))) / np.tanh(0.8), 0.0, 1.0)


def _standard(texture: Array) -> Array:
    return (texture - texture.mean()) / texture.std()


def _relief(height: Array, rng: np.random.Generator) -> Array:
    """Light a rough surface from the side."""
    dy, dx = (np.roll(height, -1, axis) - np.roll(height, 1, axis) for axis in (0, 1))
    angle, bump = rng.uniform(0, 2 * np.pi), 2.0 / np.hypot(dy, dx).mean() * 0.5
    normal_z = 1 / np.sqrt(1 + bump**2 * (dx**2 + dy**2))
    lit = np.clip(normal_z * (0.6 - 0.8 * bump * (np.cos(angle) * dx + np.sin(angle) * dy)), 0, None)
    return _standard(lit) + 0.5 * height


def _dead_leaves(rng: np.random.Generator, kind: str) -> Array:
    """Occluding leaves, stones or blades of grass with power-law sizes, each shaded, from back to front on a torus.

    References
    ----------
    Lee, Mumford & Huang (2001), Occlusion models for natural images, IJCV 41, 35-59.
    """
    n, low, high = {"leaf": (2600, 7, 60), "stone": (2400, 6, 70), "blade": (3200, 16, 90)}[kind]
    texture = np.zeros((_SIDE, _SIDE))
    radii = (low**-2 + rng.random(n) * (high**-2 - low**-2)) ** -0.5
    for radius, nearness in zip(radii, np.linspace(0.25, 1, n), strict=True):
        half = int(np.ceil(radius))
        y, x = np.mgrid[-half : half + 1, -half : half + 1] / radius
        turn = rng.uniform(0, 2 * np.pi) if kind != "blade" else rng.normal(np.pi / 2, 0.3)
        along, across = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
        thin = {"leaf": rng.uniform(0.3, 0.6), "stone": rng.uniform(0.6, 1.0), "blade": rng.uniform(0.03, 0.08)}[kind]
        shape = np.clip(1 - along**2, 0, 1) * (1 if kind == "stone" else np.clip(1 - along**2, 0, 1) ** 0.5)
        across = across / thin
        inside = across**2 < shape
        tone = rng.normal(0, 0.5)
        if kind == "stone":
            shade = 1.4 * np.sqrt(np.clip(1 - along**2 - across**2, 0, 1)) - 0.8 * x - 0.9 * y
        else:
            shade = rng.normal(0, 0.6) * np.sign(across) + 0.5 * along - 0.5 * (np.abs(across) < 0.06)
        rows, columns = (
            (rng.integers(_SIDE) + np.arange(-half, half + 1)) % _SIDE,
            (rng.integers(_SIDE) + np.arange(-half, half + 1)) % _SIDE,
        )
        patch = texture[np.ix_(rows, columns)]
        texture[np.ix_(rows, columns)] = np.where(inside, nearness * (1.2 + tone + 0.5 * shade), patch)
    return ndimage.gaussian_filter(texture, 0.7, mode="wrap") + 0.15 * fractal(rng, 1.0)


def _pyramid(texture: Array) -> tuple[Array, ...]:
    levels = [texture]
    while levels[-1].shape[0] > 16:
        t = levels[-1]
        levels.append((t[::2, ::2] + t[1::2, ::2] + t[::2, 1::2] + t[1::2, 1::2]) / 4)
    return tuple(levels)


def _sample(texture: Array, y: Array, x: Array) -> Array:
    """Texture values at periodic positions, in its own pixels, interpolated linearly."""
    side = texture.shape[0]
    y0, x0 = np.floor(y), np.floor(x)
    v, u = y - y0, x - x0
    row, column = y0.astype(np.int64) % side * side, x0.astype(np.int64) % side
    below, right = (row + side) % (side * side), (column + 1) % side
    top = (1 - u) * texture.take(row + column) + u * texture.take(row + right)
    return (1 - v) * top + v * ((1 - u) * texture.take(below + column) + u * texture.take(below + right))


def _sample_at(levels: tuple[Array, ...], y: Array, x: Array, step: Array) -> Array:
    """Texture values where neighbouring pixels lie ``step`` texture pixels apart: between the two levels that fit."""
    level = np.clip(np.log2(np.maximum(step, 1.0)), 0, len(levels) - 1.001)
    out = np.zeros(np.broadcast_shapes(y.shape, x.shape))
    y, x, level = (np.broadcast_to(a, out.shape) for a in (y, x, level))
    for k in range(len(levels)):
        weight = np.clip(1 - np.abs(level - k), 0, 1)
        at = weight > 0
        if at.any():
            out[at] += weight[at] * _sample(levels[k], y[at] / 2**k - 0.5, x[at] / 2**k - 0.5)
    return out


def _crop(texture: Array, rng: np.random.Generator, size: int, zoom: float) -> Array:
    """Cut a random window from a texture, enlarged by ``zoom``, perhaps mirrored."""
    y, x = rng.uniform(0, _SIDE, 2)
    at = np.arange(size) / zoom * (1 if rng.random() < 0.5 else -1)
    return _sample(
        texture, (y + np.arange(size) / zoom)[:, None] + 0 * at[None, :], (x + at)[None, :] + np.zeros((size, 1))
    )


def _grid(size: int) -> tuple[Array, Array]:
    """Row and column of each pixel, 0 to 1 from top left."""
    at = (np.arange(size) + 0.5) / size
    return at[:, None], at[None, :]


def _sky(textures: Palette, rng: np.random.Generator, size: int, horizon: float) -> Array:
    """Clouds in perspective over a sky that brightens towards the horizon."""
    y, x = _grid(size)
    height = np.maximum(horizon - y, 0.01)
    distance = 0.35 / (height + 0.18)
    cloud = textures.smooth[rng.integers(3)]
    fine = textures.rough[rng.integers(3)]
    v, u = distance * 210 + rng.uniform(0, _SIDE), (x - 0.5) * distance * 260 + rng.uniform(0, _SIDE)
    v = np.broadcast_to(v, u.shape)
    density = _sample(cloud, v, u) + 0.35 * _sample(fine, v, u)
    cover = np.clip((density - rng.uniform(-0.6, 1.0)) * 1.3, 0, 1)
    below = np.clip(_sample(cloud, v - 9, u + 5) * 0.5 + 0.5, 0, 1)
    blue = 0.45 + 0.35 * (1 - height / max(horizon, 0.05)) ** 2
    return blue * (1 - cover) + cover * (0.98 - 0.4 * below * cover)


def _ground(textures: Palette, rng: np.random.Generator, size: int, horizon: float) -> Array:
    """Return a plain that recedes to the horizon, patches of soil on it, paler with distance."""
    y, x = _grid(size)
    depth = 0.25 / np.maximum(y - horizon, 0.25 / 60)
    levels = textures.grounds[rng.integers(len(textures.grounds))]
    scale = rng.uniform(90, 220)
    v, u = (
        np.broadcast_to(depth * scale * 1.5, (size, size)) + rng.uniform(0, _SIDE),
        (x - 0.5) * depth * scale + rng.uniform(0, _SIDE),
    )
    cover = _sample_at(levels, v, u, np.sqrt(depth**2 * 3) * scale / size * 1.2)
    soil = _sample_at(_pyramid(textures.smooth[rng.integers(3)]), v / 3, u / 3, depth * scale / size / 2)
    haze = np.clip(depth / 25, 0, 1)
    return (0.33 + 0.09 * cover + 0.07 * soil) * (1 - 0.6 * haze) + 0.5 * haze


def _ridge(rng: np.random.Generator, size: int, slope: float) -> Array:
    frequency = np.fft.rfftfreq(4 * size)
    frequency[0] = np.inf
    line = np.fft.irfft(frequency**-slope * np.exp(2j * np.pi * rng.random(len(frequency))), 4 * size)[:size]
    return (line - line.mean()) / max(np.ptp(line), 1e-9)


def _land(textures: Palette, rng: np.random.Generator, size: int) -> Array:
    """Sky, hills one behind the other, a plain, sometimes trees on it."""
    y, _ = _grid(size)
    horizon = rng.uniform(0.25, 0.7)
    picture = np.where(y < horizon, _sky(textures, rng, size, horizon), _ground(textures, rng, size, horizon))
    n = rng.integers(1, 5)
    for i in range(n):
        near = (i + 1) / n
        top = (
            horizon
            - rng.uniform(0.02, 0.28) * (1 - 0.6 * near)
            + 0.25 * (1.1 - 0.7 * near) * _ridge(rng, size, rng.uniform(1.1, 1.6))
        )
        cover = _crop(textures.grounds[rng.integers(5)][1], rng, size, rng.uniform(0.4, 0.7))
        tone = 0.62 - 0.34 * near + (0.02 + 0.06 * near) * cover
        alpha = np.clip((y - top[None, :]) * size, 0, 1) * (y < horizon)
        picture = picture * (1 - alpha) + alpha * tone
    for _ in range(rng.integers(0, 5)):
        _plant_tree(picture, textures, rng, horizon)
    return picture


def _plant_tree(picture: Array, textures: Palette, rng: np.random.Generator, horizon: float) -> None:
    """Draw one tree: a crown of lit tufts over a trunk, rooted on the plain."""
    size = len(picture)
    y, x = _grid(size)
    foot = horizon + rng.uniform(0.0, 0.3) ** 2 * 2
    height = (foot - horizon + 0.06) * rng.uniform(1.2, 2.5)
    at, leaves = rng.uniform(0, 1), _crop(textures.grounds[3 + rng.integers(2)][1], rng, size, rng.uniform(0.5, 1.2))
    trunk = (np.abs(x - at) < 0.04 * height) & (y < foot) & (y > foot - 0.6 * height)
    picture[trunk] = 0.13
    for _ in range(14):
        cy, cx = foot - height * rng.uniform(0.45, 0.95), at + height * rng.normal(0, 0.16)
        radius = height * rng.uniform(0.1, 0.2)
        distance = ((y - cy) / radius) ** 2 + ((x - cx) / radius) ** 2 + 0.5 * leaves
        inside = distance < 1
        shade = 0.24 + 0.1 * leaves - 0.12 * (y - cy) / radius + 0 * x
        picture[inside] = shade[inside]


def _sea(textures: Palette, rng: np.random.Generator, size: int) -> Array:
    """Sky over water: waves shortened by perspective, glitter under the sun."""
    y, x = _grid(size)
    horizon = rng.uniform(0.2, 0.6)
    depth = 0.2 / np.maximum(y - horizon, 0.2 / 50)
    wave = _pyramid(textures.smooth[rng.integers(3)] + 0.6 * textures.rough[rng.integers(3)])
    scale = rng.uniform(70, 160)
    v, u = (
        np.broadcast_to(3.5 * depth * scale, (size, size)) + rng.uniform(0, _SIDE),
        (x - 0.5) * depth * scale + rng.uniform(0, _SIDE),
    )
    height = _sample_at(wave, v, u, 2.5 * depth * scale / size)
    ahead = _sample_at(wave, v + 4 * depth, u, 2.5 * depth * scale / size)
    glitter = np.clip((height - ahead) * 1.2, 0, 1) * np.exp(-(((x - rng.uniform(0, 1)) / 0.25) ** 2))
    water = 0.36 + 0.12 * (height - ahead) + 0.04 * height + 0.5 * glitter + 0.15 * np.clip(depth / 30, 0, 1)
    return np.where(y < horizon, _sky(textures, rng, size, horizon), water)


def _wood(textures: Palette, rng: np.random.Generator, size: int) -> Array:
    """Trunks at many distances, leaves between them, light from above."""
    y, x = _grid(size)
    horizon = rng.uniform(0.45, 0.75)
    leaves = textures.grounds[3 + rng.integers(2)]
    picture = 0.5 + 0.13 * _crop(leaves[1], rng, size, rng.uniform(0.5, 1.0)) + 0.2 * (horizon - y)
    ground = _ground(textures, rng, size, horizon - 0.02)
    picture = np.where(y < horizon, picture, 0.85 * ground)
    bark = _crop(textures.rough[rng.integers(3)], rng, size, 1.0)
    for near in np.sort(rng.uniform(0.08, 1, rng.integers(5, 14))) ** 1.5:
        half, at, lean = 0.055 * near + 0.004, rng.uniform(-0.05, 1.05), rng.normal(0, 0.06)
        across = (x - at - lean * (y - 0.5) - 0.012 * near * np.sin(9 * y + 6 * at)) / half
        trunk = (np.abs(across) < 1) & (y < horizon + 0.45 * near)
        tone = (0.5 - 0.38 * near) * (
            0.75 + 0.5 * np.sqrt(np.clip(1 - across**2, 0, 1)) - 0.3 * across
        ) + 0.05 * near * bark
        picture = np.where(trunk, tone, picture)
    front = _crop(leaves[0], rng, size, rng.uniform(0.8, 1.6))
    shade = textures.smooth[rng.integers(3)][:size, :size]
    return np.where(shade > rng.uniform(0.6, 1.6), 0.3 + 0.12 * front, picture) * (0.85 + 0.12 * shade)


def _close_up(textures: Palette, rng: np.random.Generator, size: int) -> Array:
    """Leaves, stones, grass or rock seen from near, in patchy light, with a gradient of depth."""
    y, x = _grid(size)
    levels = textures.grounds[rng.integers(len(textures.grounds))]
    tilt, turn = rng.uniform(0, 1.2), rng.uniform(-0.4, 0.4)
    depth = 1 + tilt * (1 - y) + turn * (x - 0.5)
    scale = rng.uniform(180, 420)
    v, u = (y - 0.5) * depth * scale + rng.uniform(0, _SIDE), (x - 0.5) * depth * scale + rng.uniform(0, _SIDE)
    light = _crop(textures.smooth[rng.integers(3)], rng, size, rng.uniform(0.6, 1.5))
    return (0.45 + 0.14 * _sample_at(levels, v, u, depth * scale / size)) * (1 + 0.22 * np.tanh(light))


def _street(textures: Palette, rng: np.random.Generator, size: int) -> Array:
    """House fronts with rows of windows under a sky, over a road."""
    y, x = _grid(size)
    horizon = rng.uniform(0.6, 0.8)
    picture = np.where(y < horizon, _sky(textures, rng, size, horizon), _ground(textures, rng, size, horizon))
    stain = _crop(textures.rough[rng.integers(3)], rng, size, 1.0)
    left = -rng.uniform(0, 0.3)
    while left < 1:
        width, top = rng.uniform(0.15, 0.5), horizon - rng.uniform(0.2, 0.75)
        columns, rows = width / rng.uniform(0.06, 0.13), (horizon - top) / rng.uniform(0.09, 0.16)
        u, v = (x - left) / width, (y - top) / (horizon - top)
        wall = rng.uniform(0.25, 0.75)
        pane = (np.abs((u * columns) % 1 - 0.5) < rng.uniform(0.18, 0.34)) & (
            np.abs((v * rows) % 1 - 0.5) < rng.uniform(0.2, 0.34)
        )
        tone = np.where(pane, wall * rng.uniform(0.25, 0.6) + 0.15 * (1 - v), wall + 0.03 * stain) * (
            0.85 + 0.3 * u * rng.uniform(-1, 1)
        )
        picture = np.where((u >= 0) & (u < 1) & (v >= 0) & (y < horizon), tone, picture)
        left += width + rng.choice([0.0, 0.0, 0.08])
    return picture
