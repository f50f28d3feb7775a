"""How a recording lies on disk, so that it opens anywhere and no damage goes unnoticed.

A folder: ``recording.json`` (names, coordinates, attributes), numbers as ``.npy``, ``stimuli.zip`` (lossless PNG) and
``manifest.json`` with the sha256 of each. It appears as a whole or not at all. Nothing in it is ever run.
"""

import hashlib
import io
import json
import os
import uuid
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr
from PIL import Image

from engine.durable import TEMPORARY, flush_folder, move_in, remove, write_file
from engine.errors import RecordingError
from engine.pictures import Archive, ZippedImage
from engine.stimuli import Stimuli

MANIFEST: Final = "manifest.json"

_FORMAT: Final = "unitscope recording"
_VERSION: Final = 1
_DESCRIPTION: Final = "recording.json"
_IMAGES: Final = "stimuli.zip"


def write_recording(path: Path, data: xr.Dataset, stimuli: Stimuli) -> Path:
    """Write a recording to the new folder ``path`` and return it.

    Raises
    ------
    RecordingError
        If there is something at ``path`` already, or it cannot be written; nothing half-written is left.
    """
    if path.exists():
        raise RecordingError(f"{path} exists already and is never overwritten. Remove it, or save to another path.")
    folder = path.parent / f"{TEMPORARY}{path.name}-{uuid.uuid4().hex}"
    try:
        folder.mkdir(parents=True)
        _write_files(folder, data, stimuli)
        move_in(folder, path)
    except OSError as error:
        why = error.strerror or error
        raise RecordingError(f"{path} cannot be written ({why}). Make room, or save to another path.") from error
    finally:
        remove(folder)
    return path


def read_recording(path: Path) -> tuple[xr.Dataset, Stimuli]:
    """Return data and stimuli of the folder ``path``; every file's checksum is verified first.

    Raises
    ------
    RecordingError
        If a file is missing or damaged, or the folder was written by another version.
    """
    manifest = _manifest(path)
    for name in manifest["files"]:
        _require_intact(path, name, manifest)
    try:
        description = json.loads((path / _DESCRIPTION).read_bytes())
        data = _dataset(path, description)
        archive = Archive(path / _IMAGES)
        names = data["stimulus"].values.tolist()
        return data, Stimuli({name: ZippedImage(archive, _member(index)) for index, name in enumerate(names)})
    except (KeyError, TypeError, ValueError, OSError, EOFError) as error:
        raise RecordingError(f"{path} does not hold a whole recording ({error!r}). Save it again.") from error


def read_sizes(path: Path) -> tuple[dict[str, int], list[str]]:
    """Return the size of each dim and the regions of the recording in ``path``, without its numbers and images.

    Raises
    ------
    RecordingError
        If its description is missing or damaged.
    """
    _require_intact(path, _DESCRIPTION, _manifest(path))
    description = json.loads((path / _DESCRIPTION).read_bytes())
    return description["sizes"], list(dict.fromkeys(description["variables"]["region"]["text"]))


def _write_files(folder: Path, data: xr.Dataset, stimuli: Stimuli) -> None:
    arrays: dict[str, bytes] = {}
    variables: dict[str, dict[str, Any]] = {}
    for name, variable in data.variables.items():
        entry: dict[str, Any] = {"dims": list(variable.dims), "is_coord": name in data.coords}
        if variable.dtype.kind in "OTU":
            entry["text"] = variable.values.tolist()
        else:
            entry["file"] = f"{len(arrays):03d}.npy"  # never the variable's name: a user may call it ../x
            arrays[entry["file"]] = _npy(variable.values)
        variables[str(name)] = entry
    sizes = {str(dim): size for dim, size in data.sizes.items()}
    arrays[_DESCRIPTION] = _json({"sizes": sizes, "attrs": data.attrs, "variables": variables})
    for file, content in arrays.items():
        write_file(folder / file, content)
    _write_images(folder / _IMAGES, stimuli)
    files = {name: _fingerprint(folder / name) for name in (*arrays, _IMAGES)}
    write_file(folder / MANIFEST, _json({"format": _FORMAT, "version": _VERSION, "files": files}))
    flush_folder(folder)


def _write_images(path: Path, stimuli: Stimuli) -> None:
    with open(path, "wb") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for index, name in enumerate(stimuli.ids):
                archive.writestr(zipfile.ZipInfo(_member(index)), _png(stimuli.pixels(name)))
        file.flush()
        os.fsync(file.fileno())


def _member(index: int) -> str:
    return f"{index:06d}.png"


def _png(pixels: np.ndarray) -> bytes:
    is_gray = bool((pixels == pixels[..., :1]).all())
    encoded = io.BytesIO()
    Image.fromarray(pixels[..., 0] if is_gray else pixels).save(encoded, "PNG", compress_level=3)
    return encoded.getvalue()


def _npy(values: np.ndarray) -> bytes:
    encoded = io.BytesIO()
    np.save(encoded, values, allow_pickle=False)
    return encoded.getvalue()


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1, ensure_ascii=False).encode()


def _fingerprint(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        is_known = manifest["format"] == _FORMAT and manifest["version"] == _VERSION
        is_whole = {_DESCRIPTION, _IMAGES} <= set(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordingError(f"{path / MANIFEST} cannot be read ({error!r}). Save the recording again.") from error
    if not (is_known and is_whole):
        raise RecordingError(
            f"{path} is not a recording of format {_FORMAT!r}, version {_VERSION}. Save it again with this version."
        )
    return manifest


def _require_intact(path: Path, name: str, manifest: Mapping[str, Any]) -> None:
    file = path / name
    if Path(name).name != name or file.is_symlink() or not file.is_file():
        raise RecordingError(f"{path} lacks its file {name!r}. Save the recording again, or copy the whole folder.")
    expected, found = manifest["files"][name], _fingerprint(file)
    if found != expected:
        raise RecordingError(
            f"{file} is damaged: expected {expected}, found {found}. Save the recording again, or copy it again."
        )


def _dataset(path: Path, description: Mapping[str, Any]) -> xr.Dataset:
    data = xr.Dataset(attrs=description["attrs"])
    for name, entry in description["variables"].items():
        variable = (entry["dims"], _values(path, entry))
        data = data.assign_coords({name: variable}) if entry["is_coord"] else data.assign({name: variable})
    if dict(data.sizes) != description["sizes"]:
        raise ValueError(f"sizes {dict(data.sizes)} are not {description['sizes']}")
    return data


def _values(path: Path, entry: Mapping[str, Any]) -> np.ndarray:
    if "text" in entry:
        return np.array(entry["text"], dtype=np.str_)
    if Path(entry["file"]).name != entry["file"] or (path / entry["file"]).is_symlink():
        raise ValueError(f"{entry['file']!r} is no file of the folder")
    # Mapped first: a header that claims more than the file holds is refused before anything is allocated.
    return np.array(np.load(path / entry["file"], mmap_mode="r", allow_pickle=False))
