"""Units and sites of which no r makes sense: every one has its status, none is ranked, flags are exact."""

import numpy as np
import pytest
import torch
from torch import nn

import engine
from engine.errors import RecordingError
from tests.engine.worked_example import IMAGE

N = 60
EACH = 40
KINDS = (
    "normal",
    "zero",
    "constant",
    "one_level",
    "rounding",
    "nan",
    "inf",
    "minus_inf",
    "all_nan",
    "single",
    "four",
    "five",
)
STATUS = {
    "zero": "constant",
    "constant": "constant",
    "one_level": "constant",
    "rounding": "low_variation",
    "nan": "nonfinite",
    "inf": "nonfinite",
    "minus_inf": "nonfinite",
    "all_nan": "nonfinite",
}
"""All others are ok."""


def column(kind: str, rng: np.random.Generator) -> np.ndarray:
    """(stimulus,) what a unit of that kind answers."""
    values = rng.normal(size=N).astype(np.float32)
    active = rng.permutation(N)
    if kind in ("zero", "constant", "one_level"):
        return np.full(N, {"zero": 0, "constant": rng.normal(), "one_level": 1e30}[kind], np.float32)
    if kind == "rounding":
        return (1 + 1.2e-7 * rng.integers(0, 3, N)).astype(np.float32)
    if kind == "all_nan":
        return np.full(N, np.nan, np.float32)
    if kind in ("nan", "inf", "minus_inf"):
        values[active[0]] = {"nan": np.nan, "inf": np.inf, "minus_inf": -np.inf}[kind]
    if kind in ("single", "four", "five"):
        values = np.abs(values) + 1
        values[active[{"single": 1, "four": 4, "five": 5}[kind] :]] = 0
    return values


class Planted(nn.Module):
    """Answers to the image that carries number k in its first pixel with row k of a table."""

    def __init__(self, table: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("table", torch.from_numpy(table))
        self.units = nn.Flatten()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.units(self.table[x[:, 0, 0, 0].long() % N][:, :, None])


def to_input(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).float()


@pytest.fixture(scope="module")
def planted() -> tuple[engine.Network, engine.Recording, np.ndarray]:
    rng = np.random.default_rng(0)
    kinds = rng.permutation(np.repeat(KINDS, EACH))
    table = np.stack([column(kind, rng) for kind in kinds], 1)
    pictures = np.zeros((N, IMAGE, IMAGE, 3), np.uint8)
    pictures[:, 0, 0, 0] = np.arange(N)
    module = Planted(np.where(np.isfinite(table), table, 0))  # the probe images show every row; values come after it
    network = engine.Network.from_module(
        module, to_input, name="degenerate", layers=["units"], image_size=(IMAGE, IMAGE)
    )
    module.table.copy_(torch.from_numpy(table))
    responses = rng.gamma(2, 5, size=(N, 5))
    responses[:, 3] = 7.0
    recording = engine.Recording.from_arrays(responses, pictures, stimulus_ids=[f"im{k:02d}" for k in range(N)])
    return network, recording, kinds


@pytest.mark.parametrize("batch", [None, 7, 32])
def test_every_status_is_exact_and_no_degenerate_unit_is_ranked_anywhere(planted, batch):
    network, recording, kinds = planted
    run = engine.match(network, recording, top=len(kinds), batch=batch, folds=2, shuffles=2, progress=False)
    layer = run.dataset("layers").isel(layer=0)
    expected = np.array([STATUS.get(kind, "ok") for kind in kinds])
    for status in ("ok", "constant", "low_variation", "nonfinite"):
        assert int(layer[f"n_{status}"]) == (expected == status).sum()
    ranked = np.flatnonzero(expected == "ok")
    matches = run.dataset("matches")
    for site in (0, 1, 2, 4):
        units = matches["unit"].values[site]
        assert np.array_equal(np.sort(units[units >= 0]), ranked)
        assert np.isfinite(matches["correlation"].values[site][units >= 0]).all()
        assert np.isnan(matches["correlation"].values[site][units < 0]).all()
        told = dict(zip(units.tolist(), matches["status"].values[site].tolist(), strict=True))
        assert {unit: told[unit] for unit in ranked} == {
            unit: "sparse" if kinds[unit] in ("single", "four") else "ok" for unit in ranked.tolist()
        }
    assert (matches["unit"].values[3] == -1).all()
    assert matches["site_status"].values.tolist() == ["ok", "ok", "ok", "constant", "ok"]
    maps = run.dataset("feature_maps")["correlation"].transpose("feature_map", "site").values
    assert np.array_equal(np.isfinite(maps[:, 0]), expected == "ok")
    of_layers = run.dataset("layer_matches")["unit"].values
    assert set(of_layers[of_layers >= 0].tolist()) <= set(ranked.tolist())
    assert int(run.dataset("unit_counts")["count"].isel(layer=0).sum("r_bin")[0]) == len(ranked)


def test_numpy_would_rank_what_we_leave_out(planted):
    network, recording, kinds = planted
    table, response = network.module.table.double().numpy(), recording.data["response"].values[:, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        r = np.array([np.corrcoef(unit, response)[0, 1] for unit in table.T])
    assert torch.isnan(torch.topk(torch.from_numpy(r), 10).values).all()
    assert np.isfinite(r[kinds == "rounding"]).all()


def test_responses_that_are_infinite_are_refused():
    responses = np.random.default_rng(0).gamma(2, 5, size=(N, 2))
    responses[5, 1] = np.inf
    with pytest.raises(RecordingError, match="infinit"):
        engine.Recording.from_arrays(
            responses, np.zeros((N, 8, 8, 3), np.uint8), stimulus_ids=[f"i{k}" for k in range(N)]
        )
