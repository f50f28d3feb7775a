"""How does one description become a figure on the page, in a notebook and on paper?

HoloViews renders the elements of a ``Drawing`` once, through Bokeh or through matplotlib. The look is then set on what
was rendered, from the one table ``marks.ROLES``: two small translators, one a backend. On the page an action swaps the
plain columns of the sources (``Shown.swap``), and light or dark recolours the same models (``Shown.retheme``); nothing
is rendered again.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import holoviews as hv
import holoviews.plotting.bokeh
import holoviews.plotting.mpl
import numpy as np
from bokeh.core.properties import value
from bokeh.events import Tap
from bokeh.models import CustomJS, FixedTicker, HoverTool, LinearAxis, PlainText, Plot, Range1d
from matplotlib import rc_context
from matplotlib.axes import Axes as PaperAxes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from matplotlib.transforms import ScaledTranslation

from dashboard.figures.marks import ROLES, TOKEN, Axes, Drawing, Mark, Role, element
from dashboard.figures.typeface import paper_font
from dashboard.theme import FONT, MODES, TOKENS, Mode, ramp

PT = 0.75
"""Points in a px: figures on paper keep the sizes of the page."""
PX_PER_INCH = 96
PAGE_DPI = 300
PAPER_FORMATS = ("svg", "pdf", "png")

# Bokeh renders a tooltip for every point under the pointer, pictures and all, and only then keeps ``limit`` of them: on a
# dense floor a hundred thumbnails were fetched for one. This keeps all but the nearest from being rendered.
_IS_NEAREST = """
const {glyph_view, indices, index, sx, sy} = cb_data.vars
const distance = (i) => Math.hypot(glyph_view.sx[i] - sx, glyph_view.sy[i] - sy)
return indices.every((i) => i == index || distance(i) > distance(index) || (distance(i) == distance(index) && i > index))
"""

_BOKEH = hv.renderer("bokeh").instance(theme=None)  # theme=None: else HoloViews replaces the document's theme
_MATPLOTLIB = hv.renderer("matplotlib").instance()


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
        self._ranges: tuple[tuple[float, float], tuple[float, float]] | None = None
        plot = _BOKEH.get_plot(_overlay(drawing).opts(**_page_options(width, height), backend="bokeh"))
        self.figure = plot.state
        self._parts = [part.handles for part in plot.subplots.values()]
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
                part["source"].data = source_columns(mark, self.mode)
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

    def on_tap(self, callback: Callable[[Any], None]) -> None:
        """Call ``callback`` with the ``key`` of the mark that was tapped; a tap beside all marks does nothing."""

        def tapped(event: Tap) -> None:
            key = self.key_at(event.x, event.y)
            if key is not None:
                callback(key)

        self.figure.on_event(Tap, tapped)

    def key_at(self, x: float, y: float) -> Any:
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
        view = self.figure.x_range if axis == "x" else self.figure.y_range
        inner = self.figure.inner_width if axis == "x" else self.figure.inner_height
        px = inner or (self.figure.frame_width or self.figure.width if axis == "x" else self.figure.height) or 400
        return px / abs(view.end - view.start)

    def _prepare_figure(self, width: int | None) -> None:
        axes, figure = self.drawing.axes, self.figure
        figure.toolbar_location, figure.toolbar.logo = None, None
        figure.x_range, figure.y_range = Range1d(), Range1d()
        figure.min_border = 0
        figure.min_border_left, figure.min_border_right = axes.left, axes.right
        figure.min_border_top, figure.min_border_bottom = axes.top, axes.bottom
        figure.background_fill_color = figure.border_fill_color = figure.outline_line_color = None
        figure.title = None
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
            part["source"].data = source_columns(mark, self.mode)
            renderer = part["glyph_renderer"]
            renderer.nonselection_glyph = renderer.selection_glyph = renderer.muted_glyph = renderer.hover_glyph = None
            role = ROLES[mark.role]
            renderer.level = "image" if role.is_behind else "glyph"
            if mark.kind == "labels":
                _set_type(part["glyph"], role)

    def _add_hit_layer(self) -> None:
        hit = self.drawing.hit
        if hit is None or not hit.tooltip:
            return
        found = next(i for i, mark in enumerate(self.drawing.marks) if mark.role == hit.role)
        target = self._parts[found]["glyph_renderer"]
        if self.drawing.marks[found].kind == "points":
            source = self._parts[found]["source"]
            target = self.figure.scatter("x", "y", source=source, size=hit.radius, alpha=0, hover_alpha=0)
            target.nonselection_glyph = None
        hover = HoverTool(renderers=[target], tooltips=hit.tooltip, point_policy="snap_to_data", limit=1)
        if self.drawing.marks[found].kind == "points":
            hover.filters = {"key": CustomJS(code=_IS_NEAREST)}
        self.figure.add_tools(hover)

    def _set_axes(self, axes: Axes) -> None:
        figure = self.figure
        for view, (start, end) in ((figure.x_range, axes.xlim), (figure.y_range, axes.ylim)):
            if (view.start, view.end) != (start, end):
                view.update(start=start, end=end, reset_start=start, reset_end=end)
        _set_axis(figure.xaxis[0], axes.xticks, axes.xlabel, TOKENS[self.mode][axes.x_token])
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
                mapper = part["glyph"].color_mapper
                mapper.update(palette=list(_ramp_of(mark, self.drawing, self.mode)), nan_color="#00000000")
                if mark.limits:
                    mapper.update(low=mark.limits[0], high=mark.limits[1])
            else:
                part["glyph"].update(**page_style(mark, self.drawing, self.mode))
                if mark.kind == "labels":
                    _set_type(part["glyph"], ROLES[mark.role])
                if TOKEN in mark.columns:
                    part["source"].data = source_columns(mark, self.mode)


def source_columns(mark: Mark, mode: Mode) -> dict[str, Any]:
    """Return the columns of the Bokeh source of a mark; ``colour`` where its rows have tokens of their own."""
    if mark.kind == "area":
        x, low, high = (mark.columns[name] for name in ("x", "low", "high"))
        return {"x": np.concatenate([x, x[::-1]]), "y": np.concatenate([low, high[::-1]])}
    if mark.kind == "image":
        left, bottom, right, top = mark.columns["bounds"]
        return {
            "image": [mark.columns["image"]],
            "x": [left],
            "y": [bottom],
            "dw": [right - left],
            "dh": [top - bottom],
        }
    if TOKEN in mark.columns:
        return {**mark.columns, "colour": [TOKENS[mode][name] for name in mark.columns[TOKEN]]}
    return dict(mark.columns)


def page_style(mark: Mark, drawing: Drawing, mode: Mode) -> dict[str, Any]:
    """Return the properties of the Bokeh glyph of a mark."""
    role, fill, stroke, alpha = _look(mark, drawing, mode)
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
            part.handles["glyph"].update(**({} if mark.kind == "image" else page_style(mark, drawing, mode)))
            if mark.kind == "labels":
                _set_type(part.handles["glyph"], ROLES[mark.role])
        axes = drawing.axes
        for axis, ticks, label in (
            (plot.handles["xaxis"], axes.xticks, axes.xlabel),
            (plot.handles["yaxis"], axes.yticks, axes.ylabel),
        ):
            axis.ticker = FixedTicker()
            _set_axis(axis, ticks, label, TOKENS[mode]["ink"])

    overlay = _overlay(drawing)
    limits = {"xlim": drawing.axes.xlim, "ylim": drawing.axes.ylim}
    overlay = overlay.opts(**limits, **_page_options(width, height), hooks=[dress_page], backend="bokeh")
    return overlay.opts(
        **_paper_options(drawing, width, height), hooks=[_paper_hook(drawing, mode)], backend="matplotlib"
    )


def paper(drawing: Drawing, mode: Mode = "light", *, width: int = 540, height: int = 300, footer: str = "") -> Figure:
    """Return the drawing as a matplotlib figure, its sizes in px of the page.

    Parameters
    ----------
    drawing
        What to draw.
    mode
        Colours; the ground of a dark figure is the dark paper.
    width, height
        In px of the page (1/96 inch).
    footer
        One line below the figure: recording, network, settings. Written literally.
    """
    height = drawing.axes.height or height
    with rc_context(_paper_settings()):
        overlay = _overlay(Drawing([m for m in drawing.marks if not m.is_empty], drawing.axes))
        options = _paper_options(drawing, width, height)
        hook = _paper_hook(drawing, mode, width, height, footer)
        figure: Figure = _MATPLOTLIB.get_plot(overlay.opts(**options, hooks=[hook], backend="matplotlib")).state
        figure.set_facecolor(TOKENS[mode]["paper"])
        return figure


def write_paper(figure: Figure, path: Path, *, dpi: int = PAGE_DPI) -> Path:
    """Write a figure to ``path``, as svg, pdf or png by its suffix; text stays text in svg and pdf."""
    suffix = path.suffix.lstrip(".").lower()
    if suffix not in PAPER_FORMATS:
        raise ValueError(f"expected a file that ends in .svg, .pdf or .png, got {path.name!r}. Rename it.")
    with rc_context(_paper_settings()):
        figure.savefig(path, format=suffix, dpi=dpi, facecolor=figure.get_facecolor())
    return path


def _overlay(drawing: Drawing) -> hv.Overlay:
    return hv.Overlay([element(mark) for mark in drawing.marks])


def _page_options(width: int | None, height: int) -> dict[str, Any]:
    size = {"width": width} if width else {"responsive": True}
    return {**size, "height": height, "toolbar": None, "default_tools": [], "show_grid": True, "show_legend": False}


def _look(mark: Mark, drawing: Drawing, mode: Mode) -> tuple[Role, Any, Any, float]:
    role, tokens = ROLES[mark.role], TOKENS[mode]

    def colour(name: str | None) -> Any:
        if name not in ("region", "network"):
            return None if name is None else tokens[name]
        if TOKEN in mark.columns:
            return "colour"  # the column of the source
        return tokens[mark.token or drawing.colours.get(name, "V4" if name == "region" else "network1")]

    return role, colour(role.fill), colour(role.stroke), role.alpha[MODES.index(mode)]


def _ramp_of(mark: Mark, drawing: Drawing, mode: Mode) -> tuple[str, ...]:
    name = ROLES[mark.role].fill or "region"
    return ramp(mark.token or drawing.colours.get(name, name), mode)


def _set_axis(axis: LinearAxis, ticks: Any, label: str | None, colour: str) -> None:
    at = [float(position) for position, _ in ticks]
    if list(axis.ticker.ticks) != at:
        axis.ticker.ticks = at
    written = {position: _literal(text) for position, (_, text) in zip(at, ticks, strict=True)}
    if axis.major_label_overrides != written:
        axis.major_label_overrides = written
    if axis.axis_label != (label or None):
        axis.axis_label = _literal(label) if label else None
    axis.axis_label_text_color = colour


def _literal(text: str) -> Any:
    """Keep Bokeh from reading mathematics into a name that a user chose."""
    return PlainText(text) if any(sign in text for sign in ("$$", "\\(", "\\[")) else text


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


# On paper.


def _paper_settings() -> dict[str, Any]:
    return {
        "text.parse_math": False,  # a name with two dollars is a name
        "svg.fonttype": "none",
        "pdf.fonttype": 42,
        "font.family": [paper_font(), "DejaVu Sans"],
        "axes.unicode_minus": True,
    }


def _paper_options(drawing: Drawing, width: int, height: int) -> dict[str, Any]:
    axes = drawing.axes
    return {
        "fig_inches": (width / PX_PER_INCH, height / PX_PER_INCH),
        "aspect": None,
        "xlim": axes.xlim,
        "ylim": axes.ylim,
        "show_legend": False,
    }


def _paper_hook(
    drawing: Drawing, mode: Mode, width: int = 540, height: int = 300, footer: str = ""
) -> Callable[[Any, Any], None]:
    shown = [mark for mark in drawing.marks if not mark.is_empty]

    def dress_paper(plot: Any, _: Any) -> None:
        axis: PaperAxes = plot.handles["axis"]
        parts = list(plot.subplots.values())
        marks = shown if len(parts) == len(shown) else drawing.marks
        for order, (mark, part) in enumerate(zip(marks, parts, strict=True)):
            _dress_artists(mark, part.handles, axis, drawing, mode, order)
        _dress_frame(axis, drawing.axes, mode, width, height, footer)

    return dress_paper


def _dress_artists(
    mark: Mark, handles: Mapping[str, Any], axis: PaperAxes, drawing: Drawing, mode: Mode, order: int
) -> None:
    role, fill, stroke, alpha = _look(mark, drawing, mode)
    if TOKEN in mark.columns:
        by_row = source_columns(mark, mode)["colour"]
        fill, stroke = (by_row if value == "colour" else value for value in (fill, stroke))
    z = order / 1000 + (0.5 if role.is_behind else 2)  # the grid lies between, at 1
    outline = {"linewidth": role.width * PT if stroke else 0, "linestyle": _paper_dash(role), "zorder": z}
    artist = handles.get("artist")
    if mark.kind == "labels":
        move = ScaledTranslation(
            role.offset[0] / PX_PER_INCH, -role.offset[1] / PX_PER_INCH, axis.figure.dpi_scale_trans
        )
        baseline = {"top": "top", "middle": "center", "bottom": "bottom"}[role.baseline]
        texts = artist if isinstance(artist, list) else handles["annotations"] if "annotations" in handles else artist
        for text in texts:
            text.set(color=fill, size=role.font_px * PT, ha=role.align, va=baseline, zorder=z)
            text.set(weight="bold" if role.is_bold else "normal", transform=axis.transData + move)
            text.set_clip_on(False)
    elif mark.kind == "image":
        colours = ListedColormap(list(_ramp_of(mark, drawing, mode)))
        colours.set_bad("#00000000")
        artist.set(cmap=colours, clim=mark.limits, zorder=z, interpolation="nearest")
    elif mark.kind == "line":
        artist.set(color=stroke, alpha=alpha, **outline)
    elif mark.kind == "segments":
        artist.set(color=stroke, alpha=alpha, **outline)
    else:
        if mark.kind == "points":
            artist.set_sizes([(role.size * PT) ** 2])
        artist.set(facecolor=_with_alpha(fill, alpha), edgecolor=stroke or "none", alpha=None, **outline)


def _with_alpha(colour: str | list[str] | None, alpha: float) -> Any:
    if isinstance(colour, list):
        return [(one, alpha) for one in colour]
    return (colour, alpha) if colour else "none"


def _paper_dash(role: Role) -> Any:
    return (0, tuple(length * PT / max(role.width * PT, 0.1) for length in role.dash)) if role.dash else "solid"


def _dress_frame(axis: PaperAxes, axes: Axes, mode: Mode, width: int, height: int, footer: str) -> None:
    tokens = TOKENS[mode]
    axis.set_facecolor("none")
    axis.set_aspect("auto")
    for spine in axis.spines.values():
        spine.set_visible(False)
    for side, ticks, label, token in (
        (axis.xaxis, axes.xticks, axes.xlabel, axes.x_token),
        (axis.yaxis, axes.yticks, axes.ylabel, axes.y_token),
    ):
        side.set_major_locator(FixedLocator([position for position, _ in ticks]))
        side.set_major_formatter(FixedFormatter([text for _, text in ticks]))
        side.set_minor_locator(NullLocator())
        side.set_label_text(label or "", color=tokens[token], size=12 * PT)
    axis.set_axisbelow(True)
    axis.tick_params(color=tokens["axis"], labelcolor=tokens["text2"], labelsize=axes.tick_px * PT, length=4 * PT)
    axis.tick_params(which="major", width=PT, direction="out", rotation=0)
    if axes.is_x_on_top:
        axis.xaxis.tick_top()
        axis.xaxis.set_label_position("top")
        axis.tick_params(axis="x", color=tokens["axis"], labelcolor=tokens["text2"])
    axis.grid(visible=False)
    for name in axes.grid:
        axis.grid(visible=True, axis=name, color=tokens["grid"], linewidth=PT, zorder=1)
    below = axes.bottom + (16 if footer else 0)
    left, right, bottom, top = _borders(axes, width, height, below)
    axis.figure.subplots_adjust(left=left, right=right, bottom=bottom, top=top)
    if footer:
        axis.figure.text(8 / width, 6 / height, footer, color=tokens["text2"], size=9 * PT, va="bottom", ha="left")


def _borders(axes: Axes, width: int, height: int, below: int) -> tuple[float, float, float, float]:
    right, top = 1 - axes.right / width, 1 - max(axes.top, 8) / height
    left, bottom = axes.left / width, below / height
    if axes.is_square:
        side = min((right - left) * width, (top - bottom) * height)
        right, bottom = left + side / width, top - side / height
    return left, right, bottom, top
