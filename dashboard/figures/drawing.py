"""How one description becomes a figure on the page and in a notebook; ``paper`` does the same for paper.

HoloViews renders the elements of a ``Drawing`` (``rendering``). The look is then set on what was rendered, from the one
table ``marks.ROLES``. On the page an action swaps the plain columns of the sources (``Shown.swap``), and light or dark
recolours the same models (``Shown.retheme``); nothing is rendered again.
"""

from collections.abc import Callable, Mapping
from typing import Any

import holoviews as hv
import numpy as np
from bokeh.core.properties import value
from bokeh.core.property.descriptors import UnsetValueError
from bokeh.events import Tap
from bokeh.models import CustomJS, FixedTicker, HoverTool, PlainText, Range1d

from dashboard.figures.look import look, overlay_of, ramp_of, source_columns
from dashboard.figures.marks import ROLES, TOKEN, Axes, Drawing, Mark, Role
from dashboard.figures.paper import PAPER_FORMATS, paper, paper_hook, paper_options, write_paper
from dashboard.figures.rendering import page_options, rendered
from dashboard.theme import FONT, TOKENS, Mode

__all__ = ["PAPER_FORMATS", "Shown", "page_style", "paper", "to_holoviews", "write_paper"]

_UNKNOWN_PX = 400
_FRAMED = ".bk-Canvas{--highlight-color:var(--us-focus,#65a2cb)}"
"""Bokeh frames a figure that has the focus; on the page only who came by keyboard sees it."""

# Bokeh renders a tooltip for every point under the pointer, pictures and all, and only then keeps ``limit`` of them: on
# a dense floor a hundred thumbnails were fetched for one. This keeps all but the nearest from being rendered.
_IS_NEAREST = """
const {glyph_view, indices, index, sx, sy} = cb_data.vars
const distance = (i) => Math.hypot(glyph_view.sx[i] - sx, glyph_view.sy[i] - sy)
const here = distance(index)
return indices.every((i) => i == index || distance(i) > here || (distance(i) == here && i > index))
"""

# What is not told to Python cannot disagree with it: its answer to the same tap writes the box again. Two boxes are two
# sites side by side, and only Python knows which of them the tap moves.
_FRAME_FOLLOWS = """
const [left, right, bottom, top] = ["left", "right", "bottom", "top"].map((side) => marks.get_column(side))
const {x, y} = cb_obj
const at = left.findIndex((_, i) => left[i] <= x && x <= right[i] && bottom[i] <= y && y <= top[i])
if (at >= 0 && frame.get_length() == 1) {
  const data = {left: [left[at]], right: [right[at]], bottom: [bottom[at]], top: [top[at]]}
  frame.setv({data}, {sync: false})
}
"""


