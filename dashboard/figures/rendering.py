"""How is a figure had in a few milliseconds? HoloViews renders one of each make, and all others are copies of it.

Rendering takes a fifth of a second, several for each page that is opened, and the server's loop stands still meanwhile.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import holoviews as hv
import holoviews.plotting.bokeh  # registers the renderer
from bokeh.core.has_props import HasProps
from bokeh.model import Model
from bokeh.models.renderers import GlyphRenderer

from dashboard.figures.look import overlay_of
from dashboard.figures.marks import Drawing

_MOST_MAKES: Final = 100
_BARE: Final[Mapping[str, Any]] = {
    "toolbar": None,
    "default_tools": [],
    "show_grid": True,
    "show_legend": False,
    "apply_ranges": False,
}
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
    make = tuple(mark.kind for mark in drawing.marks), width, height
    if make not in _makes:
        _makes[make] = _Make.of(drawing, width, height)
        while len(_makes) > _MOST_MAKES:
            _makes.popitem(last=False)
    return _makes[make].copy()


class _Make:
    """A figure to copy: of each model its class and what was set on it, those first that others refer to."""

    def __init__(self, original: Model, renderers: Sequence[GlyphRenderer]) -> None:
        self._models: list[tuple[type[Model], dict[str, Any]]] = []
        self._places: dict[Model, int] = {}
        self._add(original)
        self._renderers = [self._places[renderer] for renderer in renderers]

    @classmethod
    def of(cls, drawing: Drawing, width: int | None, height: int) -> "_Make":
        plot = _BOKEH.get_plot(overlay_of(drawing).opts(**page_options(width, height), backend="bokeh"))
        renderers = [part.handles["glyph_renderer"] for part in plot.subplots.values()]
        plot.state.tools = []
        for renderer in renderers:
            renderer.data_source.data = {}
            renderer.update(nonselection_glyph=None, selection_glyph=None, muted_glyph=None, hover_glyph=None)
        return cls(plot.state, renderers)

    def copy(self) -> tuple[Any, list[Part]]:
        copies: list[Any] = []
        for kind, properties in self._models:
            one = kind.__new__(kind)  # without what the class itself sets at first, as when Bokeh reads a document
            HasProps.__init__(one, **{name: _filled(value, copies) for name, value in properties.items()})
            copies.append(one)
        return copies[-1], [Part(copies[place]) for place in self._renderers]

    def _add(self, model: Model) -> "_Reference":
        if model not in self._places:
            values = model.properties_with_values(include_defaults=False)
            properties = {name: self._referring(value) for name, value in values.items()}
            self._places[model] = len(self._models)
            self._models.append((type(model), properties))
        return _Reference(self._places[model])

    def _referring(self, value: Any) -> Any:
        if isinstance(value, Model):
            return self._add(value)
        if isinstance(value, dict):
            return {key: self._referring(item) for key, item in value.items()}
        return [self._referring(item) for item in value] if isinstance(value, list) else value


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


_makes: OrderedDict[tuple, _Make] = OrderedDict()
"""By kinds of the marks, width and height."""
