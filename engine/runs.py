"""What a stored run holds, checked against its manifest on the way in, so that a damaged run never gives a number."""

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import RLock
from typing import Any, Final

import numpy as np
import xarray as xr

from engine.encoding import decode, decode_bytes
from engine.errors import RunNotFoundError, StoreError
from engine.manifests import Files, SealedStore, changed, missing_or_resized, read_listed, read_sealed, seal, sha256

MANIFEST: Final = "manifest.json"
DATA: Final = "data.zarr"
READ_AT_ONCE: Final = 64 * 2**20
"""Groups up to this many bytes are read when they are opened, larger ones when their values are asked for."""

_GROUP_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class Run:
    """One network against one recording under given settings, as stored.

    Making one reads ``manifest.json`` only; ``dataset`` opens the groups.

    Parameters
    ----------
    path
        Folder of the run, in a store or copied elsewhere.

    Raises
    ------
    RunNotFoundError
        If ``path`` is no run.
    StoreError
        If its manifest is damaged or of another version.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser().absolute()
        _require_run(self.path)
        try:
            self.manifest = read_sealed("run", self.path / MANIFEST)
        except StoreError as error:
            raise StoreError(f"{error} Delete the run and compute it again: {_removal(self.path)}") from error
        self._lock = RLock()
        self._opened: dict[str, tuple[str, xr.Dataset]] = {}

    def __repr__(self) -> str:
        return f"<Run {self.network}@{self.recording} {self.digest[:12]} in {str(self.path)!r}>"

    @property
    def digest(self) -> str:
        """What the run is keyed by, in hexadecimal."""
        return str(self.manifest["digest"])

    @property
    def network(self) -> str:
        """Name of the network."""
        return name_in(self.manifest, "network")

    @property
    def recording(self) -> str:
        """Name of the recording."""
        return name_in(self.manifest, "recording")

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that the run was made with."""
        return dict(self.manifest["settings"])

    @property
    def names(self) -> list[str]:
        """Groups of the run: those it was written with, then the analyses added since, each by name."""
        first = list(self.manifest["groups"])
        present = sorted(path.stem for path in group_manifest(self.path, "any").parent.glob("*.json"))
        return first + [name for name in present if name not in first and _GROUP_NAME.fullmatch(name)]

    def attributes(self, name: str) -> dict[str, Any]:
        """Return the attributes of a group (settings, seed, versions, digests ...); reads its manifest only."""
        return dict(self._manifest_of(name)[0]["attributes"])

    def dataset(self, name: str) -> xr.Dataset:
        """Return a group of the run, read-only.

        Every file is compared with its sha256 when it is read: of a group up to ``READ_AT_ONCE`` bytes now, of a larger
        one when values are asked for; missing files and wrong sizes are found now in any case.

        Raises
        ------
        StoreError
            If the run has no such group, or a file of it is missing or changed; says which, and how to get it back.
        """
        with self._lock:
            version = self._manifest_of(name)[1]
            if self._opened.get(name, ("",))[0] != version:
                self._opened[name] = self._open(name)
            return self._opened[name][1].copy()

    def require(self, name: str, *, up_to: int | None = None) -> None:
        """Pass if a group is what was written.

        Parameters
        ----------
        up_to
            Of a larger group, in bytes, contents are not read: missing files and wrong sizes are found, changed ones
            when ``dataset`` reads them. None: the contents of every group are read.

        Raises
        ------
        StoreError
            As ``dataset``.
        """
        manifest, _ = self._manifest_of(name)
        is_read = up_to is None or manifest.get("n_bytes", 0) <= up_to
        find = changed if is_read else missing_or_resized
        problem = next(find(self._folder(manifest), _files(manifest)), None)
        if problem is not None:
            raise StoreError(f"{problem} {self._advice(name)}")

    def verify(self, name: str | None = None) -> list[str]:
        """Return one sentence for every file that is not what was written, of the group ``name`` or of all groups.

        Reads everything; an empty list means intact.
        """
        return [problem for group in ([name] if name else self.names) for problem in self._problems(group)]

    def _open(self, name: str) -> tuple[str, xr.Dataset]:
        """Return a group and its version; if another process replaces it meanwhile, the new one."""
        while True:
            manifest, version = self._manifest_of(name)
            try:
                return version, self._read(name, manifest)
            except StoreError:
                if self._manifest_of(name)[1] == version:
                    raise

    def _read(self, name: str, manifest: Mapping[str, Any]) -> xr.Dataset:
        folder, files = self._folder(manifest), _files(manifest)
        problem = next(missing_or_resized(folder, files), None)
        if problem is not None:
            raise StoreError(f"{problem} {self._advice(name)}")
        if manifest.get("n_bytes", 0) > READ_AT_ONCE:
            return decode(SealedStore(folder, files, self._advice(name)))
        try:
            return _read_only(decode_bytes({key: read_listed(folder, key, files) for key in files}))
        except StoreError as error:
            raise StoreError(f"{error} {self._advice(name)}") from error

    def _problems(self, name: str) -> Iterator[str]:
        try:
            manifest, _ = self._manifest_of(name)
        except StoreError as error:
            yield str(error)
            return
        for problem in changed(self._folder(manifest), _files(manifest)):
            yield f"{problem} {self._advice(name)}"

    def _folder(self, manifest: Mapping[str, Any]) -> Path:
        return self.path / DATA / str(manifest["folder"])

    def _manifest_of(self, name: str) -> tuple[dict[str, Any], str]:
        """Return the manifest of a group and the sha256 that tells this version of the group from others."""
        path = group_manifest(self.path, name)
        if name not in self.manifest["groups"] and not path.exists():
            raise StoreError(
                f"{self.network}@{self.recording} has no group {name!r}; it has {', '.join(self.names)}. "
                f"If it is an analysis, compute it: {self._analyse(name)}"
            )
        try:
            manifest = read_sealed("group", path)
        except StoreError as error:
            raise StoreError(f"{error} {self._advice(name)}") from error
        version = sha256(seal("group", manifest))
        expected = self.manifest["groups"].get(name, version)
        fits = (manifest.get("group"), manifest.get("run"), version) == (name, self.digest, expected)
        if not fits or manifest.get("folder") not in group_folders(name):
            raise StoreError(f"{path} belongs to another group or run. {self._advice(name)}")
        return manifest, version

    def _advice(self, name: str) -> str:
        if name in self.manifest["groups"]:
            again = f"match {self.network} against {self.recording} with what was said of them then"
            return f"Delete the run and compute it again: {_removal(self.path)}, then {again}."
        return f"Compute this analysis again: {self._analyse(name)}"

    def _analyse(self, name: str) -> str:
        return shlex.join(["unitscope", "analyse", str(self.path), name])


