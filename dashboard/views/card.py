"""What is a panel? A figure with its title, caption, keys, help and export; drawn once, then swapped.

A card says which parts of the choice its data depend on, and which only its marks; what has not changed is not
computed again.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import panel as pn
from bokeh.models import HoverTool

from dashboard.figures.drawing import Shown
from dashboard.figures.keys import keys_html
from dashboard.figures.marks import Drawing
from dashboard.results import Chosen
from dashboard.theme import Mode
from dashboard.views.markup import Markup, icon, tag

EXPORTS = {"svg": "vector", "pdf": "fonts embedded", "png": "300 dpi", "csv": "data of the figure"}


@dataclass(frozen=True)
class Look:
    """What is not chosen but seen: colour tokens, light or dark, how many favourites fit the window, and which."""

    colours: Mapping[str, str]
    mode: Mode = "light"
    n_favourites: int = 10
    view: str = ""
    """What the switch of the page shows."""
    favourites: str = "strongest"
    """Which end of the responses is listed: "strongest" or "weakest"."""


class Card:
    """One figure on a page.

    Parameters
    ----------
    name
        Of the card in its page: of its slot, and in what the browser reports.
    module
        The figure: ``TITLE`` or ``title(data)``, ``HELP``, ``caption(data)`` and perhaps ``keys(data)`` or ``KEYS``.
    data
        Makes the figure's data from the choice; asked again when a name of ``depends`` changes.
    describe
        Makes the drawing; asked again when a name of ``depends`` or ``marks`` changes.
    on_tap
        Called with the key of the mark that was tapped.
    missing
        Names the groups that the data need and the run lacks; the panel then says so in place of the figure.
    unfit
        Says what else there is not for the figure, in a sentence; empty where there is all.
    width, height
        In px; where the page's grid gives the size, only the proportions of an exported figure.
    is_scrolled
        Whether a figure that asks for more height than its place has gets it, and is scrolled.
    """

    def __init__(
        self,
        name: str,
        module: ModuleType,
        data: Callable[[Chosen, Look], Any],
        describe: Callable[[Any, Chosen, Look], Drawing],
        *,
        depends: Sequence[str],
        marks: Sequence[str] = (),
        on_tap: Callable[[Any], None] | None = None,
        missing: Callable[[Chosen], Sequence[str]] = lambda _: (),
        unfit: Callable[[Chosen], str] = lambda _: "",
        width: int = 540,
        height: int = 240,
        is_stretched: bool = True,
        is_scrolled: bool = False,
    ) -> None:
        self.name, self.module = name, module
        self._missing, self._unfit = missing, unfit
        self.width, self.height = width, height
        self._data, self._describe = data, describe
        self._depends, self._marks = tuple(depends), tuple(marks)
        self._on_tap, self._is_stretched, self._is_scrolled = on_tap, is_stretched, is_scrolled
        self._key: tuple = ()
        self._drawn: tuple = ()
        self.data: Any = None
        self.shown: Shown | None = None
        self.lacks: tuple[str, ...] = ()
        """Groups that the run that is shown lacks for this figure."""
        self.settings: dict[str, Any] = {}
        """Settings of the analyses that it lacks, where the figure needs others than the defaults."""
        self.refusal = ""
        """What else there is not for this figure."""
        self.is_waiting = False
        """Whether its data are brought up to date, and nothing is drawn yet: others of the page come first."""
        self._pane: pn.pane.Bokeh | None = None

    def refresh(self, chosen: Chosen, look: Look) -> bool:
        """Bring the figure to the choice; say whether its data changed."""
        self.lacks, self.refusal = tuple(self._missing(chosen)), self._unfit(chosen)
        if not self.has_figure:
            self.forget()
            return False
        key = (chosen.run.version, look.n_favourites, *(getattr(chosen, name) for name in self._depends))
        drawn = (key, tuple(look.colours.items()), *(getattr(chosen, name) for name in self._marks))
        is_new = key != self._key
        if is_new:
            self.data = self._data(chosen, look)
        self._key = key
        if self.is_waiting:
            return is_new
        if drawn != self._drawn:
            self._draw(self._describe(self.data, chosen, look), look.mode)
        self._drawn = drawn
        if self.shown is not None and self.shown.mode != look.mode:
            self.shown.retheme(look.mode)
        return is_new

    @property
    def has_figure(self) -> bool:
        """Whether there is anything to draw for what is chosen."""
        return not self.lacks and not self.refusal

    @property
    def is_counting(self) -> bool:
        """Whether its data are still computed."""
        return False

    def is_of(self, name: str) -> bool:
        """Say whether its data depend on a part of the choice."""
        return name in self._depends

    def forget(self) -> None:
        """Ask for data and drawing again at the next ``refresh``: something changed that the choice does not name."""
        self._key, self._drawn = (), ()

    def pane(self) -> pn.pane.Bokeh:
        """Return the figure's pane; it is empty until there is a figure."""
        size = {"sizing_mode": "stretch_both"} if self._is_stretched else {}
        self._pane = pn.pane.Bokeh(self.shown.figure if self.shown is not None else None, **size)
        return self._pane

    def head(self, look: Look, *, extra: object = None, below: object = None) -> Markup:
        """Return title, caption, keys, help and export of the figure as it is shown."""
        if not self.has_figure:
            title = getattr(self.module, "TITLE", "") or self.name.replace("_", " ").capitalize()
            return head(self.name, title, "", help_text=self.module.HELP, keys=below, extra=extra, exports=())
        keys = getattr(self.module, "keys", None)
        shown = keys(self.data) if keys else getattr(self.module, "KEYS", ())
        title = self.module.title(self.data) if hasattr(self.module, "title") else self.module.TITLE
        caption = getattr(self.module, "caption", lambda _: "")(self.data)
        line = Markup(keys_html(shown, look.colours)) if shown else None
        return head(self.name, title, caption, help_text=self.module.HELP, keys=[below, line], extra=extra)

    def _draw(self, drawing: Drawing, mode: Mode) -> None:
        if self.shown is not None and _same_marks(self.shown.drawing, drawing):
            self.shown.swap(drawing)
            self._set_least_height(drawing)
            for hover in self.shown.figure.toolbar.tools:
                if isinstance(hover, HoverTool) and drawing.hit and hover.tooltips != drawing.hit.tooltip:
                    hover.tooltips = drawing.hit.tooltip
            return
        width = None if self._is_stretched else self.width
        self.shown = Shown(drawing, mode, width=width, height=self.height)
        self.shown.figure.output_backend = (
            "canvas"  # HoloViews asks for WebGL, which is slower for a few thousand marks
        )
        if self._is_stretched:
            self.shown.figure.sizing_mode = "stretch_both"
        self._set_least_height(drawing)
        if self._on_tap is not None:
            self.shown.on_tap(self._on_tap)
        self.prepare(self.shown)
        if self._pane is not None:
            self._pane.object = self.shown.figure

    def prepare(self, shown: Shown) -> None:
        """Add to a figure that was made, before any page has it: Bokeh hears no events that are asked for later."""

    def _set_least_height(self, drawing: Drawing) -> None:
        if self._is_scrolled and self.shown is not None:
            self.shown.figure.min_height = drawing.axes.height


