"""What do eight fruits look like? Turned, bent or clustered bodies with stem and leaves, y up."""

import numpy as np

from engine.scenery.meshes import Array, Material, Mesh, ball, lathe, merge, rod, rotation, sheet, tube


def fruit(k: int, rng: np.random.Generator) -> Mesh:
    """Return fruit ``k`` of 8: apple, pear, banana, orange, strawberry, pineapple, grapes, lemon."""
    shine = Material(rng.uniform(0.3, 0.7), rng.uniform(0.4, 0.8), "spots", 0.25, 0.3)
    stem = Material(0.2, 0.1, "grain", 0.4, 0.05)
    t = np.linspace(-np.pi / 2 + 0.01, np.pi / 2 - 0.01, 32)
    c, s = np.cos(t), np.sin(t)
    if k == 0:
        profile = np.stack([c * (1 + 0.12 * s), 0.88 * s - 0.28 * np.exp(-((c / 0.3) ** 2)) * np.sign(s)], axis=1)
        return merge([lathe(profile, n=36).painted(shine), *_stem(0.55, 1.0, stem, leaf=True)])
    if k == 1:
        profile = np.stack([c * (0.8 - 0.36 * np.tanh(2.2 * s - 0.4) - 0.06 * s), 1.15 * s], axis=1)
        return merge([lathe(profile, n=32).painted(shine), *_stem(1.1, 1.5, stem)])
    if k == 2:
        return merge(
            [part.moved(turn=rotation(y_deg=a, x_deg=b)) for a, b in ((0, 0), (16, 22)) for part in _banana(rng, stem)]
        )
    if k == 3:
        peel = Material(0.6, 0.4, "skin", 0.35, 0.05)
        return merge(
            [ball((1, 0.95, 1), n=28).painted(peel), lathe([(0.1, 0.92), (0.07, 0.98), (0, 0.97)]).painted(stem)]
        )
    if k == 4:
        flesh = Material(0.4, 0.6, "seeds", 0.75, 0.11)
        profile = np.stack([c * (0.72 + 0.38 * s), 1.1 * s - 0.1 * np.exp(-((c / 0.3) ** 2)) * (s > 0)], axis=1)
        return merge([lathe(profile, n=32).painted(flesh), *_leaves(7, 0.95, 0.55, 70, 0.13)])
    if k == 5:
        return merge([_pineapple(c, s), *_leaves(9, 0.95, 0.7, 45, 0.1), *_leaves(7, 1.0, 0.85, 22, 0.1)])
    if k == 6:
        return merge([*_grapes(rng, Material(rng.uniform(0.2, 0.55), 0.8)), *_stem(0.75, 1.25, stem, leaf=True)])
    peel = Material(0.85, 0.4, "skin", 0.2, 0.05)
    profile = np.stack([c**0.85 * 0.78, 1.0 * s + 0.22 * s**9], axis=1)
    return lathe(profile, n=32).moved(turn=rotation(z_deg=70)).painted(peel)


def _stem(low: float, high: float, material: Material, *, leaf: bool = False) -> list[Mesh]:
    stem = tube([(0, low, 0), (0.02, 0.5 * (low + high), 0), (0.1, high, 0.03)], [0.05, 0.04, 0.055]).painted(material)
    blade = ball((0.34, 0.02, 0.15), n=12).moved(turn=rotation(z_deg=25), shift=(0.36, 0.5 * (low + high) + 0.12, 0))
    return [stem, blade.painted(Material(0.3, 0.3))] if leaf else [stem]


def _leaves(n: int, low: float, length: float, lean_deg: float, width: float) -> list[Mesh]:
    blade = ball((width, 0.5 * length, 0.025), n=10).moved(shift=(0, 0.5 * length, 0))
    green = Material(0.28, 0.3, "grain", 0.3, 0.05)
    return [
        blade.moved(turn=rotation(x_deg=lean_deg))
        .moved(turn=rotation(y_deg=360 * i / n), shift=(0, low, 0))
        .painted(green)
        for i in range(n)
    ]


def _banana(rng: np.random.Generator, stem: Material) -> list[Mesh]:
    peel = Material(0.8, 0.2, "spots", 0.3, 0.12)
    angle = np.linspace(-1.0, 1.0, 24)
    path = np.stack([1.15 * np.sin(angle), 1.1 - 1.15 * np.cos(angle), 0 * angle], axis=1)
    radius = 0.24 * np.clip(1 - np.abs(angle) ** 5, 0.18, 1)
    return [
        tube(path, radius, n=8).painted(peel),
        rod(path[-1], path[-1] + [0.12, 0.16, 0], (0.06, 0.05)).painted(stem),
    ]


def _pineapple(c: Array, s: Array) -> Mesh:
    n_around, longitude = 96, np.arange(96) * 2 * np.pi / 96
    height = np.interp(np.linspace(0, 1, 72), np.linspace(0, 1, len(s)), s)
    ring = np.sqrt(np.clip(1 - height**2, 0, 1)) ** 0.75
    scales = np.abs(np.sin(4 * longitude + 7 * height[:, None])) * np.abs(np.sin(4 * longitude - 7 * height[:, None]))
    radius = ring[:, None] * (0.66 + 0.12 * scales)
    points = np.stack(
        [radius * np.sin(longitude), np.repeat(1.05 * height[:, None], n_around, 1), radius * np.cos(longitude)],
        axis=-1,
    )
    return sheet(points, closed_v=True).painted(Material(0.5, 0.2, "spots", 0.3, 0.1))


def _grapes(rng: np.random.Generator, skin: Material) -> list[Mesh]:
    parts = []
    for level, n in enumerate((1, 3, 5, 7, 7, 5)):
        y = -0.95 + 0.32 * level
        for i in range(n):
            angle = 2 * np.pi * (i + 0.5 * (level % 2)) / n + rng.uniform(-0.15, 0.15)
            out = 0.0 if n == 1 else 0.13 * n * rng.uniform(0.9, 1.05) * 0.75
            parts.append(
                ball(0.25 * rng.uniform(0.9, 1.1), n=12)
                .moved(shift=(out * np.sin(angle), y, out * np.cos(angle)))
                .painted(skin)
            )
    return parts
