"""What do eight animals look like? Four legs and one smooth skin over tapered bones, heading towards +x, y up."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from engine.scenery.meshes import Array, Material, Mesh, ball, blob, merge, rotation, tube

Bone = tuple[ArrayLike, ArrayLike, float, float]
"""Start, end, radius at the start and at the end."""


@dataclass(frozen=True)
class Species:
    """Measures of a four-legged animal in object units, and its coat.

    ``body`` half length and radius; ``leg`` length and radius; ``neck`` length, elevation in degrees, radius; ``head``
    length, radius, length of the snout; ``tail`` length, radius, droop (1 = straight down); ``coat`` texture, contrast,
    scale; ``ear`` length and degrees outward; ``albedo`` None = any.
    """

    body: tuple[float, float]
    leg: tuple[float, float]
    neck: tuple[float, float, float]
    head: tuple[float, float, float]
    tail: tuple[float, float, float]
    coat: tuple[str, float, float] = ("fur", 0.3, 0.05)
    albedo: float | None = None
    ear: tuple[float, float] = (1.0, 20)
    snout: float = 0.8
    blend: float = 0.05


_SPECIES: Final = {
    "dog": Species(
        (0.52, 0.20), (0.50, 0.075), (0.26, 45, 0.13), (0.16, 0.14, 0.22), (0.45, 0.035, -0.5), ear=(1.2, 25)
    ),
    "horse": Species((0.60, 0.25), (0.78, 0.065), (0.58, 52, 0.15), (0.30, 0.13, 0.30), (0.55, 0.06, 0.9)),
    "cow": Species(
        (0.68, 0.31), (0.58, 0.085), (0.26, 25, 0.18), (0.26, 0.16, 0.22), (0.55, 0.025, 0.95),
        coat=("spots", 0.8, 0.4), albedo=0.85, ear=(1.0, 75),
    ),
    "elephant": Species(
        (0.62, 0.42), (0.58, 0.15), (0.20, 20, 0.26), (0.22, 0.27, 0.05), (0.40, 0.025, 0.9),
        coat=("skin", 0.3, 0.06), albedo=0.4,
    ),
    "giraffe": Species(
        (0.46, 0.24), (0.95, 0.06), (1.05, 66, 0.11), (0.20, 0.10, 0.18), (0.40, 0.025, 0.9),
        coat=("spots", 0.5, 0.18), albedo=0.75, ear=(1.1, 55),
    ),
    "bear": Species(
        (0.58, 0.32), (0.46, 0.13), (0.26, 30, 0.22), (0.26, 0.24, 0.20), (0.05, 0.06, 0.5),
        albedo=0.25, ear=(0.5, 20), snout=0.7,
    ),
    "zebra": Species(
        (0.56, 0.25), (0.66, 0.065), (0.46, 50, 0.15), (0.28, 0.12, 0.26), (0.45, 0.035, 0.9),
        coat=("rings", 0.85, 0.14), albedo=0.9, ear=(1.1, 20),
    ),
    "sheep": Species(
        (0.52, 0.33), (0.40, 0.055), (0.18, 40, 0.15), (0.20, 0.13, 0.14), (0.15, 0.05, 0.8),
        coat=("fur", 0.35, 0.1), albedo=0.85, ear=(1.0, 80), blend=0.07,
    ),
}  # fmt: skip


def animal(k: int, rng: np.random.Generator) -> Mesh:
    """Return animal ``k`` of 8: dog, horse, cow, elephant, giraffe, bear, zebra, sheep."""
    name, species = list(_SPECIES.items())[k]
    length, radius = rng.uniform(0.95, 1.05, 2) * species.body
    neck, elevation, _ = species.neck * rng.uniform(0.95, 1.05, 3)
    chest = np.array([length, 0.05, 0.0])
    poll = chest + (neck + 0.6 * radius) * np.array([np.cos(np.deg2rad(elevation)), np.sin(np.deg2rad(elevation)), 0.0])
    reach = (species.head[0] + species.head[2]) * species.snout
    nose = poll + np.array([reach, -0.45 * reach, 0.0])
    bones = [*_trunk(species, length, radius, chest, poll, nose), *_legs(species, length, radius, rng)]
    if name == "elephant":
        curl = nose + np.array([[0, 0, 0], [0.16, -0.28, 0], [0.14, -0.6, 0], [0.26, -0.78, 0]])
        bones += [(a, b, 0.12 - 0.025 * i, 0.095 - 0.025 * i) for i, (a, b) in enumerate(pairwise(curl))]
    any_albedo = rng.uniform(0.25, 0.7)
    skin = Material(any_albedo if species.albedo is None else species.albedo, 0.06, *species.coat)
    body = _flesh(bones, species.blend).painted(skin)
    parts = [body, *_nose_and_eyes(species.head[1], poll, nose)]
    if name == "elephant":
        return merge([*parts, *_elephant_ears(poll, nose, skin)])
    parts += _ears(species, poll, replace(skin, texture="plain"))
    if name in ("cow", "giraffe"):
        parts += _horns(name, species.head[1], poll)
    if name in ("horse", "zebra"):
        mane = poll + np.array([[-0.06, 0.8 * species.head[1], 0], [-0.22, 0.02, 0], [-0.42, -0.25, 0]])
        parts.append(tube(mane, [0.05, 0.08, 0.05], flat=0.5).painted(Material(0.12, 0.1, "fur", 0.4, 0.03)))
    return merge(parts)


def _trunk(species: Species, length: float, radius: float, chest: Array, poll: Array, nose: Array) -> list[Bone]:
    head, (tail, tail_radius, droop) = species.head[1], species.tail
    rump = np.array([-length - 0.75 * radius, 0.15 * radius, 0])
    tip = rump + tail * np.array([-np.sqrt(max(1 - droop**2, 0.05)), -droop, 0])
    return [
        ((-length, 0, 0), chest, radius, 0.98 * radius),
        ((0, -0.04, 0), (0.2, -0.05, 0), 1.04 * radius, 1.04 * radius),
        (chest - np.array([0.05, 0, 0]), poll, 0.85 * radius, species.neck[2]),
        (poll, poll + np.array([0.1, -0.03, 0]), head, head),
        (poll, nose, 0.8 * head, 0.52 * head),
        (rump + np.array([0.1, 0, 0]), tip, tail_radius, 0.6 * tail_radius),
    ]


def _legs(species: Species, length: float, radius: float, rng: np.random.Generator) -> list[Bone]:
    leg, thick = species.leg
    bones: list[Bone] = []
    for end in (1, -1):
        for z in (1, -1):
            step = rng.uniform(-0.16, 0.16)
            hip = np.array([(0.88 if end > 0 else -0.95) * length, -0.25 * radius, 0.55 * z * radius])
            knee = hip + np.array([0.06 * end + 0.5 * step, -0.5 * leg - 0.2 * radius, 0.02 * z])
            foot = knee + np.array([0.3 * step - 0.02, -0.5 * leg - 0.15 * radius, 0])
            bones += [(hip, knee, 1.6 * thick, 0.85 * thick), (knee, foot, 0.8 * thick, 0.62 * thick)]
            bones.append((foot, foot + np.array([0.05, 0, 0]), 0.75 * thick, 0.75 * thick))
    return bones


def _flesh(bones: list[Bone], blend: float) -> Mesh:
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


def _nose_and_eyes(radius: float, poll: Array, nose: Array) -> list[Mesh]:
    tip = ball(0.42 * radius, n=10).moved(scale=(0.8, 0.6, 0.9), shift=nose + np.array([0.035, 0.02, 0]))
    parts = [tip.painted(Material(0.12, 0.4))]
    for z in (-1, 1):
        eye = poll + 0.35 * (nose - poll) + np.array([0.0, 0.42 * radius, 0.66 * radius * z])
        parts.append(ball(max(0.16 * radius, 0.026), n=8).moved(shift=eye).painted(Material(0.05, 0.8)))
    return parts


def _ears(species: Species, poll: Array, skin: Material) -> list[Mesh]:
    (long, outward), radius = species.ear, species.head[1]
    parts = []
    for z in (-1, 1):
        ear = ball((0.05, 0.13 * long, 0.035), n=10).moved(shift=(0, 0.1 * long, 0))
        root = poll + np.array([-0.04, 0.7 * radius, 0.55 * radius * z])
        parts.append(ear.moved(turn=rotation(x_deg=outward * z), shift=root).painted(skin))
    return parts


def _elephant_ears(poll: Array, nose: Array, skin: Material) -> list[Mesh]:
    """Ears and tusks."""
    parts = []
    for z in (-1, 1):
        ear = ball((0.24, 0.32, 0.035), n=12).moved(turn=rotation(y_deg=-35 * z, x_deg=8 * z))
        tusk = nose + np.array([[-0.05, -0.08, 0.12 * z], [0.12, -0.2, 0.15 * z], [0.3, -0.2, 0.15 * z]])
        parts.append(ear.moved(shift=poll + np.array([-0.14, -0.02, 0.36 * z])).painted(skin))
        parts.append(tube(tusk, [0.04, 0.035, 0.01]).painted(Material(0.75, 0.4)))
    return parts


def _horns(name: str, radius: float, poll: Array) -> list[Mesh]:
    parts = []
    for z in (-1, 1):
        tip = np.array([0.05, 0.24, 0.2 * z]) if name == "cow" else np.array([0.0, 0.16, 0.03 * z])
        root = poll + np.array([0.03, 0.8 * radius, 0.3 * radius * z])
        horn = tube([root, root + tip * [1, 0.4, 0.9], root + tip], [0.035, 0.03, 0.012 if name == "cow" else 0.035])
        parts.append(horn.painted(Material(0.75, 0.4)))
    return parts
