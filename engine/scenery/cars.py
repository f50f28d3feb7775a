"""What do eight cars look like? Lofted bodies with glass, wheels and lights, heading towards +x, y up."""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from engine.scenery.meshes import Array, Material, Mesh, ball, box, lathe, loft, merge, rotation, sheet
from engine.scenery.paints import CHROME, GLASS, RUBBER, paint_of

# length of bonnet, cabin and boot; heights of sill, shoulder and roof; rake of windscreen and rear window; half width
_CARS = (
    (0.62, 1.35, 0.45, 0.10, 0.46, 0.84, 0.42, 0.38, 0.44),  # saloon
    (0.52, 1.30, 0.06, 0.10, 0.48, 0.90, 0.40, 0.12, 0.44),  # hatchback
    (0.58, 1.62, 0.05, 0.18, 0.66, 1.14, 0.28, 0.08, 0.50),  # off-road
    (0.22, 1.98, 0.04, 0.12, 0.70, 1.32, 0.22, 0.04, 0.50),  # van
    (0.58, 0.88, 1.00, 0.18, 0.58, 1.06, 0.30, 0.08, 0.49),  # pickup
    (0.80, 0.95, 0.45, 0.07, 0.38, 0.66, 0.48, 0.46, 0.48),  # sports car
    (0.48, 1.15, 0.34, 0.10, 0.50, 0.94, 0.34, 0.55, 0.43),  # beetle
    (0.62, 1.72, 0.05, 0.10, 0.46, 0.86, 0.40, 0.16, 0.44),  # estate
)


def car(k: int, rng: np.random.Generator) -> Mesh:
    """Return car ``k`` of 8: saloon, hatchback, off-road, van, pickup, sports car, beetle, estate."""
    bonnet, cabin, boot, sill, shoulder, roof, front_rake, rear_rake, half = _CARS[k]
    paint = paint_of(rng)
    length = bonnet + cabin + boot
    front, rear = length / 2, -length / 2
    parts = [_car_body(front, rear, sill, shoulder, half, 0.62 if k == 6 else 0.86).painted(paint)]
    parts.append(_cabin(rear + boot, front - bonnet, shoulder - 0.06, roof, front_rake, rear_rake, half - 0.03, paint))
    radius = 0.19 + 0.4 * (sill - 0.07)
    for x in (front - 0.42, rear + 0.42):
        for z in (-1, 1):
            parts += _wheel((x, sill + 0.06, z * (half - 0.05)), radius, z)
    light = Material(0.95, 1.0)
    for z in (-1, 1):
        parts.append(
            ball((0.05, 0.06, 0.09), n=10)
            .moved(shift=(front - 0.05, shoulder - 0.14, z * (half - 0.13)))
            .painted(light)
        )
        parts.append(
            box((0.03, 0.06, 0.06))
            .moved(shift=(rear + 0.03, shoulder - 0.12, z * (half - 0.1)))
            .painted(Material(0.3, 0.8))
        )
        parts.append(
            ball((0.05, 0.04, 0.07), n=8)
            .moved(shift=(front - bonnet - 0.25, shoulder + 0.06, z * (half + 0.07)))
            .painted(paint)
        )
    parts.append(box((0.03, 0.07, 0.6 * half)).moved(shift=(front - 0.015, sill + 0.12, 0)).painted(RUBBER))
    for x in (front, rear):
        parts.append(
            box((0.05, 0.05, 0.96 * half), edge=0.045)
            .moved(shift=(x, sill + 0.05, 0))
            .painted(replace(paint, albedo=0.25))
        )
    if k == 4:
        bed = box((0.44 * boot, 0.02, half - 0.07)).moved(shift=(rear + 0.5 * boot, shoulder + 0.005, 0))
        parts.append(bed.painted(RUBBER))
    return merge(parts)


