"""What was recorded: responses of sites to stimuli, with the stimuli themselves, aligned by id and checked.

``Recording.from_arrays`` is the gate: whatever passes it has one id per row on both sides, in one order, and no number
that a correlation could trip over. ``open_recording`` opens what is on this machine by name.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import platformdirs
import xarray as xr

from engine import cowley_v4, majajhong2015
from engine.descriptions import attributes, coordinates, regions
from engine.errors import RecordingError, StimulusMismatchError
from engine.formats.given import Given
from engine.identifiers import are_related, first_three, require_ids, require_same_ids
from engine.recording_files import MANIFEST, read_recording, read_sizes, write_recording
from engine.responses import averaged_over_repeats, require_responses, response_maps
from engine.stimuli import KEEP_SHARED, Stimuli

BUILTIN: Final = "builtin"


@dataclass(frozen=True, eq=False, repr=False)
class Recording:
    """Responses of recorded sites to stimuli, and the stimuli.

    Attributes
    ----------
    data
        ``response`` (stimulus, site) float64, NaN = missing; where there are trials ``trials`` (stimulus, site,
        repeat), NaN = not shown; where there are maps ``rf_map`` (site, rf_y, rf_x), coordinates in degrees. On site:
        ``region`` and what else is known; on stimulus: ``category``, ``object``, ... Attributes: ``name``, ``source``,
        ``licence``, ``window_ms``, ``response_unit`` ("unknown" where nobody said), ``size_deg`` (NaN if unknown),
        ``simulated`` (0 or 1), ``n_repeats`` where known.
    stimuli
        Ids in the order of ``data``, and pixels.
    """

    data: xr.Dataset
    stimuli: Stimuli

    def __post_init__(self) -> None:
        names = require_ids(self.data["stimulus"], "stimulus", self.name)
        require_ids(self.data["site"], "site", self.name)
        require_same_ids(names, self.stimuli.ids, expected_in=self.name, found_in="its stimuli", fix=KEEP_SHARED)
        if names != self.stimuli.ids:
            object.__setattr__(self, "stimuli", self.stimuli.select(names))
        require_responses(self.data)

    @property
    def name(self) -> str:
        """Name under which results are listed."""
        return str(self.data.attrs["name"])

    def __repr__(self) -> str:
        sizes, regions_found = self.data.sizes, np.unique(self.data["region"].values)
        return (
            f"<Recording {self.name!r}: {sizes['stimulus']} stimuli, {sizes['site']} sites, {', '.join(regions_found)}>"
        )

    @classmethod
    def from_arrays(
        cls,
        responses: Any,
        images: Any,
        *,
        stimulus_ids: Sequence[str],
        site_ids: Sequence[str] | None = None,
        region: str | Sequence[str] | None = None,
        size_deg: float | None = None,
        name: str = "unnamed",
        site_coords: Mapping[str, Any] | None = None,
        stimulus_coords: Mapping[str, Any] | None = None,
        rf_map: xr.DataArray | None = None,
        attrs: Mapping[str, Any] | None = None,
    ) -> "Recording":
        """Return a recording made of arrays, or say what is wrong with them.

        Parameters
        ----------
        responses
            (stimulus, site), or (stimulus, site, repeat), in any unit; NaN (or masked) = missing. ``response`` is the
            mean over the repeats that were shown, in float64; single trials are kept as float32 if that loses nothing.
            A site that never varies is allowed: it has no match, its correlations are NaN.
        images
            uint8 array (stimulus, height, width[, 3]) in the order of ``stimulus_ids``; or a folder or a zip whose
            files are called as the ids; or a list of paths; or ``Stimuli``. Paths whose names are the ids are taken by
            name, in any order; paths with entirely other names by position.
        stimulus_ids
            Names of the stimuli, in the order of ``responses``.
        site_ids
            Names of the sites, in the order of ``responses``; None: ``site00``, ``site01``, ...
        region
            Area of each site, or of all; None: "unknown".
        size_deg
            Width of a stimulus as shown, in degrees of visual angle.
        name
            Name under which results are listed.
        site_coords, stimulus_coords
            What else is known of each site (``animal``, ...) or stimulus (``category``, ``object``, ...): text or
            numbers by name, in the order of the ids.
        rf_map
            Receptive-field maps (site, rf_y, rf_x) with coordinates ``site`` (ids, in any order) and ``rf_y``, ``rf_x``
            (degrees from the fixation point).
        attrs
            ``source``, ``licence``, ``window_ms`` ("50-150"), ``response_unit``, ``simulated``, ``n_repeats``, and
            whatever else JSON can hold.

        Raises
        ------
        StimulusMismatchError
            If responses, ids and images do not name the same stimuli.
        RecordingError
            If ids are not text or not unique, responses are infinite, a site has fewer than three of them, a stimulus
            none, or a coordinate, a map or an attribute does not fit.
        """
        response, trials = averaged_over_repeats(responses)
        n_stimuli, n_sites = response.shape
        stimulus_names = require_ids(stimulus_ids, "stimulus", "stimulus_ids")
        if len(stimulus_names) != n_stimuli:
            raise StimulusMismatchError(_wrong_length(len(stimulus_names), "stimulus_ids", response.shape, 0))
        site_names = require_ids(_numbered(n_sites) if site_ids is None else site_ids, "site", "site_ids")
        if len(site_names) != n_sites:
            raise RecordingError(_wrong_length(len(site_names), "site_ids", response.shape, 1))
        data = xr.Dataset(
            {"response": (("stimulus", "site"), response)},
            coords={
                "stimulus": np.array(stimulus_names),
                "site": np.array(site_names),
                "region": ("site", regions(region, n_sites)),
                **coordinates(site_coords, "site", n_sites),
                **coordinates(stimulus_coords, "stimulus", n_stimuli, site_coords or ()),
            },
            attrs=attributes(attrs, name, size_deg, trials),
        )
        if trials is not None:
            data["trials"] = (("stimulus", "site", "repeat"), trials)
        if rf_map is not None:
            data["rf_map"] = response_maps(rf_map, site_names)
        return cls(data, _stimuli(images, stimulus_names))

    def select(
        self, stimuli: Sequence[str] | None = None, sites: Sequence[str] | None = None, *, name: str | None = None
    ) -> "Recording":
        """Return a recording of the stimuli and sites with these ids, in that order; None keeps all.

        Parameters
        ----------
        name
            Name of the result; None: this one's, with the counts.

        Raises
        ------
        RecordingError
            If an id is unknown or named twice, or too few responses remain.
        """
        selected = self.stimuli if stimuli is None else self.stimuli.select(stimuli)
        site_names = require_ids(self.data["site"] if sites is None else sites, "site", "selection")
        unknown = sorted(set(site_names) - set(self.data["site"].values.tolist()))
        if unknown:
            raise RecordingError(f"{self.name} has no site {first_three(unknown)}; see recording.data.site.")
        data = self.data.sel(stimulus=list(selected.ids), site=list(site_names))
        counts = f"[{data.sizes['stimulus']} stimuli, {data.sizes['site']} sites]"
        return Recording(data.assign_attrs(name=name or f"{self.name}{counts}"), selected)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write responses and images to the new folder ``path`` and return it; ``open_recording`` reads it back.

        Raises
        ------
        RecordingError
            If there is something at ``path`` already, it cannot be written, or an image cannot be decoded.
        """
        return write_recording(Path(path).expanduser(), self.data, self.stimuli)


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
        if str(path.parent) in str(error):
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


