"""Which triangle does each pixel see, and where on it? A z-buffer for many small triangles at once.

Every triangle is cut into the rows of pixels that it crosses, every row into its pixels, and one maximum per pixel over
packed (nearness, triangle) keys keeps what is in front. No loop over triangles.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.scenery.meshes import Array

_DEPTH_STEPS = 2.0**31


@dataclass(frozen=True)
class Fragments:
    """Pixels that see the mesh: ``row``, ``column``, the ``face`` seen, its ``weights`` (pixel, 3) and ``nearness``."""

    row: NDArray[np.int64]
    column: NDArray[np.int64]
    face: NDArray[np.int64]
    weights: Array
    nearness: Array


def rasterize(screen: Array, faces: NDArray[np.int64], height: int, width: int) -> Fragments:
    """Return what each pixel of a ``height`` x ``width`` grid sees.

    Parameters
    ----------
    screen
        Vertices (vertex, 3): column and row in pixels (the first pixel's centre lies at 0.5), and a nearness between 0
        and 1 that is linear on the screen (1 / distance, or a parallel projection's depth); the largest is in front.
    faces
        (face, 3) indices into ``screen``; faces that turn their back to the viewer are dropped.

    Returns
    -------
    Fragments
        One entry per covered pixel; weights are linear on the screen, and sum to 1.
    """
    corners = screen[faces]
    doubled_area = _cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    kept = np.flatnonzero(doubled_area < -1e-9)
    corners = corners[kept]
    triangle, row, column = _pixels(corners, height, width)
    slope, origin = _plane(corners)
    nearness = origin[triangle] + slope[triangle, 0] * (column + 0.5) + slope[triangle, 1] * (row + 0.5)
    steps = np.clip(nearness, 0.0, 1.0) * (_DEPTH_STEPS - 1)
    key = (steps.astype(np.int64) << 32) | triangle
    buffer = np.full(height * width, -1, dtype=np.int64)
    np.maximum.at(buffer, row * width + column, key)
    seen = np.flatnonzero(buffer >= 0)
    front = buffer[seen] & 0xFFFFFFFF
    row, column = np.divmod(seen, width)
    weights = _weights(corners[front], column + 0.5, row + 0.5)
    return Fragments(row, column, kept[front], weights, np.einsum("pk,pk->p", weights, corners[front, :, 2]))


def _cross(a: Array, b: Array) -> Array:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _pixels(corners: Array, height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Triangle, row and column of every pixel whose centre lies in a triangle."""
    low, high = corners[..., 1].min(axis=1), corners[..., 1].max(axis=1)
    triangle, row = _spread(np.ceil(low - 0.5), np.ceil(high - 0.5), height)
    y = row + 0.5
    left, right = np.full(len(y), np.inf), np.full(len(y), -np.inf)
    for k in range(3):
        ends = corners[:, [k, (k + 1) % 3]]
        swap = ends[:, 0, 1] > ends[:, 1, 1]
        ends[swap] = ends[swap][:, ::-1]
        (x0, y0), (x1, y1) = ends[:, 0, :2].T, ends[:, 1, :2].T
        slope = np.divide(x1 - x0, y1 - y0, out=np.zeros(len(ends)), where=y1 > y0)
        crosses = (y >= y0[triangle]) & (y < y1[triangle])
        x = x0[triangle] + (y - y0[triangle]) * slope[triangle]
        left = np.where(crosses, np.minimum(left, x), left)
        right = np.where(crosses, np.maximum(right, x), right)
    found = np.isfinite(left)
    span, column = _spread(np.ceil(left[found] - 0.5), np.ceil(right[found] - 0.5), width)
    return triangle[found][span], row[found][span], column


def _spread(start: Array, stop: Array, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which range and which integer, for every integer of every range [start, stop) within [0, size)."""
    first = np.clip(start, 0, size).astype(np.int64)
    length = np.maximum(np.clip(stop, 0, size).astype(np.int64) - first, 0)
    which = np.repeat(np.arange(len(length)), length)
    return which, np.arange(len(which)) - np.repeat(np.cumsum(length) - length - first, length)


def _plane(corners: Array) -> tuple[Array, Array]:
    """Slopes along x and y, and value at the origin, of the third coordinate over each triangle."""
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    determinant = _cross(a, b)
    slope = np.stack([a[:, 2] * b[:, 1] - b[:, 2] * a[:, 1], a[:, 0] * b[:, 2] - b[:, 0] * a[:, 2]], axis=1)
    slope /= determinant[:, None]
    return slope, corners[:, 0, 2] - np.einsum("tk,tk->t", slope, corners[:, 0, :2])


def _weights(corners: Array, x: NDArray[np.floating], y: NDArray[np.floating]) -> Array:
    """Weight of each corner at a point of the screen."""
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    p = np.stack([x, y], axis=1) - corners[:, 0, :2]
    determinant = _cross(a, b)
    second, third = _cross(p, b) / determinant, _cross(a, p) / determinant
    return np.stack([1 - second - third, second, third], axis=1)
