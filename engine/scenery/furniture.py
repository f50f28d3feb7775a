"""What do eight chairs and eight tables look like? Upright, y up, fronts towards +z.

The exemplar ``k`` chooses the design, the generator its measures and its materials.
"""

import numpy as np

from engine.scenery.meshes import Material, Mesh, ball, box, lathe, merge, rod, tube


def _wood(rng: np.random.Generator) -> Material:
    return Material(
        rng.uniform(0.25, 0.75), rng.uniform(0.05, 0.3), "grain", rng.uniform(0.25, 0.5), rng.uniform(0.05, 0.1)
    )


def _cloth(rng: np.random.Generator) -> Material:
    return Material(rng.uniform(0.2, 0.85), 0.02, "fur", rng.uniform(0.1, 0.25), 0.06)


def chair(k: int, rng: np.random.Generator) -> Mesh:
    """Return chair ``k`` of 8: slats, panel, armchair, office, spindles, ladder back, moulded shell, cantilever."""
    width, depth, seat = rng.uniform(0.42, 0.5), rng.uniform(0.42, 0.48), 0.0
    back = rng.uniform(0.95, 1.25)
    wood, cloth = _wood(rng), _cloth(rng)
    metal = Material(0.55, 0.9)
    frame = metal if k in (3, 6, 7) else wood
    parts = [_seat(k, width, depth, cloth if k in (1, 2, 3, 7) else wood)]
    if k == 2:
        return merge(
            [*parts, *_upholstery(width, depth, back, cloth), *_legs(width, depth, seat, 0.35, 0.05, wood, 0.0)]
        )
    if k == 3:
        return merge([*parts, *_office(width, depth, back, cloth, metal)])
    if k == 6:
        shell = _shell_back(width, depth, back, Material(rng.uniform(0.5, 0.9), 0.5))
        return merge([*parts, shell, *_legs(width, depth, seat, 0.8, 0.025, frame, 0.12)])
    if k == 7:
        return merge([*parts, *_cantilever(width, depth, back, cloth, metal)])
    parts += _legs(width, depth, seat, rng.uniform(0.85, 0.95), 0.045 if k != 4 else 0.035, wood, 0.02 + 0.1 * (k == 4))
    parts += _back(k, width, depth, back, wood, cloth)
    if k in (0, 5):
        parts += _stretchers(width, depth, wood)
    if k == 5:
        parts += _arms(width, depth, wood)
    return merge(parts)


def _seat(k: int, width: float, depth: float, material: Material) -> Mesh:
    thick = {1: 0.07, 2: 0.2, 3: 0.1, 7: 0.06}.get(k, 0.04)
    return (
        box((width, thick, depth), edge=thick if k in (1, 2, 3) else 0.03)
        .moved(shift=(0, thick - 0.04, 0))
        .painted(material)
    )


def _legs(
    width: float, depth: float, top: float, length: float, radius: float, material: Material, splay: float
) -> list[Mesh]:
    legs = []
    for x in (-1, 1):
        for z in (-1, 1):
            start = np.array([x * (width - 1.5 * radius), top, z * (depth - 1.5 * radius)])
            end = start + np.array([x * splay, -length, z * splay])
            legs.append(rod(start, end, (radius, 0.75 * radius)).painted(material))
    return legs


def _stretchers(width: float, depth: float, material: Material) -> list[Mesh]:
    sides = [
        rod((x * (width - 0.07), -0.55, 0.07 - depth), (x * (width - 0.07), -0.55, depth - 0.07), 0.022)
        for x in (-1, 1)
    ]
    return [part.painted(material) for part in [*sides, rod((0.07 - width, -0.55, 0), (width - 0.07, -0.55, 0), 0.022)]]


def _arms(width: float, depth: float, material: Material) -> list[Mesh]:
    parts = []
    for x in (-1, 1):
        parts.append(box((0.04, 0.025, depth), edge=0.02).moved(shift=(x * width, 0.42, 0)))
        parts.append(rod((x * width, 0, depth - 0.08), (x * width, 0.42, depth - 0.08), 0.03))
    return [part.painted(material) for part in parts]


