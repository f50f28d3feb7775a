"""Where results live: every result is written here, as a whole or not at all, and opened from here.

A store is a folder. ``runs/DIGEST/`` holds one run: ``manifest.json``, ``manifests/GROUP.json`` and the zarr groups in
``data.zarr/``; ``parts/DIGEST/`` what is finished of an interrupted one. Both a run and a store can be copied
(``cp -r``) and opened elsewhere, without torch.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import xarray as xr

from engine.catalogue import find_run, list_runs, open_run, store_root
from engine.durable import discard, explained, move_in, new_folder, remove, run_lock, write_files
from engine.encoding import as_json, canonical_json, encode
from engine.errors import StoreError
from engine.manifests import listed, read_sealed, seal, sha256
from engine.parts import Parts, open_parts
from engine.runs import DATA, MANIFEST, Run, group_folders, group_manifest
from engine.schema import require

__all__ = [
    "Parts",
    "Run",
    "add_group",
    "find_run",
    "list_runs",
    "open_parts",
    "open_run",
    "run_lock",
    "store_root",
    "write_run",
]

PROVENANCE: Final = ("settings", "seed", "versions", "digests")
"""Entries of a run's manifest that every group repeats in its attributes."""

_REQUIRED: Final = ("network", "recording", *PROVENANCE)
_ROOT_GROUP: Final = canonical_json({"attributes": {}, "node_type": "group", "zarr_format": 3})


def write_run(
    root: str | os.PathLike[str], digest: str, datasets: Mapping[str, xr.Dataset], manifest: Mapping[str, Any]
) -> Run:
    """Write a finished run; it appears in the store as a whole or not at all.

    Parameters
    ----------
    root
        Folder of the store; made if there is none.
    digest
        What the run is keyed by, in hexadecimal. If the store already holds an intact run of it, that one is returned;
        a damaged one is replaced.
    datasets
        Groups by name; those that ``engine.schema.RUN_SCHEMAS`` names must be as it says.
    manifest
        JSON-like, with ``network`` and ``recording`` (each with a ``name``), ``settings``, ``seed``, ``versions`` and
        ``digests``; the last four become attributes of every group. ``created`` (UTC) is added.

    Raises
    ------
    StoreError
        Before anything is written, if a dataset or the manifest is not as it must be; later, if the disk is full or
        cannot be written. The store is then as it was.
    """
    root = Path(root)
    about = _completed(manifest, digest)
    for name, dataset in datasets.items():
        group_manifest(root, name)
        require(dataset, name)
    target = root / "runs" / digest
    with run_lock(root, digest):
        intact = find_run(root, digest)
        if intact is not None:
            return intact
        with _temporary(root, digest) as folder:
            for name, dataset in datasets.items():
                about["groups"][name] = _write_group(folder, name, dataset, about, {}, name)
            with explained(target):
                write_files(folder, {MANIFEST: seal("run", about), f"{DATA}/zarr.json": _ROOT_GROUP})
                discard(root, digest, target)
                move_in(folder, target)
    return Run(target)


def add_group(run: Run, name: str, dataset: xr.Dataset, attributes: Mapping[str, Any] | None = None) -> xr.Dataset:
    """Add the result of an analysis to a run, or replace it; it counts once all of it is there.

    Parameters
    ----------
    run
        The run; it may lie outside of a store.
    name
        Of the group. Groups that the run was written with cannot be replaced.
    dataset
        Checked against ``engine.schema`` if that names the group.
    attributes
        What the analysis was keyed by and made with. They become attributes of the group, beside the run's settings,
        seed, versions and digests and in place of those with the same name.

    Returns
    -------
    xr.Dataset
        The group as read back from the store.

    Raises
    ------
    StoreError
        If the group is one of the run's own, not as it must be, or cannot be written.
    """
    manifest = group_manifest(run.path, name)
    require(dataset, name)
    if name in run.manifest["groups"]:
        raise StoreError(f"Group {name!r} was written with the run {run.digest[:12]} and cannot be replaced alone.")
    root = run.path.parent.parent if run.path.parent.name == "runs" else run.path
    with run_lock(root, run.digest), _temporary(root, run.digest) as written:
        earlier = _folder_in_use(manifest, name)
        folder = next(spare for spare in group_folders(name) if spare != earlier)
        _write_group(written, name, dataset, run.manifest, attributes or {}, folder)
        with explained(manifest):
            discard(root, run.digest, run.path / DATA / folder)
            move_in(written / DATA / folder, run.path / DATA / folder)
            move_in(group_manifest(written, name), manifest)
            if earlier is not None:
                discard(root, run.digest, run.path / DATA / earlier)
    return run.dataset(name)


@contextmanager
def _temporary(root: Path, digest: str) -> Iterator[Path]:
    with explained(root):
        folder = new_folder(root, digest)
    try:
        yield folder
    finally:
        remove(folder)


def _folder_in_use(manifest: Path, name: str) -> str | None:
    """Return which of its two folders a group lies in now; the other one is free for what replaces it."""
    try:
        return str(read_sealed("group", manifest).get("folder", name))
    except StoreError:
        return None


def _write_group(
    run: Path, name: str, dataset: xr.Dataset, about: Mapping[str, Any], attributes: Mapping[str, Any], folder: str
) -> str:
    """Write a group and its manifest below ``run``; return the sha256 of its manifest."""
    described = {**dataset.attrs, **{key: about[key] for key in PROVENANCE}, **attributes}
    described = as_json(described, f"attributes of group {name!r}")
    files = encode(dataset.assign_attrs(described))
    plain = as_json(
        {
            "run": about["digest"],
            "group": name,
            "folder": folder,
            "n_bytes": dataset.nbytes,
            "attributes": described,
            "files": listed(files),
        },
        "manifest",
    )
    sealed = seal("group", plain)
    path = group_manifest(run, name)
    with explained(run / DATA / folder, sum(map(len, files.values()))):
        write_files(run / DATA / folder, files)
        write_files(path.parent, {path.name: sealed})
    return sha256(sealed)


def _completed(manifest: Mapping[str, Any], digest: str) -> dict[str, Any]:
    missing = [key for key in _REQUIRED if key not in manifest]
    if missing:
        raise StoreError(f"The manifest of a run needs {', '.join(_REQUIRED)}; missing: {', '.join(missing)}.")
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return as_json({"created": created, **manifest, "digest": digest, "groups": {}}, "manifest")
