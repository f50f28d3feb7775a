"""What do eight boats, eight cars and eight planes look like?

Vehicles head towards +x, y is up; the exemplar ``k`` chooses the design, the generator its measures and its paint.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from engine.scenery.meshes import Array, Material, Mesh, ball, box, lathe, loft, merge, rod, rotation, sheet, tube

GLASS = Material(0.08, 1.0)
RUBBER = Material(0.06, 0.1)
CHROME = Material(0.6, 1.0)


def _paint(rng: np.random.Generator, low: float = 0.15, high: float = 0.9) -> Material:
    return Material(rng.uniform(low, high), rng.uniform(0.5, 0.9))


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
    paint = _paint(rng)
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
        parts.append(ball((0.05, 0.06, 0.09), n=10).moved(shift=(front - 0.05, shoulder - 0.14, z * (half - 0.13))).painted(light))
        parts.append(box((0.03, 0.06, 0.06)).moved(shift=(rear + 0.03, shoulder - 0.12, z * (half - 0.1))).painted(Material(0.3, 0.8)))
        parts.append(ball((0.05, 0.04, 0.07), n=8).moved(shift=(front - bonnet - 0.25, shoulder + 0.06, z * (half + 0.07))).painted(paint))
    parts.append(box((0.03, 0.07, 0.6 * half)).moved(shift=(front - 0.015, sill + 0.12, 0)).painted(RUBBER))
    for x in (front, rear):
        parts.append(box((0.05, 0.05, 0.96 * half), edge=0.045).moved(shift=(x, sill + 0.05, 0)).painted(replace(paint, albedo=0.25)))
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
    sections = [_rounded(w, 0.5 * (hi - lo), 0.35) + [0.5 * (hi + lo), 0] for w, lo, hi in zip(width, bottom, top, strict=True)]
    return loft(np.stack([np.column_stack([np.full(len(s), at), s]) for at, s in zip(x, sections, strict=True)]))


def _rounded(half_width: float, half_height: float, power: float, n: int = 28) -> Array:
    """Outline (point, 2) in (y, z) of a superellipse: a rounded rectangle for a small power."""
    angle = (np.arange(n) + 0.5) * 2 * np.pi / n
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([half_height * np.sign(c) * np.abs(c) ** power, half_width * np.sign(s) * np.abs(s) ** power], axis=1)


def _cabin(
    rear: float, front: float, low: float, roof: float, front_rake: float, rear_rake: float, half: float, paint: Material
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
        sections.append(np.column_stack([0.5 * (x0 + x1) + 0.5 * (x1 - x0) * along, np.full(n, low + r * (roof - low)), -half * w * across]))
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
    tyre = lathe([(0, -0.08), (0.9, -0.08), (1, -0.05), (1, 0.05), (0.9, 0.08), (0.62, 0.085), (0.6, 0.06), (0, 0.06)], n=28)
    hub = lathe([(0, 0.04), (0.58, 0.04), (0.55, 0.07), (0.2, 0.065), (0.15, 0.09), (0, 0.09)], n=20)
    arch = lathe([(0, -0.06), (1.16, -0.06), (1.16, 0.045), (0, 0.045)], n=28)
    scale = np.array([radius, 1.0, radius])
    shift = np.asarray(centre, float)
    return [
        tyre.moved(scale=scale, turn=turn, shift=shift).painted(RUBBER),
        hub.moved(scale=scale, turn=turn, shift=shift).painted(CHROME),
        arch.moved(scale=scale, turn=turn, shift=shift + [0, 0.02, 0]).painted(RUBBER),
    ]


def boat(k: int, rng: np.random.Generator) -> Mesh:
    """Return boat ``k`` of 8: sloop, motor boat, trawler, container ship, rowing boat, tug, ferry, schooner."""
    length = (1.0, 1.0, 1.0, 1.5, 0.9, 0.85, 1.4, 1.3)[k] * rng.uniform(0.95, 1.05)
    beam = (0.28, 0.32, 0.34, 0.24, 0.3, 0.36, 0.26, 0.24)[k]
    depth = (0.28, 0.28, 0.4, 0.34, 0.24, 0.4, 0.3, 0.28)[k]
    side, below = _paint(rng), Material(rng.uniform(0.1, 0.4), 0.3)
    deck = Material(rng.uniform(0.4, 0.7), 0.1, "grain", 0.3, 0.06)
    white = Material(rng.uniform(0.75, 0.95), 0.3)
    parts = [_hull(length, beam, depth, side, below), _deck(length, beam, depth, deck, -0.12 if k == 4 else -0.02)]
    if k in (0, 7):
        parts += _rig(length, beam, (0.12,) if k == 0 else (0.35, -0.3), 1.75 if k == 0 else 1.35, white, deck)
    if k == 4:
        parts += [box((0.06, 0.015, beam)).moved(shift=(x, 0.12, 0)).painted(deck) for x in (-0.45, 0.0, 0.4)]
        parts += [rod((0, 0.2, z * beam), (-0.35, -0.1, 3 * z * beam), 0.016).painted(deck) for z in (-1, 1)]
    floors = {0: ((-0.3, 0.3, 0.07),), 1: ((-0.05, 0.4, 0.1), (-0.1, 0.22, 0.1)), 2: ((-0.45, 0.26, 0.22), (-0.45, 0.18, 0.1))}
    floors |= {3: ((-1.15, 0.16, 0.2), (-1.15, 0.14, 0.15)), 5: ((0.05, 0.32, 0.14), (0.15, 0.18, 0.13))}
    floors |= {6: ((-0.1, 1.05, 0.11), (-0.12, 0.9, 0.1), (-0.1, 0.6, 0.08)), 7: ((0.0, 0.2, 0.05),)}
    parts += _house(floors.get(k, ()), beam, white)
    if k == 3:
        for x in np.arange(5) * 0.34 - 0.72:
            for level in range(int(rng.integers(1, 4))):
                paint = Material(rng.uniform(0.15, 0.9), 0.2, "stripes", 0.25, 0.03)
                parts.append(box((0.155, 0.075, 0.9 * beam), edge=0.01).moved(shift=(x, 0.06 + 0.155 * level, 0)).painted(paint))
    if k in (2, 5, 6):
        x, low = {2: (-0.55, 0.7), 5: (-0.25, 0.5), 6: (-0.5, 0.62)}[k]
        funnel = lathe([(0.1, 0), (0.09, 0.3), (0.07, 0.3)], n=16).moved(scale=(1, 1, 0.8), shift=(x, low - 0.15, 0))
        parts += [funnel.painted(side), rod((0.45, 0, 0), (0.4, 0.75, 0), (0.025, 0.012)).painted(white)]
    if k == 2:
        parts += [rod((0.42, 0.1, 0), (-0.1, 0.6, 0), 0.014).painted(white)]
    if k == 1:
        windscreen = box((0.02, 0.09, 0.8 * beam)).moved(turn=rotation(z_deg=35), shift=(0.36, 0.2, 0))
        parts += [windscreen.painted(GLASS), box((0.1, 0.12, 0.08)).moved(shift=(-length - 0.06, -0.05, 0)).painted(RUBBER)]
    return merge(parts)


def _sheer(length: float, beam: float, depth: float, n: int = 25) -> tuple[Array, Array, Array, Array]:
    """Place along the boat, half width at the deck, height of the deck and of the keel there."""
    t = np.linspace(-1, 1, n)
    width = beam * np.clip(1 - np.clip(t, 0, 1) ** 2.2, 0.0, 1) ** 0.8 * (1 - 0.2 * np.clip(-t, 0, 1) ** 2)
    return length * t, np.maximum(width, 0.008), 0.16 * np.clip(t, 0, 1) ** 2 + 0.03 * t**2, -depth * (1 - 0.75 * np.clip(t, 0, 1) ** 4)


def _hull(length: float, beam: float, depth: float, side: Material, below: Material) -> Mesh:
    x, width, deck, keel = _sheer(length, beam, depth)
    angle = np.linspace(-np.pi / 2, np.pi / 2, 17)
    across, down = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** 0.6, np.cos(angle) ** 0.75
    overhang = 0.12 * np.clip(x / length, 0, 1)[:, None] ** 4 * down
    points = np.stack(
        [x[:, None] - overhang, deck[:, None] + (keel - deck)[:, None] * down, width[:, None] * across * (1 - 0.25 * down)], axis=-1
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


def _rig(length: float, beam: float, masts: tuple[float, ...], height: float, cloth: Material, wood: Material) -> list[Mesh]:
    sail = replace(cloth, gloss=0.02, texture="stripes", contrast=0.12, scale=0.12)
    parts = []
    for i, x in enumerate(masts):
        top = height * (1 - 0.12 * i)
        boom = 0.72 * length / len(masts) ** 0.6
        parts += [rod((x, -0.1, 0), (x, top, 0), (0.024, 0.012)).painted(wood), rod((x, 0.22, 0), (x - boom, 0.2, 0.1), 0.015).painted(wood)]
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


def plane(k: int, rng: np.random.Generator) -> Mesh:
    """Return plane ``k`` of 8: twin jet, four-engined jet, fighter, propeller plane, biplane, high wing, glider, business jet."""
    paint, trim = _paint(rng, 0.4, 0.95), Material(rng.uniform(0.1, 0.5), 0.5)
    length = (1.0, 1.1, 0.95, 0.72, 0.68, 0.75, 0.72, 0.85)[k]
    girth = (0.115, 0.13, 0.1, 0.12, 0.12, 0.12, 0.075, 0.1)[k]
    span = (1.0, 1.15, 0.55, 0.85, 0.8, 1.0, 1.45, 0.8)[k] * rng.uniform(0.95, 1.05)
    chord = (0.34, 0.36, 0.75, 0.26, 0.26, 0.24, 0.15, 0.3)[k]
    sweep = (0.42, 0.5, 0.55, 0.03, 0.02, 0.0, 0.04, 0.3)[k]
    low = {4: -0.8, 5: 0.95, 6: 0.5}.get(k, -0.55) * girth
    parts = [_fuselage(length, girth, paint, trim, k)]
    taper = 0.12 if k == 2 else 0.35 if k < 3 or k == 7 else 0.75
    tail = (0.36, 0.4, 0.3, 0.32, 0.3, 0.34, 0.3, 0.3)[k] * (0.9 if k == 2 else 1)
    rear = -length + 0.12
    for side in (-1, 1):
        parts.append(_wing((0.28 * chord, low, 0), (-sweep, low + 0.07 * span * (k != 5), span * side), chord, taper * chord, 0.1).painted(paint))
        height = 0.4 if k == 7 else 0.04
        parts.append(_wing((rear, height, 0), (rear - 0.4 * sweep, height, tail * side), 0.55 * chord**0.5 * 0.45, 0.12, 0.1).painted(paint))
        if k == 4:
            parts.append(_wing((0.35 * chord, 0.32, 0), (0, 0.36, span * side), chord, 0.8 * chord, 0.1).painted(trim))
            parts += [rod((x, -0.08, 0.6 * span * side), (x + 0.05, 0.34, 0.6 * span * side), 0.012).painted(trim) for x in (-0.05, 0.1)]
        parts += _engines(k, side, length, girth, span, sweep, low, paint)
    parts.append(_wing((rear + 0.02, 0.0, 0), (rear - 0.22, 0.42 if k != 1 else 0.48, 0), 0.3, 0.17, 0.08).painted(trim))
    if k in (3, 4, 5):
        parts += _propeller(length, trim) + _wheels(k, girth)
    return merge(parts)


def _fuselage(length: float, girth: float, paint: Material, trim: Material, k: int) -> Mesh:
    t = np.linspace(0, 1, 33)
    nose, tail = (0.12, 0.45) if k != 2 else (0.5, 0.15)
    swell = np.clip(t / tail, 0, 1) ** 0.75 * np.sqrt(np.clip(1 - np.clip((t - 1 + nose) / nose, 0, 1) ** 2, 0, 1))
    radius = girth * np.maximum(swell, 0.05)
    centre = np.stack([length * (2 * t - 1), 0.35 * girth * (1 - np.clip(t / tail, 0, 1)), 0 * t], axis=1)
    body = tube(centre, radius, n=20, flat=1.0)
    at = body.vertices[body.faces].mean(axis=1)
    stripe = np.abs(at[:, 1] - 0.25 * girth) < 0.13 * girth
    striped = replace(body, material=np.where(stripe & (k in (0, 1, 7)), 1, 0), materials=(paint, trim))
    place, size = {2: (0.45, (0.24, 0.09, 0.065)), 3: (0.02, (0.2, 0.1, 0.09)), 4: (-0.15, (0.1, 0.06, 0.06)), 5: (0.2, (0.2, 0.08, 0.105))}.get(
        k, (0.0, (0.0, 0.0, 0.0))
    )
    if size[0] == 0:
        place, size = length - 1.5 * girth, (1.0 * girth, 0.4 * girth, 0.8 * girth)
    canopy = ball(size, n=12).moved(shift=(place, 0.72 * girth, 0)).painted(GLASS)
    return merge([striped, canopy])


def _wing(root: ArrayLike, tip: ArrayLike, root_chord: float, tip_chord: float, thick: float) -> Mesh:
    """Wing, tailplane or fin: airfoils from root to tip, leading edges at these points."""
    a, b = np.asarray(root, float), np.asarray(tip, float)
    out = (b - a) * [0, 1, 1]
    out = out / np.linalg.norm(out)
    lift = np.array([0.0, abs(out[2]), -out[1] * np.sign(out[2] or 1.0)]) if abs(out[2]) > abs(out[1]) else np.array([0.0, 0.0, 1.0])
    angle = np.arange(20) * 2 * np.pi / 20
    chordwise = -(1 - np.cos(angle)) / 2
    camber = thick * np.sin(angle) * (1 + 0.5 * np.cos(angle))
    sections = []
    for t in np.linspace(0, 1, 8):
        chord = root_chord + (tip_chord - root_chord) * t
        sections.append(a + (b - a) * t + chord * (chordwise[:, None] * np.array([1.0, 0, 0]) + camber[:, None] * lift))
    mesh = loft(np.stack(sections))
    inward = np.einsum("fk,fk->", *_volume_terms(mesh)) < 0
    return replace(mesh, faces=mesh.faces[:, ::-1], normals=-mesh.normals) if inward else mesh


def _volume_terms(mesh: Mesh) -> tuple[Array, Array]:
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    return a - mesh.vertices.mean(axis=0), np.cross(b - mesh.vertices.mean(axis=0), c - mesh.vertices.mean(axis=0))


def _engines(
    k: int, side: int, length: float, girth: float, span: float, sweep: float, low: float, paint: Material
) -> list[Mesh]:
    if k == 7:
        places, radius = [np.array([-0.5 * length, 0.05, side * (girth + 0.06)])], 0.06
    elif k in (0, 1):
        shares = (0.35,) if k == 0 else (0.3, 0.6)
        places, radius = [np.array([0.17 - sweep * s, low - 0.06 + 0.07 * span * s, side * s * span]) for s in shares], 0.065
    elif k == 2:
        return [rod((-length - 0.02, 0, 0.05 * side), (-length + 0.25, 0, 0.05 * side), 0.055).painted(RUBBER)]
    else:
        return []
    parts = []
    for place in places:
        nacelle = lathe([(0.55, -2.0), (0.9, -1.0), (1.05, 0.6), (1.0, 1.2), (0.85, 1.2), (0.8, 0.9), (0, 0.9)], n=18)
        parts.append(nacelle.moved(scale=radius, turn=rotation(z_deg=-90), shift=place).painted(paint))
        parts.append(ball((0.01, 0.8 * radius, 0.8 * radius), n=10).moved(shift=place + [0.96 * radius, 0, 0]).painted(RUBBER))
    return parts


def _propeller(length: float, material: Material) -> list[Mesh]:
    spinner = ball((0.08, 0.05, 0.05), n=10).moved(shift=(length, 0, 0)).painted(CHROME)
    blades = [box((0.008, 0.15, 0.022), edge=0.008).moved(turn=rotation(x_deg=a), shift=(length + 0.02, 0, 0)).moved() for a in (25, 115)]
    return [spinner, *[blade.painted(material) for blade in blades]]


def _wheels(k: int, girth: float) -> list[Mesh]:
    parts = []
    for x, z in ((0.15, -0.2), (0.15, 0.2), (-0.6 if k != 5 else 0.6, 0.0)):
        foot = np.array([x, -girth - 0.12, z])
        tyre = lathe([(0, -0.025), (0.055, -0.02), (0.06, 0), (0.055, 0.02), (0, 0.025)], n=16).moved(turn=rotation(x_deg=90), shift=foot)
        parts += [tyre.painted(RUBBER), rod(foot, (x, -0.5 * girth, 0.4 * z), 0.014).painted(CHROME)]
    return parts
