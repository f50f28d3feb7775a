"""Which recordings are there on this machine, and how is one opened: by its name, or from files of the user's own?"""

import os
import re
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import platformdirs

from engine import cowley_v4, majajhong2015
from engine.errors import RecordingError
from engine.formats.given import Given
from engine.recording_files import MANIFEST, read_recording, read_sizes
from engine.recordings import Recording

BUILTIN: Final = "builtin"


def open_recording(
    name: str | os.PathLike[str],
    /,
    *,
    images: str | os.PathLike[str] | None = None,
    stimulus_set: str | os.PathLike[str] | None = None,
    order: str | os.PathLike[str] | None = None,
    region: str | None = None,
    size_deg: float | None = None,
    window_ms: str | None = None,
    allow_subset: bool = False,
    **attrs: str | None,
) -> Recording:
    """Open a recording by name (``list_recordings`` has them), or responses and images from files of this machine.

    What a file does not say itself is said here, or in a ``recording.toml`` in its folder, under the same names.

    Parameters
    ----------
    name
        "builtin" (simulated; built on first use), "cowley-v4/SESSION", "majajhong2015" (after ``unitscope fetch``); or
        the path of a folder that was saved, a Brain-Score assembly or another netCDF-4 file (``.nc``), ``.npz``,
        ``.npy``, ``.csv``, ``.tsv``, a zarr folder, or a folder with one of them.
    images
        Folder or zip; else ``images/``, ``images.zip``, ``stimuli/`` or ``stimuli.zip`` beside the file.
    stimulus_set
        csv: ``stimulus_id`` (or ``image_id``), ``filename``, and what else is known of each image; else images are
        called as the ids.
    order
        Text file, one stimulus id a line, for responses that come without ids. The name then says that the order is
        asserted by the user.
    region
        Area of all sites, where the file names none.
    size_deg
        Width of a stimulus in degrees.
    window_ms
        "70-170": the time bins to average where there are several, else what the numbers were counted in.
    allow_subset
        Keep the stimuli that have an image, instead of refusing.
    **attrs
        ``name``, ``source``, ``licence``, ``response_unit``.

    Raises
    ------
    RecordingError
        If there is no such recording on this machine, its files are damaged, or something is missing: says what.
    StimulusMismatchError
        If responses and images do not name the same stimuli.
    """
    given = _given(
        images=images, stimulus_set=stimulus_set, order=order, region=region, size_deg=size_deg, window_ms=window_ms,
        allow_subset=allow_subset, **attrs,
    )  # fmt: skip
    opened = _open_named(str(name))
    if opened is None:
        return _open_path(name, given)
    if given != Given():
        raise RecordingError(f"{name} says all of itself; images, region and the like are for files of your own.")
    return opened


def _given(**said: Any) -> Given:
    unknown = [key for key in said if key not in Given.__dataclass_fields__]
    if unknown:
        known = ", ".join(Given.__dataclass_fields__)
        raise RecordingError(f"open_recording: there is no {unknown[0]!r}. What can be said: {known}.")
    return Given(**said)


def _open_named(name: str) -> Recording | None:
    """Open a recording that has a name here, or that was saved; None if ``name`` is something else."""
    if name == BUILTIN:
        from engine.world import open_world

        return open_world()
    collection, _, session = name.partition("/")
    if collection == cowley_v4.COLLECTION:
        return _open_cowley(session)
    if name == majajhong2015.COLLECTION:
        return _open_majajhong2015()
    path = Path(name).expanduser()
    return Recording(*read_recording(path)) if (path / MANIFEST).is_file() else None


def _open_path(name: str | os.PathLike[str], given: Given) -> Recording:
    from engine.formats.opening import arguments

    path = Path(name).expanduser()
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", str(name)):
        raise RecordingError(f"{name} is an address; recordings are opened from this machine. Download it first.")
    if not path.exists():
        raise RecordingError(f"There is no recording {str(name)!r}. {_known()}")
    try:
        return Recording.from_arrays(**arguments(path, given))
    except RecordingError as error:
        if path.name in str(error) or str(path.parent) in str(error).split():
            raise
        raise type(error)(f"{path}: {error}") from error


def list_recordings() -> pd.DataFrame:
    """Return what can be opened or fetched, without opening anything.

    Returns
    -------
    pd.DataFrame
        ``name`` (for ``open_recording``), ``region``, ``sites``, ``stimuli`` (missing if unknown before it is fetched),
        ``repeats`` (text, "" if unknown), ``status``: built, not built, fetched, not fetched, saved, damaged.
    """
    rows = [_builtin_row(), *map(_cowley_row, cowley_v4.sessions()), _majajhong2015_row(), *_saved_rows()]
    table = pd.DataFrame(rows, columns=["name", "region", "sites", "stimuli", "repeats", "status"])
    return table.astype({"sites": "Int64", "stimuli": "Int64"})


def data_root() -> Path:
    """Return the folder of the recordings on this machine: ``$UNITSCOPE_DATA``, else the user's data folder."""
    chosen = os.environ.get("UNITSCOPE_DATA")
    return Path(chosen).expanduser() if chosen else platformdirs.user_data_path("unitscope") / "recordings"


