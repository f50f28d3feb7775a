"""Which network is most like the region, in which layers, for which sites?"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures import every_site, layer_by_layer, neural_correlation, site_by_site, v4_against_it
from dashboard.figures.wording import fixed, known_of, short
from dashboard.results import Chosen, Results
from dashboard.runs import OpenRun
from dashboard.theme import CONTROL
from dashboard.views.card import Card, Look, head
from dashboard.views.colours import tokens_of
from dashboard.views.figure_card import FigureCard, coloured
from dashboard.views.footer import titles
from dashboard.views.headers import ceiling_note, folds_note, stat, title_line
from dashboard.views.markup import Markup, tag
from dashboard.views.missing import refused
from dashboard.views.page import Page, area, panel, panel_of
from dashboard.views.switches import switch

REGIONS, PARTNER, ALONE, SEVERAL, LONG = "regions", "partner", "alone", "several", "long"
SITES, TABLE = "sites", "table"
AGAINST = {"top1": "top-1", "top5": "top-5", "units": "units", "parameters": "parameters"}
"""Words of the view in the address: what the second panel shows in place of its first figure; TABLE: the first one."""
QUANTITIES = {"top1": "ImageNet top-1 accuracy", "top5": "ImageNet top-5 accuracy", "units": "number of units"}
BEST_LAYERS = 10
"""Of a network with more layers than fit, so many are listed: the best ones, in execution order."""
PLACE = panel("pair")
"""Where the second panel stands in the layout."""


class OverviewPage(Page):
    """The page of all networks that were run on a recording."""

    name = "overview"
    layout = tag(
        "div",
        tag(
            "main",
            area("header"),
            tag("div", panel_of(["networks", "networks_table"]), PLACE, class_="row over-1"),
            tag("div", panel("layers"), panel("sites"), class_="row over-2"),
            area("footer", style="margin-top:auto"),
            class_="content",
        ),
        class_="page",
        data_page="overview",
    )
    _shown_digests: frozenset[str] = frozenset()

    @classmethod
    def variant_for(cls, chosen: Chosen, results: Results) -> str:
        """Two regions, two networks site by site, or neither; one network, several, or a long list of them."""
        n_networks, partner = len(results.runs(chosen.run.recording)), partner_of(chosen, results)
        has_regions = len(chosen.run.regions) > 1 and (_n_trained(chosen, results) > 1 or partner is None)
        pair = REGIONS if has_regions else ALONE if partner is None else PARTNER
        is_long = n_networks > neural_correlation.MOST_NETWORKS
        return " ".join([pair, *[SEVERAL] * (n_networks > 1), *[LONG] * is_long])

    def skeleton(self) -> Markup:
        """Leave out the axes of a comparison that there is nothing for."""
        if ALONE in self.forms:
            return Markup(self.layout.replace(PLACE, panel("pair", body=area("pair"))))
        return Markup(self.layout.replace(PLACE, panel_of(list(self.choices.values()))))

    @property
    def forms(self) -> list[str]:
        """The words of the page's variant."""
        return self.variant.split()

    @property
    def choices(self) -> dict[str, str]:
        """What the second panel can show: a word of the view -> the card."""
        if ALONE in self.forms:
            return {}
        sites = {SITES: "site_by_site"} if REGIONS in self.forms and SEVERAL in self.forms else {}
        against = {word: f"networks_{word}" for word in AGAINST} if SEVERAL in self.forms else {}
        return {"": "pair", **sites, **against}

    def shown_choice(self, chosen: Chosen) -> str:
        """Return the word of the view that the second panel shows; the first where the view names none."""
        words = chosen.view.split()
        return next((word for word in self.choices if word in words), "")

    def shows(self, name: str, chosen: Chosen) -> bool:
        """One figure of the second panel, and the list of networks or their table."""
        of_list = "networks" if TABLE in chosen.view.split() else "networks_table"
        return name != of_list and name not in [
            other for word, other in self.choices.items() if word != self.shown_choice(chosen)
        ]

    def make_cards(self) -> list[Card]:
        """Networks, two of anything against each other, layers, sites."""
        cards: list[Card] = [
            Card(
                "networks",
                neural_correlation,
                lambda c, _: self._networks(c),
                lambda d, c, _: neural_correlation.describe(d, selected=_title(c, self.results)),
                depends=("region",),
                on_tap=self.choose_network,
                width=940,
                height=330,
                is_scrolled=True,
            ),
            FigureCard("networks_table", self.results, is_scrolled=True),
            Card(
                "layers",
                layer_by_layer,
                lambda c, _: layer_by_layer.data(
                    c.run.dataset("layer_profile"),
                    c.run.null,
                    c.run.dataset("recording"),
                    c.region,
                    control=_group(control_of(c, self.results), "layer_profile"),
                ),
                lambda d, c, look: layer_by_layer.describe(d, network=look.colours["network"], layer=c.layer or None),
                depends=("region",),
                marks=("layer",),
                on_tap=lambda layer: self.choose(layer=str(layer)),
                width=660,
                height=250,
            ),
            Card(
                "sites",
                every_site,
                lambda c, _: every_site.data(
                    c.run.dataset("matches"),
                    c.run.dataset("recording"),
                    c.run.null,
                    _group(c.run, "reliability"),
                    region=c.region,
                    control=_group(control_of(c, self.results), "matches"),
                ),
                lambda d, c, look: every_site.describe(
                    d, site=c.site, network=look.colours["network"], regions=c.run.regions
                ),
                depends=("region",),
                marks=("site",),
                on_tap=lambda site: self.choose(site=str(site)),
                width=660,
                height=250,
            ),
        ]
        makers = {REGIONS: self._region_card, PARTNER: self._partner_card}
        pair = [make() for form, make in makers.items() if form in self.forms]
        if "site_by_site" in self.choices.values():
            pair.append(self._partner_card("site_by_site"))
        names = [name for name in self.choices.values() if name.startswith("networks_")]
        return [
            *cards[:2],
            *pair,
            *(FigureCard(name, self.results, on_tap=self.choose_network, width=376, height=340) for name in names),
            *cards[2:],
        ]

    def areas(self, chosen: Chosen, look: Look) -> Mapping[str, object]:
        """Header line, heads with their switches, and one sentence where there is nothing to compare."""
        areas: dict[str, object] = {"header": header(chosen, self.results)}
        shown = "networks_table" if TABLE in chosen.view.split() else "networks"
        areas[f"{shown}-head"] = self.cards[shown].head(look, extra=self._list_switch(chosen))
        if len(self.choices) > 1:
            word = self.shown_choice(chosen)
            areas[f"{self.choices[word]}-head"] = self.cards[self.choices[word]].head(
                look, below=self._switch(chosen, word)
            )
        if ALONE in self.forms:
            areas["pair-head"] = head("pair", site_by_site.TITLE, "", help_text=site_by_site.HELP, exports=())
            areas["pair"] = alone(chosen)
        return areas

    def state_of(self, card: Card, chosen: Chosen) -> Markup:
        """Say also where no network has the quantity that it would be drawn against."""
        told = super().state_of(card, chosen)
        quantity = card.name.removeprefix("networks_")
        if told or quantity not in AGAINST or len(card.data):
            return told
        what = QUANTITIES.get(quantity, "number of parameters")
        return refused(f"No network on {chosen.run.recording} tells its {what}.")

    def _list_switch(self, chosen: Chosen) -> list[Markup]:
        """What is left out of the list, and the choice between the list and the table of the paper."""
        kept = [word for word in chosen.view.split() if word in self.choices]
        words = {"": " ".join(kept), TABLE: " ".join([*kept, TABLE])}
        is_table = TABLE in chosen.view.split()
        options = {words[""]: "scores", words[TABLE]: "Table 1"}
        choice = switch("What is listed", options, words[TABLE if is_table else ""])
        n_layers = len(chosen.run.layers)
        if is_table or n_layers <= neural_correlation.MOST_LAYERS:
            return [choice]
        return [tag("span", f"the {BEST_LAYERS} best of {n_layers} layers", class_="quiet told"), choice]

    def _switch(self, chosen: Chosen, shown: str) -> Markup:
        """The choice of what networks are drawn against."""
        kept = [TABLE] if TABLE in chosen.view.split() else []
        names = {"": "regions" if REGIONS in self.forms else "site by site", SITES: "sites", **AGAINST}
        views = {word: " ".join([word, *kept]).strip() for word in self.choices}
        return switch("What is compared", {views[word]: names[word] for word in self.choices}, views[shown])

    def _networks(self, chosen: Chosen) -> pd.DataFrame:
        """Return the list: of many networks the chosen one comes first, then the best; controls are the last."""
        titled = self._titled(chosen)
        if LONG in self.forms:
            best = {title: np.nan_to_num(run.whole(chosen.region)[0], nan=-2) for title, run in titled.items()}
            order = sorted(titled, key=lambda t: (titled[t] is not chosen.run, titled[t].is_control, -best[t]))
            titled = {title: titled[title] for title in order}
        found = neural_correlation.data(
            {title: listed(run, chosen.region) for title, run in titled.items()},
            chosen.region,
            controls=self._controls(chosen),
            expanded=[_title(chosen, self.results)],
            n_sites=len(chosen.run.sites(chosen.region)),
        )
        return coloured(found, self._tokens(chosen))

    def _tokens(self, chosen: Chosen) -> dict[str, str]:
        tokens = tokens_of(chosen, self.results)
        return {title: tokens[run.digest] for title, run in self._titled(chosen).items()}

    def _region_card(self) -> Card:
        return Card(
            "pair",
            v4_against_it,
            lambda c, _: coloured(
                v4_against_it.data(
                    {title: run.neural_correlation for title, run in self._titled(c).items()},
                    two_regions(c),
                    controls=self._controls(c),
                ),
                self._tokens(c),
            ),
            lambda d, c, _: v4_against_it.describe(
                d, selected=_title(c, self.results), all_regions=tuple(c.run.regions)
            ),
            depends=("region",),
            on_tap=self.choose_network,
            width=376,
            height=340,
        )

    def _partner_card(self, name: str = "pair") -> Card:
        return Card(
            name,
            site_by_site,
            lambda c, _: site_by_site.data(
                self._partner_matches(c),
                c.run.dataset("matches"),
                c.run.dataset("recording"),
                c.region,
                names=self._pair_names(c),
            ),
            lambda d, c, look: site_by_site.describe(
                d, site=c.site, tokens=self._pair_tokens(c, look), regions=tuple(c.run.regions)
            ),
            depends=("region",),
            marks=("site",),
            on_tap=lambda site: self.choose(site=str(site)),
            width=376,
            height=340,
        )

    def _partner_matches(self, chosen: Chosen) -> xr.Dataset:
        return (partner_of(chosen, self.results) or chosen.run).dataset("matches")

    def _titled(self, chosen: Chosen) -> dict[str, OpenRun]:
        return titles(self.results.runs(chosen.run.recording))

    def _controls(self, chosen: Chosen) -> list[str]:
        return [title for title, run in self._titled(chosen).items() if run.is_control]

    def _pair_names(self, chosen: Chosen) -> tuple[str, str]:
        partner = partner_of(chosen, self.results)
        named = {run.digest: title for title, run in self._titled(chosen).items()}
        return named[partner.digest] if partner else "", named[chosen.run.digest]

    def _pair_tokens(self, chosen: Chosen, look: Look) -> tuple[str, str]:
        partner = partner_of(chosen, self.results)
        first = tokens_of(chosen, self.results)[partner.digest] if partner is not None else CONTROL
        return first, look.colours["network"]

    def refresh(self, chosen: Chosen, look: Look) -> None:
        """Draw all figures again once a run came or went."""
        there = frozenset(run.digest for run in self.results.runs(chosen.run.recording))
        if there != self._shown_digests:
            for card in self.cards.values():
                card.forget()
        self._shown_digests = there
        super().refresh(chosen, look)

    def sources(self, name: str, chosen: Chosen) -> tuple[list[OpenRun], list[str]]:
        """Return the runs and regions of a figure: of all networks, of two, or of one and its untrained self."""
        every = self.results.runs(chosen.run.recording)
        if name.startswith("networks"):
            return every, [chosen.region]
        if name == "pair" and REGIONS in self.forms:
            return every, list(two_regions(chosen))
        is_pair = name in ("pair", "site_by_site")
        other = partner_of(chosen, self.results) if is_pair else control_of(chosen, self.results)
        return [chosen.run, *([other] if other is not None else [])], [chosen.region]