def _numbered(n_sites: int) -> list[str]:
    return [f"site{index:02d}" for index in range(n_sites)]


def _wrong_length(n_names: int, what: str, shape: tuple[int, ...], axis: int) -> str:
    hint = " If it is (site, stimulus), give responses.T." if shape[1 - axis] == n_names else " Give one id for each."
    return f"{what} names {n_names}, responses has {shape[axis]} along that axis (stimulus, site = {shape}).{hint}"


def _stimuli(images: Any, names: tuple[str, ...]) -> Stimuli:
    if isinstance(images, Stimuli):
        require_same_ids(names, images.ids, expected_in="stimulus_ids", found_in="images", fix=KEEP_SHARED)
        return images.select(names)
    if isinstance(images, str | os.PathLike):
        path = Path(images).expanduser()
        return Stimuli.from_folder(path, names) if path.is_dir() else Stimuli.from_zip(path, names)
    if isinstance(images, Sequence) and images and all(isinstance(path, str | os.PathLike) for path in images):
        return _listed_stimuli(images, names)
    return Stimuli.from_array(images, names)


def _listed_stimuli(paths: Sequence[str | os.PathLike[str]], names: tuple[str, ...]) -> Stimuli:
    stems = [Path(path).stem for path in paths]
    if set(stems) != set(names) and not are_related(stems, names):
        return Stimuli.from_paths(paths, names)
    fix = f"{KEEP_SHARED} To pair files of other names with ids by hand: images=Stimuli.from_paths(paths, ids)."
    require_same_ids(names, stems, expected_in="stimulus_ids", found_in="images", fix=fix)
    return Stimuli.from_paths(paths).select(names)


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