def group_manifest(run: Path, name: str) -> Path:
    """Return where the manifest of a group stands in the folder of a run."""
    if not _GROUP_NAME.fullmatch(name):
        raise StoreError(f"A group is named with at most 100 letters, digits, '_', '.' and '-', got {name!r}.")
    return run / "manifests" / f"{name}.json"


def group_folders(name: str) -> tuple[str, str]:
    """Return the two folders that a group may lie in; what replaces it is written to the one that is free."""
    return name, f"{name}~"


def _require_run(path: Path) -> None:
    if (path / MANIFEST).exists() or (path / DATA).exists():
        return
    if (path / "runs").is_dir():
        raise RunNotFoundError(f"{path} is a store, not a run; its runs: unitscope list runs --store {path}")
    raise RunNotFoundError(f"{path} is not the folder of a run (it has no {MANIFEST}). Runs there are: unitscope list")


def _read_only(dataset: xr.Dataset) -> xr.Dataset:
    for variable in dataset.variables.values():
        if not isinstance(variable, xr.IndexVariable) and isinstance(variable.data, np.ndarray):
            variable.data.setflags(write=False)
    return dataset


def _removal(path: Path) -> str:
    return shlex.join(["rm", "-r", str(path)])


def name_in(manifest: Mapping[str, Any], key: str) -> str:
    """Return the name of the network or recording in a manifest, empty if it has none."""
    entry = manifest.get(key, "")
    return str(entry.get("name", "") if isinstance(entry, Mapping) else entry)


def _files(manifest: Mapping[str, Any]) -> Files:
    return {key: (int(size), str(digest)) for key, (size, digest) in manifest["files"].items()}