def header(chosen: Chosen, results: Results) -> Markup:
    """Return the header line: the best network and its numbers, over the sites of the region."""
    runs = titles(results.runs(chosen.run.recording))
    trained = {title: run for title, run in runs.items() if not run.is_control} or runs
    values = {title: run.whole(chosen.region) for title, run in trained.items()}
    best = max(values, key=lambda title: np.nan_to_num(values[title][0], nan=-2))
    run = trained[best]
    r, held_out, chance = values[best]
    sites = run.sites(chosen.region)
    n_known, n_held_out = (int(sites[name].notna().sum()) for name in ("r", "held_out"))
    over = f"median of {known_of(n_known, len(sites), 'site')}"
    held_out_note = folds_note(run)
    if n_held_out not in (0, n_known):
        held_out_note += f", {known_of(n_held_out, len(sites), 'site')}"
    return tag(
        "header",
        title_line("Overview", chosen),
        stat("best network, r" if len(trained) > 1 else "neural correlation, r", fixed(r), over, kind="strong"),
        stat("held-out r", fixed(held_out), held_out_note, kind="strong"),
        ceiling_note(run, float(sites["noise_ceiling"].median()), of="region"),
        stat("chance, median", fixed(chance), f"best of {short(run.n_units)}"),
        stat(
            f"{chosen.region}-like layer",
            run.layer_like(chosen.region),
            best,
            kind="name" if run.digest == chosen.run.digest else "",  # the page's colour is the chosen network's
        ),
        class_="header",
    )


