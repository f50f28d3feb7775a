"""What do eight boats look like? Hulls with decks, houses and rigs, heading towards +x, y up."""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from engine.scenery.meshes import Array, Material, Mesh, box, lathe, loft, merge, rod, rotation, sheet, tube
from engine.scenery.paints import GLASS, RUBBER, paint_of


def boat(k: int, rng: np.random.Generator) -> Mesh:
    """Return boat ``k`` of 8: sloop, motor boat, trawler, container ship, rowing boat, tug, ferry, schooner."""
    length = (1.0, 1.0, 1.0, 1.5, 0.9, 0.85, 1.4, 1.3)[k] * rng.uniform(0.95, 1.05)
    beam = (0.28, 0.32, 0.34, 0.24, 0.3, 0.36, 0.26, 0.24)[k]
    depth = (0.28, 0.28, 0.4, 0.34, 0.24, 0.4, 0.3, 0.28)[k]
    side, below = paint_of(rng), Material(rng.uniform(0.1, 0.4), 0.3)
    deck = Material(rng.uniform(0.4, 0.7), 0.1, "grain", 0.3, 0.06)
    white = Material(rng.uniform(0.75, 0.95), 0.3)
    parts = [_hull(length, beam, depth, side, below), _deck(length, beam, depth, deck, -0.12 if k == 4 else -0.02)]
    if k in (0, 7):
        parts += _rig(length, beam, (0.12,) if k == 0 else (0.35, -0.3), 1.75 if k == 0 else 1.35, white, deck)
    if k == 4:
        parts += [box((0.06, 0.015, beam)).moved(shift=(x, 0.12, 0)).painted(deck) for x in (-0.45, 0.0, 0.4)]
        parts += [rod((0, 0.2, z * beam), (-0.35, -0.1, 3 * z * beam), 0.016).painted(deck) for z in (-1, 1)]
    floors = {
        0: ((-0.3, 0.3, 0.07),),
        1: ((-0.05, 0.4, 0.1), (-0.1, 0.22, 0.1)),
        2: ((-0.45, 0.26, 0.22), (-0.45, 0.18, 0.1)),
    }
    floors |= {3: ((-1.15, 0.16, 0.2), (-1.15, 0.14, 0.15)), 5: ((0.05, 0.32, 0.14), (0.15, 0.18, 0.13))}
    floors |= {6: ((-0.1, 1.05, 0.11), (-0.12, 0.9, 0.1), (-0.1, 0.6, 0.08)), 7: ((0.0, 0.2, 0.05),)}
    parts += _house(floors.get(k, ()), beam, white)
    if k == 3:
        for x in np.arange(5) * 0.34 - 0.72:
            for level in range(int(rng.integers(1, 4))):
                paint = Material(rng.uniform(0.15, 0.9), 0.2, "stripes", 0.25, 0.03)
                parts.append(
                    box((0.155, 0.075, 0.9 * beam), edge=0.01).moved(shift=(x, 0.06 + 0.155 * level, 0)).painted(paint)
                )
    if k in (2, 5, 6):
        x, low = {2: (-0.55, 0.7), 5: (-0.25, 0.5), 6: (-0.5, 0.62)}[k]
        funnel = lathe([(0.1, 0), (0.09, 0.3), (0.07, 0.3)], n=16).moved(scale=(1, 1, 0.8), shift=(x, low - 0.15, 0))
        parts += [funnel.painted(side), rod((0.45, 0, 0), (0.4, 0.75, 0), (0.025, 0.012)).painted(white)]
    if k == 2:
        parts += [rod((0.42, 0.1, 0), (-0.1, 0.6, 0), 0.014).painted(white)]
    if k == 1:
        windscreen = box((0.02, 0.09, 0.8 * beam)).moved(turn=rotation(z_deg=35), shift=(0.36, 0.2, 0))
        parts += [
            windscreen.painted(GLASS),
            box((0.1, 0.12, 0.08)).moved(shift=(-length - 0.06, -0.05, 0)).painted(RUBBER),
        ]
    return merge(parts)


def _sheer(length: float, beam: float, depth: float, n: int = 25) -> tuple[Array, Array, Array, Array]:
    """Place along the boat, half width at the deck, height of the deck and of the keel there."""
    t = np.linspace(-1, 1, n)
    width = beam * np.clip(1 - np.clip(t, 0, 1) ** 2.2, 0.0, 1) ** 0.8 * (1 - 0.2 * np.clip(-t, 0, 1) ** 2)
    return (
        length * t,
        np.maximum(width, 0.008),
        0.16 * np.clip(t, 0, 1) ** 2 + 0.03 * t**2,
        -depth * (1 - 0.75 * np.clip(t, 0, 1) ** 4),
    )


