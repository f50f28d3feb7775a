"""What may the user do? The only place that writes the selection: choose, step, switch, go back."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import param

from dashboard.results import Chosen, Results
from dashboard.state import ADDRESS, FIELD, Selection

BELOW = {
    "page": ("view",),
    "recording": ("region", "site", "rank", "layer", "feature_map", "stimulus", "beside_site", "beside_network"),
    "network": ("rank", "layer", "feature_map"),
    "region": ("site", "rank", "layer", "feature_map", "beside_site"),
    "site": ("rank", "layer"),
    "rank": ("layer",),
    "beside_site": ("beside_network",),
    "beside_network": ("beside_site",),
}
"""Choosing the one lets go of the others, unless the same action chooses them too."""

STEPS = ("site", "rank", "layer", "feature_map", "stimulus")
"""What is gone through one by one."""


class Controls:
    """Turns what the browser reports into changes of the selection; what makes no sense changes nothing."""

    def __init__(self, selection: Selection, results: Results) -> None:
        self.selection, self.results = selection, results
        self.is_from_address = False
        self.is_held = False
        self._does: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "select": self._select,
            "step": self._step,
            "theme": lambda _: self.select(theme="light" if selection.theme == "dark" else "dark"),
            "toggle-view": lambda _: self._toggle_view(),
            "clear": lambda _: self.select(layer="", feature_map="", stimulus="", beside_site="", beside_network=""),
            "address": self._go_to,
        }

    def act(self, action: Mapping[str, Any]) -> bool:
        """Do what the browser asks for; say whether it was for us."""
        does = self._does.get(str(action.get("do")))
        if does is None:
            return False
        self.is_held = bool(action.get("held"))
        try:
            does(action)
        finally:
            self.is_held = False
        return True

    def select(self, **values: Any) -> None:
        """Choose; what stands below the choice is let go."""
        changed = {k: v for k, v in values.items() if getattr(self.selection, k) != v}
        if changed.get("layer") and "rank" not in values:
            values |= self._best_of_layer(changed["layer"])
        lets_go = [name for name, value in changed.items() if value or not name.startswith("beside")]
        defaults = {below: self.selection.param[below].default for name in lets_go for below in BELOW.get(name, ())}
        chosen = {**self._put_right(), **defaults, **values}
        if "recording" in changed and "network" not in values and not self._was_run(chosen):
            chosen["network"] = ""
        self.selection.param.update(**chosen)

    def step(self, name: str, by: int) -> None:
        """Move by so many sites (best match first), ranks, layers, maps or stimuli (strongest response first)."""
        chosen = self.results.choose(self.selection)
        if chosen is None:
            return
        if name == "rank":
            last = max(chosen.run.n_ranks(chosen.site) - 1, 0)
            self.select(site=chosen.site, rank=min(max(chosen.rank + by, 0), last))
            return
        there, at = _list_of(name, chosen)
        if at in there:
            self.select(**{name: there[min(max(there.index(at) + by, 0), len(there) - 1)]})

    def _toggle_view(self) -> None:
        """Show only what lies in the unit's field, or whole images again; only the site's page has that switch."""
        if self.selection.page == "site":
            self.select(view="" if self.selection.view == FIELD else FIELD)

    def _put_right(self) -> dict[str, Any]:
        """Return what is shown in the place of what an address named wrongly; nothing if it named nothing wrongly."""
        chosen = self.results.choose(self.selection)
        if chosen is None or not chosen.notice:
            return {}
        names = ("region", "site", "rank", "layer", "feature_map", "stimulus", "beside_site", "beside_network")
        there = {"network": chosen.run.network, "recording": chosen.run.recording}
        return there | {name: getattr(chosen, name) for name in names}

    def _was_run(self, chosen: Mapping[str, Any]) -> bool:
        """Say whether the network was run on the recording that is chosen now."""
        network = chosen.get("network", self.selection.network)
        return network in [run.network for run in self.results.runs(chosen["recording"])]

    def _best_of_layer(self, layer: str) -> dict[str, int]:
        """Go to the layer's best unit where the ranking of the site holds one; else stay with the unit."""
        chosen = self.results.choose(self.selection)
        rank = chosen.run.rank_in_layer(chosen.site, layer) if chosen is not None else None
        return {} if rank is None else {"rank": rank}

    def _select(self, action: Mapping[str, Any]) -> None:
        wanted = {name: str(action[name]) for name in ADDRESS if name in action}
        if not all(self._is_possible(name, value) for name, value in wanted.items()):
            return
        values: dict[str, Any] = dict(wanted)
        if "rank" in wanted:
            if not (wanted["rank"].isascii() and wanted["rank"].isdigit()):
                return
            values["rank"] = min(int(wanted["rank"]), 100_000)
        self.select(**values)

    def _is_possible(self, name: str, value: str) -> bool:
        parameter = self.selection.param[name]
        return not isinstance(parameter, param.Selector) or value in parameter.objects

    def _step(self, action: Mapping[str, Any]) -> None:
        name, by = action.get("name"), action.get("by")
        if name in STEPS and isinstance(by, int | float) and abs(by) < 10_000:
            self.step(str(name), int(by))

    def _go_to(self, action: Mapping[str, Any]) -> None:
        self.is_from_address = True
        try:
            self.selection.read(str(action.get("query", "")))
        finally:
            self.is_from_address = False


def _list_of(name: str, chosen: Chosen) -> tuple[Sequence[str], str]:
    if name == "site":
        return list(chosen.run.sites(chosen.region).index), chosen.site
    if name == "layer":
        return chosen.run.layers, chosen.shown_layer
    if name == "feature_map":
        return chosen.run.maps_of(chosen.region), chosen.shown_map
    return chosen.run.by_response(chosen.site), chosen.shown_stimulus
