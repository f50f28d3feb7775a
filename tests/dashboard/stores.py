"""Stores for tests of the page: planted runs written as they are, and small ones that engine.match really made."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import xarray as xr

from engine.store import Run, write_run


def put(
    root: Path,
    datasets: Mapping[str, xr.Dataset],
    *,
    network: str = "tiny",
    title: str = "Tiny Net",
    recording: str = "planted",
    weights: str = "pretrained, planted",
) -> Run:
    """Write a run of these datasets; network and recording are what the store will list."""
    digest = hashlib.sha256(f"{network}@{recording}".encode()).hexdigest()
    about = {
        "network": {"name": network, "title": title, "weights": weights},
        "recording": {"name": recording},
        "settings": {"top": 100, "folds": 2},
        "seed": 0,
        "versions": {},
        "digests": {},
    }
    return write_run(root, digest, datasets, about)


def damage(run: Run, variable: str) -> Path:
    """Change one bit of a chunk of ``group/variable``, and return its file."""
    file = next(path for path in sorted((run.path / "data.zarr" / variable / "c").rglob("*")) if path.is_file())
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    return file
