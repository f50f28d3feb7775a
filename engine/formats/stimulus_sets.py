"""Which image files belong to which ids? A stimulus set says: a csv with ``stimulus_id``, ``filename`` and more.

That is Brain-Score's form (``image_id`` in older ones), and a plain one for anybody's images. Without one, images are
called as the ids.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import pandas as pd

from engine.errors import RecordingError
from engine.formats.given import inside
from engine.formats.tables import STIMULUS_IDS, read_text_table
from engine.identifiers import first_three, require_ids
from engine.pictures import Archive, ImageFile, Picture, ZippedImage
from engine.stimuli import Stimuli

_PLAIN_NAMES: Final = ("images", "stimuli")
_RENAMED: Final = {"category_name": "category", "object_name": "object"}
_NOT_KEPT: Final = frozenset(
    {
        *STIMULUS_IDS,
        "filename",
        "image_file_name",
        "degrees",
        "stimulus",
        "site",
        "repeat",
        "region",
        "response",
        "trials",
    }
)


@dataclass(frozen=True)
class StimulusSet:
    """Images by id, where they were found, and what a csv knows of each.

    ``size_deg`` is its column ``degrees``, if that is the same for all.
    """

    stimuli: Stimuli
    where: str
    coords: dict[str, np.ndarray] = field(default_factory=dict)
    size_deg: float | None = None


def find_images(folder: Path, data: Path, published: str) -> Path | None:
    """Return the one folder or zip of images beside a file of responses; None if there is none.

    Parameters
    ----------
    folder
        Where the file lies.
    data
        The file itself.
    published
        Its publisher's name of the stimulus set: ``dicarlo.hvm-public`` lies in ``image_dicarlo_hvm-public.zip``.

    Raises
    ------
    RecordingError
        If several could be meant.
    """
    stored = published.replace(".", "_")
    names = [*_PLAIN_NAMES, f"{data.stem}_images", *((f"image_{stored}", f"stimulus_{stored}") if published else ())]
    places = [folder / f"{name}{ending}" for name in names for ending in ("", ".zip")]
    found = [place for place in places if (place.is_file() if place.suffix == ".zip" else place.is_dir())]
    if len(found) > 1:
        raise RecordingError(
            f"{len(found)} places beside {data} may hold its images: {', '.join(place.name for place in found)}. "
            "Say which: --images PATH (in Python images=PATH)."
        )
    return next(iter(found), None)


def find_table(folder: Path, images: Path | None, published: str) -> Path | None:
    """Return the csv of a stimulus set that lies beside the responses or in the folder of images; None if none."""
    stored = published.replace(".", "_")
    names = [
        "stimuli.csv",
        "stimulus_set.csv",
        *((f"image_{stored}.csv", f"stimulus_{stored}.csv") if published else ()),
    ]
    places = [folder / name for name in names]
    if images is not None:
        named = [images.with_suffix(".csv")] if images.name else []  # "." and "/" have no name
        places += [*named, *(images / name for name in names)]
    found = list(dict.fromkeys(place for place in places if place.is_file()))
    if len(found) > 1:
        raise RecordingError(
            f"{len(found)} files may describe the stimuli: {', '.join(map(str, found))}. Say which: --stimulus-set CSV."
        )
    return next(iter(found), None)


def read_stimulus_set(table: Path, images: Path, wanted: Sequence[str] | None = None) -> StimulusSet:
    """Return the images that a csv names, in its order.

    Parameters
    ----------
    table
        csv with ``stimulus_id`` (or ``image_id``) and ``filename``, a path inside ``images``.
    images
        Folder or zip.
    wanted
        Ids of the responses: rows of others are left aside where all of these are there.

    Raises
    ------
    RecordingError
        If a column is missing, ids are doubtful, or a file is missing or outside of ``images``; names table and line.
    """
    rows = read_text_table(table)
    ids = next((name for name in STIMULUS_IDS if name in rows.columns), None)
    if ids is None or "filename" not in rows.columns:
        raise RecordingError(
            f"{table}: a stimulus set has columns stimulus_id (or image_id) and filename; found "
            f"{', '.join(rows.columns)}."
        )
    require_ids(rows[ids].tolist(), "stimulus", str(table))
    if wanted is not None and set(wanted) < set(rows[ids]):
        rows = rows[rows[ids].isin(set(wanted))].reset_index(drop=True)
    names, files = rows[ids].tolist(), rows["filename"].tolist()
    pictures = _in_zip(images, files, table) if images.is_file() else _in_folder(images, files, table)
    stimuli = Stimuli(dict(zip(names, pictures, strict=True)))
    coords = {_RENAMED.get(name, name): _column(rows[name]) for name in rows.columns if name and name not in _NOT_KEPT}
    return StimulusSet(stimuli, str(table), coords, _size(rows))


def _in_folder(folder: Path, files: list[str], table: Path) -> list[Picture]:
    paths = [inside(folder, name, f"{table}, line {line}, filename") for line, name in enumerate(files, start=2)]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise RecordingError(
            f"{len(missing)} of {len(files)} images that {table} names are not in {folder}, first "
            f"{first_three(missing)}. Check their names."
        )
    return [ImageFile(path) for path in paths]


def _in_zip(path: Path, files: list[str], table: Path) -> list[Picture]:
    archive = Archive(path)
    members = set(archive.members())
    fronts = {""} | {f"{PurePosixPath(member).parts[0]}/" for member in members if "/" in member}
    front = next((front for front in sorted(fronts, key=len) if f"{front}{files[0]}" in members), "")
    missing = [name for name in files if f"{front}{name}" not in members]
    if missing:
        raise RecordingError(
            f"{len(missing)} of {len(files)} images that {table} names are not in {path}, first "
            f"{first_three(missing)}. Check their names."
        )
    return [ZippedImage(archive, f"{front}{name}") for name in files]


def _column(column: pd.Series) -> np.ndarray:
    numbers = pd.to_numeric(column, errors="coerce")
    is_number = bool(numbers[column != ""].notna().all()) and bool((column != "").any())
    return numbers.to_numpy(float) if is_number else np.array(column.tolist())


def _size(rows: pd.DataFrame) -> float | None:
    sizes: Any = set(_column(rows["degrees"]).tolist()) if "degrees" in rows.columns else set()
    size = next(iter(sizes)) if len(sizes) == 1 else None
    return float(size) if isinstance(size, float) and size > 0 else None
