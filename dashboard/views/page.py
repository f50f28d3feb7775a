"""What is a page? A skeleton of HTML, cards with figures, and areas that are written from what is chosen."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import pandas as pd
import panel as pn
from tornado.ioloop import IOLoop

from dashboard.results import Chosen, Results
from dashboard.runs import OpenRun
from dashboard.troubles import told_on_page
from dashboard.views.asks import Asks
from dashboard.views.card import Card, Look
from dashboard.views.colours import style_of
from dashboard.views.document import change_soon, forget_empty_defaults, is_watched, models_come
from dashboard.views.footer import footer, titles
from dashboard.views.markup import Markup, tag
from dashboard.views.missing import NOT_COMPUTED, not_computed, refused
from dashboard.views.screen import Action, Screen

_LOOK_AGAIN_MS = 1000
"""Nobody has the page open, or its connection was lost: whether somebody has it again."""

NOT_DRAWN = tag("span", aria_busy="true")


class Page(ABC):
    """One page of a session; it is built when it is first seen, and swapped from then on."""

    name: ClassVar[str]
    layout: ClassVar[Markup]

    def __init__(
        self, results: Results, choose: Callable[..., None], act: Callable[[Action], None], variant: str = ""
    ) -> None:
        self.results, self.choose, self._act, self.variant = results, choose, act, variant
        self.cards = {card.name: card for card in self.make_cards()}
        self.screen: Screen | None = None
        self.asks: Asks | None = None
        """What the visitor has the server do; set by the session."""
        self._compared: list[OpenRun] = []
        self.in_turn = self.is_bare = False
        """Whether the browser gets the page with one figure, and the others one by one once it has drawn that; and
        whether that one comes right after the page, too."""
        self._last: tuple[Chosen, Look] | None = None

    @property
    def shown(self) -> Screen:
        """The page in the browser, once it was refreshed."""
        assert self.screen is not None
        return self.screen

    @classmethod
    def variant_for(cls, chosen: Chosen, results: Results) -> str:
        """Return which form of the page fits the choice; each form is built once."""
        return ""

    def skeleton(self) -> Markup:
        """Return the HTML that holds areas and slots."""
        return self.layout

    @abstractmethod
    def make_cards(self) -> list[Card]:
        """Return the cards of the page, in the order in which they are drawn; each has its slot in the layout."""

    @abstractmethod
    def areas(self, chosen: Chosen, look: Look) -> Mapping[str, object]:
        """Return the HTML of the areas beside heads and footer, once the cards show what is chosen."""

    def live(self, chosen: Chosen, look: Look) -> Mapping[str, object]:
        """Return those areas that change while the choice stays: what is computed, or found out, meanwhile."""
        return {}

    def first(self, chosen: Chosen) -> Mapping[str, object]:
        """Return those areas that need no figure's data, on a page whose figures take a while: they are seen first."""
        return {}

    def table(self, name: str, chosen: Chosen) -> pd.DataFrame | None:
        """Return what the CSV of a panel holds; None for a panel without data."""
        return self.cards[name].data if name in self.cards else None

    def chooser(self, name: str) -> Callable[[Any], None]:
        """Return what chooses the mark that was tapped as the selection's ``name``."""
        return lambda key: self.choose(**{name: int(key) if name == "rank" else str(key)})

    def choose_network(self, title: Any) -> None:
        """Choose the network of that title among those of the recording that is shown."""
        run = titles(self._compared).get(str(title))
        if run is not None:
            self.choose(network=run.network)

    def state_of(self, card: Card, chosen: Chosen) -> Markup:
        """Say what is missing for a figure and what would make it, or that it is not drawn yet; else nothing."""
        if card.refusal:
            return refused(card.refusal)
        if card.is_waiting and card.has_figure:
            return NOT_DRAWN
        return not_computed(chosen, card.lacks, card.settings) if card.lacks else Markup("")

    def shown_by(self, name: str, chosen: Chosen) -> Chosen:
        """Return the choice that a panel shows: where two stand side by side it is not always the first."""
        return chosen

    def sources(self, name: str, chosen: Chosen) -> tuple[list[OpenRun], list[str]]:
        """Return the runs and the regions that a figure shows, for the line below it once it is exported."""
        return [chosen.run], [chosen.region]

    def shows(self, name: str, chosen: Chosen) -> bool:
        """Say whether the card is seen; others, which a switch of the page hides, are not brought up to date."""
        return True

    def announce(self, chosen: Chosen, look: Look) -> None:
        """Say at once what was chosen, where the browser has the page; ``refresh`` follows."""
        if self.screen is not None:
            self.screen.write(_styled(self.first(chosen), look))

    def refresh(self, chosen: Chosen, look: Look) -> None:
        """Bring every figure and area to what is chosen; call it under ``pn.io.hold()``."""
        self._compared, self._last = self.results.runs(chosen.run.recording), (chosen, look)
        shown = {name: card for name, card in self.cards.items() if self.shows(name, chosen)}
        is_later = self.is_bare and self.screen is None
        for card in shown.values():
            card.is_waiting |= is_later
            card.refresh(chosen, look)
            is_later |= self.in_turn and self.screen is None and card.has_figure
        written: dict[str, Any] = {f"{name}-head": "" for name in self.cards if name not in shown}
        written |= {f"{name}-head": card.head(look) for name, card in shown.items()}
        written |= {f"{name}-state": self.state_of(card, chosen) for name, card in shown.items()}
        written |= {"footer": footer(chosen), **self.areas(chosen, look), **self.live(chosen, look)}
        areas = _styled(written, look)
        if self.screen is None:
            panes = [card.pane() for card in self.cards.values()]
            self.screen = Screen(
                self._act,
                self._draw_next,
                layout=str(self.skeleton()),
                slots=list(self.cards),
                figures=panes,
                areas=areas,
                sizing_mode="stretch_width",
            )
        else:
            self.screen.write(areas)

    def draw(self, name: str) -> None:
        """Draw a card that waits, unless a switch hides it."""
        card = self.cards[name]
        if not card.is_waiting or self._last is None:
            return
        card.is_waiting = False
        if self.shows(name, self._last[0]):
            with models_come():
                card.refresh(*self._last)
                self.shown.write(_styled({f"{name}-state": self.state_of(card, self._last[0])}, self._last[1]))

    def draw_one(self) -> None:
        """Draw the first card that waits."""
        waiting = self._waiting()
        if waiting:
            self.draw(waiting[0])

    def _waiting(self) -> list[str]:
        return [name for name, card in self.cards.items() if card.is_waiting]

    def _draw_next(self) -> None:
        """Draw the next card that waits, and the one after it in another turn of the server's loop."""
        document = pn.state.curdoc
        if document is None:
            return
        if not self._waiting():
            forget_empty_defaults(document)
            return
        if is_watched(document):
            # first: a figure that cannot be drawn does not hold up the others
            change_soon(document, IOLoop.current(), self._draw_next)
            self.draw_one()
        else:
            document.add_timeout_callback(told_on_page(document, self._draw_next), _LOOK_AGAIN_MS)

    def tick(self, chosen: Chosen, look: Look) -> None:
        """Bring what is computed meanwhile up to date, and no figure; call it under ``pn.io.hold()``."""
        lacking = {name: card for name, card in self.cards.items() if card.lacks and self.shows(name, chosen)}
        written: dict[str, object] = {f"{name}-state": self.state_of(card, chosen) for name, card in lacking.items()}
        written |= self.live(chosen, look)
        waiting = {name for name, html in self.shown.written.items() if NOT_COMPUTED in html} - set(written)
        if waiting:
            written |= {name: html for name, html in self.areas(chosen, look).items() if name in waiting}
        self.shown.write(_styled(written, look))


