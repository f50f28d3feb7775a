"""What was recorded: responses of sites to stimuli, with the stimuli themselves, aligned by id and checked.

``Recording.from_arrays`` is the gate: whatever passes it has one id per row on both sides, in one order, and no number
that a correlation could trip over. ``open_recording`` opens what is on this machine by name.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import platformdirs
import xarray as xr

from engine import cowley_v4
from engine.descriptions import attributes, coordinates, regions
from engine.errors import RecordingError, StimulusMismatchError
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


def open_recording(name: str | os.PathLike[str]) -> Recording:
    """Open a recording by name (``list_recordings`` has them), or one that was saved, by the path of its folder.

    Parameters
    ----------
    name
        "builtin" (simulated; built on first use), "cowley-v4/SESSION" (after ``unitscope fetch``), or a path.

    Raises
    ------
    RecordingError
        If there is no such recording on this machine, or its files are damaged.
    """
    if str(name) == BUILTIN:
        from engine.world import open_world

        return open_world()
    collection, _, session = str(name).partition("/")
    if collection == cowley_v4.COLLECTION:
        return _open_cowley(session)
    path = Path(name).expanduser()
    if (path / MANIFEST).is_file():
        return Recording(*read_recording(path))
    if path.exists():
        raise RecordingError(
            f"{path} is no saved recording: it has no {MANIFEST}. "
            "Make one with Recording.from_arrays(responses, images, stimulus_ids=...).save(path)."
        )
    raise RecordingError(f"There is no recording {str(name)!r}. {_known()}")


def list_recordings() -> pd.DataFrame:
    """Return what can be opened or fetched, without opening anything.

    Returns
    -------
    pd.DataFrame
        ``name`` (for ``open_recording``), ``region``, ``sites``, ``stimuli`` (missing if unknown before it is fetched),
        ``repeats`` (text, "" if unknown), ``status``: built, not built, fetched, not fetched, saved, damaged.
    """
    rows = [_builtin_row(), *map(_cowley_row, cowley_v4.sessions()), *_saved_rows()]
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


def _require_published(path: Path, file: cowley_v4.PublishedFile, session: str) -> None:
    fix = f"Run: unitscope fetch {cowley_v4.COLLECTION} {session}"
    if not path.is_file():
        raise RecordingError(f"{cowley_v4.COLLECTION}/{session} is not on this machine: {path} is missing. {fix}")
    found = cowley_v4.sha256_of(path)
    if found != file.sha256:
        raise RecordingError(f"{path} is damaged: expected sha256 {file.sha256}, found {found}. {fix}")


def _known() -> str:
    names = [BUILTIN, *(f"{cowley_v4.COLLECTION}/{session}" for session in cowley_v4.sessions())]
    return f"Known names: {', '.join(names)} (real ones need: unitscope fetch); or give the path of a saved recording."


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
