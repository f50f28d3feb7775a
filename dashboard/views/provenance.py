"""What does a number rest on, and does it still hold? Provenance of the run, and its checksums tried again."""

from collections.abc import Mapping

from dashboard.results import Chosen
from dashboard.views.card import Card, Look
from dashboard.views.frame import provenance, title_line
from dashboard.views.markup import tag
from dashboard.views.page import Page, area


class ProvenancePage(Page):
    """The page of one run's provenance and self-check."""

    name = "provenance"
    layout = tag(
        "div",
        tag(
            "main",
            area("header"),
            area("provenance"),
            area("footer", style="margin-top:auto"),
            class_="content",
        ),
        class_="page",
        data_page="provenance",
    )

    def make_cards(self) -> list[Card]:
        """No figure."""
        return []

    def areas(self, chosen: Chosen, look: Look) -> Mapping[str, object]:
        """Header line and provenance."""
        told = [tag("p", line) for line in provenance([chosen.run], chosen.run.regions)]
        return {
            "header": tag("header", title_line("Provenance", chosen), class_="header"),
            "provenance": tag("section", told, class_="card"),
        }
