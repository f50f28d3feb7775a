"""The z-buffer agrees with asking every triangle at every pixel."""

import numpy as np

from engine.scenery.rasterizing import rasterize

HEIGHT, WIDTH = 24, 32


def seen_one_by_one(screen: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Nearest front face at each pixel's centre, -1 for none."""
    seen, nearest = np.full((HEIGHT, WIDTH), -1), np.full((HEIGHT, WIDTH), -np.inf)
    for k, face in enumerate(faces):
        a, b, c = screen[face]
        matrix = np.array([a[:2] - c[:2], b[:2] - c[:2]]).T
        if np.linalg.det(np.array([b[:2] - a[:2], c[:2] - a[:2]])) >= 0:
            continue
        for row in range(HEIGHT):
            for column in range(WIDTH):
                u, v = np.linalg.solve(matrix, [column + 0.5 - c[0], row + 0.5 - c[1]])
                z = u * a[2] + v * b[2] + (1 - u - v) * c[2]
                if min(u, v, 1 - u - v) >= 0 and z > nearest[row, column]:
                    seen[row, column], nearest[row, column] = k, z
    return seen


def test_pixels_see_the_nearest_front_face() -> None:
    rng = np.random.default_rng(0)
    screen = np.column_stack(
        [rng.uniform(-5, WIDTH + 5, 60), rng.uniform(-5, HEIGHT + 5, 60), rng.uniform(0.1, 0.9, 60)]
    )
    faces = rng.permutation(60).reshape(20, 3)
    found = rasterize(screen, faces, HEIGHT, WIDTH)
    image = np.full((HEIGHT, WIDTH), -1)
    image[found.row, found.column] = found.face
    np.testing.assert_array_equal(image, seen_one_by_one(screen, faces))


def test_weights_give_back_the_pixels_own_position() -> None:
    screen = np.array([[2.0, 20.0, 0.2], [28.0, 22.0, 0.4], [15.0, 1.0, 0.9]])
    found = rasterize(screen, np.array([[0, 1, 2]]), HEIGHT, WIDTH)
    np.testing.assert_allclose(found.weights @ screen[:, 0], found.column + 0.5)
    np.testing.assert_allclose(found.weights @ screen[:, 1], found.row + 0.5)
    np.testing.assert_allclose(found.weights @ screen[:, 2], found.nearness)


def test_two_triangles_of_a_square_cover_each_pixel_once() -> None:
    square = np.array([[4.0, 4.0, 0.5], [4.0, 12.0, 0.5], [12.0, 12.0, 0.5], [12.0, 4.0, 0.5]])
    parts = [rasterize(square, np.array([face]), HEIGHT, WIDTH) for face in ([0, 1, 2], [0, 2, 3])]
    pixels = [(r, c) for part in parts for r, c in zip(part.row, part.column, strict=True)]
    assert sorted(pixels) == [(r, c) for r in range(4, 12) for c in range(4, 12)]