def _back(k: int, width: float, depth: float, height: float, wood: Material, cloth: Material) -> list[Mesh]:
    lean = 0.12
    rear = 0.05 - depth
    foot = [np.array([x * (width - 0.05), 0.0, rear]) for x in (-1, 1)]
    top = [p + np.array([0, height, -lean]) for p in foot]
    parts = [rod(a, b, 0.042).painted(wood) for a, b in zip(foot, top, strict=True)]

    def across(share: float, half_height: float, thick: float, material: Material) -> Mesh:
        return (
            box((width - 0.06, half_height, thick))
            .moved(shift=(0, share * height, rear - share * lean))
            .painted(material)
        )

    if k == 0:
        parts += [across(0.95, 0.07, 0.03, wood), across(0.25, 0.04, 0.025, wood)]
        for x in np.linspace(-0.6, 0.6, 4) * width:
            parts.append(
                rod((x, 0.25 * height, rear - 0.25 * lean), (x, 0.93 * height, rear - 0.93 * lean), 0.028).painted(wood)
            )
    elif k == 1:
        parts += [across(0.62, 0.34 * height, 0.05, cloth)]
    elif k == 4:
        parts += [across(0.97, 0.08, 0.03, wood)]
        for x in np.linspace(-0.75, 0.75, 7) * width:
            parts.append(rod((x, 0, rear), (x, 0.95 * height, rear - 0.95 * lean), 0.018).painted(wood))
    else:
        parts += [across(share, 0.065, 0.022, wood) for share in (0.3, 0.52, 0.74, 0.95)]
    return parts


def _upholstery(width: float, depth: float, height: float, cloth: Material) -> list[Mesh]:
    parts = [box((width + 0.1, 0.5 * height, 0.14), edge=0.13).moved(shift=(0, 0.45 * height, -depth))]
    parts += [box((0.13, 0.28, depth), edge=0.12).moved(shift=(x * (width + 0.05), 0.2, 0)) for x in (-1, 1)]
    parts += [box((width + 0.1, 0.14, depth), edge=0.05).moved(shift=(0, -0.15, 0))]
    return [part.painted(cloth) for part in parts]


def _office(width: float, depth: float, height: float, cloth: Material, metal: Material) -> list[Mesh]:
    dark = Material(0.12, 0.3)
    parts = [
        box((0.9 * width, 0.38 * height, 0.08), edge=0.075).moved(shift=(0, 0.65 * height, -depth)).painted(cloth),
        tube([(0, 0, -0.3), (0, -0.08, -depth), (0, 0.15, -depth - 0.1), (0, 0.5, -depth - 0.08)], 0.035).painted(dark),
        rod((0, 0, 0), (0, -0.75, 0), 0.05).painted(metal),
    ]
    for angle in np.arange(5) * 2 * np.pi / 5:
        end = np.array([0.55 * np.sin(angle), -0.8, 0.55 * np.cos(angle)])
        parts += [
            rod((0, -0.72, 0), end, (0.05, 0.03)).painted(dark),
            ball(0.06, n=8).moved(shift=end - [0, 0.06, 0]).painted(dark),
        ]
    for x in (-1, 1):
        arm = [
            (x * 0.3, -0.05, 0),
            (x * (width + 0.1), -0.03, 0),
            (x * (width + 0.1), 0.3, 0),
            (x * (width + 0.1), 0.34, 0.25),
        ]
        parts.append(tube(arm, 0.035).painted(dark))
    return parts


def _shell_back(width: float, depth: float, height: float, material: Material) -> Mesh:
    return box((width, 0.42 * height, 0.035)).moved(shift=(0, 0.5 * height, -depth - 0.05)).painted(material)


def _cantilever(width: float, depth: float, height: float, cloth: Material, metal: Material) -> list[Mesh]:
    parts = [box((0.9 * width, 0.3 * height, 0.04)).moved(shift=(0, 0.68 * height, -depth - 0.08)).painted(cloth)]
    for x in (-width, width):
        path = [(x, height, -depth - 0.1), (x, 0.1, -depth), (x, 0, -depth + 0.1), (x, 0, depth - 0.05)]
        path += [(x, -0.1, depth), (x, -0.8, depth), (x, -0.88, depth - 0.08), (x, -0.88, -depth)]
        parts.append(tube(_dense(path), 0.032).painted(metal))
    return [*parts, rod((-width, -0.88, -depth), (width, -0.88, -depth), 0.03).painted(metal)]


def _dense(path: list[tuple[float, float, float]], step: float = 0.08) -> np.ndarray:
    """Return points along a polygon, about ``step`` apart, so that a tube keeps its width round the corners."""
    points = np.asarray(path, float)
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    at = np.linspace(0, along[-1], int(along[-1] / step) + 2)
    return np.stack([np.interp(at, along, points[:, d]) for d in range(3)], axis=1)