def head(
    name: str,
    title: object,
    caption: str,
    *,
    help_text: str = "",
    keys: object = None,
    extra: object = None,
    exports: Sequence[str] = tuple(EXPORTS),
) -> Markup:
    """Return the head of a panel: title, caption, icons for help and export, and the line of keys."""
    tools = [
        tag("button", icon("help"), data_do="open", data_menu_name=f"{name}-help", **_says(f"Help: {title}")),
        tag("button", icon("export"), data_do="open", data_menu_name=f"{name}-export", **_says(f"Export: {title}")),
    ]
    items = [
        tag(
            "button",
            kind.upper(),
            tag("span", EXPORTS[kind], class_="quiet"),
            data_do="export",
            data_figure=name,
            data_kind=kind,
        )
        for kind in exports
    ]
    if {"svg", "csv"} <= set(exports):  # drawn, and there is more to it than the picture
        items.append(tag("button", "Show as table", tag("kbd", "T"), data_do="table", data_figure=name))
    link = tag("button", "Copy link to this view", data_do="copy")
    return tag(
        "header",
        tag(
            "div",
            tag("h2", title),
            tag("span", caption, class_="caption", title=caption),
            extra,
            tag("span", tools[:1] if not exports else tools, class_="tools"),
            class_="title",
        ),
        keys,
        tag("div", tag("h3", title), paragraphs(help_text), class_="help", popover="auto", data_menu=f"{name}-help"),
        tag("div", items, link, class_="menu", popover="auto", data_menu=f"{name}-export"),
    )


def _same_marks(first: Drawing, second: Drawing) -> bool:
    return [(mark.kind, mark.role) for mark in first.marks] == [(mark.kind, mark.role) for mark in second.marks]


def _says(label: str) -> dict[str, str]:
    return {"aria_label": label, "aria_haspopup": "true", "aria_expanded": "false"}


def paragraphs(text: str) -> list[Markup]:
    """Turn a figure's help into paragraphs; ``**bold**`` and ``*italic*`` are all it may hold."""
    return [tag("p", _inline(" ".join(part.split()))) for part in text.strip().split("\n\n") if part.strip()]


def _inline(text: str) -> list[object]:
    pieces: list[object] = []
    for piece in re.split(r"(\*\*[^*]+\*\*|\*[^*]+\*)", text):
        if piece.startswith("**"):
            pieces.append(tag("strong", piece.strip("*")))
        elif piece.startswith("*") and len(piece) > 2:
            pieces.append(tag("em", piece.strip("*")))
        else:
            pieces.append(piece)
    return pieces
