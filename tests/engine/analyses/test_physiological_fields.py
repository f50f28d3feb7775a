"""Fields of sites: circles whose radius is known."""

import numpy as np
import pytest
from scipy import stats

from engine.analyses.physiological_fields import LEVEL, above_blank, centroid, contour, density, ellipse, is_inside

SQUARES = np.arange(-3.5, 4)
FINE = np.linspace(-6, 6, 601)


def blob(sd, y=0.0, x=0.0, centres=SQUARES):
    return np.exp(-((centres[:, None] - y) ** 2 + (centres - x) ** 2) / (2 * sd**2))[None]


def radii(weights, y=0.0, x=0.0, centres=SQUARES):
    values = density(weights, (centres, centres), (FINE, FINE))[0]
    pieces = contour(values, FINE, FINE, LEVEL * values.max()).reshape(-1, 2)
    return np.hypot(pieces[:, 0] - x, pieces[:, 1] - y)


def test_a_single_square_gives_a_circle_of_one_degree():
    weights = np.zeros((1, 8, 8))
    weights[0, 5, 2] = 7.0
    np.testing.assert_allclose(radii(weights, SQUARES[5], SQUARES[2]), 1.0, atol=1e-3)


@pytest.mark.parametrize("sd", [0.9, 1.0, 1.5])
def test_a_blob_gives_a_circle_of_the_two_variances(sd):
    wide = np.arange(-9.5, 10)
    np.testing.assert_allclose(radii(blob(sd, centres=wide), centres=wide), np.sqrt(sd**2 + 1), atol=3e-3)


def test_the_mass_inside_the_contour_of_a_gaussian_is_known():
    values = density(blob(0.8), (SQUARES, SQUARES), (FINE, FINE))[0]
    mass = values[is_inside(values)].sum() * (FINE[1] - FINE[0]) ** 2
    assert mass == pytest.approx(1 - np.exp(-0.5), abs=0.002)
    assert values.sum() * (FINE[1] - FINE[0]) ** 2 == pytest.approx(1, abs=1e-3)


def test_the_density_is_a_mixture_of_scipys_gaussians():
    weights = np.random.default_rng(0).gamma(1, size=(1, 8, 8))
    at = np.array([0.3, -1.2]), np.array([2.0, 0.1, 5.0])
    positions = np.stack(np.meshgrid(*at, indexing="ij"), axis=-1)
    squares = [(weight, (SQUARES[row], SQUARES[column])) for (_, row, column), weight in np.ndenumerate(weights)]
    expected = sum(weight * stats.multivariate_normal(centre).pdf(positions) for weight, centre in squares)
    np.testing.assert_allclose(density(weights, (SQUARES, SQUARES), at)[0], expected / weights.sum(), rtol=1e-9)


def test_the_blank_is_the_least_value_unless_it_was_subtracted():
    maps = np.array([[[3.0, 5.0], [4.0, np.nan]], [[-1.0, 2.0], [0.5, 0.0]], [[np.nan] * 2] * 2])
    expected = [[[0, 2], [1, 0]], [[0, 2], [0.5, 0]], [[0, 0], [0, 0]]]
    np.testing.assert_array_equal(above_blank(maps), expected)


def test_without_weight_there_is_no_density_and_no_contour():
    values = density(np.zeros((1, 8, 8)), (SQUARES, SQUARES), (FINE, FINE))[0]
    assert np.isnan(values).all()
    assert not is_inside(values).any()
    assert len(contour(values, FINE, FINE, np.nan)) == 0


def test_moments_of_a_turned_gaussian_are_found():
    angle, sds = 0.4, (1.2, 0.5)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    x, y = np.meshgrid(FINE, FINE)
    u, v = np.tensordot(turn.T, np.stack([x - 0.5, y + 0.7]), axes=1)
    weights = np.exp(-(u**2) / (2 * sds[0] ** 2) - v**2 / (2 * sds[1] ** 2))
    assert centroid(weights, FINE, FINE) == pytest.approx((-0.7, 0.5), abs=1e-3)
    assert ellipse(weights, FINE, FINE) == pytest.approx((*sds, angle), abs=1e-3)
    assert np.isnan(ellipse(np.zeros((3, 3)), np.arange(3.0), np.arange(3.0))[0])