class Shown:
    """A figure that is on the page: rendered once, then swapped, recoloured and tapped.

    Parameters
    ----------
    drawing
        First state of the figure.
    mode
        "light" or "dark". The document's theme (``dashboard.theme.bokeh_theme``) colours axes and grid.
    width, height
        In px; ``width=None`` fills the width of its panel. A square frame needs a width.

    Attributes
    ----------
    figure
        The Bokeh figure, for ``pn.pane.Bokeh``.
    drawing
        What is shown now.
    """

    def __init__(self, drawing: Drawing, mode: Mode = "light", *, width: int | None = None, height: int = 240):
        self.drawing, self.mode = drawing, mode
        self._height = height
        self.figure, self._parts = rendered(drawing, width, height)
        self._prepare_figure(width)
        self._prepare_marks()
        self._add_hit_layer()
        self._set_axes(drawing.axes)
        self._recolour()

    def swap(self, drawing: Drawing) -> None:
        """Show another state of the same figure; call it under ``pn.io.hold()`` with the swaps of its page."""
        for mark, part, before in zip(drawing.marks, self._parts, self.drawing.marks, strict=True):
            if mark.kind != before.kind:
                raise ValueError(f"a swap keeps the kinds of marks: {before.role} was to become {mark.role}.")
            if not _same(mark.columns, before.columns):
                part.source.data = source_columns(mark, self.mode)
        is_recoloured = self._colours(drawing) != self._colours(self.drawing)
        before_axes, self.drawing = self.drawing.axes, drawing
        if drawing.axes != before_axes:
            self._set_axes(drawing.axes)
        if is_recoloured:
            self._recolour()

    def retheme(self, mode: Mode) -> None:
        """Recolour the marks for light or dark; the document's theme does the rest."""
        self.mode = mode
        self._recolour()

    def renderer_of(self, role: str) -> Any:
        """Return the Bokeh renderer of the marks of a role."""
        found = next(part for mark, part in zip(self.drawing.marks, self._parts, strict=True) if mark.role == role)
        return found.renderer

    def on_tap(self, callback: Callable[[Any], None]) -> None:
        """Call ``callback`` with the ``key`` of the mark that was tapped; a tap beside all marks does nothing."""

        def tapped(event: Tap) -> None:
            key = self.key_at(event.x, event.y)
            if key is not None:
                callback(key)

        hit = self.drawing.hit
        if hit is not None and hit.frame:
            sources = {
                name: self.renderer_of(role).data_source for name, role in (("marks", hit.role), ("frame", hit.frame))
            }
            self.figure.js_on_event(Tap, CustomJS(args=sources, code=_FRAME_FOLLOWS))
        self.figure.on_event(Tap, tapped)

    def key_at(self, x: float | None, y: float | None) -> Any:
        """Return the ``key`` of the mark at a position of the frame, the nearest one of several, or None."""
        hit = self.drawing.hit
        if hit is None or x is None or y is None:
            return None
        columns = self.drawing.marks_of(hit.role).columns
        if "left" in columns:
            inside = (columns["left"] <= x) & (x <= columns["right"]) & (columns["bottom"] <= y) & (y <= columns["top"])
            found = np.flatnonzero(inside)
            return columns["key"][found[0]] if found.size else None
        distance = np.hypot(*((columns[name] - at) * self._px_per_unit(name) for name, at in (("x", x), ("y", y))))
        if not np.isfinite(distance).any() or np.nanmin(distance) > hit.radius:
            return None
        return columns["key"][np.nanargmin(distance)]

    def _px_per_unit(self, axis: str) -> float:
        view, size = (self.figure.x_range, "width") if axis == "x" else (self.figure.y_range, "height")
        try:
            px = getattr(self.figure, f"inner_{size}")
        except UnsetValueError:  # no browser has shown it yet
            px = getattr(self.figure, f"frame_{size}") or getattr(self.figure, size) or _UNKNOWN_PX
        return px / abs(view.end - view.start)

    def _prepare_figure(self, width: int | None) -> None:
        axes, figure = self.drawing.axes, self.figure
        figure.toolbar_location, figure.toolbar.logo = None, None
        figure.x_range, figure.y_range = Range1d(), Range1d()
        figure.min_border = 0
        figure.background_fill_color = figure.border_fill_color = figure.outline_line_color = None
        figure.title = None
        figure.stylesheets = [_FRAMED]
        if axes.is_square and width:
            figure.frame_width = figure.frame_height = width - axes.left - axes.right
            figure.height = figure.frame_height + axes.top + axes.bottom
        if axes.is_x_on_top:
            figure.above, figure.below = [*figure.above, *figure.below], []
        for grid, axis, name in ((figure.xgrid[0], figure.xaxis[0], "x"), (figure.ygrid[0], figure.yaxis[0], "y")):
            grid.visible = name in axes.grid
            axis.ticker = grid.ticker = FixedTicker()
            _own_by_theme(axis, grid)
            axis.major_label_text_font_size = f"{axes.tick_px}px"

    def _prepare_marks(self) -> None:
        for mark, part in zip(self.drawing.marks, self._parts, strict=True):
            part.source.data = source_columns(mark, self.mode)
            role = ROLES[mark.role]
            part.renderer.level = "image" if role.is_behind else "overlay" if role.is_in_front else "glyph"
            if mark.kind == "labels":
                _set_type(part.glyph, role)

    def _add_hit_layer(self) -> None:
        hit = self.drawing.hit
        if hit is None or not hit.tooltip:
            return
        found = next(i for i, mark in enumerate(self.drawing.marks) if mark.role == hit.role)
        target = self._parts[found].renderer
        if self.drawing.marks[found].kind == "points":
            source = self._parts[found].source
            target = self.figure.scatter("x", "y", source=source, size=hit.radius, alpha=0, hover_alpha=0)
            target.nonselection_glyph = None
        hover = HoverTool(renderers=[target], tooltips=hit.tooltip, point_policy="snap_to_data", limit=1)
        if self.drawing.marks[found].kind == "points":
            hover.filters = {"key": CustomJS(code=_IS_NEAREST)}
        self.figure.add_tools(hover)

    def _set_axes(self, axes: Axes) -> None:
        figure = self.figure
        figure.min_border_left, figure.min_border_right = axes.left, axes.right
        figure.min_border_top, figure.min_border_bottom = axes.top, axes.bottom
        for view, (start, end) in ((figure.x_range, axes.xlim), (figure.y_range, axes.ylim)):
            if (view.start, view.end) != (start, end):
                view.update(start=start, end=end, reset_start=start, reset_end=end)
        _set_axis(figure.xaxis[0], axes.xticks, axes.xlabel, TOKENS[self.mode][axes.x_token])
        _turn(figure.xaxis[0], axes.x_turn)
        _set_axis(figure.yaxis[0], axes.yticks, axes.ylabel, TOKENS[self.mode][axes.y_token])
        if not axes.is_square:
            figure.height = axes.height or self._height

    def _colours(self, drawing: Drawing) -> tuple:
        return tuple(drawing.colours.items()), tuple((mark.role, mark.token, mark.limits) for mark in drawing.marks)

    def _recolour(self) -> None:
        axes = self.drawing.axes
        for axis, token in ((self.figure.xaxis[0], axes.x_token), (self.figure.yaxis[0], axes.y_token)):
            axis.axis_label_text_color = TOKENS[self.mode][token]
        for mark, part in zip(self.drawing.marks, self._parts, strict=True):
            if mark.kind == "image":
                mapper = part.glyph.color_mapper
                palette = list(ramp_of(mark, self.drawing, self.mode))
                if mapper.palette != palette:
                    mapper.update(palette=palette, nan_color="#00000000")
                if mark.limits:
                    mapper.update(low=mark.limits[0], high=mark.limits[1])
            else:
                part.glyph.update(**page_style(mark, self.drawing, self.mode))
                if mark.kind == "labels":
                    _set_type(part.glyph, ROLES[mark.role])
                if TOKEN in mark.columns:
                    part.source.data = source_columns(mark, self.mode)


