"""What do eight faces look like? Heads that look towards +z, y up, with eyes, hair, some with beard or glasses."""

from dataclasses import replace

import numpy as np

from engine.scenery.meshes import Array, Material, Mesh, ball, merge, rod, rotation, sheet, tube


def face(k: int, rng: np.random.Generator) -> Mesh:
    """Return head ``k`` of 8; they differ in shape, skin, hair, brows, beard and glasses."""
    skin = Material(rng.uniform(0.35, 0.85), 0.12, "skin", 0.06, 0.05)
    hair = Material(rng.choice([0.06, 0.12, 0.25, 0.55]), 0.25, "hair", 0.6, 0.12)
    wide, long, jaw = rng.uniform(0.66, 0.78), rng.uniform(0.95, 1.08), rng.uniform(0.18, 0.4)
    nose, eyes = rng.uniform(0.16, 0.26), rng.uniform(0.26, 0.31)
    head = _head(
        wide, long, jaw, nose, eyes, skin, replace(skin, albedo=0.55 * skin.albedo), hair if k in (2, 6) else None
    )
    parts = [
        head,
        tube(
            [(0, -0.6, -0.15), (0, -0.95, -0.18), (0, -1.3, -0.2), (0, -1.4, -0.22)], [0.36, 0.35, 0.37, 0.42]
        ).painted(skin),
    ]
    for x in (-1, 1):
        parts += _eye(x * eyes, skin, hair, wide)
        ear = ball((0.06, 0.17, 0.11), n=10).moved(turn=rotation(y_deg=20 * x), shift=(x * (wide + 0.0), 0.03, -0.08))
        parts.append(ear.painted(skin))
    parts += _hair(k, wide, long, hair)
    if k in (3, 5):
        parts += _glasses(eyes, wide)
    return merge(parts)


def _bump(direction: Array, centre: tuple[float, float], width: tuple[float, float]) -> Array:
    return np.exp(-0.5 * (((direction[..., :2] - np.array(centre)) / np.array(width)) ** 2).sum(axis=-1)) * (
        direction[..., 2] > 0
    )


def _head(
    wide: float,
    long: float,
    jaw: float,
    nose: float,
    eyes: float,
    skin: Material,
    lips: Material,
    beard: Material | None,
) -> Mesh:
    latitude, longitude = np.linspace(-1.55, 1.55, 72), np.arange(96) * 2 * np.pi / 96
    ring = np.cos(latitude)[:, None]
    d = np.stack(
        [ring * np.sin(longitude), np.repeat(np.sin(latitude)[:, None], 96, 1), ring * np.cos(longitude)], axis=-1
    )
    depth = np.zeros(d.shape[:2])
    for x in (-1, 1):
        depth -= 0.13 * _bump(d, (x * eyes / wide, 0.10), (0.14, 0.09))
        depth += 0.05 * _bump(d, (x * 0.42, -0.18), (0.2, 0.15)) + 0.05 * _bump(d, (x * 0.3, 0.27), (0.2, 0.06))
        depth += 0.05 * _bump(d, (x * 0.10, -0.22), (0.05, 0.05))
    for y, size in ((0.1, 0.35), (0.0, 0.55), (-0.1, 0.8), (-0.2, 1.0)):
        depth += 0.55 * nose * size * _bump(d, (0, y), (0.075 + 0.03 * size, 0.075))
    depth += (
        0.06 * _bump(d, (0, -0.47), (0.2, 0.04))
        + 0.06 * _bump(d, (0, -0.57), (0.18, 0.045))
        - 0.05 * _bump(d, (0, -0.52), (0.22, 0.015))
    )
    depth -= 0.03 * _bump(d, (0, -0.67), (0.2, 0.04))
    depth += 0.1 * _bump(d, (0, -0.84), (0.2, 0.12))
    below = np.clip(-d[..., 1], 0, 1)
    narrow = 1 - jaw * below**1.5
    points = np.stack([wide * d[..., 0] * narrow, long * d[..., 1], (0.86 - 0.1 * below) * d[..., 2] + depth], axis=-1)
    mesh = sheet(points, closed_v=True)
    at = d.reshape(-1, 3)[mesh.faces].mean(axis=1)
    mouth = (np.abs(at[:, 1] + 0.52) < 0.085 * np.sqrt(np.clip(1 - (at[:, 0] / 0.27) ** 2, 0, 1))) & (at[:, 2] > 0)
    bearded = (at[:, 1] < -0.36 - 0.3 * (np.abs(at[:, 0]) < 0.2)) | (
        (np.abs(at[:, 1] + 0.4) < 0.035) & (np.abs(at[:, 0]) < 0.3) & (at[:, 2] > 0)
    )
    bearded |= (at[:, 1] < 0.0) & (np.abs(at[:, 0]) > 0.75)
    material = np.where(mouth, 1, np.where(bearded & (at[:, 2] > -0.3) & (beard is not None), 2, 0))
    return replace(mesh, material=material, materials=(skin, lips, beard or skin))


