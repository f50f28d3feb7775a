"""Panels in which millions can be looked at: the server counts again whatever part of the figure is zoomed to.

The limits of the frame come from the browser with every step of wheel or drag. Cells are counted in a thread, and those
of the last step are drawn; meanwhile the browser stretches what it has, and says so where it takes longer.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, ClassVar

import pandas as pd
import panel as pn
from bokeh.core.property.descriptors import UnsetValueError
from bokeh.events import DoubleTap, MouseLeave, Tap
from bokeh.models import CustomJS, CustomJSHover, HoverTool, PanTool, WheelZoomTool
from bokeh.models.annotations import Label

from dashboard.figures.drawing import Shown
from dashboard.figures.layer_strips import View
from dashboard.figures.marks import ROLES, Drawing
from dashboard.results import Chosen, Results
from dashboard.troubles import told_on_page
from dashboard.views.card import Card, Look
from dashboard.views.latest import Latest
from dashboard.views.markup import Markup, tag
from engine.errors import EngineError

HOW = "click, then wheel to zoom, drag to move, double click for all"
_FRAME = (900, 250)
"""Size of a frame that no browser has told yet."""
_CLOSEST = 2e-5
"""Least width of a view, as a share of everything."""
_BUSY_AFTER_MS = 150
_BUSY = """
clearTimeout(label.tags[0])
label.tags = [setTimeout(() => { label.visible = true }, wait)]
"""
_REST = """
clearTimeout(label.tags[0])
label.visible = false
"""
_CELL = """
const told = figure.tags[0]
const {image, x, y, dw, dh} = source.data
const [rows, columns] = image[0].shape
const {i, j} = special_vars.image_index
const cell = {
  left: x[0] + dw[0] * i / columns, right: x[0] + dw[0] * (i + 1) / columns,
  low: y[0] + dh[0] * j / rows, high: y[0] + dh[0] * (j + 1) / rows,
}
const layer = Math.min(Math.max(Math.floor((cell.left + cell.right) / 2), 0), told.layers.length - 1)
const maps = [cell.left, cell.right - 1e-9].map((at) => {
  const share = (at - layer - told.pad) / (1 - 2 * told.pad)
  return Math.min(Math.max(Math.floor(share * told.channels[layer]), 0), told.channels[layer] - 1)
})
const place = `${told.layers[layer]}, ` + (maps[0] < maps[1] ? `maps ${maps[0]} to ${maps[1]}` : `map ${maps[0]}`)
const number = (r, digits) => r.toFixed(digits).replace("-", "\u2212")
"""
"""What a tooltip of a cell is written from."""
_ROW = "<div style='font:400 12px/16px var(--us-font);color:{colour};max-width:300px'>{text}</div>"


class Explorer(Card):
    """A figure that is counted anew for whatever part of it is looked at.

    Parameters
    ----------
    name
        Of the card in its page.
    module
        The figure.
    results
        The store that is shown.
    choose
        Chooses what was tapped.
    again
        Refreshes the page: something turned out that changes more than the figure.
    """

    image_role: ClassVar[str]
    tooltip: ClassVar[Sequence[tuple[str, str]]]
    """Lines of the tooltip: the value that each is about, and the JavaScript that writes it from a cell."""

    def __init__(
        self,
        name: str,
        module: ModuleType,
        results: Results,
        choose: Callable[..., None],
        again: Callable[[Chosen, Look], None],
        *,
        width: int = 940,
        height: int = 320,
    ) -> None:
        super().__init__(
            name,
            module,
            lambda c, _: None,
            lambda d, c, _: self.described(d, c),
            depends=(),
            width=width,
            height=height,
        )
        self.results, self.choose, self._again = results, choose, again
        self._latest: Latest[pd.DataFrame] = Latest(self._counted)
        self._of: tuple = ()
        self._view: View | None = None
        self._busy: Label | None = None
        self._chosen: Chosen | None = None
        self._look = Look({})
        self._broken: dict[tuple, str] = {}
        self._is_drawing = self._is_due = False

    @abstractmethod
    def identity(self, chosen: Chosen) -> tuple:
        """Return what the cells depend on besides the run and the part that is looked at."""

    @abstractmethod
    def home(self, chosen: Chosen, size: tuple[int, int]) -> View:
        """Return the view of everything, in a frame of so many px."""

    @property
    def is_counting(self) -> bool:
        """Whether its data are still computed."""
        return self._latest.is_waiting

    @abstractmethod
    def blank(self, chosen: Chosen, view: View) -> pd.DataFrame:
        """Return the figure's data without a single cell; quick."""

    @abstractmethod
    def counting(self, chosen: Chosen, view: View) -> Callable[[], pd.DataFrame]:
        """Return what finds the cells of a view; it is run in a thread."""

    @abstractmethod
    def described(self, data: pd.DataFrame, chosen: Chosen) -> Drawing:
        """Return the drawing of the data, with what is chosen marked."""

    @abstractmethod
    def tapped(self, x: float, y: float) -> None:
        """Choose what lies at a place of the frame."""

    @abstractmethod
    def tooltip_data(self, data: pd.DataFrame) -> Mapping[str, Any]:
        """Return what tooltips are written from besides the cells: ``layers``, ``channels``, ``pad`` and more."""

    def lacking(self, chosen: Chosen) -> tuple[str, ...]:
        """Return the analyses that the run lacks for the figure."""
        return ()

    def refresh(self, chosen: Chosen, look: Look) -> bool:
        """Bring the figure to the choice: marks at once, cells as soon as they are counted."""
        self._chosen, self._look = chosen, look
        of = (chosen.run.digest, chosen.run.version, *self.identity(chosen))
        self.lacks, self.refusal = self.lacking(chosen), self._broken.get(of, "")
        if not self.has_figure:
            self._of = ()
            self._latest.drop()
            return False
        is_new = of != self._of
        if is_new:
            self._of, self._view = of, None
            self.data = self.blank(chosen, self.home(chosen, self._frame()))
        if self.is_waiting:
            self._of = ()
            return is_new
        self._redraw()
        if is_new:
            self._set_bounds()
            self._count()
        return is_new

    def head(self, look: Look, *, extra: object = None, below: object = None) -> Markup:
        """Return the head of the panel, with how to look around."""
        told = tag("span", HOW, class_="how quiet") if self.has_figure else None
        return super().head(look, extra=[told, extra], below=below)

    def show_all(self) -> None:
        """Look at everything again."""
        if self.has_figure and self._chosen is not None:
            self._view = None
            self._count()

    def look_at(self, x: tuple[float, float], y: tuple[float, float]) -> None:
        """Look at a part of the figure."""
        if self.has_figure and self._chosen is not None:
            self._view = View(x, y, *self._frame())
            self._count()

    def _moved(self, attr: str, old: Any, new: Any) -> None:
        """Look where the browser looks once it has told all limits."""
        document = pn.state.curdoc
        if self._is_drawing or self._is_due or document is None:
            return
        self._is_due = True
        document.add_next_tick_callback(told_on_page(document, self._follow))

    def _follow(self) -> None:
        self._is_due = False
        if self.shown is not None:
            x, y = self.shown.figure.x_range, self.shown.figure.y_range
            self.look_at((x.start, x.end), (y.start, y.end))

    def _count(self) -> None:
        assert self._chosen is not None
        self._latest.ask(self.counting(self._chosen, self._view or self.home(self._chosen, self._frame())))
        if self._latest.is_waiting and self._view is None and self._busy is not None:
            self._busy.visible = True

    def _counted(self, answer: pd.DataFrame | Exception) -> None:
        if isinstance(answer, EngineError) and self._chosen is not None:
            self._broken[self._of] = self.results.told(str(answer))
            self._again(self._chosen, self._look)
            return
        if isinstance(answer, Exception):
            raise answer
        self.data = answer
        with pn.io.hold():
            self._redraw()
            if self._busy is not None:
                self._busy.visible = False

    def _redraw(self) -> None:
        assert self._chosen is not None
        self._is_drawing = True
        try:
            self._draw(self.described(self.data, self._chosen), self._look.mode)
        finally:
            self._is_drawing = False
        assert self.shown is not None
        if self.shown.mode != self._look.mode:
            self.shown.retheme(self._look.mode)

    def _set_bounds(self) -> None:
        """Keep zoom and move within everything, and tell the tooltips what it is."""
        assert self.shown is not None
        figure, told = self.shown.figure, self.data.attrs
        for view, (low, high) in ((figure.x_range, told["x"]), (figure.y_range, told["y"])):
            view.update(bounds=(low, high), min_interval=(high - low) * _CLOSEST, reset_start=low, reset_end=high)
        figure.tags = [dict(self.tooltip_data(self.data))]

    def _frame(self) -> tuple[int, int]:
        try:
            assert self.shown is not None
            return max(int(self.shown.figure.inner_width), 50), max(int(self.shown.figure.inner_height), 50)
        except (UnsetValueError, AssertionError):
            return _FRAME

    def prepare(self, shown: Shown) -> None:
        """Let the figure be zoomed, moved, tapped and hovered over."""
        figure = shown.figure
        for mark in shown.drawing.marks:
            if ROLES[mark.role].is_in_front:  # Bokeh does not clip that canvas, and zoom moves these out of the frame
                shown.renderer_of(mark.role).level = "glyph"
        wheel, pan = WheelZoomTool(), PanTool()
        figure.tools = [pan, wheel]
        figure.toolbar.active_scroll, figure.toolbar.active_drag = None, pan
        image = shown.renderer_of(self.image_role)
        figure.add_tools(self._hover(figure, image))
        self._busy = Label(x=8, y=8, x_units="screen", y_units="screen", text="counting …", visible=False, tags=[0])
        figure.add_layout(self._busy)
        toolbar = {"toolbar": figure.toolbar, "wheel": wheel}
        figure.js_on_event(Tap, CustomJS(args=toolbar, code="toolbar.active_scroll = wheel"))
        figure.js_on_event(MouseLeave, CustomJS(args=toolbar, code="toolbar.active_scroll = null"))
        waiting = {"label": self._busy, "wait": _BUSY_AFTER_MS}
        image.data_source.js_on_change("data", CustomJS(args=waiting, code=_REST))
        for limits in (figure.x_range, figure.y_range):
            limits.js_on_change("start", CustomJS(args=waiting, code=_BUSY))
            for end in ("start", "end"):  # Bokeh's event for both comes half a second after the wheel
                limits.on_change(end, self._moved)
        figure.on_event(Tap, lambda event: self.tapped(event.x, event.y))
        figure.on_event(DoubleTap, lambda _: self.show_all())

    def _hover(self, figure: Any, image: Any) -> HoverTool:
        args = {"source": image.data_source, "figure": figure}
        rows: list[str] = []
        formatters: dict[str, Any] = {}
        for k, (about, code) in enumerate(self.tooltip):
            rows.append(_ROW.format(colour=f"var(--us-{'text2' if k else 'ink'})", text=f"{about}{{custom}}"))
            formatters[about] = CustomJSHover(args=args, code=_CELL + code)
        return HoverTool(renderers=[image], tooltips="".join(rows), formatters=formatters)
