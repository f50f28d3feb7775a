"""What do eight planes look like? Fuselages, wings, tails and engines, heading towards +x, y up."""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from engine.scenery.meshes import Array, Material, Mesh, ball, box, lathe, loft, merge, rod, rotation, tube
from engine.scenery.paints import CHROME, GLASS, RUBBER, paint_of


def plane(k: int, rng: np.random.Generator) -> Mesh:
    """Return plane ``k`` of 8.

    Twin jet, four-engined jet, fighter, propeller plane, biplane, high-winged plane, glider, business jet.
    """
    paint, trim = paint_of(rng, 0.4, 0.95), Material(rng.uniform(0.1, 0.5), 0.5)
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
        parts.append(
            _wing(
                (0.28 * chord, low, 0), (-sweep, low + 0.07 * span * (k != 5), span * side), chord, taper * chord, 0.1
            ).painted(paint)
        )
        height = 0.4 if k == 7 else 0.04
        parts.append(
            _wing(
                (rear, height, 0), (rear - 0.4 * sweep, height, tail * side), 0.55 * chord**0.5 * 0.45, 0.12, 0.1
            ).painted(paint)
        )
        if k == 4:
            parts.append(_wing((0.35 * chord, 0.32, 0), (0, 0.36, span * side), chord, 0.8 * chord, 0.1).painted(trim))
            parts += [
                rod((x, -0.08, 0.6 * span * side), (x + 0.05, 0.34, 0.6 * span * side), 0.012).painted(trim)
                for x in (-0.05, 0.1)
            ]
        parts += _engines(k, side, length, girth, span, sweep, low, paint)
    parts.append(
        _wing((rear + 0.02, 0.0, 0), (rear - 0.22, 0.42 if k != 1 else 0.48, 0), 0.3, 0.17, 0.08).painted(trim)
    )
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
    place, size = {
        2: (0.45, (0.24, 0.09, 0.065)),
        3: (0.02, (0.2, 0.1, 0.09)),
        4: (-0.15, (0.1, 0.06, 0.06)),
        5: (0.2, (0.2, 0.08, 0.105)),
    }.get(k, (0.0, (0.0, 0.0, 0.0)))
    if size[0] == 0:
        place, size = length - 1.5 * girth, (1.0 * girth, 0.4 * girth, 0.8 * girth)
    canopy = ball(size, n=12).moved(shift=(place, 0.72 * girth, 0)).painted(GLASS)
    return merge([striped, canopy])


def _wing(root: ArrayLike, tip: ArrayLike, root_chord: float, tip_chord: float, thick: float) -> Mesh:
    """Wing, tailplane or fin: airfoils from root to tip, leading edges at these points."""
    a, b = np.asarray(root, float), np.asarray(tip, float)
    out = (b - a) * [0, 1, 1]
    out = out / np.linalg.norm(out)
    lift = (
        np.array([0.0, abs(out[2]), -out[1] * np.sign(out[2] or 1.0)])
        if abs(out[2]) > abs(out[1])
        else np.array([0.0, 0.0, 1.0])
    )
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
        places, radius = (
            [np.array([0.17 - sweep * s, low - 0.06 + 0.07 * span * s, side * s * span]) for s in shares],
            0.065,
        )
    elif k == 2:
        return [rod((-length - 0.02, 0, 0.05 * side), (-length + 0.25, 0, 0.05 * side), 0.055).painted(RUBBER)]
    else:
        return []
    parts = []
    for place in places:
        nacelle = lathe([(0.55, -2.0), (0.9, -1.0), (1.05, 0.6), (1.0, 1.2), (0.85, 1.2), (0.8, 0.9), (0, 0.9)], n=18)
        parts.append(nacelle.moved(scale=radius, turn=rotation(z_deg=-90), shift=place).painted(paint))
        parts.append(
            ball((0.01, 0.8 * radius, 0.8 * radius), n=10)
            .moved(shift=place + np.array([0.96 * radius, 0, 0]))
            .painted(RUBBER)
        )
    return parts


def _propeller(length: float, material: Material) -> list[Mesh]:
    spinner = ball((0.08, 0.05, 0.05), n=10).moved(shift=(length, 0, 0)).painted(CHROME)
    blades = [
        box((0.008, 0.15, 0.022), edge=0.008).moved(turn=rotation(x_deg=a), shift=(length + 0.02, 0, 0)).moved()
        for a in (25, 115)
    ]
    return [spinner, *[blade.painted(material) for blade in blades]]


def _wheels(k: int, girth: float) -> list[Mesh]:
    parts = []
    for x, z in ((0.15, -0.2), (0.15, 0.2), (-0.6 if k != 5 else 0.6, 0.0)):
        foot = np.array([x, -girth - 0.12, z])
        tyre = lathe([(0, -0.025), (0.055, -0.02), (0.06, 0), (0.055, 0.02), (0, 0.025)], n=16).moved(
            turn=rotation(x_deg=90), shift=foot
        )
        parts += [tyre.painted(RUBBER), rod(foot, (x, -0.5 * girth, 0.4 * z), 0.014).painted(CHROME)]
    return parts
