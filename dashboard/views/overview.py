"""Which network is most like the region, in which layers, for which sites?"""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from dashboard.figures import every_site, layer_by_layer, neural_correlation, site_by_site, v4_against_it
from dashboard.figures.wording import fixed, known_of, short
from dashboard.results import Chosen, Results
from dashboard.runs import OpenRun
from dashboard.theme import CONTROL, network_token
from dashboard.views.card import Card, Look, head
from dashboard.views.frame import ceiling_note, folds_note, stat, title_line, titles
from dashboard.views.markup import Markup, tag
from dashboard.views.page import Page, area, panel

REGIONS, PARTNER, ALONE = "regions", "partner", "alone"
BEST_LAYERS = 10
"""Of a network with more layers than fit, so many are listed: the best ones, in execution order."""


class OverviewPage(Page):
    """The page of all networks that were run on a recording."""

    name = "overview"
    layout = tag(
        "div",
        tag(
            "main",
            area("header"),
            tag("div", panel("networks"), panel("pair"), class_="row over-1"),
            tag("div", panel("layers"), panel("sites"), class_="row over-2"),
            area("footer", style="margin-top:auto"),
            class_="content",
        ),
        class_="page",
        data_page="overview",
    )
    _shown_digests: frozenset[str] = frozenset()
    layout_alone = Markup(layout.replace('<div data-slot="pair"></div>', '<div data-area="pair"></div>'))

    @classmethod
    def variant_for(cls, chosen: Chosen, results: Results) -> str:
        """Two regions against each other, two networks site by site, or neither."""
        if len(chosen.run.regions) > 1 and (_n_trained(chosen, results) > 1 or partner_of(chosen, results) is None):
            return REGIONS
        return ALONE if partner_of(chosen, results) is None else PARTNER

    def skeleton(self) -> Markup:
        """Leave out the axes of a comparison that there is nothing for."""
        return self.layout_alone if self.variant == ALONE else self.layout

    def make_cards(self) -> list[Card]:
        """Networks, two of anything against each other, layers, sites."""
        cards = [
            Card(
                "networks",
                neural_correlation,
                lambda c, _: neural_correlation.data(
                    {title: listed(run, c.region) for title, run in self._titled(c).items()},
                    c.region,
                    controls=self._controls(c),
                    expanded=[_title(c, self.results)],
                    n_sites=len(c.run.sites(c.region)),
                ),
                lambda d, c, _: neural_correlation.describe(d, selected=_title(c, self.results)),
                depends=("region",),
                on_tap=self.choose_network,
                width=940,
                height=330,
            ),
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
        pair = {REGIONS: self._region_card, PARTNER: self._partner_card}.get(self.variant)
        return cards[:1] + ([pair()] if pair else []) + cards[1:]

    def areas(self, chosen: Chosen, look: Look) -> Mapping[str, object]:
        """Header line, and one sentence where there is nothing to compare."""
        areas: dict[str, object] = {"header": header(chosen, self.results)}
        if len(chosen.run.layers) > neural_correlation.MOST_LAYERS:
            told = f"the {BEST_LAYERS} best of {len(chosen.run.layers)} layers"
            areas["networks-head"] = self.cards["networks"].head(look, extra=tag("span", told, class_="quiet"))
        if self.variant == ALONE:
            areas["pair-head"] = head("pair", site_by_site.TITLE, "", help_text=site_by_site.HELP, exports=())
            areas["pair"] = alone(chosen)
        return areas

    def _region_card(self) -> Card:
        return Card(
            "pair",
            v4_against_it,
            lambda c, _: v4_against_it.data(
                {title: run.neural_correlation for title, run in self._titled(c).items()},
                two_regions(c),
                controls=self._controls(c),
            ),
            lambda d, c, _: v4_against_it.describe(
                d, selected=_title(c, self.results), all_regions=tuple(c.run.regions)
            ),
            depends=("region",),
            on_tap=self.choose_network,
            width=376,
            height=340,
        )

    def _partner_card(self) -> Card:
        return Card(
            "pair",
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
        trained = [run.digest for run in self._titled(chosen).values() if not run.is_control]
        is_trained = partner is not None and partner.digest in trained
        first = network_token(trained.index(partner.digest)) if partner is not None and is_trained else CONTROL
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
        if name == "networks":
            return every, [chosen.region]
        if name == "pair" and self.variant == REGIONS:
            return every, list(two_regions(chosen))
        other = partner_of(chosen, self.results) if name == "pair" else control_of(chosen, self.results)
        return [chosen.run, *([other] if other is not None else [])], [chosen.region]


def header(chosen: Chosen, results: Results) -> Markup:
    """Return the header line: the best network and its numbers, over the sites of the region."""
    runs = titles(results.runs(chosen.run.recording))
    trained = {title: run for title, run in runs.items() if not run.is_control} or runs
    values = {title: _whole(run, chosen.region) for title, run in trained.items() if chosen.region in run.regions}
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
    if len(run.layers) <= neural_correlation.MOST_LAYERS or region not in run.regions:
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
    """Return what the chosen network is compared with: its untrained self, else the first other network."""
    others = [run for run in results.runs(chosen.run.recording) if run.digest != chosen.run.digest]
    return control_of(chosen, results) or next(iter(others), None)


def control_of(chosen: Chosen, results: Results) -> OpenRun | None:
    """Return the run of the same network with random weights; None for a control itself."""
    if chosen.run.is_control:
        return None
    base = chosen.run.network.split(" (")[0]
    controls = [run for run in results.runs(chosen.run.recording) if run.is_control]
    return next((run for run in controls if run.network.split(" (")[0] == base), None)


def _whole(run: OpenRun, region: str) -> tuple[float, float, float]:
    whole = run.neural_correlation.sel(region=region, layer="")
    return float(whole["correlation"]), float(whole["held_out"]), float(whole["chance_median"])


def _group(run: OpenRun | None, name: str) -> xr.Dataset | None:
    return run.dataset(name) if run is not None and run.has(name) else None


def _title(chosen: Chosen, results: Results) -> str:
    runs = titles(results.runs(chosen.run.recording))
    return next(title for title, run in runs.items() if run.digest == chosen.run.digest)


def _n_trained(chosen: Chosen, results: Results) -> int:
    return sum(not run.is_control for run in results.runs(chosen.run.recording))
