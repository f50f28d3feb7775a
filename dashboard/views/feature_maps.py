"""Which feature maps of the region's layer do sites see, where, and which has no site validated?"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures.feature_maps_positions import matches
from dashboard.figures.wording import fixed, plural, thousands
from dashboard.results import Chosen
from dashboard.views import map_card, untested_maps
from dashboard.views.card import Card, Look
from dashboard.views.explorers import MapExplorer
from dashboard.views.figure_card import FigureCard
from dashboard.views.headers import stat, title_line
from dashboard.views.markup import Markup, tag
from dashboard.views.page import Page, area, page_of, panel
from dashboard.views.switches import switch

RUNNER_UPS = "runner-ups"
TAP_SHARE = 0.05
"""How far from a position a tap still means it, as a share of the map."""
VIEWS = {"": "matches", RUNNER_UPS: "runner-ups"}
"""What the bars and the positions count: the value of the address, and its name on the switch."""


class FeatureMapsPage(Page):
    """The page of figures 8, S11 and S13."""

    name = "feature-maps"
    layout = page_of(
        "feature-maps",
        tag(
            "div",
            tag(
                "div",
                panel("feature_maps", class_="of-matches"),
                panel("feature_maps_runner_ups", class_="of-runner-ups"),
                panel("validated_maps"),
                panel("validated_maps_sites"),
                class_="map-figures",
            ),
            tag(
                "div",
                panel("feature_maps_positions", class_="of-matches"),
                panel("feature_maps_positions_runner_ups", class_="of-runner-ups"),
                panel(
                    "map",
                    body=tag(
                        "div",
                        area("map"),
                        class_="list fill-scroll",
                        tabindex="0",
                        role="group",
                        aria_label="Selected map",
                    ),
                ),
                class_="map-side",
            ),
            class_="row map-1",
        ),
        tag("div", panel("untested", body=area("untested")), class_="row"),
        tag("div", panel("map_correlations"), class_="row explore tall"),
    )

    _known_for: object = None
    _untested_maps: untested_maps.UntestedMaps
    _best: pd.DataFrame | None
    _written: Mapping[object, dict[str, object]]

    def make_cards(self) -> list[Card]:
        """Sites per map, best r of every map, sites above thresholds, and positions; of matches or of runner-ups."""
        to_map = self.chooser("feature_map")
        return [
            FigureCard("feature_maps", self.results, on_tap=to_map),
            FigureCard("feature_maps_runner_ups", self.results, on_tap=to_map),
            FigureCard("validated_maps", self.results, on_tap=to_map),
            FigureCard("validated_maps_sites", self.results, on_tap=to_map),
            FigureCard("feature_maps_positions", self.results, on_tap=self.go_through),
            FigureCard("feature_maps_positions_runner_ups", self.results, on_tap=self.go_through),
            MapExplorer(self.results, self.choose, self.refresh),
        ]

    def shows(self, name: str, chosen: Chosen) -> bool:
        """Say whether bars and positions are those of what the switch counts."""
        is_runner_ups = name.endswith("runner_ups")
        has_two = is_runner_ups or name in ("feature_maps", "feature_maps_positions")
        return not has_two or is_runner_ups == (chosen.view == RUNNER_UPS)

    def refresh(self, chosen: Chosen, look: Look) -> None:
        """Bring every figure and area to what is chosen."""
        self._chosen = chosen
        super().refresh(chosen, look)

    def go_through(self, position: Any) -> None:
        """Choose the next one of the sites that are counted at a position, and the map of its unit there."""
        found = units_at(self._chosen, str(position))
        if found.empty:
            return
        names = list(found["site"])
        after = names.index(self._chosen.site) + 1 if self._chosen.site in names else 0
        row = found.iloc[after % len(names)]
        self.choose(site=str(row["site"]), feature_map=str(row["channel"]))

    def areas(self, chosen: Chosen, look: Look) -> Mapping[str, object]:
        """Header line, the switch, the selected map, and the images that would test the others."""
        judged = self.cards["validated_maps"]
        known = judged.data if judged.has_figure else None
        self._know(chosen)
        sites = map_sites(chosen, self._best)
        shown = chosen.view if chosen.view in VIEWS else ""
        bars = "feature_maps_runner_ups" if chosen.view == RUNNER_UPS else "feature_maps"
        return {
            f"{bars}-head": self.cards[bars].head(look, extra=switch("What is counted", VIEWS, shown)),
            "header": header(chosen, known),
            "map-head": map_card.map_head(chosen, sites),
            "map": map_card.map_body(chosen, sites, known),
            **self._untested(chosen),
        }

    def _know(self, chosen: Chosen) -> None:
        """Look up once what stays the same for all maps and sites of a region."""
        of = chosen.run.digest, chosen.run.version, chosen.region
        if of != self._known_for:
            self._untested_maps, self._best, self._written = untested_maps.UntestedMaps(chosen), best_units(chosen), {}
            self._known_for = of

    def _untested(self, chosen: Chosen) -> dict[str, object]:
        """Return head and list of the images that test maps, made again once another of them is chosen."""
        of_maps = self._untested_maps
        marked = of_maps.marked(chosen)
        if marked not in self._written:
            self._written = {marked: {"untested-head": of_maps.head(), "untested": of_maps.body(chosen)}}
        return self._written[marked]

    def table(self, name: str, chosen: Chosen) -> pd.DataFrame | None:
        """Return the sites of the map or the images that test maps for their CSV, or the data of a figure."""
        if name == "map":
            return map_sites(chosen, best_units(chosen))
        return untested_maps.listed(chosen) if name == "untested" else super().table(name, chosen)


def best_units(chosen: Chosen) -> pd.DataFrame | None:
    """Return the best unit of the region's layer for each site; None where the run does not tell."""
    run, region = chosen.run, chosen.region
    if not all(map(run.has, map_card.GROUPS)):
        return None
    return matches(run.dataset("layer_matches"), run.dataset("recording"), region, run.layer_like(region))


