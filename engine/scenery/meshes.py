"""Which triangles make a body? Rounded boxes, tubes, lathed and lofted bodies, organic blobs.

Every maker gives a triangle mesh with one smooth normal per vertex, outsides against the clock, in object coordinates:
x right, y up, z towards the viewer, no unit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Material:
    """How a surface answers to light.

    ``texture`` is one of ``plain, grain, fur, hair, seeds, spots, stripes, rings, skin``; ``contrast`` is the share of
    the albedo that it takes away at its darkest; ``scale`` its size in object units.
    """

    albedo: float = 0.6
    gloss: float = 0.1
    texture: str = "plain"
    contrast: float = 0.0
    scale: float = 0.2


@dataclass(frozen=True)
class Mesh:
    """Triangles with a material for each.

    ``vertices`` and ``normals`` (vertex, 3), ``faces`` (face, 3) indices into them, ``material`` (face,) indices into
    ``materials``.
    """

    vertices: Array
    normals: Array
    faces: NDArray[np.int64]
    material: NDArray[np.int64]
    materials: tuple[Material, ...]

    def moved(self, *, scale: ArrayLike = 1.0, turn: Array | None = None, shift: ArrayLike = 0.0) -> "Mesh":
        """Return the mesh scaled along its axes, then turned by a rotation matrix, then shifted."""
        size = np.broadcast_to(np.asarray(scale, float), 3)
        matrix = np.eye(3) if turn is None else turn
        faces = self.faces if np.prod(size) > 0 else self.faces[:, ::-1]
        vertices = (self.vertices * size) @ matrix.T + np.asarray(shift, float)
        return replace(self, vertices=vertices, normals=unit(self.normals / size) @ matrix.T, faces=faces)

    def painted(self, material: Material) -> "Mesh":
        """Return the mesh with one material for all its faces."""
        return replace(self, material=np.zeros(len(self.faces), int), materials=(material,))


def merge(meshes: Sequence[Mesh]) -> Mesh:
    """Return one mesh that holds all of ``meshes``, materials renumbered."""
    first_vertex = np.cumsum([0] + [len(m.vertices) for m in meshes])
    first_material = np.cumsum([0] + [len(m.materials) for m in meshes])
    return Mesh(
        np.concatenate([m.vertices for m in meshes]),
        np.concatenate([m.normals for m in meshes]),
        np.concatenate([m.faces + start for m, start in zip(meshes, first_vertex, strict=False)]),
        np.concatenate([m.material + start for m, start in zip(meshes, first_material, strict=False)]),
        tuple(material for m in meshes for material in m.materials),
    )


def unit(vectors: Array) -> Array:
    """Return vectors along the last axis divided by their length; zero stays zero."""
    length = np.sqrt(np.einsum("...d,...d->...", vectors, vectors))[..., None]
    return vectors / np.where(length > 0, length, 1.0)


def rotation(x_deg: float = 0.0, y_deg: float = 0.0, z_deg: float = 0.0) -> Array:
    """Return the matrix that turns about z, then y, then x, by degrees."""
    (cx, cy, cz), (sx, sy, sz) = (f(np.deg2rad([x_deg, y_deg, z_deg])) for f in (np.cos, np.sin))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


def mesh_of(vertices: Array, faces: NDArray[np.int64], normals: Array | None = None) -> Mesh:
    """Return an unpainted mesh; normals, where not given, are means of the faces', weighted by area."""
    if normals is None:
        a, b, c = (vertices[faces[:, k]] for k in range(3))
        face_normals = np.cross(b - a, c - a)
        normals = np.stack(
            [sum(np.bincount(faces[:, k], face_normals[:, d], len(vertices)) for k in range(3)) for d in range(3)],
            axis=1,
        )
    return Mesh(vertices, unit(normals), faces, np.zeros(len(faces), int), (Material(),))


