"""What is a figure made of, before any look? Marks with a role and plain columns, axes, and what a tap may hit.

A figure module describes itself with the functions below. A mark says what it *is* (``"Match"``, ``"HeldOut"``,
``"Chance"``); how that looks in light, in dark, on the page and on paper stands once, in ``ROLES``. The columns are
named as the page's sources name them, so an update of a figure moves plain arrays and builds nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import holoviews as hv
import numpy as np

Kind = Literal["points", "line", "area", "boxes", "segments", "labels", "image"]
TOKEN: Final = "token"
"""Column of a mark whose rows have colours of their own: names of tokens, in place of "region" and "network"."""
Ticks = Sequence[tuple[float, str]]


@dataclass(frozen=True)
class Role:
    """How marks of one role look: tokens for fill and stroke, sizes in px, opacity (light, dark)."""

    fill: str | None = None
    stroke: str | None = None
    width: float = 1
    size: float = 7
    alpha: tuple[float, float] = (1, 1)
    dash: tuple[int, ...] = ()
    is_behind: bool = False
    is_in_front: bool = False
    """Whether it is painted on a canvas above all others, which alone is painted anew when it moves."""
    font_px: int = 11
    is_bold: bool = False
    align: Literal["left", "center", "right"] = "left"
    baseline: Literal["top", "middle", "bottom"] = "middle"
    offset: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Mark:
    """All marks of one role: their kind and columns; ``token`` where the colour is not the drawing's."""

    kind: Kind
    role: str
    columns: Mapping[str, np.ndarray]
    token: str | None = None
    limits: tuple[float, float] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return next(iter(self.columns.values())).size == 0


@dataclass(frozen=True)
class Axes:
    """Limits, ticks and labels of the frame; px of its borders; ``None`` for a label that is not there."""

    xlim: tuple[float, float]
    ylim: tuple[float, float]
    xticks: Ticks = ()
    yticks: Ticks = ()
    xlabel: str | None = None
    ylabel: str | None = None
    x_token: str = "ink"
    y_token: str = "ink"
    grid: Literal["", "x", "y", "xy"] = "y"
    is_x_on_top: bool = False
    x_turn: int = 0
    """Degrees by which the labels of the x ticks are turned: 0, 45 or 90."""
    tick_px: int = 11
    left: int = 52
    right: int = 16
    top: int = 6
    bottom: int = 44
    is_square: bool = False
    height: int | None = None
    """Height in px that the figure asks for where its rows have a fixed height; else the page decides."""


@dataclass(frozen=True)
class Hit:
    """Which marks answer a tap and show a tooltip: those of ``role``, by their column ``key``."""

    role: str
    tooltip: str = ""
    radius: int = 14
    frame: str = ""
    """Role of the box around the selected mark, where marks are boxes too: it follows a tap before Python answers."""


@dataclass(frozen=True)
class Drawing:
    """One figure as marks on axes; ``colours`` says which tokens "region" and "network" stand for in it."""

    marks: Sequence[Mark]
    axes: Axes
    colours: Mapping[str, str] = field(default_factory=dict)
    hit: Hit | None = None

    def marks_of(self, role: str) -> Mark:
        """Return the mark of a role."""
        return next(mark for mark in self.marks if mark.role == role)


def points(role: str, x: object, y: object, **more: object) -> Mark:
    """Mark positions; ``more`` are columns for tooltips and taps, ``key`` and ``token`` among them."""
    at = np.broadcast_arrays(numbers(x), numbers(y))
    return Mark("points", role, dict(zip("xy", at, strict=True)) | _columns(more))


def line(role: str, x: object, y: object, *, token: str | None = None) -> Mark:
    """Connect positions; NaN lifts the pen. ``token`` in place of the colour of the role."""
    return Mark("line", role, {"x": numbers(x), "y": numbers(y)}, token)


def area(role: str, x: object, low: object, high: object, *, token: str | None = None) -> Mark:
    """Fill between two curves; positions where either is unknown are left out. ``token`` as in ``line``."""
    x, low, high = np.broadcast_arrays(numbers(x), numbers(low), numbers(high))
    known = np.isfinite(low) & np.isfinite(high)
    return Mark("area", role, {"x": x[known], "low": low[known], "high": high[known]}, token)