def _hull(length: float, beam: float, depth: float, side: Material, below: Material) -> Mesh:
    x, width, deck, keel = _sheer(length, beam, depth)
    angle = np.linspace(-np.pi / 2, np.pi / 2, 17)
    across, down = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** 0.6, np.cos(angle) ** 0.75
    overhang = 0.12 * np.clip(x / length, 0, 1)[:, None] ** 4 * down
    points = np.stack(
        [
            x[:, None] - overhang,
            deck[:, None] + (keel - deck)[:, None] * down,
            width[:, None] * across * (1 - 0.25 * down),
        ],
        axis=-1,
    )
    mesh = sheet(points[:, ::-1])
    low = mesh.vertices[mesh.faces].mean(axis=1)[:, 1] < -0.55 * depth
    painted = replace(mesh, material=np.where(low, 1, 0), materials=(side, below))
    stern = loft(np.stack([points[0] - [0.01, 0, 0], points[0]])).painted(side)
    rail = [tube(np.stack([x, deck + 0.015, s * width], axis=1), 0.014, n=6).painted(below) for s in (-1, 1)]
    return merge([painted, stern, *rail])


def _deck(length: float, beam: float, depth: float, material: Material, drop: float) -> Mesh:
    x, width, deck, _ = _sheer(length, beam, depth)
    edges = [np.stack([x, deck + drop, s * (width - 0.002)], axis=1) for s in (-1, 1)]
    return sheet(np.stack(edges)).painted(material)


def _house(floors: tuple[tuple[float, float, float], ...], beam: float, white: Material) -> list[Mesh]:
    parts, y = [], 0.0
    for i, (x, half_length, half_height) in enumerate(floors):
        half = beam * (0.8 - 0.12 * i)
        y += half_height
        parts.append(box((half_length, half_height, half), edge=0.03).moved(shift=(x, y, 0)).painted(white))
        n = max(int(half_length / 0.07), 2)
        for at in x + (np.arange(n) - 0.5 * (n - 1)) * 2 * half_length / (n + 0.5):
            window = box((0.6 * half_length / n, 0.35 * half_height, half + 0.006), edge=0.01)
            parts.append(window.moved(shift=(at, y + 0.2 * half_height, 0)).painted(GLASS))
        front = box((half_length + 0.006, 0.35 * half_height, 0.75 * half), edge=0.01)
        parts.append(front.moved(shift=(x, y + 0.2 * half_height, 0)).painted(GLASS))
        y += half_height
        parts.append(box((half_length + 0.03, 0.012, half + 0.02), edge=0.01).moved(shift=(x, y, 0)).painted(white))
    return parts


def _rig(
    length: float, beam: float, masts: tuple[float, ...], height: float, cloth: Material, wood: Material
) -> list[Mesh]:
    sail = replace(cloth, gloss=0.02, texture="stripes", contrast=0.12, scale=0.12)
    parts = []
    for i, x in enumerate(masts):
        top = height * (1 - 0.12 * i)
        boom = 0.72 * length / len(masts) ** 0.6
        parts += [
            rod((x, -0.1, 0), (x, top, 0), (0.024, 0.012)).painted(wood),
            rod((x, 0.22, 0), (x - boom, 0.2, 0.1), 0.015).painted(wood),
        ]
        parts.append(_sail((x - 0.02, 0.25, 0), (x - boom, 0.24, 0.1), (x - 0.02, 0.97 * top, 0), 0.16).painted(sail))
    x = masts[0]
    jib = _sail((0.95 * length, 0.18, 0), (x + 0.05, 0.2, 0.12), (x + 0.02, 0.86 * height, 0), 0.14)
    return [*parts, jib.painted(sail), rod((0.97 * length, 0.15, 0), (x, 0.9 * height, 0), 0.006).painted(wood)]


def _sail(tack: ArrayLike, clew: ArrayLike, head: ArrayLike, belly: float) -> Mesh:
    """Triangular cloth, two skins, blown towards +z."""
    a, b, c = (np.asarray(p, float) for p in (tack, clew, head))
    u, v = np.meshgrid(np.linspace(0, 1, 9), np.linspace(0.02, 1, 9), indexing="ij")
    w = u[..., None] * (1 - v[..., None])
    skin = a * (1 - v[..., None]) * (1 - u[..., None]) + b * w + c * v[..., None]
    skin = skin + np.stack([0 * u, 0 * u, belly * np.sin(np.pi * u) * (1 - v) * (0.3 + v)], axis=-1)
    return merge([sheet(skin), sheet(skin[::-1] - [0, 0, 0.004])])
