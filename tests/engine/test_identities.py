"""Every identity holds here, and each fails when what it speaks of is broken."""

from pkgutil import resolve_name
from types import SimpleNamespace

import numpy as np
import pytest

from engine import identities
from engine.identities import IDENTITIES


@pytest.fixture
def fresh():
    """No match of an earlier test is seen, and none of this one later."""
    identities._match.cache_clear()
    yield
    identities._match.cache_clear()


@pytest.mark.parametrize("name", IDENTITIES)
def test_it_holds_here(name):
    identity = IDENTITIES[name]
    measured = identity.measure()
    if measured is None:
        pytest.skip(f"{name}: no such device here")
    assert measured <= identity.bound


def scaled(function, by=0.9):
    return lambda *arguments, **settings: function(*arguments, **settings) * by


def matches_scaled(merge_layers):
    def merged(*given):
        found = merge_layers(*given)
        matches = found["matches"]
        return {**found, "matches": matches.assign(correlation=0.9 * matches["correlation"])}

    return merged


def in_bfloat16(add):
    return lambda self, activation, start, fold: add(self, activation.bfloat16().float(), start, fold)


def at_the_first_stimulus(add):
    return lambda self, activation, start, fold: add(self, activation, 0, fold)


def mirrored(draw):
    def turned(n, rng):
        q = draw(n, rng)
        q[0] *= -1
        return q

    return turned


def aside(receptive_fields):
    return lambda *arguments, **settings: receptive_fields(*arguments, **settings).roll(x=1)


def below_chance(learn):
    machine = SimpleNamespace(predict=lambda values: np.full(len(values), -1))
    return lambda *arguments: SimpleNamespace(machine=machine)


def of_half_the_peak(is_inside):
    return lambda values: is_inside(values, 0.5)


BREAKS = {
    "median of the best null r": (
        "engine.analyses.random_control.best_r",
        lambda best: lambda n, units: np.sqrt(2 * np.log(units) / n),
    ),
    "best null r, simulated": ("engine.moments.PairMoments.correlation", scaled),
    "units of measurement": ("engine.moments.PairMoments.correlation", lambda r: lambda *given: r(*given).abs()),
    "order of the stimuli": ("engine.moments.PairMoments.add", at_the_first_stimulus),
    "planted units": ("engine.pipeline.merge_layers", matches_scaled),
    "noisy copies": ("engine.moments.PairMoments.correlation", scaled),
    "attenuation": ("engine.analyses.reliability.spearman_brown", lambda longer: lambda half: half),
    "Spearman-Brown": ("engine.analyses.reliability.spearman_brown", lambda longer: lambda half, k: longer(half)),
    "a run hangs together": ("engine.pipeline.merge_layers", matches_scaled),
    "correlations of sites": (
        "engine.analyses.site_correlations.correlations",
        lambda r: lambda response: (0.9 * r(response)[0], None),
    ),
    "streaming": ("engine.moments.PairMoments.add", in_bfloat16),
    "held or summed": (
        "engine.pipeline.collect_responses",
        lambda collect: lambda *given: {name: -rows for name, rows in collect(*given).items()},
    ),
    "rotations": ("engine.analyses.rotation.random_rotation", mirrored),
    "Haar measure": ("engine.analyses.rotation.random_rotation", lambda draw: lambda n, rng: np.eye(n)),
    "geometry": ("engine.analyses.rotation.rotate", scaled),
    "linear fields": ("engine.gradients.receptive_fields", aside),
    "contours": ("engine.analyses.physiological_fields.is_inside", of_half_the_peak),
    "permuted categories": ("engine.analyses.classifiers.learn", below_chance),
    "equal populations": ("engine.analyses.decoding.z_score", lambda z: lambda *given: z(*given)[::-1]),
}
"""What is broken, and how, for each identity; a GPU cannot be broken here."""


def test_every_identity_is_broken_by_a_test():
    assert BREAKS.keys() == IDENTITIES.keys() - {"GPU"}


@pytest.mark.parametrize("name", BREAKS)
def test_it_fails_when_what_it_speaks_of_is_broken(name, fresh, monkeypatch):
    path, broken = BREAKS[name]
    monkeypatch.setattr(path, broken(resolve_name(path)))
    assert not IDENTITIES[name].measure() <= IDENTITIES[name].bound
