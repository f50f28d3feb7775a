"""In which layers are the matches of a region, and how good is the best unit of each layer?"""

from collections.abc import Mapping

import pandas as pd
import xarray as xr

from dashboard.figures import layer_by_layer
from dashboard.figures.wording import fixed, known_of, plural
from dashboard.results import Chosen
from dashboard.runs import OpenRun
from dashboard.views import layer_card
from dashboard.views.card import Card, Look
from dashboard.views.figure_card import FigureCard
from dashboard.views.headers import stat, title_line
from dashboard.views.markup import Markup, tag
from dashboard.views.overview import control_of
from dashboard.views.page import Page, area, page_of, panel


class LayersPage(Page):
    """The page of figures 6, S7, S8 and S9."""

    name = "layers"
    layout = page_of(
        "layers",
        tag(
            "div",
            tag("div", panel("layers"), panel("layer_by_layer"), class_="layer-figures"),
            tag(
                "div",
                panel(
                    "layer",
                    body=tag(
                        "div",
                        area("layer"),
                        class_="list fill-scroll",
                        tabindex="0",
                        role="group",
                        aria_label="Selected layer",
                    ),
                ),
                panel("layers_best"),
                class_="layer-side",
            ),
            class_="row layers-1",
        ),
        tag("div", panel("layers_depth"), class_="row"),
    )

    def make_cards(self) -> list[Card]:
        """Sites by layer, the region's layers with chance and the untrained network, and all networks."""
        to_site, to_layer = self.chooser("site"), self.chooser("layer")
        return [
            FigureCard("layers", self.results, on_tap=to_site),
            Card(
                "layer_by_layer",
                layer_by_layer,
                lambda c, _: layer_by_layer.data(
                    c.run.dataset("layer_profile"),
                    c.run.null,
                    c.run.dataset("recording"),
                    c.region,
                    control=self._control_profile(c),
                ),
                lambda d, c, look: layer_by_layer.describe(d, network=look.colours["network"], layer=c.shown_layer),
                depends=("region",),
                marks=("shown_layer",),
                on_tap=to_layer,
                width=660,
                height=300,
            ),
            FigureCard("layers_best", self.results, on_tap=self.choose_network),
            FigureCard("layers_depth", self.results, on_tap=to_site, least_runs=2),
        ]

    def refresh(self, chosen: Chosen, look: Look) -> None:
        """Bring every figure to what is chosen; draw the layers again once the untrained network came or went."""
        control = control_of(chosen, self.results)
        if (control.version if control else None) != self._control_version:
            self.cards["layer_by_layer"].forget()
        self._control_version = control.version if control else None
        super().refresh(chosen, look)

    _control_version: object = None

    def _control_profile(self, chosen: Chosen) -> xr.Dataset | None:
        control = control_of(chosen, self.results)
        is_there = control is not None and chosen.region in control.regions
        return control.dataset("layer_profile") if control is not None and is_there else None

    def areas(self, chosen: Chosen, look: Look) -> Mapping[str, object]:
        """Header line, and the selected layer."""
        return {
            "header": header(chosen),
            "layer-head": layer_card.layer_head(chosen),
            "layer": layer_card.layer_body(chosen, self.cards["layer_by_layer"].data),
        }

    def table(self, name: str, chosen: Chosen) -> pd.DataFrame | None:
        """Return the sites of the layer for their CSV, or the data of a figure."""
        return layer_card.sites_of(chosen) if name == "layer" else super().table(name, chosen)

    def sources(self, name: str, chosen: Chosen) -> tuple[list[OpenRun], list[str]]:
        """Return the runs and regions that a figure shows."""
        if name == "layer_by_layer":
            control = control_of(chosen, self.results)
            return [chosen.run, *([control] if control is not None else [])], [chosen.region]
        card = self.cards.get(name)
        runs = card.runs(chosen) if isinstance(card, FigureCard) else [chosen.run]
        return runs, chosen.run.regions if name != "layer" else [chosen.region]


def header(chosen: Chosen) -> Markup:
    """Return the header line: the layer that is most like the region, and how many of its sites match there."""
    run, layer = chosen.run, chosen.run.layer_like(chosen.region)
    sites = run.sites(chosen.region)
    matches = run.dataset("matches")["layer"].isel(rank=0).sel(site=list(sites.index))
    here = int((matches.values == layer).sum())
    found = run.neural_correlation.sel(region=chosen.region, layer=layer)
    place = run.layers.index(layer)
    n_known = int(sites["r"].notna().sum())
    return tag(
        "header",
        title_line("Layers", chosen),
        stat(f"{chosen.region}-like layer", layer, f"{place + 1} of {plural(len(run.layers), 'layer')}", kind="name"),
        stat(
            "r, median of its best units",
            fixed(float(found["correlation"])),
            known_of(n_known, len(sites), "site"),
            kind="strong",
        ),
        stat("held-out r", fixed(float(found["held_out"])), "", kind="strong"),
        stat("matches in it", str(here), f"of {plural(n_known, 'site')}"),
        stat("chance, median", fixed(float(found["chance_median"])), "best of the layer"),
        class_="header",
    )