def _styled(areas: Mapping[str, object], look: Look) -> dict[str, str]:
    style = style_of(look.colours)
    return {name: str(tag("div", html, style=style)) for name, html in areas.items()}


def page_of(name: str, *rows: Markup) -> Markup:
    """Return the skeleton of a page: its header line, rows of panels, and the footer."""
    content = [area("header"), *rows, area("footer", style="margin-top:auto")]
    return tag("div", tag("main", content, class_="content"), class_="page", data_page=name)


def panel(name: str, *, class_: str = "", body: object = None) -> Markup:
    """Return the skeleton of a panel: its head, and a slot for the figure of that name, or ``body``."""
    inside = body if body is not None else [area(f"{name}-state", class_="state-area"), _slot(name)]
    return tag("article", tag("div", data_area=f"{name}-head"), inside, class_=f"card {class_}".strip(), data_card=name)


def panel_of(names: Sequence[str], *, class_: str = "") -> Markup:
    """Return the skeleton of a panel that shows one of several figures: that which is not hidden."""
    inside = [
        tag(
            "div",
            tag("div", data_area=f"{name}-head"),
            area(f"{name}-state", class_="state-area"),
            _slot(name),
            class_="one-of",
        )
        for name in names
    ]
    return tag("article", inside, class_=f"card {class_}".strip(), data_card=names[0])


def _slot(name: str) -> Markup:
    """Return the place of a figure, with a name for those who cannot see it."""
    return tag("div", data_slot=name, role="group", aria_label=f"Figure: {name.replace('_', ' ')}")


def section(title: str) -> Markup:
    """Return the heading of a group of panels."""
    return tag("h2", title, class_="section")


def area(name: str, **attributes: object) -> Markup:
    """Return the place of an area."""
    return tag("div", data_area=name, **attributes)
