"""What stands above a figure on paper, as on the page: title, caption, and what the marks mean.

The frame keeps its size; the figure becomes higher.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch, Rectangle
from matplotlib.transforms import Affine2D

from dashboard.figures.keys import Key
from dashboard.figures.paper import DPI, PT, PX_PER_INCH, paper_settings
from dashboard.theme import TOKENS, Mode

_LEFT_PX, _TOP_PX, _LINE_PX, _GAP_PX = 8, 8, 18, 18
_SHAPE_PX = {"dot": 8, "open": 8, "ring": 12, "line": 16, "dash": 16, "interval": 16, "box": 14, "bar": 14, "tick": 3}


def with_heading(
    figure: Figure,
    title: str,
    caption: str = "",
    keys: Sequence[Key] = (),
    colours: Mapping[str, str] | None = None,
    mode: Mode = "light",
) -> Figure:
    """Write title, caption and keys above a figure of ``paper`` and return it, higher by as much as they need.

    Parameters
    ----------
    figure
        From ``dashboard.figures.paper.paper``.
    title, caption
        In one line if they fit, literally; else the caption begins a line of its own, or several.
    keys
        What the marks mean, in reading order, in as many lines as they need.
    colours
        Tokens that "region" and "network" stand for.
    mode
        Colours, as the figure's.
    """
    with rc_context(paper_settings()):
        width, height = (inches * PX_PER_INCH for inches in figure.get_size_inches())
        measure = _measure()
        lines = _title_lines(title, caption, width, measure)
        rows = _rows(keys, width, measure)
        head = _TOP_PX + _LINE_PX * (len(lines) + len(rows)) + (4 if rows else 0)
        _make_room(figure, height, head)
        ink = _Ink(figure, width, height + head, {**TOKENS[mode]}, dict(colours or {}))
        y = _TOP_PX + _LINE_PX / 2
        for parts in lines:
            for x, text, is_title in parts:
                ink.write(x, y, text, "ink" if is_title else "text2", 13 if is_title else 12, is_bold=is_title)
            y += _LINE_PX
        for row in rows:
            for x, key in row:
                ink.draw(x, y + 2, key)
            y += _LINE_PX
    return figure


def _measure() -> Callable[[str, float, bool], float]:
    """Return what tells the width of text in px, at the resolution of print, where letters are not fitted to a grid."""
    sheet = Figure(figsize=(1, 1), dpi=DPI)
    renderer = FigureCanvasAgg(sheet).get_renderer()

    def width_px(text: str, size_px: float, is_bold: bool = False) -> float:
        probe = sheet.text(0, 0, text, size=size_px * PT, weight="bold" if is_bold else "normal")
        return float(probe.get_window_extent(renderer).width / DPI * PX_PER_INCH)

    return width_px


def _title_lines(title: str, caption: str, width: float, measure: Callable) -> list[list[tuple[float, str, bool]]]:
    after = _LEFT_PX + measure(title, 13, True) + 10
    if not caption:
        return [[(_LEFT_PX, title, True)]]
    if after + measure(caption, 12, False) <= width - _LEFT_PX:
        return [[(_LEFT_PX, title, True), (after, caption, False)]]
    lines = [(title, True), *((line, False) for line in _wrapped(caption, width, measure))]
    return [[(_LEFT_PX, text, is_title)] for text, is_title in lines]


def _wrapped(text: str, width: float, measure: Callable) -> list[str]:
    """Cut text at its spaces, so that each line fits; a word that is wider stands alone."""
    lines: list[str] = []
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and measure(longer, 12, False) <= width - 2 * _LEFT_PX:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _rows(keys: Sequence[Key], width: float, measure: Callable) -> list[list[tuple[float, Key]]]:
    rows: list[list[tuple[float, Key]]] = []
    x = width
    for key in keys:
        needs = _SHAPE_PX[key.shape] + 6 + measure(key.label, 11, False)
        if x + needs > width - _LEFT_PX:
            rows.append([])
            x = float(_LEFT_PX)
        rows[-1].append((x, key))
        x += needs + _GAP_PX
    return rows


def _make_room(figure: Figure, height: float, head: float) -> None:
    """Make the figure higher at its top; everything that is there keeps its place above the lower edge."""
    share = height / (height + head)
    boxes = [axis.get_position() for axis in figure.axes]
    figure.set_size_inches(figure.get_figwidth(), (height + head) / PX_PER_INCH)
    for axis, box in zip(figure.axes, boxes, strict=True):
        axis.set_position((box.x0, box.y0 * share, box.width, box.height * share))
    for text in figure.texts:
        text.set_y(text.get_position()[1] * share)


class _Ink:
    """Writes and draws in px from the upper left corner of a figure."""

    def __init__(
        self, figure: Figure, width: float, height: float, tokens: Mapping[str, str], colours: Mapping[str, str]
    ) -> None:
        self._figure, self._tokens, self._colours = figure, tokens, colours
        self._width, self._height = width, height
        self._px = Affine2D().scale(1, -1).translate(0, height).scale(1 / PX_PER_INCH) + figure.dpi_scale_trans

    def write(self, x: float, y: float, text: str, token: str, size: float, *, is_bold: bool = False) -> None:
        weight = "bold" if is_bold else "normal"
        self._figure.text(
            x / self._width,
            1 - y / self._height,
            text,
            color=self._tokens[token],
            size=size * PT,
            weight=weight,
            va="center_baseline",
        )

    def draw(self, x: float, y: float, key: Key) -> None:
        """Draw the mark of a key and write its meaning."""
        token = self._colours.get(key.token, key.token)
        for artist in _shapes(key.shape, x, y, self._tokens.get(token, self._tokens["ink"])):
            artist.set_transform(self._px)
            self._figure.add_artist(artist)
        self.write(x + _SHAPE_PX[key.shape] + 6, y, key.label, "text2", 11)


def _shapes(shape: str, x: float, y: float, colour: str) -> list[Any]:
    size = _SHAPE_PX[shape]

    def stroke(width: float, **more: Any) -> Line2D:
        return Line2D([x, x + size], [y, y], color=colour, linewidth=width * PT, **more)

    def circle(radius: float, width: float) -> Patch:
        return Circle((x + size / 2, y), radius, facecolor="none", edgecolor=colour, linewidth=width * PT)

    match shape:
        case "dot":
            return [Circle((x + 4, y), 3.5, facecolor=colour, edgecolor="none")]
        case "open":
            return [circle(3.5, 1.25)]
        case "ring":
            return [circle(5.5, 1.75)]
        case "line":
            return [stroke(2)]
        case "dash":
            return [stroke(1.5, linestyle=(0, (2.7, 1.3)))]
        case "interval":
            return [stroke(3, alpha=0.5)]
        case "tick":
            return [Line2D([x + 1.5, x + 1.5], [y - 5, y + 5], color=colour, linewidth=1.5 * PT)]
        case _:
            alpha = 0.3 if shape == "bar" else 1
            return [Rectangle((x, y - 5), size, 10, facecolor=colour, edgecolor="none", alpha=alpha)]
