"""What is computed, what is running, what failed and how is it mended?"""

from collections.abc import Mapping

from dashboard.figures.wording import plural
from dashboard.results import Chosen
from dashboard.views.card import Card, Look
from dashboard.views.frame import stat, title_line
from dashboard.views.markup import Markup, tag
from dashboard.views.page import Page, area


class RunsPage(Page):
    """The page of the store."""

    name = "runs"
    layout = tag(
        "div",
        tag(
            "main",
            area("header"),
            area("runs"),
            area("footer", style="margin-top:auto"),
            class_="content",
        ),
        class_="page",
        data_page="runs",
    )

    def make_cards(self) -> list[Card]:
        """No figure."""
        return []

    def areas(self, chosen: Chosen, look: Look) -> Mapping[str, object]:
        """Header line and the runs."""
        table = self.results.table()
        rows = [tag("p", f"{row.network} against {row.recording}, run {row.digest[:12]}") for row in table.itertuples()]
        return {"header": header(chosen, len(table)), "runs": tag("section", rows, class_="card")}


def header(chosen: Chosen, n_runs: int) -> Markup:
    """Return the header line."""
    return tag(
        "header", title_line("Runs", chosen), stat("complete", str(n_runs), plural(n_runs, "run")), class_="header"
    )