def sheet(points: Array, *, closed_u: bool = False, closed_v: bool = False) -> Mesh:
    """Return the surface through a grid of points (u, v, 3); closed along an axis where its ends meet.

    Seen from outside, v runs against the clock while u runs towards the viewer's upper side.
    """
    n_u, n_v = points.shape[:2]
    u, v = (index.ravel() for index in np.indices((n_u if closed_u else n_u - 1, n_v if closed_v else n_v - 1)))
    next_u, next_v = (u + 1) % n_u, (v + 1) % n_v
    a, b, c, d = u * n_v + v, u * n_v + next_v, next_u * n_v + next_v, next_u * n_v + v
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    return mesh_of(points.reshape(-1, 3), faces)


def loft(sections: Array) -> Mesh:
    """Return the body through closed outlines (section, point, 3), with flat ends.

    Outlines run against the clock when seen from the end of the body, the last section.
    """
    side = sheet(sections, closed_v=True)
    return merge([side, _fan(sections[0][::-1]), _fan(sections[-1])])


def _fan(outline: Array) -> Mesh:
    n = len(outline)
    around = np.arange(n)
    faces = np.stack([np.full(n, n), around, (around + 1) % n], axis=1)
    return mesh_of(np.concatenate([outline, outline.mean(axis=0, keepdims=True)]), faces)


def ball(radii: ArrayLike = 1.0, *, n: int = 16) -> Mesh:
    """Return an ellipsoid around the origin with the given half axes."""
    directions = _sphere(n, 2 * n)
    mesh = sheet(directions, closed_v=True)
    return replace(mesh, normals=directions.reshape(-1, 3)).moved(scale=radii)


def box(half: ArrayLike, *, edge: float = 0.03, n: int = 8) -> Mesh:
    """Return a box with half sides ``half`` around the origin, edges rounded with radius ``edge``."""
    size = np.asarray(half, float)
    radius = min(edge, 0.98 * float(size.min()))
    directions = _sphere(n, 2 * n)
    points = np.sign(directions) * (size - radius) + radius * directions
    side = replace(sheet(points, closed_v=True), normals=directions.reshape(-1, 3))
    return merge([side, _fan(points[0][::-1]), _fan(points[-1])])


def _sphere(n_latitudes: int, n_longitudes: int) -> Array:
    """Directions (latitude, longitude, 3), none on a coordinate plane except the poles."""
    latitude = np.linspace(-np.pi / 2 + 1e-3, np.pi / 2 - 1e-3, n_latitudes + n_latitudes % 2)
    longitude = (np.arange(n_longitudes) + 0.5) * 2 * np.pi / n_longitudes
    ring = np.cos(latitude)[:, None]
    return np.stack(
        [ring * np.sin(longitude), np.repeat(np.sin(latitude)[:, None], n_longitudes, 1), ring * np.cos(longitude)],
        axis=-1,
    )


def lathe(profile: ArrayLike, *, n: int = 28) -> Mesh:
    """Return the body that a profile (point, 2) of (radius, height), from bottom to top, sweeps about the y axis."""
    radius, height = np.asarray(profile, float).T
    angle = np.arange(n) * 2 * np.pi / n
    points = np.stack(
        [np.outer(radius, np.sin(angle)), np.repeat(height[:, None], n, 1), np.outer(radius, np.cos(angle))], -1
    )
    return sheet(points, closed_v=True)


def tube(path: ArrayLike, radius: ArrayLike, *, n: int = 12, flat: float = 1.0) -> Mesh:
    """Return a round body along ``path`` (point, 3), a radius per point, thinned by ``flat`` across."""
    points = np.asarray(path, float)
    radii = np.broadcast_to(np.asarray(radius, float), len(points))
    along = unit(np.gradient(points, axis=0))
    right = _carried(along)
    up = np.cross(along, right)
    angle = np.arange(n) * 2 * np.pi / n
    ring = np.cos(angle)[None, :, None] * right[:, None] + flat * np.sin(angle)[None, :, None] * up[:, None]
    return loft(points[:, None] + radii[:, None, None] * ring)


