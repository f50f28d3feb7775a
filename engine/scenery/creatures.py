"""What do eight animals, eight faces and eight fruits look like?

Animals head towards +x, faces look towards +z, y is up; the exemplar ``k`` chooses the species or the person, the
generator the measures and the skin.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from engine.scenery.meshes import Array, Material, Mesh, ball, blob, lathe, merge, rod, rotation, sheet, tube, unit

# body: half length, radius; leg: length, radius; neck: length, angle from horizontal, radius; head: length, radius;
# snout length; tail: length, radius, droop
_ANIMALS = {
    "dog": (0.52, 0.20, 0.50, 0.075, 0.26, 45, 0.13, 0.16, 0.14, 0.22, 0.45, 0.035, -0.5),
    "horse": (0.60, 0.25, 0.78, 0.065, 0.58, 52, 0.15, 0.30, 0.13, 0.30, 0.55, 0.060, 0.9),
    "cow": (0.68, 0.31, 0.58, 0.085, 0.26, 25, 0.18, 0.26, 0.16, 0.22, 0.55, 0.025, 0.95),
    "elephant": (0.62, 0.42, 0.58, 0.150, 0.20, 20, 0.26, 0.22, 0.27, 0.05, 0.40, 0.025, 0.9),
    "giraffe": (0.46, 0.24, 0.95, 0.060, 1.05, 66, 0.11, 0.20, 0.10, 0.18, 0.40, 0.025, 0.9),
    "bear": (0.58, 0.32, 0.46, 0.130, 0.26, 30, 0.22, 0.26, 0.24, 0.20, 0.05, 0.060, 0.5),
    "zebra": (0.56, 0.25, 0.66, 0.065, 0.46, 50, 0.15, 0.28, 0.12, 0.26, 0.45, 0.035, 0.9),
    "sheep": (0.52, 0.33, 0.40, 0.055, 0.18, 40, 0.15, 0.20, 0.13, 0.14, 0.15, 0.050, 0.8),
}


def animal(k: int, rng: np.random.Generator) -> Mesh:
    """Return animal ``k`` of 8: dog, horse, cow, elephant, giraffe, bear, zebra, sheep."""
    name = list(_ANIMALS)[k]
    measures = np.array(_ANIMALS[name]) * rng.uniform(0.95, 1.05, 13)
    length, radius, leg, leg_radius, neck, angle, neck_radius, head, head_radius, snout, tail, tail_radius, droop = measures
    chest = np.array([length, 0.05, 0.0])
    direction = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle)), 0.0])
    poll = chest + direction * (neck + 0.6 * radius)
    nose = poll + np.array([head + snout, -0.45 * (head + snout), 0.0]) * (0.8 if name != "bear" else 0.7)
    bones = [((-length, 0, 0), chest, radius, radius * 0.98), ((0, -0.04, 0), (0.2, -0.05, 0), radius * 1.04, radius * 1.04)]
    bones += [(chest + [-0.05, 0, 0], poll, 0.85 * radius, neck_radius), (poll, poll + [0.1, -0.03, 0], head_radius, head_radius)]
    bones += [(poll, nose, 0.8 * head_radius, 0.52 * head_radius)]
    gait = rng.uniform(-0.16, 0.16, 4)
    for i, (x, z) in enumerate(((0.88 * length, 1), (0.88 * length, -1), (-0.95 * length, 1), (-0.95 * length, -1))):
        hip = np.array([x, -0.25 * radius, z * 0.55 * radius])
        knee = hip + [0.06 * (1 if i < 2 else -1) + 0.5 * gait[i], -0.5 * leg - 0.2 * radius, 0.02 * z]
        foot = knee + [0.3 * gait[i] - 0.02, -0.5 * leg - 0.15 * radius, 0]
        bones += [(hip, knee, 1.6 * leg_radius, 0.85 * leg_radius), (knee, foot, 0.8 * leg_radius, 0.62 * leg_radius)]
        bones += [(foot, foot + [0.05, 0, 0], 0.75 * leg_radius, 0.75 * leg_radius)]
    rump = np.array([-length - 0.75 * radius, 0.15 * radius, 0])
    bones += [(rump + [0.1, 0, 0], rump + tail * np.array([-np.sqrt(max(1 - droop**2, 0.05)), -droop, 0]), tail_radius, 0.6 * tail_radius)]
    if name == "elephant":
        trunk = [nose, nose + [0.16, -0.28, 0], nose + [0.14, -0.6, 0], nose + [0.26, -0.78, 0]]
        bones += [(a, b, 0.12 - 0.025 * i, 0.095 - 0.025 * i) for i, (a, b) in enumerate(zip(trunk[:-1], trunk[1:], strict=True))]
    skin = _coat(name, rng)
    body = _flesh(bones, 0.05 if name != "sheep" else 0.07).painted(skin)
    return merge([body, *_head_parts(name, poll, nose, head_radius, skin)])


def _coat(name: str, rng: np.random.Generator) -> Material:
    texture, contrast, scale = {
        "cow": ("spots", 0.8, 0.4), "giraffe": ("spots", 0.5, 0.18), "zebra": ("rings", 0.85, 0.14), "elephant": ("skin", 0.3, 0.06),
        "sheep": ("fur", 0.35, 0.1),
    }.get(name, ("fur", 0.3, 0.05))  # fmt: skip
    light = {"cow": 0.85, "giraffe": 0.75, "zebra": 0.9, "elephant": 0.4, "sheep": 0.85, "bear": 0.25}.get(name, rng.uniform(0.25, 0.7))
    return Material(light, 0.06, texture, contrast, scale)


def _flesh(bones: list[tuple[ArrayLike, ArrayLike, float, float]], blend: float) -> Mesh:
    """One smooth skin over tapered bones (start, end, radius at start and end)."""
    starts, ends = (np.array([np.asarray(bone[i], float) for bone in bones]) for i in (0, 1))
    radii = np.array([[bone[2], bone[3]] for bone in bones])

    def field(points: Array) -> Array:
        flat = points.reshape(-1, 3)
        total = np.zeros(len(flat))
        for a, b, (r0, r1) in zip(starts, ends, radii, strict=True):
            along = b - a
            t = np.clip((flat - a) @ along / max(along @ along, 1e-9), 0, 1)
            offset = flat - a - t[:, None] * along
            distance = np.sqrt(np.einsum("pd,pd->p", offset, offset)) - (r0 + (r1 - r0) * t)
            total += np.exp(-np.clip(distance / blend, -40, 40))
        return (-blend * np.log(total + 1e-30)).reshape(points.shape[:-1])

    margin = radii.max() + 0.12
    return blob(field, np.minimum(starts, ends).min(0) - margin, np.maximum(starts, ends).max(0) + margin, cell=0.045)


def _head_parts(name: str, poll: Array, nose: Array, radius: float, skin: Material) -> list[Mesh]:
    dark, horn = Material(0.05, 0.8), Material(0.75, 0.4)
    plain = replace(skin, texture="plain")
    parts = [ball(0.42 * radius, n=10).moved(scale=(0.8, 0.6, 0.9), shift=nose + [0.035, 0.02, 0]).painted(Material(0.12, 0.4))]
    for z in (-1, 1):
        eye = poll + 0.35 * (nose - poll) + [0.0, 0.42 * radius, 0.66 * radius * z]
        parts.append(ball(max(0.16 * radius, 0.026), n=8).moved(shift=eye).painted(dark))
        if name == "elephant":
            ear = ball((0.24, 0.32, 0.035), n=12).moved(turn=rotation(y_deg=-35 * z, x_deg=8 * z), shift=poll + [-0.14, -0.02, z * 0.36])
            tusk = tube([nose + [-0.05, -0.08, z * 0.12], nose + [0.12, -0.2, z * 0.15], nose + [0.3, -0.2, z * 0.15]], [0.04, 0.035, 0.01])
            parts += [ear.painted(skin), tusk.painted(horn)]
            continue
        long = {"horse": 1.0, "zebra": 1.1, "giraffe": 1.1, "cow": 1.0, "dog": 1.2, "bear": 0.5, "sheep": 1.0}[name]
        outward = {"cow": 75, "sheep": 80, "giraffe": 55, "dog": 25}.get(name, 20)
        ear = ball((0.05, 0.13 * long, 0.035), n=10).moved(shift=(0, 0.1 * long, 0)).moved(turn=rotation(x_deg=outward * z))
        parts.append(ear.moved(shift=poll + [-0.04, 0.7 * radius, 0.55 * radius * z]).painted(plain))
        if name in ("cow", "giraffe"):
            tip = np.array([0.05, 0.24, 0.2 * z]) if name == "cow" else np.array([0.0, 0.16, 0.03 * z])
            base = poll + [0.03, 0.8 * radius, 0.3 * radius * z]
            parts.append(tube([base, base + tip * [1, 0.4, 0.9], base + tip], [0.035, 0.03, 0.012 if name == "cow" else 0.035]).painted(horn))
    if name in ("horse", "zebra"):
        mane = [poll + [-0.06, 0.8 * radius, 0], poll + [-0.22, 0.02, 0], poll + [-0.42, -0.25, 0]]
        parts.append(tube(mane, [0.05, 0.08, 0.05], flat=0.5).painted(Material(0.12, 0.1, "fur", 0.4, 0.03)))
    return parts


def face(k: int, rng: np.random.Generator) -> Mesh:
    """Return head ``k`` of 8; they differ in shape, skin, hair, brows, beard and glasses."""
    skin = Material(rng.uniform(0.35, 0.85), 0.12, "skin", 0.06, 0.05)
    hair = Material(rng.choice([0.06, 0.12, 0.25, 0.55]), 0.25, "hair", 0.6, 0.12)
    wide, long, jaw = rng.uniform(0.66, 0.78), rng.uniform(0.95, 1.08), rng.uniform(0.18, 0.4)
    nose, eyes = rng.uniform(0.16, 0.26), rng.uniform(0.26, 0.31)
    head = _head(wide, long, jaw, nose, eyes, skin, replace(skin, albedo=0.55 * skin.albedo), hair if k in (2, 6) else None)
    parts = [head, tube([(0, -0.6, -0.15), (0, -0.95, -0.18), (0, -1.3, -0.2), (0, -1.4, -0.22)], [0.36, 0.35, 0.37, 0.42]).painted(skin)]
    for x in (-1, 1):
        parts += _eye(x * eyes, skin, hair, wide)
        ear = ball((0.06, 0.17, 0.11), n=10).moved(turn=rotation(y_deg=20 * x), shift=(x * (wide + 0.0), 0.03, -0.08))
        parts.append(ear.painted(skin))
    parts += _hair(k, wide, long, hair)
    if k in (3, 5):
        parts += _glasses(eyes, wide)
    return merge(parts)


def _bump(direction: Array, centre: ArrayLike, width: ArrayLike) -> Array:
    return np.exp(-0.5 * (((direction[..., :2] - centre) / width) ** 2).sum(axis=-1)) * (direction[..., 2] > 0)


def _head(
    wide: float, long: float, jaw: float, nose: float, eyes: float, skin: Material, lips: Material, beard: Material | None
) -> Mesh:
    latitude, longitude = np.linspace(-1.55, 1.55, 72), np.arange(96) * 2 * np.pi / 96
    ring = np.cos(latitude)[:, None]
    d = np.stack([ring * np.sin(longitude), np.repeat(np.sin(latitude)[:, None], 96, 1), ring * np.cos(longitude)], axis=-1)
    depth = np.zeros(d.shape[:2])
    for x in (-1, 1):
        depth -= 0.13 * _bump(d, (x * eyes / wide, 0.10), (0.14, 0.09))
        depth += 0.05 * _bump(d, (x * 0.42, -0.18), (0.2, 0.15)) + 0.05 * _bump(d, (x * 0.3, 0.27), (0.2, 0.06))
        depth += 0.05 * _bump(d, (x * 0.10, -0.22), (0.05, 0.05))
    for y, size in ((0.1, 0.35), (0.0, 0.55), (-0.1, 0.8), (-0.2, 1.0)):
        depth += 0.55 * nose * size * _bump(d, (0, y), (0.075 + 0.03 * size, 0.075))
    depth += 0.06 * _bump(d, (0, -0.47), (0.2, 0.04)) + 0.06 * _bump(d, (0, -0.57), (0.18, 0.045)) - 0.05 * _bump(d, (0, -0.52), (0.22, 0.015))
    depth -= 0.03 * _bump(d, (0, -0.67), (0.2, 0.04))
    depth += 0.1 * _bump(d, (0, -0.84), (0.2, 0.12))
    below = np.clip(-d[..., 1], 0, 1)
    narrow = 1 - jaw * below**1.5
    points = np.stack([wide * d[..., 0] * narrow, long * d[..., 1], (0.86 - 0.1 * below) * d[..., 2] + depth], axis=-1)
    mesh = sheet(points, closed_v=True)
    at = d.reshape(-1, 3)[mesh.faces].mean(axis=1)
    mouth = (np.abs(at[:, 1] + 0.52) < 0.085 * np.sqrt(np.clip(1 - (at[:, 0] / 0.27) ** 2, 0, 1))) & (at[:, 2] > 0)
    bearded = (at[:, 1] < -0.36 - 0.3 * (np.abs(at[:, 0]) < 0.2)) | ((np.abs(at[:, 1] + 0.4) < 0.035) & (np.abs(at[:, 0]) < 0.3) & (at[:, 2] > 0))
    bearded |= (at[:, 1] < 0.0) & (np.abs(at[:, 0]) > 0.75)
    material = np.where(mouth, 1, np.where(bearded & (at[:, 2] > -0.3) & (beard is not None), 2, 0))
    return replace(mesh, material=material, materials=(skin, lips, beard or skin))


def _eye(x: float, skin: Material, hair: Material, wide: float) -> list[Mesh]:
    z = 0.645 - 0.25 * (x / wide) ** 2
    gaze = np.array([x, 0.10, z])
    lid = sheet(_cap(0.106, 22, 100), closed_v=True).moved(turn=rotation(x_deg=-4), shift=gaze)
    brow = tube([gaze + [-0.13 * np.sign(x), 0.15, 0.07], gaze + [0, 0.185, 0.085], gaze + [0.13 * np.sign(x), 0.145, 0.03]], [0.02, 0.026, 0.012])
    return [
        ball(0.1, n=14).moved(shift=gaze).painted(Material(0.92, 0.9)),
        ball((0.055, 0.055, 0.03), n=12).moved(shift=gaze + [0, -0.002, 0.078]).painted(Material(0.06, 1.0)),
        lid.painted(skin),
        brow.painted(hair),
    ]


def _cap(radius: float, low_deg: float, high_deg: float) -> Array:
    """Points (latitude, longitude, 3) of a sphere's cap above ``low_deg``."""
    latitude, longitude = np.deg2rad(np.linspace(low_deg, min(high_deg, 89.5), 10)), np.arange(24) * 2 * np.pi / 24
    ring = np.cos(latitude)[:, None]
    return radius * np.stack([ring * np.sin(longitude), np.repeat(np.sin(latitude)[:, None], 24, 1), ring * np.cos(longitude)], axis=-1)


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
        rim = np.stack([x * eyes + 0.19 * np.cos(angle), 0.09 + 0.15 * np.sin(angle), 0.86 - 0.12 * np.abs(np.cos(angle) * (x * np.cos(angle) > 0))], axis=1)
        parts += [tube(rim, 0.018, n=8), rod((x * (eyes + 0.19), 0.11, 0.74), (x * (wide + 0.05), 0.11, -0.05), 0.016)]
    return [part.painted(frame) for part in [*parts, rod((-0.09, 0.11, 0.86), (0.09, 0.11, 0.86), 0.018)]]


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
        return merge([part.moved(turn=rotation(y_deg=a, x_deg=b)) for a, b in ((0, 0), (16, 22)) for part in _banana(rng, stem)])
    if k == 3:
        peel = Material(0.6, 0.4, "skin", 0.35, 0.05)
        return merge([ball((1, 0.95, 1), n=28).painted(peel), lathe([(0.1, 0.92), (0.07, 0.98), (0, 0.97)]).painted(stem)])
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
        blade.moved(turn=rotation(x_deg=lean_deg)).moved(turn=rotation(y_deg=360 * i / n), shift=(0, low, 0)).painted(green)
        for i in range(n)
    ]