def boxes(role: str, left: object, bottom: object, right: object, top: object, **more: object) -> Mark:
    """Mark rectangles; those with an unknown edge are left out."""
    edges = np.broadcast_arrays(numbers(left), numbers(bottom), numbers(right), numbers(top))
    known = np.isfinite(edges).all(axis=0)
    columns = dict(zip(("left", "bottom", "right", "top"), edges, strict=True)) | _columns(more)
    return Mark("boxes", role, {name: column[known] for name, column in columns.items()})


def segments(role: str, x0: object, y0: object, x1: object, y1: object, **more: object) -> Mark:
    """Mark straight pieces from (x0, y0) to (x1, y1)."""
    ends = np.broadcast_arrays(numbers(x0), numbers(y0), numbers(x1), numbers(y1))
    return Mark("segments", role, dict(zip(("x0", "y0", "x1", "y1"), ends, strict=True)) | _columns(more))


def labels(role: str, x: object, y: object, text: object) -> Mark:
    """Write text, literally, at positions."""
    written = np.atleast_1d(np.asarray(text, dtype=object))
    x, y, _ = np.broadcast_arrays(numbers(x), numbers(y), np.empty(len(written)))
    return Mark("labels", role, {"x": x, "y": y, "text": written})


def image(
    role: str, values: np.ndarray, bounds: tuple[float, float, float, float], limits: tuple[float, float]
) -> Mark:
    """Colour cells, (y upwards, x), by the ramp of the role; NaN is transparent. Bounds: left, bottom, right, top."""
    return Mark("image", role, {"image": values, "bounds": np.asarray(bounds, dtype=float)}, limits=limits)


def nothing(kind: Kind, role: str) -> Mark:
    """Hold the place of a mark that this state of the figure does not show."""
    names = {"area": ("x", "low", "high"), "boxes": ("left", "bottom", "right", "top")}.get(kind, ("x", "y"))
    names = ("x0", "y0", "x1", "y1") if kind == "segments" else names
    text = {"text": np.empty(0, dtype=object)} if kind == "labels" else {}
    return Mark(kind, role, {name: np.empty(0) for name in names} | text)


def element(mark: Mark) -> hv.Element:
    """Return the HoloViews element of a mark, its role as the element's group."""
    c = mark.columns
    match mark.kind:
        case "points":
            return hv.Points((c["x"], c["y"]), ["x", "y"], group=mark.role)
        case "line":
            return hv.Curve((c["x"], c["y"]), "x", "y", group=mark.role)
        case "area":
            return hv.Area((c["x"], c["high"], c["low"]), "x", ["y", "y2"], group=mark.role)
        case "boxes":
            return hv.Rectangles((c["left"], c["bottom"], c["right"], c["top"]), group=mark.role)
        case "segments":
            return hv.Segments((c["x0"], c["y0"], c["x1"], c["y1"]), group=mark.role)
        case "labels":
            return hv.Labels((c["x"], c["y"], list(c["text"])), ["x", "y"], "text", group=mark.role)
        case "image":
            value = hv.Dimension("z", range=mark.limits or (None, None))  # else an image without a cell warns
            return hv.Image(c["image"][::-1], bounds=tuple(c["bounds"]), vdims=value, group=mark.role)


def numbers(values: object) -> np.ndarray:
    """Return float64, at least one-dimensional."""
    return np.atleast_1d(np.asarray(values, dtype=np.float64))


def _columns(more: Mapping[str, object]) -> dict[str, np.ndarray]:
    return {name: np.atleast_1d(np.asarray(values)) for name, values in more.items()}


_NOTE: Final = Role(fill="text2", align="right")
_OPEN: Final = Role(fill="paper", stroke="region", width=1.25, size=7)

