"""How is a figure had in a few milliseconds? HoloViews renders one mark of each kind, and all others are copies.

Rendering a figure takes a fifth of a second, several for each page, and the server's loop stands still meanwhile.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final

import holoviews as hv
import holoviews.plotting.bokeh  # registers the renderer
import numpy as np
from bokeh.core.has_props import HasProps
from bokeh.model import Model
from bokeh.models.filters import AllIndices
from bokeh.models.renderers import GlyphRenderer
from bokeh.models.selections import UnionRenderers

from dashboard.figures.marks import (
    Drawing,
    Kind,
    Mark,
    area,
    boxes,
    element,
    image,
    labels,
    line,
    points,
    segments,
)

_SAMPLES: Final[Mapping[Kind, Mark]] = {
    "points": points("Match", [0, 1], [0, 1]),
    "line": line("MatchLine", [0, 1], [0, 1]),
    "area": area("Quartiles", [0, 1], [0, 0], [1, 1]),
    "boxes": boxes("Basis", [0], [0], [1], [1]),
    "segments": segments("CeilingStem", [0], [0], [1], [1]),
    "labels": labels("Note", [0], [0], ["note"]),
    "image": image("Counts", np.zeros((1, 1)), (0, 0, 1, 1), (0, 1)),
}
"""One mark of each kind: what shows it is the same for all columns."""

_BARE: Final[Mapping[str, Any]] = {
    "toolbar": None,
    "default_tools": [],
    "show_grid": True,
    "show_legend": False,
    "apply_ranges": False,
}
_STATELESS: Final = (AllIndices, UnionRenderers)
"""Models that hold nothing: one of each serves all marks of a figure."""
_BOKEH = hv.renderer("bokeh").instance(theme=None)  # theme=None: else HoloViews replaces the document's theme


@dataclass(frozen=True)
class Part:
    """What shows one mark of a figure."""

    renderer: GlyphRenderer

    @property
    def glyph(self) -> Any:
        """Its shape and look."""
        return self.renderer.glyph

    @property
    def source(self) -> Any:
        """Its columns."""
        return self.renderer.data_source


def page_options(width: int | None, height: int) -> dict[str, Any]:
    """Return what HoloViews is told of a figure on the page; ``width=None`` fills the width of its place."""
    size = {"width": width} if width else {"responsive": True}
    return {**size, **_BARE, "height": height}


def rendered(drawing: Drawing, width: int | None, height: int) -> tuple[Any, list[Part]]:
    """Return a Bokeh figure of its own with the marks of a drawing, bottom first; without their columns and look."""
    figure = _bare_figure(width, height).copy()
    shared: dict[type[Model], Model] = {}
    parts = [Part(_renderer(mark.kind).copy(shared)) for mark in drawing.marks]
    figure.renderers = [part.renderer for part in parts]
    return figure, parts


def warm() -> None:
    """Render what all figures are copied from."""
    for kind in _SAMPLES:
        _renderer(kind)


class _Original:
    """A model to copy: of it and all that it refers to the class and what was set, those first that others refer to."""

    def __init__(self, model: Model) -> None:
        self._models: list[tuple[type[Model], dict[str, Any]]] = []
        self._add(model, {})

    def copy(self, shared: dict[type[Model], Model] | None = None) -> Any:
        """Return a copy; models without state are taken from ``shared``, and put there by the first that has them."""
        shared = {} if shared is None else shared
        copies: list[Any] = []
        for kind, properties in self._models:
            one = shared.get(kind)
            if one is None:
                one = kind.__new__(kind)  # without what the class itself sets at first, as when Bokeh reads a document
                HasProps.__init__(one, **{name: _filled(value, copies) for name, value in properties.items()})
            if kind in _STATELESS:
                shared[kind] = one
            copies.append(one)
        return copies[-1]

    def _add(self, model: Model, places: dict[Model, int]) -> "_Reference":
        if model not in places:
            values = model.properties_with_values(include_defaults=False)
            properties = {name: self._referring(value, places) for name, value in values.items()}
            places[model] = len(self._models)
            self._models.append((type(model), properties))
        return _Reference(places[model])

    def _referring(self, value: Any, places: dict[Model, int]) -> Any:
        if isinstance(value, Model):
            return self._add(value, places)
        if isinstance(value, dict):
            return {key: self._referring(item, places) for key, item in value.items()}
        return [self._referring(item, places) for item in value] if isinstance(value, list) else value


@dataclass(frozen=True)
class _Reference:
    """The model at that place."""

    place: int


def _filled(value: Any, copies: Sequence[Any]) -> Any:
    if isinstance(value, _Reference):
        return copies[value.place]
    if isinstance(value, dict):
        return {key: _filled(item, copies) for key, item in value.items()}
    return [_filled(item, copies) for item in value] if isinstance(value, list) else value


@lru_cache(maxsize=100)
def _bare_figure(width: int | None, height: int) -> _Original:
    figure = _plot("points", width, height).state
    figure.update(tools=[], renderers=[])
    return _Original(figure)


@cache
def _renderer(kind: Kind) -> _Original:
    (part,) = _plot(kind, None, 100).subplots.values()
    renderer = part.handles["glyph_renderer"]
    renderer.data_source.data = {}
    renderer.update(nonselection_glyph=None, selection_glyph=None, muted_glyph=None, hover_glyph=None)
    return _Original(renderer)


def _plot(kind: Kind, width: int | None, height: int) -> Any:
    overlay = hv.Overlay([element(_SAMPLES[kind])])
    return _BOKEH.get_plot(overlay.opts(**page_options(width, height), backend="bokeh"))