def _banana(rng: np.random.Generator, stem: Material) -> list[Mesh]:
    peel = Material(0.8, 0.2, "spots", 0.3, 0.12)
    angle = np.linspace(-1.0, 1.0, 24)
    path = np.stack([1.15 * np.sin(angle), 1.1 - 1.15 * np.cos(angle), 0 * angle], axis=1)
    radius = 0.24 * np.clip(1 - np.abs(angle) ** 5, 0.18, 1)
    return [tube(path, radius, n=8).painted(peel), rod(path[-1], path[-1] + [0.12, 0.16, 0], (0.06, 0.05)).painted(stem)]


def _pineapple(c: Array, s: Array) -> Mesh:
    n_around, longitude = 96, np.arange(96) * 2 * np.pi / 96
    height = np.interp(np.linspace(0, 1, 72), np.linspace(0, 1, len(s)), s)
    ring = np.sqrt(np.clip(1 - height**2, 0, 1)) ** 0.75
    scales = np.abs(np.sin(4 * longitude + 7 * height[:, None])) * np.abs(np.sin(4 * longitude - 7 * height[:, None]))
    radius = ring[:, None] * (0.66 + 0.12 * scales)
    points = np.stack([radius * np.sin(longitude), np.repeat(1.05 * height[:, None], n_around, 1), radius * np.cos(longitude)], axis=-1)
    return sheet(points, closed_v=True).painted(Material(0.5, 0.2, "spots", 0.3, 0.1))


def _grapes(rng: np.random.Generator, skin: Material) -> list[Mesh]:
    parts = []
    for level, n in enumerate((1, 3, 5, 7, 7, 5)):
        y = -0.95 + 0.32 * level
        for i in range(n):
            angle = 2 * np.pi * (i + 0.5 * (level % 2)) / n + rng.uniform(-0.15, 0.15)
            out = 0.0 if n == 1 else 0.13 * n * rng.uniform(0.9, 1.05) * 0.75
            parts.append(ball(0.25 * rng.uniform(0.9, 1.1), n=12).moved(shift=(out * np.sin(angle), y, out * np.cos(angle))).painted(skin))
    return parts
