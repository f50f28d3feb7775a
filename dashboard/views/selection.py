"""How many images does a match need, and how sure is it? Sizes, significance, intervals, stability, pools."""

from collections.abc import Mapping

from dashboard.figures.wording import plural
from dashboard.results import Chosen
from dashboard.views.card import Card, Look
from dashboard.views.figure_card import FigureCard
from dashboard.views.frame import stat, title_line
from dashboard.views.markup import Markup, tag
from dashboard.views.page import Page, area, panel


class SelectionPage(Page):
    """The page of figure S1, and of the evidence that the paper did not give."""

    name = "selection"
    layout = tag(
        "div",
        tag(
            "main",
            area("header"),
            tag("div", panel("selection_curve"), panel("selection_curve_stability"), class_="row halves"),
            tag("div", panel("intervals"), class_="row one"),
            tag("div", panel("significance"), panel("stability"), class_="row halves"),
            tag("div", panel("pool_size"), panel("comparison"), class_="row halves tall"),
            area("footer", style="margin-top:auto"),
            class_="content",
        ),
        class_="page",
        data_page="selection",
    )

    def make_cards(self) -> list[Card]:
        """Curves, intervals, significance, stability, pools, and two networks over sites."""
        to_site = self.chooser("site")
        return [
            FigureCard("selection_curve", self.results),
            FigureCard("selection_curve_stability", self.results),
            FigureCard("intervals", self.results, on_tap=to_site),
            FigureCard("significance", self.results, on_tap=to_site),
            FigureCard("stability", self.results),
            FigureCard("pool_size", self.results, on_tap=self.choose_network),
            FigureCard("comparison", self.results, on_tap=to_site),
        ]

    def areas(self, chosen: Chosen, look: Look) -> Mapping[str, object]:
        """Header line."""
        return {"header": header(chosen)}


def header(chosen: Chosen) -> Markup:
    """Return the header line: images and folds that matches were selected with."""
    run = chosen.run
    return tag(
        "header",
        title_line("Selection", chosen),
        stat("images", str(len(run.stimuli)), plural(run.n_folds, "fold")),
        class_="header",
    )
