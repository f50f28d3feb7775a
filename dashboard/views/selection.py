"""How many images does a match need, and how sure is it? Sizes, significance, intervals, stability, pools."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from dashboard.figures import comparison
from dashboard.figures.wording import fixed, plural, short, thousands
from dashboard.results import Chosen
from dashboard.runs import OpenRun
from dashboard.theme import CONTROL
from dashboard.views.card import Card, Look
from dashboard.views.colours import tokens_of
from dashboard.views.figure_card import FigureCard
from dashboard.views.headers import stat, title_line
from dashboard.views.markup import Markup, joined, tag
from dashboard.views.missing import not_computed
from dashboard.views.page import Page, page_of, panel, section

NOT_COMPUTED = "not computed yet"
ALONE = "It compares networks: match another one against {}."


class SelectionPage(Page):
    """The page of figure S1, and of the evidence that the paper did not give."""

    name = "selection"
    layout = page_of(
        "selection",
        tag("div", panel("selection_curve"), panel("significance"), class_="row halves"),
        tag("div", panel("intervals"), class_="row sel-1"),
        section("Does the same unit win again?"),
        tag("div", panel("selection_curve_stability"), panel("stability"), class_="row halves"),
        section("Networks on equal terms"),
        tag("div", panel("pool_size"), panel("comparison"), class_="row sel-2"),
    )

    def make_cards(self) -> list[Card]:
        """Curve, significance and intervals; then stability, pools, and two networks over sites."""
        to_site = self.chooser("site")
        return [
            FigureCard("selection_curve", self.results),
            FigureCard("significance", self.results, on_tap=to_site),
            FigureCard("intervals", self.results, on_tap=to_site),
            FigureCard("selection_curve_stability", self.results),
            FigureCard("stability", self.results),
            FigureCard("pool_size", self.results, on_tap=self.choose_network),
            Card(
                "comparison",
                comparison,
                lambda chosen, _: comparison.data(chosen.run.dataset("comparison"), chosen.region),
                self._describe_comparison,
                depends=("region",),
                marks=("site",),
                on_tap=to_site,
                missing=lambda chosen: (
                    [] if chosen.run.has("comparison") or not self._others(chosen) else ["comparison"]
                ),
                unfit=lambda chosen: self._alone(chosen),
                width=420,
                height=420,
            ),
        ]

    def areas(self, chosen: Chosen, look: Look) -> Mapping[str, object]:
        """Header line."""
        return {"header": header(chosen)}

    def state_of(self, card: Card, chosen: Chosen) -> Markup:
        """Name the other network in the command that compares two."""
        if card.name == "comparison" and card.lacks and not card.refusal:
            others = self._others(chosen)
            other = next((run for run in others if run.network == chosen.beside_network), others[0])
            told = tag("p", f"With {other.network_title}; choose another network beside this one to compare with that.")
            return joined([not_computed(chosen, card.lacks, {"other": other.digest}), told])
        return super().state_of(card, chosen)

    def sources(self, name: str, chosen: Chosen) -> tuple[list[OpenRun], list[str]]:
        """Return both runs of the comparison, all runs of the pools, else the chosen one."""
        if name == "comparison" and (other := self._other(chosen)) is not None:
            return [chosen.run, other], [chosen.region]
        card = self.cards[name]
        return (card.runs(chosen) if isinstance(card, FigureCard) else [chosen.run]), [chosen.region]

    def _others(self, chosen: Chosen) -> list[OpenRun]:
        return [run for run in self.results.runs(chosen.run.recording) if run.digest != chosen.run.digest]

    def _other(self, chosen: Chosen) -> OpenRun | None:
        """Return the run that the stored comparison is with; None where it is there no more."""
        digests = chosen.run.dataset("comparison").attrs.get("runs", ())
        return next((run for run in self._others(chosen) if run.digest in digests), None)

    def _alone(self, chosen: Chosen) -> str:
        is_there = chosen.run.has("comparison") or self._others(chosen)
        return "" if is_there else ALONE.format(chosen.run.recording)

    def _describe_comparison(self, data: pd.DataFrame, chosen: Chosen, look: Look) -> comparison.Drawing:
        other = self._other(chosen)
        beside = tokens_of(chosen, self.results)[other.digest] if other is not None else CONTROL
        tokens = look.colours["network"], beside
        return comparison.describe(data, site=chosen.site, tokens=tokens, regions=tuple(chosen.run.regions))


def header(chosen: Chosen) -> Markup:
    """Return the header line: how many images a match needs, and how sure the matches are."""
    run = chosen.run
    return tag(
        "header",
        title_line("Selection", chosen),
        stat("images", thousands(len(run.stimuli)), plural(run.n_folds, "fold")),
        needed(chosen),
        above_chance(chosen),
        median(chosen),
        kept(chosen),
        class_="header",
    )


def needed(chosen: Chosen) -> Markup:
    """Return how many images reach 95% of the asymptote, or why that is not known."""
    label = "images for 95% of held-out r"
    if not chosen.run.has("selection_curve"):
        return stat(label, "n/a", NOT_COMPUTED)
    one = chosen.run.dataset("selection_curve").sel(region=chosen.region)
    n, status = float(one["n_95"]), str(one["fit_status"].values)
    if not np.isfinite(n):
        return stat(label, "n/a", status)
    is_beyond = status == "extrapolated" or n > float(one["size"].max())
    told = f"asymptote {fixed(float(one['asymptote']))}" + (", by extrapolation" if is_beyond else "")
    return stat(label, short(n), told)


def above_chance(chosen: Chosen) -> Markup:
    """Return how many sites have a match above chance, corrected for their number."""
    label = "sites above chance"
    if not chosen.run.has("significance"):
        return stat(label, "n/a", NOT_COMPUTED)
    found = chosen.run.dataset("significance")
    one = found.sel(region=chosen.region)
    of, limit = int(one["n_sites"]), fixed(float(one["threshold"]))
    note = f"of {of} at q ≤ {found.attrs['level']:g}; held-out {int(one['n_held_out_significant'])}; r above {limit}"
    return stat(label, str(int(one["n_significant"])), note)


def median(chosen: Chosen) -> Markup:
    """Return the median r over the sites with its interval, and the held-out one."""
    if not chosen.run.has("intervals"):
        return stat("median r, 95% interval", "n/a", NOT_COMPUTED)
    one = chosen.run.dataset("intervals").sel(region=chosen.region, resampled="both")
    told = {
        name: [float(one[f"median_{name}{end}"]) for end in ("", "_low", "_high")]
        for name in ("correlation", "held_out")
    }
    spans = {name: f"{fixed(low)} to {fixed(high)}" for name, (_, low, high) in told.items()}
    note = f"{spans['correlation']}; held-out {fixed(told['held_out'][0])}, {spans['held_out']}"
    return stat("median r, 95% interval", fixed(told["correlation"][0]), note, kind="strong")


def kept(chosen: Chosen) -> Markup:
    """Return for how many sites the same unit wins once a part of the images is left out."""
    label = "same unit without a part"
    if not chosen.run.has("stability"):
        return stat(label, "n/a", NOT_COMPUTED)
    found = chosen.run.dataset("stability")
    shares = found["share_same"].sel(region=chosen.region).values
    if not np.isfinite(shares).any():
        return stat(label, "n/a", "no site has a match")
    return stat(label, f"{np.nanmean(shares):.0%}", f"of sites, mean of {plural(len(shares), 'part')}")