def listed(run: OpenRun, region: str) -> xr.Dataset:
    """Return the neural correlation of the network, and of its layers where they fit, else of the best ones."""
    found = run.neural_correlation
    n_layers = found.sizes["layer"] - 1
    if n_layers <= neural_correlation.MOST_LAYERS or region not in found["region"].values:
        return found
    values = np.nan_to_num(found["correlation"].sel(region=region).values, nan=-2)
    values[found["layer"].values == ""] = 2
    return found.isel(layer=np.sort(np.argsort(-values, kind="stable")[: BEST_LAYERS + 1]))


def alone(chosen: Chosen) -> Markup:
    """Say what is missing for a comparison, and the command that makes it."""
    return tag(
        "div",
        tag(
            "p",
            f"Only {chosen.run.network_title} was run on {chosen.run.recording}, "
            f"and only {chosen.region} was recorded.",
            class_="quiet",
        ),
        tag(
            "p",
            "A second network, or the same one with random weights, is compared here site by site.",
            class_="quiet",
            style="margin-top:6px",
        ),
        style="padding:16px 0",
    )


def two_regions(chosen: Chosen) -> tuple[str, str]:
    """Return the chosen region and one other, in the order of the recording."""
    regions = chosen.run.regions
    other = next(region for region in regions if region != chosen.region)
    first, second = sorted((chosen.region, other), key=regions.index)
    return first, second


def partner_of(chosen: Chosen, results: Results) -> OpenRun | None:
    """Return what the chosen network is compared with: one beside it, its untrained self, or the first other one."""
    if chosen.beside is not None and chosen.beside_network:
        return chosen.beside.run
    others = [run for run in results.runs(chosen.run.recording) if run.digest != chosen.run.digest]
    return control_of(chosen, results) or next(iter(others), None)


def control_of(chosen: Chosen, results: Results) -> OpenRun | None:
    """Return the run of the same network with random weights; None for a control itself."""
    if chosen.run.is_control:
        return None
    base = chosen.run.network.split(" (")[0]
    controls = [run for run in results.runs(chosen.run.recording) if run.is_control]
    return next((run for run in controls if run.network.split(" (")[0] == base), None)


def _group(run: OpenRun | None, name: str) -> xr.Dataset | None:
    return run.dataset(name) if run is not None and run.has(name) else None


def _title(chosen: Chosen, results: Results) -> str:
    runs = titles(results.runs(chosen.run.recording))
    return next(title for title, run in runs.items() if run.digest == chosen.run.digest)


def _n_trained(chosen: Chosen, results: Results) -> int:
    return sum(not run.is_control for run in results.runs(chosen.run.recording))
