"""What must hold of r for any units and responses: order, units of measurement, batches and merges change nothing."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.folds import assign_folds
from engine.moments import PairMoments
from engine.targets import Targets, make_targets
from tests.engine.test_moments import by_scipy, recording, stream
from tests.engine.test_tiling import matrix, summed

N, UNITS, SITES = 30, 4, 2
WITHIN = 1e-6


@dataclass(frozen=True)
class Case:
    """Units of some kind, and in how many batches and partial sums they come."""

    units: np.ndarray
    responses: np.ndarray
    batch: int
    n_folds: int
    rng: np.random.Generator


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind, sd = draw(st.sampled_from(["normal", "relu", "few"])), 10.0 ** draw(st.integers(-6, 6))
    units = rng.normal(size=(N, UNITS))
    units = {"normal": units, "relu": np.maximum(units, 0), "few": np.where(rng.random(units.shape) < 0.2, units, 0)}[
        kind
    ]
    units = sd * (units + draw(st.sampled_from([0.0, 10.0, 1e3])))
    responses = rng.gamma(2, 5, size=(N, SITES)) + draw(st.sampled_from([0.0, 5.0])) * rng.normal(size=(N, 1))
    return Case(units.astype(np.float32), responses, draw(st.integers(3, N)), draw(st.sampled_from([1, 2, 3])), rng)


def targets_of(responses: np.ndarray, n_folds: int) -> Targets:
    data = recording(responses)
    return make_targets(data, assign_folds(data, n_folds, 0), shuffles=0, seed=0)


def in_order(targets: Targets) -> np.ndarray:
    """Rows of the recording's stimuli, i00000 and so on, in the order of the targets."""
    return np.array([int(name[1:]) for name in targets.stimuli])


def moments_of(case: Case, units: np.ndarray, responses: np.ndarray, batch: int | None = None) -> PairMoments:
    targets = targets_of(responses, case.n_folds)
    return stream(units[in_order(targets)], targets, batch or case.batch)


def general(case: Case, units: np.ndarray, responses: np.ndarray, batch: int | None = None) -> np.ndarray:
    return moments_of(case, units, responses, batch).correlation(range(case.n_folds), slice(0, UNITS)).numpy()


def in_tiles(case: Case, units: np.ndarray, responses: np.ndarray, batch: int | None = None) -> np.ndarray:
    targets = targets_of(responses, case.n_folds)
    summary = summed(units[in_order(targets)], (UNITS, 1, 1), targets, batch=batch or case.batch, products=np.float64)
    return matrix(summary, 0, SITES, UNITS)


Way = Callable[..., np.ndarray]


def r_is_that_of_scipy(case: Case, way: Way) -> None:
    expected = by_scipy(case.units, case.responses, np.ones(N, bool))
    np.testing.assert_allclose(way(case, case.units, case.responses), expected, rtol=0, atol=WITHIN)


def the_order_of_stimuli_changes_nothing(case: Case, way: Way) -> None:
    order = case.rng.permutation(N)
    turned = way(case, case.units[order], case.responses[order])
    np.testing.assert_allclose(turned, way(case, case.units, case.responses), rtol=0, atol=WITHIN)


def units_of_measurement_of_responses_change_the_sign_only(case: Case, way: Way) -> None:
    r, gain = way(case, case.units, case.responses), 10.0 ** case.rng.uniform(-3, 3)
    for sign in (1, -1):
        turned = way(case, case.units, sign * gain * case.responses + case.rng.normal() * gain)
        np.testing.assert_allclose(turned, sign * r, rtol=0, atol=WITHIN)


def scale_and_offset_of_units_change_the_sign_only(case: Case, way: Way) -> None:
    units, sd = case.units.astype(np.float64), case.units.std(axis=0, dtype=np.float64)
    for sign in (1, -1):
        turned = (sign * 2.0 ** case.rng.integers(-20, 20) * (units - units.mean(axis=0) + 8 * sd)).astype(np.float32)
        expected = by_scipy(turned, case.responses, np.ones(N, bool))
        np.testing.assert_allclose(way(case, turned, case.responses), expected, rtol=0, atol=WITHIN)
        own = by_scipy((units - units.mean(axis=0)).astype(np.float32), case.responses, np.ones(N, bool))
        np.testing.assert_allclose(expected, sign * own, rtol=0, atol=WITHIN)


def batches_of_any_size_give_the_same(case: Case, way: Way) -> None:
    r = way(case, case.units, case.responses)
    for batch in (int(case.rng.integers(1, N)), N):
        np.testing.assert_allclose(way(case, case.units, case.responses, batch), r, rtol=0, atol=WITHIN)


def partial_sums_merge_in_any_order(case: Case, way: Way) -> None:
    moments = moments_of(case, case.units, case.responses)
    whole = moments.correlation(range(case.n_folds), slice(0, UNITS))
    for _ in range(2):
        order = case.rng.permutation(case.n_folds).tolist()
        merged = moments.correlation(order, slice(0, UNITS))
        torch.testing.assert_close(merged, whole, rtol=0, atol=WITHIN, equal_nan=True)


PROPERTIES = [
    the_order_of_stimuli_changes_nothing,
    units_of_measurement_of_responses_change_the_sign_only,
    scale_and_offset_of_units_change_the_sign_only,
    batches_of_any_size_give_the_same,
    partial_sums_merge_in_any_order,
]


def try_examples(holds: Callable[[Case, Way], None], n: int) -> None:
    @settings(max_examples=n)
    @given(case=cases(), way=st.sampled_from([general, in_tiles]))
    def tried(case: Case, way: Way) -> None:
        holds(case, way)

    tried()


@pytest.mark.parametrize("holds", PROPERTIES)
def test_a_hundred_examples(holds):
    try_examples(holds, 100)


@pytest.mark.slow
@pytest.mark.parametrize("holds", PROPERTIES)
def test_five_hundred_examples(holds):
    try_examples(holds, 500)


def naive(case: Case, units: np.ndarray, responses: np.ndarray, batch: int | None = None) -> np.ndarray:
    """Sums and sums of squares in float32, batch by batch: the control."""
    x, y = units.astype(np.float32), responses.astype(np.float32)
    sums = [np.zeros(shape, np.float32) for shape in (UNITS, UNITS, SITES, SITES, (SITES, UNITS))]
    for first in range(0, N, batch or case.batch):
        a, b = x[first : first + (batch or case.batch)], y[first : first + (batch or case.batch)]
        for total, part in zip(sums, (a.sum(0), (a * a).sum(0), b.sum(0), (b * b).sum(0), b.T @ a), strict=True):
            total += part
    sx, sxx, sy, syy, sxy = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        return (sxy - np.outer(sy, sx) / N) / np.sqrt(np.outer(syy - sy**2 / N, sxx - sx**2 / N))


@pytest.mark.parametrize("holds", [r_is_that_of_scipy, batches_of_any_size_give_the_same])
def test_sums_in_float32_do_not_pass(holds):
    rng = np.random.default_rng(0)
    units = (rng.normal(size=(N, UNITS)) + 1e3).astype(np.float32)
    case = Case(units, rng.gamma(2, 5, size=(N, SITES)), 7, 1, rng)
    with pytest.raises(AssertionError):
        holds(case, naive)
