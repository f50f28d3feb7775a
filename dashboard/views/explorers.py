"""What can be explored: every unit of the network with a site, and every feature map with every site."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dashboard.figures import map_correlations, unit_correlations
from dashboard.figures.layer_strips import PAD, View
from dashboard.figures.marks import Drawing
from dashboard.results import Chosen, Results
from dashboard.runs import OpenRun
from dashboard.views.card import Look
from dashboard.views.explorer import Explorer
from dashboard.views.latest import threads
from engine.runs import group_manifest
from engine.schema import R_EDGES
from engine.store import open_run

UNITS = "unit_correlations"


class UnitExplorer(Explorer):
    """Every unit of the network with the chosen site."""

    image_role = "UnitDensity"
    tooltip = (
        ("$x", "return place"),
        ("$y", "return `r ${number(cell.low, 3)} to ${number(cell.high, 3)}`"),
        (
            "@image",
            "const n = Math.round(10 ** value); return isFinite(value) ? `${n} unit${n == 1 ? '' : 's'}` : 'none'",
        ),
    )

    def __init__(self, results: Results, choose: Callable[..., None], again: Callable[[Chosen, Look], None]) -> None:
        super().__init__(UNITS, unit_correlations, results, choose, again, height=320)
        self._about: dict[str, Any] = {}
        self._picked: tuple[int, int, float] | None = None
        self._picked_with: tuple = ()
        self._is_picking = False

    def refresh(self, chosen: Chosen, look: Look) -> bool:
        """Bring the figure to the choice; a unit that was picked stays until something else is chosen."""
        self.settings = {"site": chosen.site}
        if not self._is_picking and _choice(chosen) != self._picked_with:
            self._picked = None
        return super().refresh(chosen, look)

    def lacking(self, chosen: Chosen) -> tuple[str, ...]:
        """Return the analysis, if it was not computed for this site."""
        return () if chosen.run.has(UNITS, chosen.site) else (UNITS,)

    def identity(self, chosen: Chosen) -> tuple:
        """The site."""
        return (chosen.site,)

    def home(self, chosen: Chosen, size: tuple[int, int]) -> View:
        """All layers, and every r that the run counted."""
        run, site = chosen.run, chosen.site
        if self._about.get("key") != (run.digest, site):
            layers, matches = run.dataset("layers"), run.dataset("matches")
            told = unit_correlations.about(layers, matches, run.null, run.dataset("recording"), site)
            counts = run.dataset("unit_counts")["count"].sel(site=site).sum("layer").values
            filled = np.flatnonzero(counts)
            lowest, highest = (R_EDGES[filled[0]], R_EDGES[filled[-1] + 1]) if filled.size else (0.0, 0.0)
            self._about = {"key": (run.digest, site), "told": told, "lowest": lowest, "highest": highest}
        known = self._about
        return unit_correlations.home(known["told"], known["lowest"], known["highest"], size)

    def blank(self, chosen: Chosen, view: View) -> pd.DataFrame:
        """No unit counted yet."""
        return unit_correlations.blank(self._about["told"], view)

    def counting(self, chosen: Chosen, view: View) -> Callable[[], pd.DataFrame]:
        """Count the units in the cells of a view."""
        run, site, told = chosen.run, chosen.site, self._about["told"]
        return lambda: unit_correlations.cells(_correlations(run, site), told, view)

    def described(self, data: pd.DataFrame, chosen: Chosen) -> Drawing:
        """The counts, the match, and the unit that is selected."""
        return unit_correlations.describe(
            data,
            rank=chosen.rank,
            layer=chosen.shown_layer,
            unit=self._picked,
            network=self._look.colours.get("network", "network1"),
            regions=chosen.run.regions,
        )

    def tooltip_data(self, data: pd.DataFrame) -> Mapping[str, Any]:
        """Layers and how many maps they have."""
        return {"layers": data.attrs["layers"], "channels": data.attrs["channels"], "pad": PAD}

    def tapped(self, x: float, y: float) -> None:
        """Choose the unit that was tapped by its rank; its layer where it has none."""
        if self._chosen is None or not self.has_figure or self.data.empty:
            return
        told, view = self._about["told"], self._seen()
        unit = unit_correlations.nearest(_correlations(self._chosen.run, self._chosen.site), told, view, x, y)
        if unit is None:
            return
        ranked = list(zip(told["ranked_layer"], told["ranked_unit"], strict=True))
        is_ranked = unit[:2] in ranked
        self._picked, self._is_picking = (None if is_ranked else unit), True
        try:
            self.choose(**({"rank": ranked.index(unit[:2])} if is_ranked else {"layer": told["layers"][unit[0]]}))
        finally:
            self._is_picking = False
        self._picked_with = _choice(self._chosen)
        self._redraw()

    def _seen(self) -> View:
        told = self.data.attrs
        return View(tuple(told["x"]), tuple(told["y"]), *told["size"])


class MapExplorer(Explorer):
    """Every feature map of every layer with every site of the region."""

    image_role = "MapCorrelation"
    tooltip = (
        ("$y", "return told.sites[told.sites.length - 1 - Math.min(j, told.sites.length - 1)]"),
        ("$x", "return place"),
        ("@image", "return isFinite(value) ? `best r ${number(value, 2)}` : `r not above chance, ${told.chance}`"),
    )

    def __init__(self, results: Results, choose: Callable[..., None], again: Callable[[Chosen, Look], None]) -> None:
        super().__init__("map_correlations", map_correlations, results, choose, again, height=420)
        self._about: dict[str, Any] = {}

    def lacking(self, chosen: Chosen) -> tuple[str, ...]:
        """Return the run's own group, which only an old run lacks."""
        return () if chosen.run.has("feature_maps") else ("feature_maps",)

    def identity(self, chosen: Chosen) -> tuple:
        """The region."""
        return (chosen.region,)

    def home(self, chosen: Chosen, size: tuple[int, int]) -> View:
        """All layers and all sites."""
        return map_correlations.home(self._told(chosen), size)

    def blank(self, chosen: Chosen, view: View) -> pd.DataFrame:
        """No cell yet."""
        return map_correlations.blank(self._told(chosen), view)

    def counting(self, chosen: Chosen, view: View) -> Callable[[], pd.DataFrame]:
        """Find the best map of every cell."""
        run, region = chosen.run, chosen.region
        maps, layers, matches = (run.dataset(name) for name in ("feature_maps", "layers", "matches"))
        null, recording = run.null, run.dataset("recording")
        return lambda: map_correlations.data(maps, layers, matches, null, recording, region, view=view)

    def described(self, data: pd.DataFrame, chosen: Chosen) -> Drawing:
        """The cells and the matches; the row of the site and the strip of the layer are marked."""
        return map_correlations.describe(data, site=chosen.site, layer=chosen.shown_layer, regions=chosen.run.regions)

    def tooltip_data(self, data: pd.DataFrame) -> Mapping[str, Any]:
        """Layers, their maps, sites and chance."""
        told = data.attrs
        chance = f"{told['chance']:.2f}" if np.isfinite(told["chance"]) else "which is unknown"
        return {
            "layers": told["layers"],
            "channels": told["channels"],
            "pad": PAD,
            "sites": told["sites"],
            "chance": chance,
        }

    def tapped(self, x: float, y: float) -> None:
        """Choose site and layer, the best unit of the map if it is ranked, and the map if it is one of the region's."""
        if self._chosen is None or not self.has_figure:
            return
        found = map_correlations.hit(self.data, x, y)
        if found is None:
            return
        run, site, layer, channel = self._chosen.run, found["site"], found["layer"], found["channel"]
        ranked = run.dataset("matches").sel(site=site)
        rank = np.flatnonzero((ranked["layer"].values == layer) & (ranked["channel"].values == channel))
        best = int(rank[0]) if rank.size else run.rank_in_layer(site, layer)
        own = {"feature_map": str(channel)} if layer == run.layer_like(self._chosen.region) else {}
        self.choose(site=site, layer=layer, rank=best or 0, **own)

    def _told(self, chosen: Chosen) -> dict[str, Any]:
        run, region = chosen.run, chosen.region
        if self._about.get("key") != (run.digest, region):
            maps, layers, matches = (run.dataset(name) for name in ("feature_maps", "layers", "matches"))
            told = map_correlations.about(maps, layers, matches, run.null, run.dataset("recording"), region)
            self._about = {"key": (run.digest, region), "told": told}
        return self._about["told"]