ROLES: Final[Mapping[str, Role]] = {
    # every figure
    "Zero": Role(stroke="axis", width=1),
    "Chance": Role(fill="band", is_behind=True),
    "ChanceHeldOut": Role(fill="band2", is_behind=True),
    "ChanceEdge": Role(stroke="control", width=1.25, dash=(4, 3)),
    "ChanceNote": Role(fill="text2", align="right", offset=(-6, 0)),
    "SelectionHalo": Role(stroke="paper", width=5, size=17, is_in_front=True),
    "Selection": Role(stroke="ink", width=2, size=17, is_in_front=True),
    "SelectedRow": Role(fill="ink", alpha=(0.09, 0.13), is_in_front=True),
    "Hit": Role(fill="ink", alpha=(0, 0)),
    "Identity": Role(stroke="axis", width=1, dash=(2, 3)),
    "IdentityNote": Role(fill="text2", align="right", baseline="bottom", offset=(-2, -2)),
    "ChanceNoteTop": Role(fill="text2", align="left", baseline="top", offset=(6, 4)),
    "RowLabel": Role(fill="text2", font_px=11, align="right"),
    "RowLabelCover": Role(fill="paper", is_in_front=True),
    "RowLabelSelected": Role(fill="ink", font_px=11, is_bold=True, align="right", is_in_front=True),
    # a region's sites
    "Match": Role(fill="region", size=7),
    "MatchSelected": Role(fill="ink", size=7),
    "MatchStem": Role(stroke="region", width=1, alpha=(0.3, 0.35), is_behind=True),
    "CellSelected": Role(stroke="ink", width=2, is_in_front=True),
    "CellMarked": Role(stroke="ink", width=1),
    "MatchLine": Role(stroke="region", width=2),
    "HeldOut": _OPEN,
    "HeldOutLine": Role(stroke="region", width=1.25, alpha=(0.75, 0.75)),
    "HeldOutDense": Role(fill="paper", stroke="region", width=1.25, size=6),
    "HeldOutSmall": Role(fill="paper", stroke="region", width=1.25, size=5),
    "MatchDense": Role(fill="region", size=6),
    "MatchToHeldOut": Role(stroke="region", width=1.25, alpha=(0.55, 0.55)),
    "Quartiles": Role(fill="region", alpha=(0.1, 0.12), is_behind=True),
    "Ceiling": Role(stroke="text3", width=1.5),
    "CeilingStem": Role(stroke="line", width=1.5, is_behind=True),
    "Site": Role(fill="region", stroke="paper", width=0.75, size=8, alpha=(0.75, 0.75)),
    # the scatter of responses
    "Image": Role(fill="ink", size=5, alpha=(0.26, 0.32)),
    "LayerNote": Role(fill="ink", align="left", baseline="bottom", offset=(10, -8)),
    "LayerNoteLeft": Role(fill="ink", align="right", baseline="bottom", offset=(-10, -8)),
    "Slope": Role(stroke="ink", width=1.25, alpha=(0.8, 0.8)),
    "SlopeNote": Role(fill="ink", align="right", baseline="bottom", offset=(-4, -5)),
    "SlopeNoteBelow": Role(fill="ink", align="right", baseline="top", offset=(-4, 6)),
    "SilentNote": Role(fill="text2", align="right", baseline="top", offset=(-4, 5)),
    "SiteFavourite": Role(stroke="region", width=1.5, size=8),
    "UnitFavourite": Role(stroke="network", width=1.5, size=12),
    # networks
    "NetworkMatch": Role(fill="network", size=9),
    "NetworkHeldOut": Role(fill="paper", stroke="network", width=1.5, size=9),
    "LayerMatch": Role(fill="network", size=6.5),
    "LayerHeldOut": Role(fill="paper", stroke="network", width=1.5, size=6.5),
    "NetworkInterval": Role(stroke="network", width=3, alpha=(0.45, 0.5)),
    "LayerInterval": Role(stroke="network", width=2.5, alpha=(0.45, 0.5)),
    "HeldOutInterval": Role(stroke="network", width=1.25, alpha=(0.75, 0.75)),
    "NetworkQuartiles": Role(fill="network", alpha=(0.13, 0.16), is_behind=True),
    "NetworkLine": Role(stroke="network", width=2),
    "NetworkHeldOutLine": Role(stroke="network", width=1.25, alpha=(0.75, 0.75)),
    "NetworkSite": Role(fill="network", size=6),
    "NetworkSiteHeldOut": Role(fill="paper", stroke="network", width=1.5, size=6.5),
    "NetworkName": Role(fill="ink", font_px=12, is_bold=True),
    "LayerName": Role(fill="text2", font_px=11, offset=(14, 0)),
    "PointName": Role(fill="ink", font_px=11, align="left", offset=(13, 0)),
    "PointNameLeft": Role(fill="ink", font_px=11, align="right", offset=(-13, 0)),
    "Numbers": Role(fill="text2", font_px=11, align="right"),
    "Units": Role(fill="network", alpha=(0.24, 0.3)),
    "UnitsOutline": Role(stroke="network", width=1.5),
    "ImageEdge": Role(stroke="line", width=1),
    "UnitPosition": Role(fill="network", stroke="paper", width=0.75, size=8, alpha=(0.65, 0.65)),
    "Pin": Role(stroke="ink", width=1.5),
    "PinHead": Role(fill="ink", size=7),
    "PinNoteLeft": Role(fill="ink", align="right", offset=(-8, 0)),
    "PinNoteRight": Role(fill="ink", align="left", offset=(8, 0)),
    "Basis": Role(fill="region"),
    "BasisRotated": Role(fill="region", alpha=(0.45, 0.5)),
    "BasisStandardised": Role(fill="region", alpha=(0.25, 0.3)),
    "BasisHeldOut": Role(fill="paper", stroke="region", width=2),
    "BasisRotatedHeldOut": Role(fill="paper", stroke="region", width=1.25),
    "BasisStandardisedHeldOut": Role(fill="paper", stroke="region", width=1.25, dash=(3, 2)),
    "BasisError": Role(stroke="ink", width=1.25),
    "BasisValue": Role(fill="text2", font_px=10, align="center", baseline="bottom", offset=(0, -3)),
    # all units, and all feature maps
    "UnitDensity": Role(fill="network"),
    "MapCorrelation": Role(fill="region"),
    "MapMatch": Role(stroke="ink", width=1.25, size=7),
    "LayerEdge": Role(stroke="grid", width=1),
    "SelectedLayer": Role(fill="ink", alpha=(0.05, 0.08)),
    "UnitMatch": Role(fill="network", stroke="paper", width=1.25, size=10),
    "UnitName": Role(fill="ink", align="left", offset=(13, 0)),
    "UnitNameLeft": Role(fill="ink", align="right", offset=(-13, 0)),
    "ChanceNoteAbove": Role(fill="text2", align="right", baseline="bottom", offset=(-4, -3)),
    # notes in a frame
    "Note": Role(fill="text2", align="left"),
    "NoteRight": _NOTE,
    "NoteInk": Role(fill="ink", align="left"),
    "NoteInkRight": Role(fill="ink", align="right"),
    # the runner-ups
    "Counts": Role(fill="region", is_behind=False),
    "Step": Role(stroke="ink", width=1.5),
    "RowFrame": Role(stroke="text3", width=1),
    "ScaleBar": Role(fill="region"),
    "ScaleNote": Role(fill="text2", align="left", offset=(5, 0)),
    "ToHeldOut": Role(stroke="network", width=1.25, alpha=(0.55, 0.55)),
    "IntervalX": Role(stroke="network", width=3, alpha=(0.3, 0.35)),
    "IntervalY": Role(stroke="network", width=3, alpha=(0.3, 0.35)),
    "ChanceX": Role(fill="band", is_behind=True),
    "ChanceY": Role(fill="band", is_behind=True),
    "ControlQuartiles": Role(fill="control", alpha=(0.1, 0.12), is_behind=True),
    "ControlLine": Role(stroke="control", width=2),
    "Control": Role(fill="control", size=7),
    "ControlHeldOutLine": Role(stroke="control", width=1.25, alpha=(0.75, 0.75)),
    "ControlHeldOut": Role(fill="paper", stroke="control", width=1.25, size=7),
    "ControlSite": Role(fill="control", size=5),
    "NetworkLayerDense": Role(fill="network", size=5),
    "NetworkLayerHeldOutDense": Role(fill="paper", stroke="network", width=1.25, size=5),
    "NetworkLayer": Role(fill="network", size=7),
    "NetworkLayerHeldOut": Role(fill="paper", stroke="network", width=1.25, size=7),
    "BarError": Role(stroke="ink", width=1.25),
    # bars of a network, and notes
    "NetworkBar": Role(fill="network"),
    "NetworkBarFaint": Role(fill="network", alpha=(0.35, 0.4)),
    "BarInset": Role(fill="control", stroke="paper", width=1),
    "BarHeading": Role(fill="ink", font_px=11),
    "LineNote": Role(fill="region", align="left"),
    "PanelTitle": Role(fill="ink", font_px=11, align="center", baseline="bottom", offset=(0, -4)),
    "PanelTitleBold": Role(fill="ink", font_px=12, is_bold=True, align="left", baseline="bottom", offset=(0, -4)),
}
"""Role -> look. "region" and "network" are resolved by the drawing or the mark, every other colour is a token."""