def _carried(along: Array) -> Array:
    """Carry a direction across the tangents along the path, with as little twist as possible."""
    across = np.eye(3)[np.argmin(np.abs(along[0]))]
    out = np.empty_like(along)
    for i, tangent in enumerate(along):
        across = unit(across - (across @ tangent) * tangent)
        out[i] = across
    return out


def rod(start: ArrayLike, end: ArrayLike, radius: ArrayLike, *, n: int = 10) -> Mesh:
    """Return a straight tube; ``radius`` may be a pair for its two ends."""
    t = np.linspace(0, 1, 5)[:, None]
    ends = np.broadcast_to(np.asarray(radius, float), 2)
    return tube(
        np.asarray(start, float) * (1 - t) + np.asarray(end, float) * t, ends[0] + (ends[1] - ends[0]) * t[:, 0], n=n
    )


def blob(field: Callable[[Array], Array], low: ArrayLike, high: ArrayLike, *, cell: float) -> Mesh:
    """Return the surface where ``field``, negative inside, crosses zero, by naive surface nets.

    References
    ----------
    Gibson (1998), Constrained elastic surface nets, MICCAI, LNCS 1496, 888-898.
    """
    axes = [
        np.arange(lo, hi + cell, cell) for lo, hi in zip(np.asarray(low, float), np.asarray(high, float), strict=True)
    ]
    values = field(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1))
    number, vertices = _net_vertices(values)
    vertices = np.stack([axis[0] + cell * vertices[:, d] for d, axis in enumerate(axes)], axis=1)
    step = 0.5 * cell
    slope = [field(vertices + step * e) - field(vertices - step * e) for e in np.eye(3)]
    return mesh_of(vertices, _net_faces(values, number), unit(np.stack(slope, axis=1)))


def _net_vertices(values: Array) -> tuple[NDArray[np.int64], Array]:
    """Return the number of each cell's vertex, -1 without one, and the vertices: means of its edges' crossings."""
    shape = tuple(s - 1 for s in values.shape)
    corner = {
        c: values[tuple(slice(o, o + s) for o, s in zip(c, shape, strict=True))] for c in product((0, 1), repeat=3)
    }
    total, count = np.zeros((*shape, 3)), np.zeros(shape)
    for start, axis in product(product((0, 1), repeat=3), range(3)):
        if start[axis] == 1:
            continue
        end = tuple(1 if d == axis else s for d, s in enumerate(start))
        crosses = (corner[start] < 0) != (corner[end] < 0)
        t = np.divide(corner[start], corner[start] - corner[end], out=np.zeros(shape), where=crosses)
        for d in range(3):
            total[..., d] += np.where(crosses, t if d == axis else start[d], 0.0)
        count += crosses
    has = count > 0
    number = np.where(has, np.cumsum(has).reshape(shape) - 1, -1)
    return number, np.argwhere(has) + total[has] / count[has][:, None]


def _net_faces(values: Array, number: NDArray[np.int64]) -> NDArray[np.int64]:
    """Two triangles for every grid edge that crosses the surface, through the four cells around it."""
    faces = []
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        inside = np.moveaxis(values < 0, (axis, u, v), (0, 1, 2))
        cells = np.moveaxis(number, (axis, u, v), (0, 1, 2))
        edge = np.argwhere(inside[:-1, 1:-1, 1:-1] != inside[1:, 1:-1, 1:-1])
        outward = inside[edge[:, 0], edge[:, 1] + 1, edge[:, 2] + 1]
        a, b, c, d = (cells[edge[:, 0], edge[:, 1] + i, edge[:, 2] + j] for i, j in ((0, 0), (1, 0), (1, 1), (0, 1)))
        quad = np.stack([a, b, c, d], axis=1)
        quad[~outward] = quad[~outward][:, ::-1]
        faces += [quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]]
    return np.concatenate(faces)
