"""How a drawing becomes a figure on paper: matplotlib through HoloViews, the sizes of the page in points.

Text stays text in svg and pdf, and is written literally. matplotlib's state machine (pyplot) is not used.
"""

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import holoviews as hv
import holoviews.plotting.mpl  # registers the renderer
from matplotlib import rc_context
from matplotlib.axes import Axes as PaperAxes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from matplotlib.transforms import ScaledTranslation

from dashboard.figures.look import look, overlay_of, ramp_of, source_columns
from dashboard.figures.marks import TOKEN, Axes, Drawing, Mark, Role
from dashboard.figures.typeface import paper_font, with_face
from dashboard.theme import TOKENS, Mode

PT = 0.75
"""Points in a px: figures on paper keep the sizes of the page."""
PX_PER_INCH = 96
_FOOTER_LETTER_PX, _FOOTER_LINE_PX = 5.0, 12
DPI = 300
PAPER_FORMATS = ("svg", "pdf", "png")

_MATPLOTLIB = hv.renderer("matplotlib").instance()


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
        Below the figure: recording, network, settings. Written literally, in as many lines as it needs; each after
        the first makes the figure higher.
    """
    kept = footer.replace(" ·", "\N{NO-BREAK SPACE}·")  # no line begins with a dot
    lines = textwrap.wrap(kept, max(int((width - 16) / _FOOTER_LETTER_PX), 20))
    footer = "\n".join(lines).replace("\N{NO-BREAK SPACE}·", " ·")
    height = (drawing.axes.height or height) + _FOOTER_LINE_PX * footer.count("\n")
    with rc_context(paper_settings()):
        overlay = overlay_of(Drawing([m for m in drawing.marks if not m.is_empty], drawing.axes))
        options = paper_options(drawing, width, height)
        hook = paper_hook(drawing, mode, width, height, footer)
        figure: Figure = _MATPLOTLIB.get_plot(overlay.opts(**options, hooks=[hook], backend="matplotlib")).state
        figure.set_facecolor(TOKENS[mode]["paper"])
        return figure


def write_paper(figure: Figure, path: Path, *, dpi: int = DPI, metadata: Mapping[str, str] | None = None) -> Path:
    """Write a figure to ``path``, as svg, pdf or png by its suffix; text stays text in svg and pdf.

    ``metadata`` is stored in the file: ``Title``, and ``Description`` (pdf: ``Subject``). No date is, so that the same
    figure gives the same bytes.
    """
    suffix = path.suffix.lstrip(".").lower()
    if suffix not in PAPER_FORMATS:
        raise ValueError(f"expected a file that ends in .svg, .pdf or .png, got {path.name!r}. Rename it.")
    with rc_context(paper_settings()):
        told = _metadata(suffix, metadata or {})
        figure.savefig(path, format=suffix, dpi=dpi, facecolor=figure.get_facecolor(), metadata=told)
    if suffix == "svg":
        path.write_text(with_face(path.read_text("utf-8")), "utf-8")
    return path


def _metadata(suffix: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    named = {"Subject" if suffix == "pdf" and name == "Description" else name: text for name, text in metadata.items()}
    dates: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[suffix]
    return {("Software" if suffix == "png" else "Creator"): "unitscope", **dates, **named}


def paper_settings() -> Any:
    """Return matplotlib's settings for everything on paper."""
    return {
        "text.parse_math": False,  # a name with two dollars is a name
        "svg.fonttype": "none",
        "svg.hashsalt": "unitscope",
        "pdf.fonttype": 42,
        "font.family": [paper_font(), "DejaVu Sans"],
        "axes.unicode_minus": True,
    }


def paper_options(drawing: Drawing, width: int, height: int) -> dict[str, Any]:
    """Return size and limits as HoloViews' matplotlib options."""
    axes = drawing.axes
    return {
        "fig_inches": (width / PX_PER_INCH, height / PX_PER_INCH),
        "aspect": None,
        "xlim": axes.xlim,
        "ylim": axes.ylim,
        "show_legend": False,
    }


def paper_hook(
    drawing: Drawing, mode: Mode, width: int = 540, height: int = 300, footer: str = ""
) -> Callable[[Any, Any], None]:
    """Return the hook that dresses what HoloViews drew."""
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
    role, fill, stroke, alpha = look(mark, drawing, mode)
    if TOKEN in mark.columns:
        by_row = source_columns(mark, mode)["colour"]
        fill, stroke = (by_row if value == "colour" else value for value in (fill, stroke))
    z = order / 1000 + (0.5 if role.is_behind else 2)  # the grid lies between, at 1
    outline = {"linewidth": role.width * PT if stroke else 0, "linestyle": _paper_dash(role), "zorder": z}
    artist: Any = handles.get("artist")
    if mark.kind == "labels":
        move = ScaledTranslation(
            role.offset[0] / PX_PER_INCH, -role.offset[1] / PX_PER_INCH, axis.figure.dpi_scale_trans
        )
        baseline = {"top": "top", "middle": "center", "bottom": "bottom"}[role.baseline]
        texts = artist if isinstance(artist, list) else handles.get("annotations", artist)
        for text in texts:
            text.set(color=fill, size=role.font_px * PT, ha=role.align, va=baseline, zorder=z)
            text.set(weight="bold" if role.is_bold else "normal", transform=axis.transData + move)
            text.set_clip_on(False)
    elif mark.kind == "image":
        colours = ListedColormap(list(ramp_of(mark, drawing, mode))).with_extremes(bad="#00000000")
        artist.set(cmap=colours, clim=mark.limits, zorder=z, interpolation="nearest")
    elif mark.kind in ("line", "segments"):
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
    if axes.x_turn:
        axis.tick_params(axis="x", rotation=axes.x_turn)
        for name in axis.get_xticklabels():
            name.set(
                ha="center" if axes.x_turn == 90 else "right",
                rotation_mode="default" if axes.x_turn == 90 else "anchor",
            )
    if axes.is_x_on_top:
        axis.xaxis.tick_top()
        axis.xaxis.set_label_position("top")
        axis.tick_params(axis="x", color=tokens["axis"], labelcolor=tokens["text2"])
    axis.grid(visible=False)
    for side in (side for side in (axis.xaxis, axis.yaxis) if side.axis_name in axes.grid):
        side.grid(visible=True, color=tokens["grid"], linewidth=PT, zorder=1)
    below = axes.bottom + (16 + _FOOTER_LINE_PX * footer.count("\n") if footer else 0)
    left, right, bottom, top = _borders(axes, width, height, below)
    axis.figure.subplots_adjust(left=left, right=right, bottom=bottom, top=top)
    if footer:
        axis.figure.text(
            8 / width, 6 / height, footer, color=tokens["text2"], size=9 * PT, va="bottom", ha="left", linespacing=1.1
        )


def _borders(axes: Axes, width: int, height: int, below: int) -> tuple[float, float, float, float]:
    right, top = 1 - axes.right / width, 1 - max(axes.top, 8) / height
    left, bottom = axes.left / width, below / height
    if axes.is_square:
        side = min((right - left) * width, (top - bottom) * height)
        right, bottom = left + side / width, top - side / height
    return left, right, bottom, top
