"""Bodies are closed, look outwards and have the volume that geometry says."""

from collections import Counter

import numpy as np
import pytest

from engine.scenery.animals import animal
from engine.scenery.boats import boat
from engine.scenery.cars import car
from engine.scenery.faces import face
from engine.scenery.fruits import fruit
from engine.scenery.furniture import chair, table
from engine.scenery.meshes import Mesh, ball, blob, box, lathe, loft, rod, rotation, tube
from engine.scenery.planes import plane


def volume(mesh: Mesh) -> float:
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    return float(np.einsum("fd,fd->", a, np.cross(b, c)) / 6)


def sphere_field(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points, axis=-1) - 1


_RING = np.stack([np.zeros(64), np.cos(np.arange(64) * np.pi / 32), np.sin(np.arange(64) * np.pi / 32)], axis=1)


@pytest.mark.parametrize(
    ("mesh", "expected"),
    [
        (ball((1, 2, 3), n=64), 4 / 3 * np.pi * 6),
        (box((1, 2, 3), edge=0.01), 48),
        (lathe([(0, 0), (1, 0), (1, 2), (0, 2)], n=128), 2 * np.pi),
        (tube([(0, 0, 0), (0, 1, 0), (0, 2, 0)], 0.5, n=64), np.pi / 2),
        (rod((0, 0, 0), (1, 2, 2), 0.1, n=64), 0.03 * np.pi),
        (loft(np.stack([_RING, _RING + np.array([2, 0, 0])])), 2 * np.pi),
        (blob(sphere_field, (-1.2, -1.2, -1.2), (1.2, 1.2, 1.2), cell=0.06), 4 / 3 * np.pi),
        (ball(n=64).moved(scale=(1, -1, 1), turn=rotation(30, 40, 50)), 4 / 3 * np.pi),
    ],
    ids=["ball", "box", "lathe", "tube", "rod", "loft", "blob", "mirrored ball"],
)
def test_a_body_has_the_volume_of_its_formula_so_its_faces_look_outwards(mesh: Mesh, expected: float) -> None:
    assert volume(mesh) == pytest.approx(expected, rel=0.02)


def test_every_edge_of_a_blob_lies_between_two_faces() -> None:
    mesh = blob(sphere_field, (-1.2, -1.2, -1.2), (1.2, 1.2, 1.2), cell=0.2)
    edges = Counter(tuple(sorted(face[[k, (k + 1) % 3]])) for face in mesh.faces for k in range(3))
    assert set(edges.values()) == {2}


def test_a_tube_keeps_its_width_round_corners_in_every_direction() -> None:
    mesh = tube([(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 2), (0, 2, 2), (1, 2, 2), (2, 2, 2)], 0.1)
    assert np.ptp(mesh.vertices, axis=0) == pytest.approx([2.1, 2.15, 2.15], abs=0.1)
    assert np.isfinite(mesh.normals).all()


@pytest.mark.parametrize("make", [animal, boat, car, chair, face, fruit, plane, table])
def test_eight_exemplars_of_a_category_differ_and_are_sound(make) -> None:
    meshes = [make(k, np.random.default_rng(k)) for k in range(8)]
    for mesh in meshes:
        assert np.isfinite(mesh.vertices).all()
        assert mesh.faces.min() >= 0
        assert mesh.faces.max() < len(mesh.vertices)
        assert mesh.material.max() < len(mesh.materials)
        a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
        visible = mesh.faces[np.linalg.norm(np.cross(b - a, c - a), axis=1) > 1e-9]
        np.testing.assert_allclose(np.linalg.norm(mesh.normals[visible], axis=-1), 1, atol=1e-6)
        assert all(0 <= material.albedo <= 1 for material in mesh.materials)
    assert len({mesh.vertices.tobytes() for mesh in meshes}) == 8
