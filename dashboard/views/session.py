"""What does one visitor see? A selection, the pages that show it, and the address that holds it."""

import base64
import logging
import secrets
import time
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import nullcontext
from typing import Any

import panel as pn
from bokeh.application.application import SessionContext
from bokeh.document import Document
from bokeh.themes import Theme
from tornado.ioloop import IOLoop

from dashboard import exporting
from dashboard.figures.marks import Drawing
from dashboard.figures.wording import fixed
from dashboard.results import Chosen, Results
from dashboard.state import ADDRESS, PAGES, Selection
from dashboard.theme import Mode, bokeh_theme
from dashboard.troubles import sentence, tell_through
from dashboard.views import bar, colours, footer, keys, missing, tabulated, working
from dashboard.views.asks import Asks
from dashboard.views.card import Look
from dashboard.views.controls import Controls
from dashboard.views.document import TEMPLATE, change_soon, models_come, variables
from dashboard.views.feature_maps import FeatureMapsPage
from dashboard.views.layers import LayersPage
from dashboard.views.markup import tag
from dashboard.views.overview import OverviewPage
from dashboard.views.page import Page, area
from dashboard.views.population import PopulationPage
from dashboard.views.provenance import ProvenancePage
from dashboard.views.runner_ups import RunnerUpsPage
from dashboard.views.runs import RunsPage, empty_jobs
from dashboard.views.screen import Browser, Screen
from dashboard.views.selection import SelectionPage
from dashboard.views.site import SitePage
from engine.errors import SettingsError, StoreError
from engine.interchange import as_csv

log = logging.getLogger(__name__)

PAGE_CLASSES: tuple[type[Page], ...] = (
    OverviewPage,
    SitePage,
    RunnerUpsPage,
    LayersPage,
    FeatureMapsPage,
    PopulationPage,
    SelectionPage,
    RunsPage,
    ProvenancePage,
)
WINDOWS = ((1800, 12), (1400, 10), (0, 8))
"""Least width in px of a window, and how many favourite images it has room for in two rows."""
_ANNOUNCED_AFTER_S = 0.15
"""A file that is not drawn by then is announced; what a figure says that is still to come is in ``panels.css``."""
_FIRST_FILE = "The first one takes some seconds, as the drawing libraries are loaded."


