"""Which runs a store holds, and which of them a user means.

Reads manifests only, so that it is quick and one broken run never hides the others.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd
import platformdirs

from engine.errors import RunNotFoundError, StoreError
from engine.parts import read_about
from engine.runs import Run, group_manifest, name_in

_COLUMNS: Final = ("digest", "network", "recording", "settings", "created", "status")
_N_CANDIDATES: Final = 20
_DIGEST: Final = re.compile("[0-9a-f]{64}")


def store_root(store: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of the store: ``store``, else ``UNITSCOPE_STORE``, else the user's data folder.

    Raises
    ------
    StoreError
        If a file is there.
    """
    chosen = store or os.environ.get("UNITSCOPE_STORE") or platformdirs.user_data_path("unitscope") / "store"
    root = Path(chosen).expanduser()
    if os.path.isfile(root):
        raise StoreError(f"{root} is a file, and a store is a folder. Name another with --store or UNITSCOPE_STORE.")
    return root


def find_run(root: str | os.PathLike[str], digest: str) -> Run | None:
    """Return the run of ``digest`` if the store holds it and every file that it was written with is unchanged.

    Else None. An analysis that was added and is damaged is no reason to compute the run again: only itself is.
    """
    try:
        run = Run(Path(root) / "runs" / digest)
    except StoreError:
        return None
    is_intact = run.digest == digest and not any(run.verify(name) for name in run.manifest["groups"])
    return run if is_intact else None


def open_run(run: str | os.PathLike[str] | Run, store: str | os.PathLike[str] | None = None) -> Run:
    """Return a stored run.

    Parameters
    ----------
    run
        A path, ``network@recording``, or the unique beginning of a digest.
    store
        Folder of the store, by default ``UNITSCOPE_STORE``, else the user's data folder.

    Raises
    ------
    RunNotFoundError
        If no run fits, or several do; lists the candidates.
    StoreError
        If the run that fits is damaged.
    """
    if isinstance(run, Run):
        return run
    if _is_folder(run):
        return Run(run)
    root, wanted = store_root(store), str(run)
    if _DIGEST.fullmatch(wanted) and (root / "runs" / wanted).is_dir():
        return Run(root / "runs" / wanted)  # of hundreds of runs, the others are not looked at
    table = _table(root)
    fits = [row for row in table if wanted == f"{row['network']}@{row['recording']}" or _begins(row["digest"], wanted)]
    fits = [row for row in fits if row["status"] == "complete"] or fits
    if len({row["digest"] for row in fits}) != 1:
        raise RunNotFoundError(_not_found(wanted, root, fits, table))
    if fits[0]["status"] == "incomplete":
        raise RunNotFoundError(f"{wanted!r} in {root} is not finished. Go on with the command that began it.")
    return Run(fits[0]["path"])


def list_runs(store: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """Return what a store holds, newest first: digest, network, recording, settings, created, status.

    ``status`` is ``complete``, ``incomplete`` (interrupted; goes on when it is started again) or ``damaged: ...``.
    Reads manifests only; ``Run.verify`` reads everything.
    """
    return pd.DataFrame(_table(store_root(store)), columns=list(_COLUMNS))


def _table(root: Path) -> list[dict[str, Any]]:
    runs = [_row(path) for path in _folders(root / "runs")]
    known = {row["digest"] for row in runs if row["status"] == "complete"}
    parts = [_incomplete_row(path) for path in _folders(root / "parts") if path.name not in known]
    return sorted(runs + parts, key=lambda row: row["created"], reverse=True)


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []


def _row(path: Path) -> dict[str, Any]:
    try:
        run = Run(path)
    except StoreError as error:
        return {**_described({}), "digest": path.name, "status": f"damaged: {error}", "path": path}
    lost = [name for name in run.manifest["groups"] if not group_manifest(path, name).exists()]
    status = f"damaged: group {lost[0]!r} has lost its manifest" if lost else "complete"
    return {**_described(run.manifest), "digest": run.digest, "status": status, "path": path}


def _incomplete_row(path: Path) -> dict[str, Any]:
    return {**_described(read_about(path)), "digest": path.name, "status": "incomplete", "path": path}


def _described(manifest: Mapping[str, Any]) -> dict[str, str]:
    settings = manifest.get("settings", {})
    return {
        "network": name_in(manifest, "network"),
        "recording": name_in(manifest, "recording"),
        "settings": " ".join(f"{key}={settings[key]}" for key in sorted(settings)),
        "created": str(manifest.get("created", "")),
    }


def _is_folder(run: str | os.PathLike[str]) -> bool:
    try:
        return run != "" and Path(run).expanduser().is_dir()
    except (OSError, ValueError, RuntimeError):
        return False


def _begins(digest: str, wanted: str) -> bool:
    return bool(wanted) and digest.startswith(wanted.lower())


def _not_found(wanted: str, root: Path, fits: list[dict[str, Any]], table: list[dict[str, Any]]) -> str:
    if not table:
        return f"No run {wanted!r}: {root} holds no runs. Make one with 'unitscope match', or name its store (--store)."
    if not fits:
        how = "a path, network@recording, or the beginning of a digest"
        return f"No run {wanted!r} in {root} ({how}). There are:{_candidates(table)}"
    return f"{wanted!r} fits {len(fits)} runs in {root}; name one by the beginning of its digest:{_candidates(fits)}"


def _candidates(table: list[dict[str, Any]]) -> str:
    lines = [
        f"\n  {row['digest'][:12]}  {row['network']}@{row['recording']}  {row['settings']}  {row['created']}  "
        f"{row['status'].partition(':')[0]}"
        for row in table[:_N_CANDIDATES]
    ]
    more = f"\n  and {len(table) - _N_CANDIDATES} more" if len(table) > _N_CANDIDATES else ""
    return "".join(lines) + more