def page_style(mark: Mark, drawing: Drawing, mode: Mode) -> dict[str, Any]:
    """Return the properties of the Bokeh glyph of a mark."""
    role, fill, stroke, alpha = look(mark, drawing, mode)
    if mark.kind == "labels":
        return {"text_color": fill, "text_alpha": alpha}
    outline = {
        "line_color": stroke,
        "line_alpha": 1 if fill and mark.kind == "points" else alpha,
        "line_width": role.width,
        "line_dash": list(role.dash),
    }
    if mark.kind in ("line", "segments"):
        return outline
    filled = {"fill_color": fill, "fill_alpha": alpha if fill else 0}
    return filled | outline | ({"size": role.size} if mark.kind == "points" else {})


def to_holoviews(drawing: Drawing, mode: Mode = "light", *, width: int = 540, height: int = 300) -> hv.Overlay:
    """Return the drawing as a HoloViews overlay for a notebook with the Bokeh or the matplotlib extension."""

    def dress_page(plot: Any, _: Any) -> None:
        for mark, part in zip(drawing.marks, plot.subplots.values(), strict=True):
            part.handles["source"].data = source_columns(mark, mode)
            if mark.kind == "image":
                part.handles["glyph"].color_mapper.update(palette=list(ramp_of(mark, drawing, mode)))
                continue
            part.handles["glyph"].update(**page_style(mark, drawing, mode))
            if mark.kind == "labels":
                _set_type(part.handles["glyph"], ROLES[mark.role])
        axes = drawing.axes
        for axis, ticks, label in (
            (plot.handles["xaxis"], axes.xticks, axes.xlabel),
            (plot.handles["yaxis"], axes.yticks, axes.ylabel),
        ):
            axis.ticker = FixedTicker()
            _set_axis(axis, ticks, label, TOKENS[mode]["ink"])
        _turn(plot.handles["xaxis"], axes.x_turn)

    overlay = overlay_of(drawing)
    limits = {"xlim": drawing.axes.xlim, "ylim": drawing.axes.ylim}
    overlay = overlay.opts(**limits, **page_options(width, height), hooks=[dress_page], backend="bokeh")
    return overlay.opts(
        **paper_options(drawing, width, height), hooks=[paper_hook(drawing, mode)], backend="matplotlib"
    )


def _set_axis(axis: Any, ticks: Any, label: str | None, colour: str) -> None:
    at = [float(position) for position, _ in ticks]
    if list(axis.ticker.ticks) != at:
        axis.ticker.ticks = at
    written: dict[Any, Any] = {position: _literal(text) for position, (_, text) in zip(at, ticks, strict=True)}
    if axis.major_label_overrides != written:
        axis.major_label_overrides = written
    if axis.axis_label != (label or None):
        axis.axis_label = _literal(label) if label else None
    axis.axis_label_text_color = colour


def _turn(axis: Any, degrees: int) -> None:
    turned = np.deg2rad(degrees) if degrees else "horizontal"
    if axis.major_label_orientation != turned:
        axis.major_label_orientation = turned


def _literal(text: str) -> Any:
    """Keep Bokeh from reading mathematics into a name that a user chose."""
    return PlainText(text=text) if any(sign in text for sign in ("$$", "\\(", "\\[")) else text


def _own_by_theme(*models: Any) -> None:
    """Take back what HoloViews set by hand, so that the document's theme colours these models."""
    for model in models:
        for name in list(model.properties_with_values(include_defaults=False)):
            if any(part in name for part in ("color", "font", "tick_out", "tick_in", "standoff", "line_width", "dash")):
                setattr(model, name, model.lookup(name).class_default(type(model)))


def _set_type(glyph: Any, role: Role) -> None:
    glyph.update(
        text_font=value(FONT),  # a plain string with a list of faces fell back to another face
        text_font_size=value(f"{role.font_px}px"),
        text_font_style="bold" if role.is_bold else "normal",
        text_align=value(role.align),
        text_baseline=value(role.baseline),
        x_offset=value(role.offset[0]),
        y_offset=value(role.offset[1]),
    )


def _same(columns: Mapping[str, np.ndarray], before: Mapping[str, np.ndarray]) -> bool:
    return columns.keys() == before.keys() and all(
        old is new or (old.shape == new.shape and _equal(old, new))
        for old, new in ((before[name], columns[name]) for name in columns)
    )


def _equal(old: np.ndarray, new: np.ndarray) -> bool:
    return np.array_equal(old, new, equal_nan=old.dtype.kind == "f" and new.dtype.kind == "f")