def _eye(x: float, skin: Material, hair: Material, wide: float) -> list[Mesh]:
    z = 0.645 - 0.25 * (x / wide) ** 2
    gaze = np.array([x, 0.10, z])
    lid = sheet(_cap(0.106, 22, 100), closed_v=True).moved(turn=rotation(x_deg=-4), shift=gaze)
    brow = tube(
        [
            gaze + np.array([-0.13 * np.sign(x), 0.15, 0.07]),
            gaze + np.array([0, 0.185, 0.085]),
            gaze + np.array([0.13 * np.sign(x), 0.145, 0.03]),
        ],
        [0.02, 0.026, 0.012],
    )
    return [
        ball(0.1, n=14).moved(shift=gaze).painted(Material(0.92, 0.9)),
        ball((0.055, 0.055, 0.03), n=12).moved(shift=gaze + np.array([0, -0.002, 0.078])).painted(Material(0.06, 1.0)),
        lid.painted(skin),
        brow.painted(hair),
    ]


def _cap(radius: float, low_deg: float, high_deg: float) -> Array:
    """Points (latitude, longitude, 3) of a sphere's cap above ``low_deg``."""
    latitude, longitude = np.deg2rad(np.linspace(low_deg, min(high_deg, 89.5), 10)), np.arange(24) * 2 * np.pi / 24
    ring = np.cos(latitude)[:, None]
    return radius * np.stack(
        [ring * np.sin(longitude), np.repeat(np.sin(latitude)[:, None], 24, 1), ring * np.cos(longitude)], axis=-1
    )


def _hair(k: int, wide: float, long: float, hair: Material) -> list[Mesh]:
    """Hair: a shell that ends at a hair line; 2 is bald, 4 and 7 are long, 1 has a bun, 5 is curly."""
    if k == 2:
        return []
    latitude, longitude = np.linspace(-1.0 if k in (4, 7) else -0.45, 1.56, 36), np.arange(72) * 2 * np.pi / 72
    front = np.clip(np.cos(longitude), 0, 1) ** 0.6
    line = (0.68 if k != 0 else 0.58) * front[None, :] + (1 - front[None, :]) * latitude[0]
    lifted = np.maximum(latitude[:, None], line)
    ring = np.cos(lifted)
    d = np.stack([ring * np.sin(longitude), np.sin(lifted), ring * np.cos(longitude)], axis=-1)
    thick = {0: 0.10, 1: 0.07, 3: 0.05, 5: 0.2, 6: 0.04}.get(k, 0.09)
    grow = thick * np.clip((lifted - line) / 0.25 + 0.35, 0.35, 1)
    grow = grow * (1 + (0.35 if k == 5 else 0.08) * np.sin(14 * longitude) * np.sin(16 * lifted))
    size = np.array([wide, long, 0.88]) + grow[..., None]
    points = d * size
    if k in (4, 7):
        hang = np.clip(-lifted, 0, 1)
        points = points * np.stack([1 + 0.25 * hang, 1 + 0.35 * hang, 1 + 0.1 * hang], axis=-1)
    parts = [sheet(points, closed_v=True).painted(hair)]
    if k == 1:
        parts.append(ball((0.3, 0.27, 0.28), n=14).moved(shift=(0, 0.85, -0.62)).painted(hair))
    return parts


def _glasses(eyes: float, wide: float) -> list[Mesh]:
    frame = Material(0.06, 0.7)
    angle = np.linspace(0, 2 * np.pi, 25)
    parts = []
    for x in (-1, 1):
        rim = np.stack(
            [
                x * eyes + 0.19 * np.cos(angle),
                0.09 + 0.15 * np.sin(angle),
                0.86 - 0.12 * np.abs(np.cos(angle) * (x * np.cos(angle) > 0)),
            ],
            axis=1,
        )
        parts += [tube(rim, 0.018, n=8), rod((x * (eyes + 0.19), 0.11, 0.74), (x * (wide + 0.05), 0.11, -0.05), 0.016)]
    return [part.painted(frame) for part in [*parts, rod((-0.09, 0.11, 0.86), (0.09, 0.11, 0.86), 0.018)]]
