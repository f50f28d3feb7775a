"""A small run with every kind of variable, and the work of a process that is killed while it writes one."""

import os
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from engine.schema import SITE, STIMULUS
from engine.store import Run, add_group, find_run, open_parts, run_lock, write_run

DIGEST = "5eed" * 16
N_LAYERS = 12


def manifest(network: str = "squeezenet1_1", recording: str = "cowley-v4/190923", **changes: Any) -> dict[str, Any]:
    """What a run says of itself."""
    return {
        "network": {"name": network, "title": "SqueezeNet 1.1", "top1": float("nan")},
        "recording": {"name": recording, "simulated": 0},
        "settings": {"top": 100, "folds": 2},
        "seed": 0,
        "versions": {"torch": "2.13", "unitscope": "0.1.0"},
        "digests": {"network": "ab12", "stimuli": "cd34"},
        **changes,
    }


def recording(seed: int = 0, n_stimuli: int = 40, n_sites: int = 6) -> xr.Dataset:
    """A group that ``engine.schema`` knows."""
    rng = np.random.default_rng(seed)
    response = rng.gamma(2, 5, size=(n_stimuli, n_sites))
    response[3, 2] = np.nan
    return xr.Dataset(
        {"response": ((STIMULUS, SITE), response, {"units": "spikes/s"})},
        {
            STIMULUS: [f"image{i:04d}" for i in range(n_stimuli)],
            SITE: [f"site{i:02d}" for i in range(n_sites)],
            "region": (SITE, np.array(["V4", "IT"] * (n_sites // 2))),
            "category": (STIMULUS, np.array(["cät", ""] * (n_stimuli // 2), dtype=object)),
        },
        {"licence": "CC0", "size_deg": 8.0, "window_ms": "50-150"},
    )


def counts(seed: int = 0, n: int = 30) -> xr.Dataset:
    """A group that ``engine.schema`` does not know, with integers, booleans, text, an empty dim and a scalar."""
    rng = np.random.default_rng(seed)
    return xr.Dataset(
        {
            "count": (("layer", "r_bin"), rng.integers(0, 9, size=(n, 20))),
            "tied": (("layer", "r_bin"), rng.random((n, 20)) < 0.5),
            "activation": (("layer", "stimulus"), rng.normal(size=(n, 50)).astype("float32")),
            "best": ("layer", rng.choice(["conv1", "", "fire2.squeeze", "μ"], size=n)),
            "nothing": (("none", "r_bin"), np.zeros((0, 20))),
            "total": ((), 3.5),
        },
        {"layer": [f"features.{i}" for i in range(n)]},
    )


def layer_result(index: int) -> xr.Dataset:
    """The result of one layer: noise, so that a wrong byte cannot go unseen."""
    rng = np.random.default_rng(index)
    return xr.Dataset({"sums": (("unit", "site"), rng.normal(size=(500, 10))), "n": ((), index)})


def merged(parts: Mapping[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """The groups of a run made of the results of its layers, six to a group."""
    results = list(parts.values())
    groups = {f"layers{k}": xr.concat(results[k : k + 6], "layer") for k in range(0, len(results), 6)}
    return groups | {"recording": recording()}


def layer_names() -> list[str]:
    """Names that no file could have."""
    return [f"fire{i}/../squeeze" for i in range(N_LAYERS)]


def compute(root: Path, results: Mapping[str, xr.Dataset] | None = None) -> Run:
    """Write layer by layer, then the run: reuse what is there, as the pipeline does."""
    results = results or {name: layer_result(i) for i, name in enumerate(layer_names())}
    with run_lock(root, DIGEST):
        run = find_run(root, DIGEST)
        if run is None:
            parts = open_parts(root, DIGEST, manifest())
            for name, result in results.items():
                if name not in parts:
                    parts.write(name, result)
            run = write_run(root, DIGEST, merged({name: parts.read(name) for name in results}), manifest())
        open_parts(root, DIGEST).discard()
        if "decoding" not in run.names:
            add_group(run, "decoding", counts(), {"key": "1"})
        return run


def compute_naively(root: Path) -> None:
    """Write layer by layer as xarray suggests, with no care."""
    for name, result in {name: layer_result(i) for i, name in enumerate(layer_names())}.items():
        result.to_zarr(root / "naive.zarr", group=name.partition("/")[0], mode="a", consolidated=False)


def child(work: str, root: Path, started: Any) -> None:
    """Run ``work`` of this module in a process of its own; says when it begins and when it is done."""
    warnings.simplefilter("ignore")
    started.send(os.getpid())
    globals()[work](root)
    started.send("done")


def nothing(root: Path) -> None:
    """Do nothing: what it takes to start a process."""


def hold_lock(root: Path) -> None:
    """Take the lock of the run and never give it back."""
    hold_lock_for(root, 3600)


def hold_lock_for(root: Path, seconds: float) -> None:
    """Take the lock of the run, and give it back after a while."""
    with run_lock(root, DIGEST):
        (root / "held").touch()
        time.sleep(seconds)


def write_beside_others(root: Path, seconds: float, writer: int) -> None:
    """Compute the run unless it is there, then replace its analysis again and again with one value everywhere."""
    with run_lock(root, DIGEST):
        run = find_run(root, DIGEST)
        if run is None:
            with (root / "computed").open("a") as log:
                log.write("computed\n")
            run = write_run(root, DIGEST, {"recording": recording()}, manifest())
    end, n_written = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        value = 1000 * writer + n_written
        same = xr.Dataset({name: (("a", "b"), np.full((50, 50), value)) for name in "pqr"})
        add_group(run, "decoding", same, {"key": str(value)})
        n_written += 1
        time.sleep(0.02)
    (root / f"writer{writer}").write_text(str(n_written))


def read_beside_others(root: Path, seconds: float, reader: int) -> None:
    """Read the analysis again and again; any error or mixture of two writers ends this process with an exception."""
    end, n_read = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        run = find_run(root, DIGEST) if reader % 2 else _opened(root)
        if run is None or "decoding" not in run.names:
            time.sleep(0.01)
            continue
        dataset = run.dataset("decoding")
        values = {int(value) for name in "pqr" for value in np.unique(dataset[name].values)}
        assert values == {int(dataset.attrs["key"])}
        assert not np.isnan(run.dataset("recording")["response"].values).all()
        n_read += 1
        time.sleep(0.01)
    (root / f"reader{reader}").write_text(str(n_read))


def _opened(root: Path) -> Run | None:
    return Run(root / "runs" / DIGEST) if (root / "runs" / DIGEST).exists() else None


def write_naively_beside_others(root: Path, seconds: float, writer: int) -> None:
    """Replace one group again and again as xarray suggests; another writer may be in its way."""
    end, n_written = time.monotonic() + seconds, 0
    while time.monotonic() < end and not (root / "bad").exists():
        value = 1000 * writer + n_written
        same = xr.Dataset({name: (("a", "b"), np.full((50, 50), float(value))) for name in "pqr"})
        with suppress(OSError, ValueError, KeyError, zarr.errors.BaseZarrError):
            same.to_zarr(root / "naive.zarr", mode="w", consolidated=False)
        n_written += 1


def read_naively_beside_others(root: Path, seconds: float, reader: int) -> None:
    """Read that group again and again; says when what came is not what one writer wrote."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not (root / "bad").exists():
        try:
            dataset = xr.open_zarr(root / "naive.zarr", chunks=None, consolidated=False).load()
            values = {value for name in "pqr" for value in np.unique(dataset[name].values)}
        except (OSError, ValueError, KeyError, RuntimeError, zarr.errors.BaseZarrError):
            continue
        if len(values) > 1 or np.isnan(list(values)).any():
            (root / "bad").write_text(str(values))