def warm() -> None:
    """Have the code that counts units loaded, and compiled in a thread, before somebody waits for it.

    It is loaded here, numba's own parts too: while a thread looks for what datashader can do without, HoloViews finds
    half of dask and fails; and Panel, which lists what a page has imported, stumbles over what a thread loads.
    """
    import_module("datashader")
    target = import_module("numba.core.registry").cpu_target
    target.typing_context.refresh()
    target.target_context.refresh()
    import_module("numba.core.boxing")
    import_module("numba.core.runtime.context")
    told = {
        "layers": ["a"], "channels": [1], "heights": [1], "widths": [2], "chance": 0.1, "site": "", "region": "",
    }  # fmt: skip
    r = np.array([0.1, 0.2], np.float32)
    threads().submit(unit_correlations.cells, r, told, View((0.0, 1.0), (-1.0, 1.0), 8, 8))


def _choice(chosen: Chosen) -> tuple:
    return chosen.run.digest, chosen.site, chosen.rank, chosen.layer


def _correlations(run: OpenRun, site: str) -> np.ndarray:
    """Return r of every unit with a site; kept for a few sites, apart from what the run keeps, whose readers wait."""
    group = run.group_of(UNITS, site)
    path = run.stored.path
    return _read(path, group, group_manifest(path, group).stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _read(path: Path, group: str, _written: int) -> np.ndarray:
    return open_run(path).dataset(group)["correlation"].values[0]
