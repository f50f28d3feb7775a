"""A small run, matched by hand in numpy: every number in it follows from its activations and responses."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest
import xarray as xr

from engine.schema import R_EDGES, RUN_SCHEMAS, require


def build_run(
    *,
    sites: Mapping[str, int] | None = None,
    n_stimuli: int = 120,
    layers: tuple[tuple[str, int, int], ...] = (("conv1", 4, 6), ("fire2", 6, 4), ("fire3", 8, 3), ("fc", 12, 1)),
    n_ranks: int = 100,
    n_shuffles: int = 8,
    seed: int = 0,
) -> dict[str, xr.Dataset]:
    """Return the datasets of a run by group name; layers are (name, channels, rows = columns)."""
    rng = np.random.default_rng(seed)
    sites = {"V4": 7, "IT": 5} if sites is None else sites
    stimuli = np.array([f"image{i:04d}" for i in range(n_stimuli)], dtype=object)
    region = np.array([name for name, count in sites.items() for _ in range(count)], dtype=object)
    names = np.array([f"site{i:02d}" for i in range(len(region))], dtype=object)
    activations = {name: _activations(rng, n_stimuli, channels * size**2) for name, channels, size in layers}
    response = _responses(rng, activations, region)
    folds = rng.permutation(n_stimuli) % 2
    recording = xr.Dataset(
        {"response": (("stimulus", "site"), response)},
        {"stimulus": stimuli, "site": names, "region": ("site", region)},
        {"name": "planted", "source": "made for tests", "window_ms": "70-170", "size_deg": 8.0, "simulated": 1},
    )
    table = _unit_table(layers)
    run = {"recording": recording, "layers": _layers(layers)}
    run["folds"] = xr.Dataset({"fold": ("stimulus", folds)}, {"stimulus": stimuli})
    run["thumbnails"] = xr.Dataset(
        {
            "pixels": (
                ("stimulus", "pixel_y", "pixel_x", "colour"),
                rng.integers(0, 255, (n_stimuli, 8, 8, 1), np.uint8),
            )
        },
        {"stimulus": stimuli},
    )
    run |= _matched(activations, response, folds, table, names, stimuli, layers, n_ranks)
    run["null"] = _null(rng, activations, response, folds, names, region, layers, n_shuffles)
    run["neural_correlation"] = _neural_correlation(rng, run, region)
    ceiling = rng.uniform(0.7, 0.95, len(names))
    run["reliability"] = xr.Dataset(
        {"reliability": ("site", ceiling**2), "noise_ceiling": ("site", ceiling)},
        {"site": names, "region": ("site", region)},
        {"method": "split half"},
    )
    for name, dataset in run.items():
        if name in RUN_SCHEMAS:
            require(dataset, name)
    return run


@pytest.fixture(scope="session")
def run_datasets() -> dict[str, xr.Dataset]:
    """Datasets of a small run: 7 V4 and 5 IT sites, 120 images, four layers."""
    return build_run()


@pytest.fixture(scope="session")
def other_datasets() -> dict[str, xr.Dataset]:
    """The same recording's sites against another network."""
    return build_run(layers=(("block1", 5, 5), ("block2", 9, 3)), seed=1)


def _activations(rng: np.random.Generator, n_stimuli: int, n_units: int) -> np.ndarray:
    shared = rng.normal(size=(n_stimuli, 4)) @ rng.normal(size=(4, n_units))
    return np.maximum(0.5 * shared + rng.normal(size=(n_stimuli, n_units)), 0)


