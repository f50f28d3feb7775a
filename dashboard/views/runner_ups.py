"""Is the match one of many? The best units of every site, and of the chosen one in a table."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from dashboard.figures import runner_up_positions, runner_ups
from dashboard.figures.wording import fixed, plural
from dashboard.results import Chosen
from dashboard.views import table
from dashboard.views.card import Card, Look, head
from dashboard.views.figure_card import FigureCard
from dashboard.views.headers import folds_note, stat
from dashboard.views.markup import Markup, tag
from dashboard.views.page import Page, area, page_of, panel
from dashboard.views.switches import switch

REDUNDANCY = "redundancy"
VIEWS = {"": "r", REDUNDANCY: "redundancy"}
"""What stands in the rows: the value of the address, and its name on the switch."""


class RunnerUpsPage(Page):
    """The page of figure 7: sites x r, and the table of the site that is chosen."""

    name = "runner-ups"
    layout = page_of(
        "runner-ups",
        tag(
            "div",
            panel("runner-ups", class_="of-matches"),
            panel("redundancy", class_="of-redundancy"),
            tag(
                "div",
                panel(
                    "table",
                    body=[
                        tag(
                            "div",
                            area("table"),
                            class_="list fill-scroll",
                            data_scroll=True,
                            tabindex="0",
                            role="group",
                            aria_label="Ranks",
                        ),
                        area("table-note"),
                    ],
                ),
                tag("div", panel("positions"), panel("alike", body=area("alike")), class_="rank-low"),
                class_="rank-side",
            ),
            class_="row rank-1",
        ),
    )

    def make_cards(self) -> list[Card]:
        """Sites x r, and where the units look."""
        return [
            Card(
                "runner-ups",
                runner_ups,
                lambda c, _: runner_ups.data(
                    c.run.dataset("matches"), c.run.dataset("recording"), c.run.null, c.region
                ),
                lambda d, c, _: runner_ups.describe(d, site=c.site, regions=c.run.regions, n_units=c.run.n_units),
                depends=("region",),
                marks=("site",),
                on_tap=lambda site: self.choose(site=str(site)),
                width=760,
                height=670,
            ),
            FigureCard("redundancy", self.results, on_tap=self.chooser("site")),
            Card(
                "positions",
                runner_up_positions,
                lambda c, _: runner_up_positions.data(
                    c.run.dataset("matches"), c.run.dataset("layers"), c.run.dataset("recording"), c.site
                ),
                lambda d, c, look: runner_up_positions.describe(d, rank=c.rank, network=look.colours["network"]),
                depends=("site",),
                marks=("rank",),
                on_tap=lambda rank: self.choose(rank=int(rank)),
                width=220,
                height=200,
            ),
        ]

    def shows(self, name: str, chosen: Chosen) -> bool:
        """Say whether the rows are those that the switch shows."""
        return name not in ("runner-ups", REDUNDANCY) or (name == REDUNDANCY) == (chosen.view == REDUNDANCY)

    def areas(self, chosen: Chosen, look: Look) -> Mapping[str, object]:
        """Header line, table, and how alike the units are."""
        ranked = table.ranking(chosen)
        n_ranks = len(ranked)
        caption = "0 is the match" + (f", 1–{n_ranks - 1} the runner-ups" if n_ranks > 1 else "")
        shown = chosen.view if chosen.view in VIEWS else ""
        rows = REDUNDANCY if chosen.view == REDUNDANCY else "runner-ups"
        return {
            f"{rows}-head": self.cards[rows].head(look, extra=switch("What is shown", VIEWS, shown)),
            "header": header(chosen, ranked),
            "table-head": head(
                "table", f"Top {n_ranks} of {chosen.site}", caption, help_text=table.HELP, exports=("csv",)
            ),
            "table": table.rows(ranked, chosen),
            "table-note": table.more(ranked),
            "alike-head": head("alike", "How alike they are", "", help_text=table.ALIKE_HELP, exports=()),
            "alike": table.alike(ranked, chosen),
        }

    def table(self, name: str, chosen: Chosen) -> pd.DataFrame | None:
        """Return the ranking for its CSV, or the data of a figure."""
        return table.ranking(chosen) if name == "table" else super().table(name, chosen)


def header(chosen: Chosen, ranked: pd.DataFrame) -> Markup:
    """Return the header line: the site, its match, and how crowded it is at the top."""
    r = ranked["correlation"].to_numpy()
    n_sites = len(chosen.run.sites(chosen.region))
    maps = len(ranked[["layer", "channel"]].drop_duplicates())
    within = str(table.near_units(ranked))
    return tag(
        "header",
        tag(
            "div",
            tag("h1", "Runner-ups"),
            tag(
                "p",
                tag("span", chosen.region, class_="region"),
                f" · {plural(n_sites, 'site')}, {chosen.run.top} units each",
                class_="quiet",
            ),
            class_="who",
        ),
        tag(
            "dl",
            tag("dt", "site"),
            tag("dd", tag("span", chosen.site, class_="n cut", title=chosen.site)),
            class_="stat",
        ),
        stat("match, r", fixed(r[0] if len(r) else np.nan), kind="strong"),
        stat(
            "held-out r",
            fixed(ranked["held_out"].iloc[0] if len(r) else np.nan),
            folds_note(chosen.run),
            kind="strong",
        ),
        stat(f"unit of rank {len(r) - 1}, r", fixed(r[-1])) if len(r) > 1 else None,
        stat(f"within {table.NEAR} of the match", within, "unit" if within == "1" else "units"),
        stat(f"the {len(r)} come from", str(maps), "feature map" if maps == 1 else "feature maps"),
        stat("chance, 95%", fixed(chosen.run.chance(chosen.region)[0]), "best of all units"),
        class_="header",
        data_shows=REDUNDANCY if chosen.view == REDUNDANCY else "matches",
    )
