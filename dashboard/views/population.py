"""Do the sites together carry what the units do? Decoding, correlations among sites, rotations, linear metrics."""

from collections.abc import Mapping

from dashboard.figures.wording import fixed
from dashboard.results import Chosen
from dashboard.views.card import Card, Look
from dashboard.views.figure_card import FigureCard
from dashboard.views.frame import folds_note, stat, title_line
from dashboard.views.markup import Markup, tag
from dashboard.views.page import Page, area, panel


class PopulationPage(Page):
    """The page of figures 5, S5, S6, S12, 9 and S4."""

    name = "population"
    layout = tag(
        "div",
        tag(
            "main",
            area("header"),
            tag("div", panel("decoding"), panel("decoding_similarity"), class_="row halves"),
            tag("div", panel("decoding_confusions"), class_="row one"),
            tag("div", panel("rotation"), panel("linear_metric_layer"), class_="row halves"),
            tag("div", panel("site_correlations_clustered"), panel("linear_metric_networks"), class_="row square-half"),
            tag("div", panel("assignment"), class_="row one"),
            area("footer", style="margin-top:auto"),
            class_="content",
        ),
        class_="page",
        data_page="population",
    )

    def make_cards(self) -> list[Card]:
        """Decoding, confusions, bases, metrics, correlations among sites, one-to-one matches."""
        to_site, to_network = self.chooser("site"), self.choose_network
        return [
            FigureCard("decoding", self.results),
            FigureCard("decoding_similarity", self.results, on_tap=to_network),
            FigureCard("decoding_confusions", self.results),
            FigureCard("rotation", self.results),
            FigureCard("linear_metric_layer", self.results, on_tap=to_site),
            FigureCard("site_correlations_clustered", self.results, on_tap=to_site),
            FigureCard("linear_metric_networks", self.results, on_tap=to_network),
            FigureCard("assignment", self.results, on_tap=to_site),
        ]

    def areas(self, chosen: Chosen, look: Look) -> Mapping[str, object]:
        """Header line."""
        return {"header": header(chosen)}


def header(chosen: Chosen) -> Markup:
    """Return the header line: the neural correlation, and beside it what populations reach."""
    run, region = chosen.run, chosen.region
    whole = run.neural_correlation.sel(region=region, layer="")
    return tag(
        "header",
        title_line("Population", chosen),
        stat("r, median of single units", fixed(float(whole["correlation"])), "selected on all images", kind="strong"),
        stat("held-out r", fixed(float(whole["held_out"])), folds_note(run), kind="strong"),
        class_="header",
    )