class Session:
    """The dashboard of one browser window.

    Parameters
    ----------
    results
        Runs of the store; shared by all sessions.
    query
        Arguments of the address that was opened.
    why_read_only
        Said where a visitor would start a job, if nobody can.
    in_turn
        Whether a browser is there that draws the first figures of a page while the others are made.
    """

    def __init__(
        self,
        results: Results,
        query: Mapping[str, str] | None = None,
        *,
        why_read_only: str = "",
        in_turn: bool = False,
    ) -> None:
        self.results, self.why_read_only, self.in_turn = results, why_read_only, in_turn
        results.used_at = time.monotonic()
        self.selection = Selection()
        self.selection.take(query or {})
        self.controls = Controls(self.selection, results)
        self.asks = Asks(results, self.controls.select)
        self.look = Look({})
        self.pages: dict[tuple[str, str], Page] = {}
        self.browser = Browser(self.act, theme=self.selection.theme)
        self.bar = Screen(self.act, layout=str(bar.LAYOUT), areas={}, sizing_mode="stretch_width")
        self.shown = pn.Column(sizing_mode="stretch_width", margin=0)
        self._document: Document | None = None
        self._loop: IOLoop | None = None
        self._columns = 10
        self._is_told = self._is_news = False
        self._being_drawn: dict[str, bool] = {}
        """Files, and whether they are announced."""
        self._empty: Screen | None = None
        self.refresh()
        self.selection.param.watch(self._changed, list(ADDRESS))
        results.bell.listen(self)

    def serve(self, document: Document) -> Document:
        """Put the session into a document of the server."""
        template = pn.Template(TEMPLATE, items={"bar": self.bar, "pages": self.shown, "browser": self.browser})
        for name, value in variables(self.selection.theme, document).items():
            template.add_variable(name, value)
        with document.models.freeze():  # else Bokeh looks through all models five times
            self._document = template.server_doc(document, title="unitscope", location=False)
        tell_through(self._document, self)
        self._document.on_session_destroyed(self._closed)
        self._loop = IOLoop.current(instance=False)
        self._set_document_theme()
        if self.in_turn and self._loop is not None:
            change_soon(self._document, self._loop, self._draw_first)
        return self._document

    @property
    def mode(self) -> Mode:
        """Light or dark."""
        return "dark" if self.selection.theme == "dark" else "light"

    def act(self, action: Mapping[str, Any]) -> None:
        """Do what the browser reports; an error is told in a sentence and written to the log."""
        self.results.used_at = time.monotonic()
        try:
            match action.get("do"):
                case "window":
                    self._fit(action.get("width"))
                case "export":
                    self._export(str(action.get("figure")), str(action.get("kind")))
                case "table":
                    self._tabulate(str(action.get("figure")))
                case "sites":
                    self._send_sites(str(action.get("key")))
                case _ if self.asks.act(action):
                    self.refresh()
                case _:
                    self.controls.act(action)
        except SettingsError as error:
            self.say(self.results.told(str(error)))
        except Exception:  # the text of an exception would end in the browser's console, paths included
            name = secrets.token_hex(3)
            log.exception("error %s while doing %r", name, action.get("do"))
            self.say(sentence(name))

    def say(self, told: str) -> None:
        """Show a sentence above the page."""
        self.bar.write({"notice": str(bar.notice(told))})

    def rung(self, *, is_news: bool) -> None:
        """Take note that something has changed; the page follows on the server's loop, whichever thread says so."""
        self._is_news |= is_news
        if self._document is not None and self._loop is not None and not self._is_told:
            self._is_told = True
            change_soon(self._document, self._loop, self.hear)

    def hear(self) -> None:
        """Show what has changed since: all of the page where something is new, else what is computed."""
        self._is_told, is_news, self._is_news = False, self._is_news, False
        if is_news:
            self.refresh()
        else:
            self._tick()

    def _draw_first(self) -> None:
        """Draw the first figure; its page is on its way already, and is seldom loaded before it is there."""
        chosen = self.results.choose(self.selection)
        if chosen is not None:
            self._page(self.selection.page, chosen).draw_one()

    def _closed(self, context: SessionContext) -> None:
        self.results.bell.forget(self)

    def _tick(self) -> None:
        chosen = self.results.choose(self.selection)
        with pn.io.hold():
            self.bar.write({"working": str(working.sign(self.results.jobs))})
            if chosen is None:
                self._show_empty()
                return
            page = self._page(self.selection.page, chosen)
            if page.screen is not None:
                page.tick(chosen, self.look)

    def refresh(self) -> None:
        """Bring bar, page and address to the selection; a run that turns out to be damaged is left out from then on."""
        try:
            self._refresh()
        except StoreError as error:
            damaged = self.results.damaged(error)
            if not damaged:
                raise
            log.warning("run %s cannot be read: %s", damaged, error)
            self.results.give_up(damaged, error)
            self.refresh()

    def _refresh(self) -> None:
        chosen = self.results.choose(self.selection)
        page = None
        if chosen is not None:
            tokens, seen = colours.colours(chosen, self.results), self.selection
            self.look = Look(tokens, self.mode, self._columns, seen.view, seen.favourites)
            page = self._page(seen.page, chosen)
            with pn.io.hold():  # sent when it ends, and not with what takes longer
                page.announce(chosen, self.look)
        with pn.io.hold():
            self._show_bar(chosen)
            if chosen is None or page is None:
                self._show_empty()
                return
            with models_come() if page.screen is None else nullcontext():
                page.refresh(chosen, self.look)
                self._show(page.shown)
            self._say_where(chosen)

    def _changed(self, *events: Any) -> None:
        if any(event.name == "theme" for event in events):
            self.browser.theme = self.selection.theme
            self._set_document_theme()
        self.refresh()

    def _page(self, name: str, chosen: Chosen) -> Page:
        kind = next(page for page in PAGE_CLASSES if page.name == name)
        form = name, kind.variant_for(chosen, self.results)
        if form not in self.pages:
            self.pages[form] = kind(self.results, self.controls.select, self.act, form[1])
            self.pages[form].asks = self.asks
            self.pages[form].in_turn = self.in_turn
            self.pages[form].is_bare = self.in_turn and self._document is None
        return self.pages[form]

    def _show_bar(self, chosen: Chosen | None) -> None:
        areas = {
            "bar": bar.bar(self.selection),
            "working": working.sign(self.results.jobs),
            "choices": bar.choices(self.selection, self.results, chosen),
            "menus": bar.menus(self.results, chosen),
            "notice": bar.notice(self._notice(chosen)),
            "keys": keys.key_list(),
            "search": keys.search(),
        }
        self.bar.write({name: str(html) for name, html in areas.items()})

    def _show_notice(self) -> None:
        self.say(self._notice(self.results.choose(self.selection)))

    def _notice(self, chosen: Chosen | None) -> str:
        announced = [file for file, is_announced in self._being_drawn.items() if is_announced]
        if announced:
            first = "" if self.results.drawing.is_ready else f" {_FIRST_FILE}"
            return f"Drawing {', '.join(announced)} …{first}"
        told = chosen.notice if chosen is not None else ""
        return told or (self.why_read_only if chosen is None or self.selection.page == "runs" else "")

    def _show(self, screen: Screen) -> None:
        if screen not in self.shown:
            self.shown.append(screen)
        for other in self.shown:
            other.visible = other is screen

    def _show_empty(self) -> None:
        told = missing.empty_store(self.results.told(str(self.results.root)), self.results.problems())
        begin = empty_jobs(self.asks.form)
        areas = {"told": str(told), "begin": str(begin)}
        if self._empty is None:
            page = tag("main", tag("div", area("told"), area("begin"), class_="content"), class_="page")
            self._empty = Screen(self.act, layout=str(page), areas=areas, sizing_mode="stretch_width")
        else:
            self._empty.write(areas)
        self._show(self._empty)

    def _send_sites(self, key: str) -> None:
        """Give the browser the list that it searches, unless it has it: id, region and r of every site."""
        chosen = self.results.choose(self.selection)
        if chosen is None or key == chosen.run.digest:
            return
        run = chosen.run
        sites = [[site, region, fixed(r)] for region in run.regions for site, r in run.sites(region)["r"].items()]
        self.browser.tell(sites=sites, key=run.digest)

    def _say_where(self, chosen: Chosen) -> None:
        resolved = {
            "network": chosen.run.network,
            "recording": chosen.run.recording,
            "region": chosen.region,
            "site": chosen.site,
            "rank": chosen.rank,
            "layer": chosen.layer,
            "feature_map": chosen.feature_map,
            "stimulus": chosen.stimulus,
            "beside_site": chosen.beside_site,
            "beside_network": chosen.beside_network,
            "view": chosen.view,
        }
        seen = {name: getattr(self.selection, name) for name in ("page", "favourites", "theme")}
        query = Selection(**seen, **resolved).query()
        is_own = not self.controls.is_from_address and not self.controls.is_held and self._document is not None
        self.browser.param.update(
            address={"query": query, "push": is_own},
            title=f"{PAGES[self.selection.page]} · {chosen.site} · {chosen.run.network_title} · unitscope",
        )

    def _fit(self, width: Any) -> None:
        if not isinstance(width, int | float):
            return
        columns = next(n for least, n in WINDOWS if width >= least)
        if columns != self._columns:
            self._columns = columns
            self.refresh()

    def _set_document_theme(self) -> None:
        if self._document is not None:
            self._document.theme = Theme(json=bokeh_theme(self.mode))

    def _export(self, name: str, kind: str) -> None:
        chosen = self.results.choose(self.selection)
        if chosen is None or kind not in exporting.KINDS:
            return
        page = self._page(self.selection.page, chosen)
        if name in page.cards:
            page.draw(name)
        shown, card, table = page.shown_by(name, chosen), page.cards.get(name), page.table(name, chosen)
        parts = (shown.run.network, shown.run.recording, shown.site, name)
        file = exporting.file_name(*parts, kind=kind, is_simulated=shown.run.is_simulated)
        told = footer.paper_footer(*page.sources(name, chosen))
        if kind == "csv" and table is not None:
            self._download(file, as_csv(table, told))
        elif card is not None and card.shown is not None:
            heading = exporting.heading_of(card.module, card.data, is_selected=True)
            how = {"width": card.width, "height": card.height, "footer": told, "heading": heading}
            self._draw(file, card.shown.drawing, how)

    def _tabulate(self, name: str) -> None:
        """Show the data of a figure as a table."""
        chosen = self.results.choose(self.selection)
        page = self._page(self.selection.page, chosen) if chosen is not None else None
        if chosen is None or page is None or name not in page.cards:
            return
        page.draw(name)
        card, table = page.cards[name], page.table(name, chosen)
        if card.is_counting:
            self.say("Its units are still counted. Ask again in a moment.")
        elif table is not None and card.has_figure:
            heading = exporting.heading_of(card.module, card.data)
            site = page.shown_by(name, chosen).site
            is_told = site in heading.caption or not card.is_of("site")
            caption = heading.caption if is_told else f"{site}, {heading.caption}"
            told = footer.paper_footer(*page.sources(name, chosen))
            self.bar.write({tabulated.MENU: str(tabulated.tabulated(table, name, heading.title, caption, told))})
            self.browser.tell(opened=tabulated.MENU)

    def _draw(self, file: str, drawing: Drawing, how: Mapping[str, Any]) -> None:
        """Draw a figure into a file: beside the loop of the server, where there is one."""
        kind = file.rpartition(".")[2]
        if self._document is None or self._loop is None:
            self._download(file, exporting.as_picture(drawing, kind, **how))
            return
        if file in self._being_drawn:
            return
        document, loop = self._document, self._loop
        drawn = self.results.drawing.draw(drawing, kind, **how)
        self._being_drawn[file] = False
        drawn.add_done_callback(lambda _: change_soon(document, loop, lambda: self._drawn(file, drawn)))
        loop.call_later(_ANNOUNCED_AFTER_S, change_soon, document, loop, lambda: self._announce(file, drawn))

    def _announce(self, file: str, drawn: Future[bytes]) -> None:
        """Say that a file is being drawn, unless it is there by now."""
        if not drawn.done():
            self._being_drawn[file] = True
            self._show_notice()

    def _drawn(self, file: str, drawn: Future[bytes]) -> None:
        del self._being_drawn[file]
        error = drawn.exception()
        if error is not None:
            name = secrets.token_hex(3)
            log.error("error %s while drawing %s", name, file, exc_info=error)
            self.say(sentence(name))
            return
        self._show_notice()
        self._download(file, drawn.result())

    def _download(self, file: str, content: bytes) -> None:
        kind = exporting.KINDS[file.rpartition(".")[2]]
        self.browser.download(file, kind, base64.b64encode(content).decode("ascii"))