def _open_cowley(session: str) -> Recording:
    name = f"{cowley_v4.COLLECTION}/{session}"
    if session not in cowley_v4.sessions():
        raise RecordingError(f"There is no recording {name!r}. {_known()}")
    files, folder = cowley_v4.sessions()[session], data_root() / cowley_v4.COLLECTION
    for file in files.all():
        _require_published(folder / file.local, file, session)
    averages = np.load(folder / files.averages.local, allow_pickle=False)
    trials = None if files.trials is None else np.load(folder / files.trials.local, allow_pickle=False)
    facts = cowley_v4.FACTS.get(session)
    known: dict[str, Any] = {} if facts is None else {"window_ms": facts.window_ms}
    if facts is not None and facts.repeats.isdecimal():
        known["n_repeats"] = int(facts.repeats)
    return Recording.from_arrays(
        averages.T if trials is None else trials.transpose(1, 0, 2),
        folder / files.images.local,
        stimulus_ids=[f"image{index + 1:04d}" for index in range(averages.shape[1])],
        region="V4",
        size_deg=None if facts is None else facts.size_deg,
        name=name,
        site_coords={"animal": ["unknown" if facts is None else facts.animal] * len(averages)},
        attrs={
            "source": cowley_v4.SOURCE,
            "licence": cowley_v4.LICENCE,
            "response_unit": "spike count per 100 ms",
            "simulated": 0,
            **known,
        },
    )


def _open_majajhong2015() -> Recording:
    from engine.formats.opening import arguments

    folder = data_root() / majajhong2015.COLLECTION
    wrong = [file.name for file in majajhong2015.FILES if not file.is_at(folder / file.name)]
    if wrong:
        raise RecordingError(
            f"{majajhong2015.COLLECTION} is not on this machine: {folder / wrong[0]} is missing or damaged. "
            f"Run: unitscope fetch {majajhong2015.COLLECTION} (or, with files that you have, --from DIR)."
        )
    data, table, images = (folder / file.name for file in majajhong2015.FILES)
    source, licence = majajhong2015.SOURCE, majajhong2015.LICENCE
    found = arguments(data, Given(images, table, name=majajhong2015.COLLECTION, source=source, licence=licence))
    size_deg = majajhong2015.SIZE_DEG if found["size_deg"] is None else found["size_deg"]
    return Recording.from_arrays(
        **found | {"size_deg": size_deg, "attrs": found["attrs"] | {"holds": majajhong2015.HOLDS}}
    )


def _require_published(path: Path, file: cowley_v4.PublishedFile, session: str) -> None:
    fix = f"Run: unitscope fetch {cowley_v4.COLLECTION} {session}"
    if not path.is_file():
        raise RecordingError(f"{cowley_v4.COLLECTION}/{session} is not on this machine: {path} is missing. {fix}")
    found = cowley_v4.sha256_of(path)
    if found != file.sha256:
        raise RecordingError(f"{path} is damaged: expected sha256 {file.sha256}, found {found}. {fix}")


def _known() -> str:
    names = [BUILTIN, *(f"{cowley_v4.COLLECTION}/{session}" for session in cowley_v4.sessions())]
    names.append(majajhong2015.COLLECTION)
    return f"Known names: {', '.join(names)} (real ones need: unitscope fetch); or give the path of a file or folder."


def _builtin_row() -> dict[str, Any]:
    folder = data_root() / BUILTIN
    row = _saved_row(folder) | {"name": BUILTIN}
    status = "not built" if not folder.exists() else row["status"].replace("saved", "built")
    return row | {"status": status}


def _cowley_row(session: str) -> dict[str, Any]:
    facts, files = cowley_v4.FACTS.get(session), cowley_v4.sessions()[session]
    folder = data_root() / cowley_v4.COLLECTION
    is_fetched = all((folder / file.local).is_file() for file in files.all())
    sites, stimuli = (None, None) if facts is None else (facts.n_sites, facts.n_stimuli)
    if is_fetched:
        sites, stimuli = np.load(folder / files.averages.local, mmap_mode="r", allow_pickle=False).shape
    return {
        "name": f"{cowley_v4.COLLECTION}/{session}",
        "region": "V4",
        "sites": sites,
        "stimuli": stimuli,
        "repeats": "" if facts is None else facts.repeats,
        "status": "fetched" if is_fetched else "not fetched",
    }


def _majajhong2015_row() -> dict[str, Any]:
    folder = data_root() / majajhong2015.COLLECTION
    is_fetched = all((folder / file.name).is_file() for file in majajhong2015.FILES)
    return {
        "name": majajhong2015.COLLECTION,
        "region": ", ".join(majajhong2015.SITES),
        "sites": sum(majajhong2015.SITES.values()),
        "stimuli": majajhong2015.N_STIMULI,
        "repeats": "",
        "status": "fetched" if is_fetched else "not fetched",
    }


def _saved_rows() -> list[dict[str, Any]]:
    folders = sorted(path.parent for path in data_root().glob(f"[!.]*/{MANIFEST}"))
    return [_saved_row(folder) for folder in folders if folder.name != BUILTIN]


def _saved_row(folder: Path) -> dict[str, Any]:
    row = {"name": str(folder), "region": "", "sites": None, "stimuli": None, "repeats": "", "status": "damaged"}
    try:
        sizes, regions_found = read_sizes(folder)
    except RecordingError:
        return row
    return row | {
        "region": ", ".join(regions_found),
        "sites": sizes["site"],
        "stimuli": sizes["stimulus"],
        "repeats": str(sizes.get("repeat", "")),
        "status": "saved",
    }