def table(k: int, rng: np.random.Generator) -> Mesh:
    """Return table ``k`` of 8: dining, round pedestal, coffee with shelf, trestle, desk, oval, glass, bistro tripod."""
    wood, metal = _wood(rng), Material(0.5, 0.9)
    width, depth, height = rng.uniform(0.85, 1.0), rng.uniform(0.5, 0.6), rng.uniform(0.6, 0.75)
    if k in (1, 7):
        return merge(_round_table(k, rng.uniform(0.7, 0.8), height, wood, metal))
    if k == 3:
        return merge([_top(width, depth, wood), *_trestles(width, depth, height, wood)])
    if k == 4:
        return merge([_top(width, depth, wood), *_drawers(width, depth, height, wood, metal)])
    if k == 5:
        oval = lathe([(0, -0.04), (0.98, -0.04), (1, -0.01), (1, 0.02), (0.98, 0.04), (0, 0.04)], n=40)
        return merge(
            [
                oval.moved(scale=(width, 1, depth)).painted(wood),
                *_legs(0.7 * width, 0.7 * depth, 0, height, 0.06, wood, 0.1),
            ]
        )
    if k == 6:
        glass = Material(0.35, 1.0)
        return merge(
            [
                _top(width, depth, glass, 0.02),
                *_legs(width, depth, 0, height, 0.03, metal, 0.0),
                *_rails(width, depth, metal),
            ]
        )
    height = 0.42 if k == 2 else height
    parts = [_top(width, depth, wood), *_legs(width, depth, 0, height, 0.065, wood, 0.0), *_rails(width, depth, wood)]
    if k == 2:
        parts.append(_top(0.9 * width, 0.9 * depth, wood, 0.02).moved(shift=(0, -0.28, 0)))
    return merge(parts)


def _top(width: float, depth: float, material: Material, thick: float = 0.04) -> Mesh:
    return box((width, thick, depth), edge=0.02).painted(material)


def _rails(width: float, depth: float, material: Material) -> list[Mesh]:
    rails = [box((width - 0.12, 0.06, 0.015)).moved(shift=(0, -0.09, z * (depth - 0.12))) for z in (-1, 1)]
    rails += [box((0.015, 0.06, depth - 0.12)).moved(shift=(x * (width - 0.12), -0.09, 0)) for x in (-1, 1)]
    return [rail.painted(material) for rail in rails]


def _round_table(k: int, radius: float, height: float, wood: Material, metal: Material) -> list[Mesh]:
    top = lathe([(0, -0.04), (radius, -0.04), (radius + 0.015, 0), (radius, 0.03), (0, 0.03)], n=44).painted(wood)
    if k == 1:
        column = [
            (0.07, 0),
            (0.08, -0.15),
            (0.05, -0.3),
            (0.1, -0.45),
            (0.06, -0.55),
            (0.3, -0.9),
            (0.36, -1.0),
            (0, -1.0),
        ]
        return [top, lathe([(r, h * height) for r, h in column][::-1]).painted(wood)]
    feet = [
        tube(
            _dense(
                [
                    (0, -0.5 * height, 0),
                    (0.2 * np.sin(a), -0.75 * height, 0.2 * np.cos(a)),
                    (0.5 * np.sin(a), -height, 0.5 * np.cos(a)),
                ]
            ),
            0.035,
        )
        for a in np.arange(3) * 2 * np.pi / 3
    ]
    return [top, *[foot.painted(metal) for foot in feet], rod((0, 0, 0), (0, -0.6 * height, 0), 0.04).painted(metal)]


def _trestles(width: float, depth: float, height: float, wood: Material) -> list[Mesh]:
    parts = []
    for x in (-0.65 * width, 0.65 * width):
        for z in (-1, 1):
            parts.append(rod((x, 0, 0.1 * z), (x, -height, 0.85 * z * depth), 0.045).painted(wood))
        parts.append(rod((x, -0.6 * height, -0.5 * depth), (x, -0.6 * height, 0.5 * depth), 0.03).painted(wood))
    return [*parts, rod((-0.65 * width, -0.6 * height, 0), (0.65 * width, -0.6 * height, 0), 0.03).painted(wood)]


def _drawers(width: float, depth: float, height: float, wood: Material, metal: Material) -> list[Mesh]:
    x, n = 0.68 * width, 3
    parts = [box((0.28 * width, 0.45 * height, 0.9 * depth)).moved(shift=(x, -0.5 * height, 0)).painted(wood)]
    for i in range(n):
        y = -height * (0.2 + 0.6 * i / (n - 1))
        front = box((0.24 * width, 0.12 * height, 0.02)).moved(shift=(x, y, 0.9 * depth)).painted(wood)
        parts += [front, ball(0.03, n=8).moved(shift=(x, y, 0.9 * depth + 0.04)).painted(metal)]
    return [*parts, *_legs(width, depth, 0, height, 0.05, wood, 0.0)[:2]]