def map_sites(chosen: Chosen, best: pd.DataFrame | None) -> pd.DataFrame | None:
    """Return what the selected map gives for each site, with the ``best_units``; None where the run does not tell."""
    return map_card.sites_of(chosen, best) if best is not None and chosen.shown_map else None


def units_at(chosen: Chosen, position: str) -> pd.DataFrame:
    """Return the sites that are counted at a position "(y, x)", the highest r first, with the map of their unit.

    Where cells are small, the position with sites that is nearest to the one that was hit counts for it.
    """
    layer = chosen.run.layer_like(chosen.region)
    sites = list(chosen.run.sites(chosen.region).index)
    found = chosen.run.dataset("layer_matches").sel(layer=layer, site=sites)
    found = found if chosen.view == RUNNER_UPS else found.isel(rank=slice(1))
    hit = [int(part) for part in position.strip("()").split(",")]
    y, x = _nearest(hit, found, int(chosen.run.dataset("layers")["width"].sel(layer=layer)))
    is_there = (found["y"].values == y) & (found["x"].values == x) & (found["unit"].values >= 0)
    r = np.where(is_there, found["correlation"].values, -np.inf)
    first = r.argmax(axis=1)
    row = np.arange(len(sites))
    frame = pd.DataFrame({"site": sites, "channel": found["channel"].values[row, first], "r": r[row, first]})
    return frame[is_there.any(axis=1)].sort_values("r", ascending=False, kind="stable", ignore_index=True)


def _nearest(hit: Sequence[int], found: xr.Dataset, n_columns: int) -> tuple[int, int]:
    """Return the nearest position of a unit, no further than a finger's width; else the position that was hit."""
    units = found["unit"].values >= 0
    y, x = (found[name].values[units] for name in ("y", "x"))
    distance = np.hypot(y - hit[0], x - hit[1])
    if not distance.size or distance.min() > int(TAP_SHARE * n_columns):
        return hit[0], hit[1]
    at = int(distance.argmin())
    return int(y[at]), int(x[at])


def header(chosen: Chosen, judged: pd.DataFrame | None) -> Markup:
    """Return the header line: the layer, how many maps match, and how many are validated against which chance."""
    run, region = chosen.run, chosen.region
    layer, n_maps = run.layer_like(region), len(run.maps_of(region))
    stats = [stat(f"{region}-like layer", layer, plural(n_maps, "map"), kind="name")]
    if run.has("map_counts"):
        counts = run.dataset("map_counts").sel(region=region)
        n_sites = plural(int(counts["n_matched"]), "site")
        stats.append(stat("hold the best unit of", str(int(counts["n_maps_matched"])), f"maps, for {n_sites}"))
    if judged is not None:
        about, status = judged.attrs, judged["status"].value_counts()
        stats += [
            stat("validated", thousands(about["n_validated"]), f"of {thousands(n_maps)}", kind="strong"),
            stat("not validated", thousands(status.get("unvalidated", 0)), "to be tested"),
            stat("median best r of a map", fixed(float(judged["best"].median())), "selected; none held out"),
            stat("chance", fixed(about["threshold"]), f"for the best of all maps and sites, p < {about['level']:g}"),
        ]
    shows = RUNNER_UPS if chosen.view == RUNNER_UPS else "matches"
    return tag("header", title_line("Feature maps", chosen), stats, class_="header", data_shows=shows)
