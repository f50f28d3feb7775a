"""From a path to the arguments of ``Recording.from_arrays``: the file, what is known beside it, its images."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from engine.errors import RecordingError, StimulusMismatchError
from engine.formats.assemblies import window_edges
from engine.formats.contents import Contents
from engine.formats.given import NOTES, Given, Notes, read_notes, require_checksums
from engine.formats.netcdf import read_netcdf
from engine.formats.npz import read_npy, read_npz
from engine.formats.stimulus_sets import StimulusSet, find_images, find_table, read_stimulus_set
from engine.formats.tables import read_table
from engine.formats.zarr_folder import is_zarr, read_zarr
from engine.identifiers import first_three, require_ids, require_same_ids
from engine.recording_files import MANIFEST
from engine.stimuli import KEEP_SHARED, Stimuli

ORDER_ASSERTED: Final = "order asserted by user"

_READERS: Final[dict[str, Callable[[Path, str | None], Contents]]] = {
    **dict.fromkeys((".nc", ".nc4", ".netcdf", ".h5", ".hdf5"), read_netcdf),
    ".npz": read_npz,
    ".npy": read_npy,
    **dict.fromkeys((".csv", ".tsv"), read_table),
}
_STIMULUS_TABLES: Final = ("stimuli", "stimulus_set", "image_", "stimulus_")
_KEEP_SHARED: Final = f"{KEEP_SHARED} Or let unitscope keep them: --allow-subset (in Python allow_subset=True)."
_MAX_LISTED: Final = 1000
_MAX_ORDER_BYTES: Final = 2**26


def is_readable(path: Path) -> bool:
    """Return whether ``path`` looks like responses in one of the formats: a file, or a zarr folder."""
    return (path.is_file() and path.suffix.lower() in _READERS) or is_zarr(path)


def arguments(path: Path, given: Given) -> dict[str, Any]:
    """Return what ``Recording.from_arrays`` takes, of the responses at ``path``.

    Parameters
    ----------
    path
        A file (netCDF, npz, npy, csv, tsv), a zarr folder, or a folder with one of them.
    given
        What the user says; it goes before ``recording.toml`` in the folder of the file.

    Raises
    ------
    RecordingError
        If the file is damaged or none of these, what is said contradicts it, or its images cannot be found.
    StimulusMismatchError
        If responses and images do not name the same stimuli.
    """
    data, notes = _data_and_notes(path)
    require_checksums(data.parent, notes.sha256)
    said = given.over(notes.given)
    if said.window_ms is not None:
        window_edges(said.window_ms)  # refused before anything is read
    contents = _read(data, said.window_ms)
    names = _stimulus_names(contents, said)
    stimulus_set = _stimulus_set(contents, said, data, names)
    kept = _shared(names, stimulus_set, said, contents.where)
    attrs = _attrs(contents, said, is_ordered=contents.stimulus_ids is None, n_kept=len(kept), n_all=len(names))
    name = str(attrs.pop("name", data.stem))
    size_deg = _one(said.size_deg, attrs.pop("size_deg", None), stimulus_set.size_deg, contents.where)
    return {
        "responses": contents.responses[kept] if len(kept) < len(names) else contents.responses,
        "images": stimulus_set.stimuli.select([names[index] for index in kept]),
        "stimulus_ids": [names[index] for index in kept],
        "site_ids": contents.site_ids,
        "region": _region(contents, said),
        "size_deg": size_deg,
        "name": name if contents.stimulus_ids is not None else f"{name} ({ORDER_ASSERTED})",
        "site_coords": contents.site_coords,
        "stimulus_coords": _stimulus_coords(contents, stimulus_set, names, kept),
        "rf_map": contents.rf_map,
        "attrs": attrs,
    }


def _data_and_notes(path: Path) -> tuple[Path, Notes]:
    """Return the file of responses and what ``recording.toml`` beside it says of it."""
    if path.is_file() or is_zarr(path):
        notes = read_notes(path.parent)
        return path, notes if notes.responses in ("", path.name) else Notes()
    notes = read_notes(path)
    if notes.responses:
        if not (path / notes.responses).exists():
            raise RecordingError(f"{path / NOTES} says responses = {notes.responses!r}, but there is no such file.")
        return path / notes.responses, notes
    if (path / "recording.json").is_file():
        raise RecordingError(
            f"{path} is no saved recording: it has no {MANIFEST}. Copy the whole folder, or save it again."
        )
    listed = list(itertools.islice(path.iterdir(), _MAX_LISTED))
    found = sorted(file for file in listed if _holds_responses(file))
    if len(found) != 1:
        told = (
            f"{len(found)} files that may hold responses ({first_three(file.name for file in found)})"
            if found
            else "no responses"
        )
        raise RecordingError(
            f"{path} holds {told}; expected one of {', '.join(_READERS)} or a zarr folder, or a saved recording with "
            f'its manifest.json. Name the file itself, or write responses = "FILE" into {path / NOTES}.'
        )
    return found[0], notes


def _holds_responses(file: Path) -> bool:
    if file.is_dir():
        return is_zarr(file)
    is_table = file.suffix.lower() in (".csv", ".tsv")
    return file.suffix.lower() in _READERS and not (is_table and file.stem.startswith(_STIMULUS_TABLES))


def _read(data: Path, window_ms: str | None) -> Contents:
    if is_zarr(data):
        return read_zarr(data, window_ms)
    read = _READERS.get(data.suffix.lower())
    if read is None:
        raise RecordingError(
            f"{data} is of a kind that is not read; {', '.join(_READERS)} and zarr folders are. "
            "Or make a recording of arrays: engine.Recording.from_arrays(responses, images, stimulus_ids=...)."
        )
    return read(data, window_ms)


def _stimulus_names(contents: Contents, said: Given) -> list[str]:
    """Return the ids of the responses, from the file, or in the order that the user asserts."""
    if contents.stimulus_ids is not None:
        if said.order is not None:
            raise RecordingError(f"{contents.where} has ids of its own; an order ({said.order}) is for files without.")
        return list(require_ids(list(contents.stimulus_ids), "stimulus", contents.where))
    if said.order is None:
        raise RecordingError(
            f"{contents.where} has no stimulus ids, so nothing says which image each row belongs to. Save them with "
            "the responses: numpy.savez(file, responses=..., stimulus_ids=...); or state the order yourself: --order "
            f"FILE (in Python order=), one id a line. Results then say {ORDER_ASSERTED!r}."
        )
    names = _order(said.order)
    if len(names) != len(contents.responses):
        raise StimulusMismatchError(
            f"{said.order} names {len(names)} stimuli, {contents.where} has responses of shape "
            f"{contents.responses.shape} (stimulus, site). Give one id for each row, in the order of the rows."
        )
    return names


def _order(path: Path) -> list[str]:
    try:
        if path.stat().st_size > _MAX_ORDER_BYTES:
            raise RecordingError(f"{path} has more than {_MAX_ORDER_BYTES:,} bytes; it takes one id a line.")
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise RecordingError(
            f"{path} cannot be read ({error}). The order is a text file, one stimulus id a line."
        ) from error
    names = [line.removesuffix("\r") for line in lines]
    return list(require_ids(names[:-1] if names[-1] == "" else names, "stimulus", str(path)))


def _stimulus_set(contents: Contents, said: Given, data: Path, names: list[str]) -> StimulusSet:
    """Return the images: given, in the file, or beside it."""
    if contents.images is not None:
        if said.images is not None:
            raise RecordingError(f"{contents.where} holds images itself; {said.images} is for files that hold none.")
        return StimulusSet(Stimuli.from_array(contents.images, names), contents.where)
    images = said.images or find_images(data.parent, data, contents.stimulus_set)
    if images is None:
        published = f" (its stimulus set is {contents.stimulus_set!r})" if contents.stimulus_set else ""
        raise RecordingError(
            f"{contents.where} holds no images{published}, and none lie beside it as images/, images.zip, stimuli/ or "
            "stimuli.zip. Say where they are: --images FOLDER_OR_ZIP (in Python images=)."
        )
    if not images.exists():
        raise RecordingError(f"There are no images at {images}. Check the path.")
    table = said.stimulus_set or find_table(data.parent, images, contents.stimulus_set)
    if table is not None:
        return read_stimulus_set(table, images, names)
    return StimulusSet(Stimuli.from_folder(images) if images.is_dir() else Stimuli.from_zip(images), str(images))


def _shared(names: list[str], found: StimulusSet, said: Given, where: str) -> list[int]:
    """Return which rows of the responses are kept: all, or, if the user allows it, those that have an image."""
    ids = found.stimuli.ids
    if not said.allow_subset:
        require_same_ids(names, ids, expected_in=where, found_in=found.where, fix=_KEEP_SHARED)
        return list(range(len(names)))
    has_image = set(ids)
    kept = [index for index, name in enumerate(names) if name in has_image]
    if not kept:
        raise StimulusMismatchError(
            f"{where} and {found.where} share none of {len(names)} and {len(ids)} stimuli: {first_three(names)} "
            f"against {first_three(ids)}. Name the images as the ids, or give a stimulus set."
        )
    return kept


def _attrs(contents: Contents, said: Given, *, is_ordered: bool, n_kept: int, n_all: int) -> dict[str, Any]:
    attrs = dict(contents.attrs)
    for key in ("name", "source", "licence", "response_unit"):
        value = getattr(said, key)
        if value is not None:
            attrs[key] = value
    if said.window_ms is not None:
        own = str(attrs.get("window_ms", "unknown"))
        if own not in ("unknown", said.window_ms):
            raise RecordingError(
                f"{contents.where} was counted in {own} ms; window_ms={said.window_ms} contradicts it."
            )
        attrs["window_ms"] = said.window_ms
    if is_ordered:
        attrs["order"] = f"{ORDER_ASSERTED}: {said.order.name if said.order else ''}"
    if said.allow_subset:
        attrs["subset"] = f"{n_kept} of {n_all} stimuli that were shown, the others have no image"
    return attrs


def _one(said: float | None, own: Any, published: float | None, where: str) -> float | None:
    """Return the size in degrees: said by the user, or by the file, or by the stimulus set; they must not differ."""
    told = {float(size) for size in (own, published) if size is not None and np.isfinite(float(size))}
    if said is not None:
        told.add(float(said))
    if len(told) > 1:
        raise RecordingError(
            f"{where}: stimuli are said to be {' and '.join(f'{s:g}' for s in sorted(told))} degrees wide."
        )
    return next(iter(told), None)


def _region(contents: Contents, said: Given) -> Any:
    own = contents.region
    named = {own} if isinstance(own, str) else set(own or ())
    if said.region is None:
        return own
    if named - {"unknown", said.region}:
        raise RecordingError(
            f"{contents.where} says that its sites are in {', '.join(sorted(named))}; region={said.region!r} is for "
            "files that do not say."
        )
    return said.region


def _stimulus_coords(contents: Contents, found: StimulusSet, names: list[str], kept: list[int]) -> dict[str, Any]:
    """Return what file and stimulus set know of each stimulus; the file's own words go first."""
    coords = {key: np.asarray(value)[kept] for key, value in contents.stimulus_coords.items() if np.ndim(value) == 1}
    place = {name: index for index, name in enumerate(found.stimuli.ids)}
    for key, column in found.coords.items():
        is_whole = all(names[index] in place for index in kept)
        if is_whole and key not in coords and key not in contents.site_coords:
            coords[key] = column[[place[names[index]] for index in kept]]
    return coords
