"""Where in an image does a unit look, and where its site? Stored fields as outlines on the thumbnail."""

from dataclasses import dataclass
from typing import Any, cast
from weakref import WeakKeyDictionary

import numpy as np
import xarray as xr
from contourpy import LineType, contour_generator

from dashboard.results import Chosen
from dashboard.runs import OpenRun
from engine.analyses.physiological_fields import LEVEL
from engine.analyses.receptive_fields import DEGREES, DRIVING, INPUT

GROUP = "receptive_fields"
FAINTEST = 0.02
"""Of the peak of the energy: the outline of a field."""
_SMOOTHING = 0.3
"""SD of the kernel that an outline is drawn after, in SDs of the field: gradients of a few images are ragged."""
_LEAST_RADIUS, _LARGEST_RADIUS = 0.03, 0.5
"""Of the circle that shows a field, in sides of the thumbnail."""

Outline = tuple[np.ndarray, ...]
"""Lines of (point, 2): x to the right and y down from the upper left corner, in sides of the thumbnail."""


@dataclass(frozen=True, eq=False)
class UnitField:
    """What a unit sees of an image."""

    outline: Outline
    """Where its energy is 2 % of the peak; the theoretical field where there is no gradient."""
    ellipse: np.ndarray
    """One SD of the energy; without points where there is no gradient."""
    centre: tuple[float, float]
    """Of the circle around the outline, as ``Outline`` says."""
    radius: float
    facts: dict[str, Any]
    """``x``, ``y``, ``sd``, ``box`` (width, height) in the unit of length; ``start``, ``live``, ``n_starts``."""

    @property
    def is_theoretical(self) -> bool:
        """Whether it is all that the unit can see, not what it looks at."""
        return not self.ellipse.size


@dataclass(frozen=True, eq=False)
class Sight:
    """Fields of a unit and of its site, or why there is none."""

    unit: UnitField | None
    why_not: str = ""
    site: Outline = ()
    site_facts: dict[str, float] | None = None
    """``distance`` to the unit's centre and ``energy_inside``, where both are known."""
    unit_of_length: str = ""
    side: float = np.nan
    """Of the thumbnail, in that unit."""


def sight_of(chosen: Chosen) -> Sight | None:
    """Return the fields of the chosen unit and site; None where the run has none."""
    if not chosen.run.has(GROUP):
        return None
    fields = _FIELDS.get(chosen.run)
    if fields is None:
        fields = _FIELDS.setdefault(chosen.run, _Fields(chosen.run))
    return fields.sight(chosen)