def _responses(rng: np.random.Generator, activations: Mapping[str, np.ndarray], region: np.ndarray) -> np.ndarray:
    """Each site follows one unit; V4 sites one of an early layer, IT sites one of a late layer."""
    every = list(activations.values())
    columns = []
    for position, name in enumerate(region):
        layer = every[position % max(len(every) // 2, 1) + (0 if name == "V4" else len(every) // 2)]
        unit = layer[:, rng.integers(layer.shape[1])]
        signal = (unit - unit.mean()) / (unit.std() + 1e-12)
        columns.append(rng.poisson(np.exp(0.5 * rng.uniform(0.2, 1.1) * signal + 1.2) * 3) / 3)
    return np.array(columns, dtype=float).T


def _r(units: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Pearson's r, (site, unit); NaN for a constant unit."""
    with np.errstate(invalid="ignore", divide="ignore"):
        z = [(values - values.mean(0)) / values.std(0) for values in (units, response)]
    return z[1].T @ z[0] / len(units)


def _unit_table(layers: tuple) -> dict[str, np.ndarray]:
    rows = [
        (name, unit, *np.unravel_index(unit, (channels, size, size)))
        for name, channels, size in layers
        for unit in range(channels * size**2)
    ]
    columns = list(zip(*rows, strict=True))
    table = {
        name: np.array(column) for name, column in zip(("layer", "unit", "channel", "y", "x"), columns, strict=True)
    }
    return table | {"layer": np.array(columns[0], dtype=object)}


def _layers(layers: tuple) -> xr.Dataset:
    names, channels, sizes = zip(*layers, strict=True)
    units = [c * s * s for c, s in zip(channels, sizes, strict=True)]
    none = np.zeros(len(layers), dtype=np.int64)
    counts = dict.fromkeys(("n_constant", "n_low_variation", "n_nonfinite"), ("layer", none))
    return xr.Dataset(
        {
            "kind": ("layer", np.array(["ReLU"] * len(layers), dtype=object)),
            "channels": ("layer", np.array(channels)),
            "height": ("layer", np.array(sizes)),
            "width": ("layer", np.array(sizes)),
            "units": ("layer", np.array(units)),
            "depth": ("layer", np.linspace(0, 1, len(layers))),
            "n_ok": ("layer", np.array(units)),
            **counts,
            "first_nonfinite": ("layer", np.array([""] * len(layers), dtype=object)),
        },
        {"layer": np.array(names, dtype=object)},
    )


def _matched(activations, response, folds, table, names, stimuli, layers, n_ranks) -> dict[str, xr.Dataset]:
    units = np.concatenate(list(activations.values()), axis=1)
    r = np.nan_to_num(_r(units, response), nan=-2)
    halves = [
        (_r(units[folds != f], response[folds != f]), _r(units[folds == f], response[folds == f])) for f in (0, 1)
    ]
    order = np.argsort(-r, axis=1, kind="stable")[:, :n_ranks]
    site = np.arange(len(names))[:, None]
    selected_order = [
        np.argsort(-np.nan_to_num(chosen, nan=-2), axis=1, kind="stable")[:, :n_ranks] for chosen, _ in halves
    ]
    held_out = np.mean([scored[site, o] for (_, scored), o in zip(halves, selected_order, strict=True)], axis=0)
    used, rows = np.unique(order, return_inverse=True)
    columns = {name: (("site", "rank"), table[name][order]) for name in ("layer", "unit", "channel", "y", "x")}
    layer_names = np.array([name for name, *_ in layers], dtype=object)
    best = {"correlation": [], "held_out": [], "unit": []}
    counts = []
    for name in layer_names:
        mine = np.flatnonzero(table["layer"] == name)
        top = np.argmax(r[:, mine], axis=1)
        best["unit"].append(top)
        best["correlation"].append(r[site[:, 0], mine[top]])
        tops = [mine[np.argmax(np.nan_to_num(chosen[:, mine], nan=-2), axis=1)] for chosen, _ in halves]
        best["held_out"].append(
            np.mean([scored[site[:, 0], t] for (_, scored), t in zip(halves, tops, strict=True)], axis=0)
        )
        counts.append([np.histogram(row[mine], R_EDGES)[0] for row in r])
    return {
        "matches": xr.Dataset(
            {
                "correlation": (("site", "rank"), r[site, order]),
                "held_out": (("site", "rank"), held_out),
                **columns,
                "match_unit": (("site", "rank"), rows.reshape(order.shape)),
                "status": (("site", "rank"), np.full(order.shape, "ok", dtype=object)),
                "tied": (("site", "rank"), np.zeros(order.shape, dtype=bool)),
                "site_status": ("site", np.full(len(order), "ok")),
            },
            {"site": names},
        ),
        "match_responses": xr.Dataset(
            {"activation": (("match_unit", "stimulus"), units[:, used].T.astype(np.float32))},
            {"stimulus": stimuli, **{name: ("match_unit", table[name][used]) for name in table}},
        ),
        "layer_profile": xr.Dataset(
            {name: (("layer", "site"), np.array(values)) for name, values in best.items()},
            {"layer": layer_names, "site": names},
        ),
        "unit_counts": xr.Dataset(
            {"count": (("layer", "site", "r_bin"), np.array(counts, dtype=np.int32))},
            {"layer": layer_names, "site": names},
        ),
    }


def _null(rng, activations, response, folds, names, region, layers, n_shuffles) -> xr.Dataset:
    units = np.concatenate(list(activations.values()), axis=1)
    ends = np.cumsum([0, *(values.shape[1] for values in activations.values())])
    which = np.repeat(np.arange(len(names)), n_shuffles)
    shuffled = np.array([rng.permutation(response[:, site]) for site in which]).T
    r = np.nan_to_num(_r(units, shuffled), nan=-2)
    chosen, scored = (_r(units[folds == f], shuffled[folds == f]) for f in (0, 1))
    chosen = np.nan_to_num(chosen, nan=-2)
    row = np.arange(len(which))
    per_layer = [slice(a, b) for a, b in pairwise(ends)]
    return xr.Dataset(
        {
            "correlation": (("layer", "shuffle"), np.array([r[:, part].max(1) for part in per_layer])),
            "held_out": (
                ("layer", "shuffle"),
                np.array([scored[:, part][row, chosen[:, part].argmax(1)] for part in per_layer]),
            ),
            "network_correlation": ("shuffle", r.max(1)),
            "network_held_out": ("shuffle", scored[row, chosen.argmax(1)]),
        },
        {
            "layer": np.array([name for name, *_ in layers], dtype=object),
            "site": ("shuffle", names[which]),
            "region": ("shuffle", region[which]),
        },
    )


def _neural_correlation(rng: np.random.Generator, run: Mapping[str, xr.Dataset], region: np.ndarray) -> xr.Dataset:
    layers = ["", *run["layer_profile"]["layer"].values]
    regions = list(dict.fromkeys(region))
    values = {
        name: np.concatenate([run["matches"][name].values[None, :, 0], run["layer_profile"][name].values])
        for name in ("correlation", "held_out")
    }
    out: dict[str, np.ndarray] = {}
    for name, found in values.items():
        out[name] = np.array([np.median(found[:, region == one], axis=1) for one in regions])
        spread = 0.02 + 0.05 * rng.random(out[name].shape)
        out[f"{name}_low"], out[f"{name}_high"] = out[name] - spread, out[name] + spread
    null = run["null"]
    every = np.concatenate([null["network_correlation"].values[None], null["correlation"].values])
    shuffled = null["region"].values
    out["chance_median"] = np.array([np.median(every[:, shuffled == one], axis=1) for one in regions])
    return xr.Dataset(
        {name: (("region", "layer"), found) for name, found in out.items()},
        {"region": np.array(regions, dtype=object), "layer": np.array(layers, dtype=object)},
    )
