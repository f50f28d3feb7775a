"""What is already finished of a run that was interrupted.

Each finished layer is one file with its own sha256, written beside its place and moved in. A damaged one counts as
not there, so the layer is computed again; therefore nobody waits until the disk has it.
"""

import hashlib
import io
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.lib import format as npy

from engine.durable import TEMPORARY, discard, explained, run_lock
from engine.encoding import as_json, canonical_json
from engine.errors import StoreError
from engine.manifests import read_sealed, seal

_SUFFIX: Final = ".part"
_ABOUT: Final = "about.json"
_DIGEST_BYTES: Final = 32
_ALIGNMENT: Final = 64
"""Every array starts at a multiple of so many bytes after the digest, so that it can be used where it was read."""


def open_parts(root: Path, digest: str, about: Mapping[str, Any] | None = None) -> "Parts":
    """Return the finished parts of the run ``digest``, at first none.

    Parameters
    ----------
    root
        Folder of the store.
    digest
        Of the run; parts of another digest are never seen.
    about
        What ``list_runs`` shows of the unfinished run: ``network``, ``recording`` and ``settings`` as in a manifest.
    """
    folder = root / "parts" / digest
    if about is not None:
        content = seal("part", as_json(about, "about"))
        with explained(folder):
            _place(folder, _ABOUT, content)
    return Parts(root, digest)


class Parts:
    """Finished results of single layers of one run, by the layer's name.

    Writers hold the run's lock (``run_lock``). Names may have any characters; datasets any dims and variables.
    """

    def __init__(self, root: Path, digest: str) -> None:
        self.root = root
        self.digest = digest
        self.folder = root / "parts" / digest

    def __contains__(self, name: str) -> bool:
        return self._intact(name) is not None

    def __iter__(self) -> Iterator[str]:
        paths = sorted(self.folder.glob(f"*{_SUFFIX}"))
        return (found[0] for path in paths if (found := _unpacked(path)) is not None)

    def write(self, name: str, dataset: xr.Dataset) -> None:
        """Store the finished ``dataset`` of ``name``, in place of an earlier one; all of it or nothing.

        Raises
        ------
        StoreError
            If the disk is full or cannot be written, or the dataset holds what the store cannot keep.
        """
        pieces = _packed(name, dataset)
        path = self._path(name)
        with explained(path, sum(map(len, pieces))):
            _place(self.folder, path.name, *pieces)

    def read(self, name: str) -> xr.Dataset:
        """Return the dataset of ``name``, in memory and read-only; all of it stays there while any of it is used.

        Raises
        ------
        StoreError
            If there is none, or it is damaged.
        """
        dataset = self._intact(name)
        if dataset is None:
            raise StoreError(f"{self.folder} holds no finished part {name!r}; compute it again.")
        return dataset

    def discard(self) -> None:
        """Remove all parts, once the run is written or given up."""
        with explained(self.folder), run_lock(self.root, self.digest):
            discard(self.root, self.digest, self.folder)

    def _intact(self, name: str) -> xr.Dataset | None:
        path = self._path(name)
        found = _unpacked(path)
        if found is None or found[0] != name:
            with explained(path):
                path.unlink(missing_ok=True)
            return None
        return found[1]

    def _path(self, name: str) -> Path:
        return self.folder / (hashlib.sha256(name.encode()).hexdigest()[:32] + _SUFFIX)


@contextmanager
def written_beside(parts: Parts) -> Iterator[Callable[[str, xr.Dataset], None]]:
    """Yield what writes parts while the caller goes on; it waits for the one before, whose error it raises.

    All are written, or an error is raised, when the ``with`` ends.
    """
    with ThreadPoolExecutor(1) as writer:
        last: list[Future[None]] = []

        def write(name: str, dataset: xr.Dataset) -> None:
            while last:
                last.pop().result()
            last.append(writer.submit(parts.write, name, dataset))

        yield write
        while last:
            last.pop().result()


def read_about(folder: Path) -> dict[str, Any]:
    """Return what ``open_parts`` was told about the unfinished run in ``folder``, or nothing."""
    try:
        return read_sealed("part", folder / _ABOUT)
    except StoreError:
        return {}


def _place(folder: Path, name: str, *pieces: bytes | memoryview) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{TEMPORARY}{uuid.uuid4().hex}"
    try:
        with open(temporary, "wb") as file:
            for piece in pieces:
                file.write(piece)
        os.replace(temporary, folder / name)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _packed(name: str, dataset: xr.Dataset) -> list[bytes | memoryview]:
    """A sha256, then as aligned .npy one after the other: what the part is, and its variables."""
    about = {
        "name": name,
        "alignment": _ALIGNMENT,
        "attrs": as_json(dataset.attrs, "attributes"),
        "variables": [
            [str(key), list(variable.dims), as_json(variable.attrs, f"attributes of {key!r}"), key in dataset.coords]
            for key, variable in dataset.variables.items()
        ],
    }
    pieces = _npy(np.frombuffer(canonical_json(about), np.uint8))
    for key, variable in dataset.variables.items():
        if variable.dtype.hasobject:
            raise StoreError(f"Variable {key!r} has dtype {variable.dtype}; a part keeps numbers, booleans and text.")
        pieces += _npy(variable.values)
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return [digest.digest(), *pieces]


def _npy(array: np.ndarray) -> list[bytes | memoryview]:
    """An .npy file in pieces, and what makes its length a multiple of the alignment; C order is not copied."""
    header = io.BytesIO()
    npy.write_array_header_1_0(header, {**npy.header_data_from_array_1_0(array), "fortran_order": False})
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    return [header.getvalue(), content, bytes(-len(content) % _ALIGNMENT)]


def _unpacked(path: Path) -> tuple[str, xr.Dataset] | None:
    try:
        sealed = path.read_bytes()
    except OSError:
        return None
    digest, content = sealed[:_DIGEST_BYTES], memoryview(sealed)[_DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        return None
    packed = io.BytesIO(sealed)
    packed.seek(_DIGEST_BYTES)
    about = json.loads(_next_array(packed, sealed).tobytes())
    if about.get("alignment") != _ALIGNMENT:
        return None  # of an earlier version
    variables = {
        key: (xr.Variable(dims, _next_array(packed, sealed), attrs), is_coordinate)
        for key, dims, attrs, is_coordinate in about["variables"]
    }
    data = {key: variable for key, (variable, is_coordinate) in variables.items() if not is_coordinate}
    coords = {key: variable for key, (variable, is_coordinate) in variables.items() if is_coordinate}
    return about["name"], xr.Dataset(data, coords, about["attrs"])


def _next_array(packed: io.BytesIO, content: bytes) -> np.ndarray:
    """The .npy at which ``packed``, which reads ``content``, stands; a view of it."""
    npy.read_magic(packed)
    shape, _, dtype = npy.read_array_header_1_0(packed)
    array: np.ndarray = np.ndarray(shape, dtype, content, packed.tell())
    packed.seek(array.nbytes + -array.nbytes % _ALIGNMENT, io.SEEK_CUR)
    return array