class _Fields:
    """The fields of one run as plain arrays; outlines are made once."""

    def __init__(self, run: OpenRun) -> None:
        found = run.dataset(GROUP)
        self._found = {name: found[name].values for name in found.data_vars}
        self._starts = [str(name) for name in found["start"].values]
        self._row = {str(site): k for k, site in enumerate(found["site"].values)}
        self._unit_of_length = str(found.attrs["unit_of_length"])
        self._y, self._x = found["field_y"].values, found["field_x"].values
        self._size = _extent(self._y), _extent(self._x)
        self.side = max(self._size)
        self._units: dict[int, UnitField] = {}
        self._places = _places_of(run.dataset("matches"), list(self._row))

    def sight(self, chosen: Chosen) -> Sight:
        if self._unit_of_length == INPUT:
            why = "Fields are known in pixels of the network's input only, so they cannot be placed on the image."
            return Sight(None, why)
        row = self._row_of(chosen)
        field = None if row is None else self._unit(row)
        why = "" if field is not None else self._why_not(chosen)
        own = self._row[chosen.site]
        facts = self._fit(own) if row == own and field is not None else None
        return Sight(field, why, self._site(own), facts, self._unit_of_length, self.side)

    def _row_of(self, chosen: Chosen) -> int | None:
        """The site whose match the unit is; for a runner-up with no gradient, one whose match sees the same."""
        own = self._row[chosen.site]
        if chosen.rank == 0:
            return own if self._found["layer"][own] else None
        place = _places_of(chosen.run.dataset("matches"), [chosen.site], chosen.rank)[0]
        units = [k for k, other in enumerate(self._places) if other == place and place[0]]
        return units[0] if units else None

    def _why_not(self, chosen: Chosen) -> str:
        if not chosen.run.layer_of(chosen.site, chosen.rank):
            return "Without a match there is no unit, and no field."
        return "Gradients were taken for the match of every site; this runner-up is no site's match."

    def _unit(self, row: int) -> UnitField:
        if row not in self._units:
            self._units[row] = self._gradient(row) or self._theoretical(row)
        return self._units[row]

    def _gradient(self, row: int) -> UnitField | None:
        live = self._found["live"][:, row]
        order = sorted(range(len(live)), key=lambda k: self._starts[k] != DRIVING)
        start = next((k for k in order if live[k] > 0), None)
        if start is None:
            return None
        energy = self._found["rms"][start, row].astype(np.float64) ** 2
        major, minor, angle, y, x = (
            float(self._found[name][start, row])
            for name in ("sd_major", "sd_minor", "angle", "centroid_y", "centroid_x")
        )
        sd = float(np.sqrt(major * minor))
        smooth = _smoothed(energy, _SMOOTHING * sd / (self._size[0] / len(self._y)))
        outline = self._lines(smooth, FAINTEST * smooth.max(), is_closed=True)
        turn = np.linspace(0, 2 * np.pi, 49)
        u, v = major * np.cos(turn), minor * np.sin(turn)
        ellipse = self._on_image(x + u * np.cos(angle) - v * np.sin(angle), y + u * np.sin(angle) + v * np.cos(angle))
        facts = {"start": self._starts[start], "live": int(live[start]), "sd": sd, "x": x, "y": y}
        return _circled(outline, ellipse, {**facts, "n_starts": int(self._found["n_starts"][start]), **self._box(row)})

    def _theoretical(self, row: int) -> UnitField:
        left, right, top, bottom = (float(self._found[f"box_{side}"][row]) for side in _SIDES)
        around = self._on_image(np.array([left, right, right, left, left]), np.array([top, top, bottom, bottom, top]))
        centre = {"x": (left + right) / 2, "y": (top + bottom) / 2}
        return _circled((around,), np.empty((0, 2)), {**centre, **self._box(row)})

    def _box(self, row: int) -> dict[str, Any]:
        left, right, top, bottom = (float(self._found[f"box_{side}"][row]) for side in _SIDES)
        return {"box": (right - left, top - bottom)}

    def _site(self, row: int) -> Outline:
        density = self._found.get("density")
        if density is None or not np.isfinite(density[row]).all():
            return ()
        values = density[row].astype(np.float64)
        return self._lines(values, LEVEL * values.max())

    def _fit(self, row: int) -> dict[str, float] | None:
        if "distance" not in self._found:
            return None
        start = self._starts.index(self._unit(row).facts.get("start", DRIVING))
        fit = {name: float(self._found[name][start, row]) for name in ("distance", "energy_inside")}
        return fit if np.isfinite(list(fit.values())).all() else None

    def _lines(self, values: np.ndarray, level: float, *, is_closed: bool = False) -> Outline:
        """Contours; closed ones run along the image's edge where a field goes beyond it."""
        y, x = self._y, self._x
        if is_closed:
            values = np.pad(values, 1)
            y, x = _widened(y), _widened(x)
        lines = cast("list[np.ndarray]", contour_generator(x, y, values, line_type=LineType.Separate).lines(level))
        return tuple(self._on_image(line[:, 0], line[:, 1]) for line in lines)

    def _on_image(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Positions from the image's centre as shares of the thumbnail, which is square, cut at the image's edge."""
        height, width = self._size
        x, y = np.clip(x, -width / 2, width / 2), np.clip(y, -height / 2, height / 2)
        return np.stack([0.5 + x / self.side, 0.5 - y / self.side], axis=1)


_FIELDS: "WeakKeyDictionary[OpenRun, _Fields]" = WeakKeyDictionary()
_SIDES = ("left", "right", "top", "bottom")


def same_length(unit: str) -> str:
    """Return what follows a length: "°", or the name of the unit."""
    return "°" if unit == DEGREES else f" {unit}"


def _circled(outline: Outline, ellipse: np.ndarray, facts: dict[str, Any]) -> UnitField:
    points = np.concatenate(outline)
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    radius = float(np.hypot(*(points - centre).T).max())
    return UnitField(
        outline,
        ellipse,
        (float(centre[0]), float(centre[1])),
        min(max(radius, _LEAST_RADIUS), _LARGEST_RADIUS),
        facts,
    )


def _places_of(matches: xr.Dataset, sites: list[str], rank: int = 0) -> list[tuple[str, int]]:
    """Layer and unit of each site's unit of that rank."""
    one = matches[["layer", "unit"]].isel(rank=rank).sel(site=sites)
    return [(str(layer), int(unit)) for layer, unit in zip(one["layer"].values, one["unit"].values, strict=True)]


def _extent(centres: np.ndarray) -> float:
    """Size of a grid of equal cells; 1 for a single cell."""
    n = len(centres)
    return float(abs(centres[-1] - centres[0]) * n / (n - 1)) if n > 1 else 1.0


def _widened(centres: np.ndarray) -> np.ndarray:
    """Add a cell at both ends."""
    step = centres[1] - centres[0]
    return np.concatenate([[centres[0] - step], centres, [centres[-1] + step]])


def _smoothed(values: np.ndarray, sd: float) -> np.ndarray:
    """Blur (y, x) by a Gaussian of ``sd`` cells; what leaves the image comes back at its edge."""
    blurred = values
    for axis in (0, 1):
        at = np.arange(values.shape[axis])
        kernel = np.exp(-((at[:, None] - at) ** 2) / (2 * max(sd, 1e-3) ** 2))
        kernel /= kernel.sum(axis=0)
        blurred = np.moveaxis(np.tensordot(kernel, blurred, (1, axis)), 0, axis)
    return blurred
