"""What was recorded: responses of sites to stimuli, with the stimuli themselves, aligned by id and checked.

``Recording.from_arrays`` is the gate: whatever passes it has one id per row on both sides, in one order, and no number
that a correlation could trip over. ``engine.known_recordings`` opens what is on this machine by name.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from engine.descriptions import attributes, coordinates, regions
from engine.errors import RecordingError, StimulusMismatchError
from engine.identifiers import are_related, first_three, require_ids, require_same_ids
from engine.recording_files import write_recording
from engine.responses import averaged_over_repeats, require_responses, response_maps
from engine.stimuli import KEEP_SHARED, Stimuli


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