def _car_body(front: float, rear: float, sill: float, shoulder: float, half: float, squareness: float) -> Mesh:
    t = np.linspace(-1, 1, 25)
    x = 0.5 * (front + rear) + 0.5 * (front - rear) * np.sin(0.5 * np.pi * t)
    share = np.abs(np.sin(0.5 * np.pi * t))
    width = half * (1 - 0.22 * share**6)
    top = shoulder - (0.10 + 0.25 * (1 - squareness)) * np.clip(np.sin(0.5 * np.pi * t), 0, 1) ** 2 - 0.06 * share**10
    bottom = sill + 0.08 * share**8
    sections = []
    for at, w, low, high in zip(x, width, bottom, top, strict=True):
        outline = _rounded(w, 0.5 * (high - low), 0.35) + np.array([0.5 * (high + low), 0])
        sections.append(np.column_stack([np.full(len(outline), at), outline]))
    return loft(np.stack(sections))


def _rounded(half_width: float, half_height: float, power: float, n: int = 28) -> Array:
    """Outline (point, 2) in (y, z) of a superellipse: a rounded rectangle for a small power."""
    angle = (np.arange(n) + 0.5) * 2 * np.pi / n
    c, s = np.cos(angle), np.sin(angle)
    return np.stack(
        [half_height * np.sign(c) * np.abs(c) ** power, half_width * np.sign(s) * np.abs(s) ** power], axis=1
    )


def _cabin(
    rear: float,
    front: float,
    low: float,
    roof: float,
    front_rake: float,
    rear_rake: float,
    half: float,
    paint: Material,
) -> Mesh:
    """Greenhouse of a car: outlines rise from the shoulder to the roof, glass between the pillars."""
    rise = np.array([0.0, 0.12, 0.14, 0.82, 0.88, 0.96, 1.0])
    shrink = np.array([1.0, 0.99, 0.975, 0.86, 0.84, 0.76, 0.55])
    n = 48
    angle = (np.arange(n) + 0.5) * 2 * np.pi / n
    c, s = np.cos(angle), np.sin(angle)
    along, across = np.sign(c) * np.abs(c) ** 0.25, np.sign(s) * np.abs(s) ** 0.3
    sections = []
    for r, w in zip(rise, shrink, strict=True):
        lean = min(r, 0.9)
        x0, x1 = rear + rear_rake * lean, front - front_rake * lean
        x0, x1 = (x0 + 0.06 * (r - 0.9) * 10, x1 - 0.06 * (r - 0.9) * 10) if r > 0.9 else (x0, x1)
        sections.append(
            np.column_stack(
                [0.5 * (x0 + x1) + 0.5 * (x1 - x0) * along, np.full(n, low + r * (roof - low)), -half * w * across]
            )
        )
    grid = np.stack(sections)
    mesh = sheet(grid, closed_v=True)
    lid = loft(np.stack([grid[-1], grid[-1] + [0, 0.004, 0]])).painted(paint)
    level, place = np.divmod(np.arange(len(mesh.faces)) % (len(mesh.faces) // 2), n)
    x = grid[2][place, 0]
    share = (x - x.min()) / np.ptp(x)
    on_side = np.abs(across[place]) > 0.93
    pillar = on_side & ((np.abs(share - 0.5) < 0.035) | (share < 0.07) | (share > 0.95))
    glass = (level == 2) & ~pillar
    return merge([replace(mesh, material=np.where(glass, 1, 0), materials=(paint, GLASS)), lid])


def _wheel(centre: ArrayLike, radius: float, side: int) -> list[Mesh]:
    turn = rotation(x_deg=90 * side)
    tyre = lathe(
        [(0, -0.08), (0.9, -0.08), (1, -0.05), (1, 0.05), (0.9, 0.08), (0.62, 0.085), (0.6, 0.06), (0, 0.06)], n=28
    )
    hub = lathe([(0, 0.04), (0.58, 0.04), (0.55, 0.07), (0.2, 0.065), (0.15, 0.09), (0, 0.09)], n=20)
    arch = lathe([(0, -0.06), (1.16, -0.06), (1.16, 0.045), (0, 0.045)], n=28)
    scale = np.array([radius, 1.0, radius])
    shift = np.asarray(centre, float)
    return [
        tyre.moved(scale=scale, turn=turn, shift=shift).painted(RUBBER),
        hub.moved(scale=scale, turn=turn, shift=shift).painted(CHROME),
        arch.moved(scale=scale, turn=turn, shift=shift + np.array([0, 0.02, 0])).painted(RUBBER),
    ]
