"""How do two sites, or two networks, compare? The same panels twice, on the same axes, with the same image selected."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dashboard.figures import layer_profile, responses
from dashboard.figures.wording import elided, fixed, plural
from dashboard.results import Chosen, Results
from dashboard.unit_fields import Sight, sight_of
from dashboard.views import favourites, site_cards
from dashboard.views.card import Card, Look
from dashboard.views.colours import colours, style_of, tokens_of
from dashboard.views.headers import folds_note, stat
from dashboard.views.markup import Markup, tag
from dashboard.views.page import area, panel
from dashboard.views.site_header import MENU, doubt, unit_stat

BESIDE = "beside"
"""Name of the form of the page of a site that shows two."""
SUFFIX = ("", "-beside")
"""Of the names of the panels of the first and of the second one."""
MOST_SITES = 200
"""So many sites, the best matched ones, are listed to compare with."""
_PROFILE_PX = 420
"""Of a profile in half a window, for the names of its layers."""
_FAVOURITES = {8: 6, 10: 8, 12: 6}
"""Favourites of one site that fit a window -> of two side by side."""


class SideCard(Card):
    """A card of one of two sides: it shows the choice of its side."""

    def __init__(self, which: int, results: Results, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._which, self._results = which, results

    def refresh(self, chosen: Chosen, look: Look) -> bool:
        """Bring the figure to the choice of its side."""
        side = sides(chosen)[self._which]
        return super().refresh(side, look_of(side, look, self._results))

    def head(self, look: Look, *, extra: object = None, below: object = None) -> Markup:
        """Return the head in the colours of its side."""
        tokens = dict(self._drawn[1]) if self._drawn else dict(look.colours)
        told = super().head(replace(look, colours=tokens), extra=extra, below=below)
        return tag("div", told, style=style_of(tokens))


def layout(rail: Markup) -> Markup:
    """Return the skeleton: the rail, a line about both, and two columns of the same panels."""
    columns = [
        tag(
            "section",
            area(f"who{suffix}"),
            tag(
                "div",
                panel(f"responses{suffix}", body=_with_facts(f"responses{suffix}")),
                panel(f"favourites{suffix}", body=area(f"favourites{suffix}")),
                class_="row side-1",
            ),
            tag("div", panel(f"layers{suffix}"), class_="row side-2"),
            class_="side",
            aria_label=name,
        )
        for suffix, name in zip(SUFFIX, ("First", "Second"), strict=True)
    ]
    inside = [
        area("header"),
        area("compare"),
        tag("div", columns, class_="sides"),
        area("footer", style="margin-top:auto"),
    ]
    return tag("div", rail, tag("main", inside, class_="content"), class_="page with-rail", data_page="site")


def _with_facts(name: str) -> list[Markup]:
    """The slot of a scatter, and below it what the selected image is for both."""
    return [tag("div", data_slot=name), area(f"{name}-facts")]


def sides(chosen: Chosen) -> tuple[Chosen, Chosen]:
    """Return both choices, each with the other one beside it, with the same image selected."""
    assert chosen.beside is not None
    second = replace(chosen.beside, stimulus=chosen.shown_stimulus)
    first = replace(chosen, stimulus=chosen.shown_stimulus, beside=second)
    return first, replace(second, beside=replace(first, beside=None))


def look_of(side: Chosen, look: Look, results: Results) -> Look:
    """Return the look of one side: its own colours, and as many favourites as half a window has room for."""
    n = _FAVOURITES.get(look.n_favourites, 4)
    return replace(look, colours=colours(side, results), n_favourites=n)


def cards(results: Results, choose: Callable[..., None]) -> list[Card]:
    """Return scatter and profile of both sides, on the same axes."""
    made: list[Card] = []
    for which, suffix in enumerate(SUFFIX):
        made.append(
            SideCard(
                which,
                results,
                f"responses{suffix}",
                responses,
                site_cards.scatter_data,
                _drawn_alike(site_cards.scatter_data, site_cards.scatter_drawing, responses.limits_of),
                depends=("site", "rank"),
                marks=("shown_stimulus", "beside"),
                on_tap=lambda stimulus: choose(stimulus=str(stimulus)),
                width=432,
                height=416,
            )
        )
        made.append(
            SideCard(
                which,
                results,
                f"layers{suffix}",
                layer_profile,
                site_cards.profile_data,
                _drawn_alike(site_cards.profile_data, _profile_drawing, _profile_limits),
                depends=("site",),
                marks=("shown_layer", "beside"),
                on_tap=_chooser_of_layers(choose) if which == 0 else None,
                height=180,
            )
        )
    return made


def areas(made: Mapping[str, Card], chosen: Chosen, look: Look, results: Results) -> dict[str, object]:
    """Return the line about both, and of each side who it is, its numbers and its favourites."""
    both = sides(chosen)
    sights = [sight_of(side) for side in both]
    written: dict[str, object] = {"header": header(chosen, look, sights)}
    for suffix, side, sight in zip(SUFFIX, both, sights, strict=True):
        own, data = look_of(side, look, results), made[f"responses{suffix}"].data
        name = f"favourites{suffix}"
        parts = {
            f"who{suffix}": who(side, is_network=bool(chosen.beside_network)),
            f"{name}-head": favourites.favourites_head(data, side, own, name=name),
            name: favourites.favourites(data, side, own, sight, has_switches=False),
            f"responses{suffix}-facts": favourites.facts(data, side),
        }
        written |= {part: tag("div", html, style=style_of(own.colours)) for part, html in parts.items()}
    return written


def header(chosen: Chosen, look: Look, sights: Sequence[Sight | None]) -> Markup:
    """Return the line above both sides: what is compared, the selected image, switches, and the way out."""
    first, second = sides(chosen)
    if chosen.beside_network:
        names, where = (first.run.network_title, second.run.network_title), f"{chosen.site} with both"
        swapped = {"data_network": second.run.network, "data_beside_network": first.run.network}
        swapped["data_site"] = chosen.site
    else:
        names, where = (first.site, second.site), chosen.run.network_title
        swapped = {"data_site": second.site, "data_beside_site": first.site}
    close = {"data_beside_site": "", "data_beside_network": ""}
    return tag(
        "header",
        tag(
            "div",
            tag("h1", elided(names[0], 26), tag("span", " and ", class_="quiet"), elided(names[1], 26)),
            tag(
                "p", tag("span", chosen.region, class_="region"), f" · {where} · {_method(chosen)}", class_="quiet cut"
            ),
            class_="who both",
        ),
        tag("div", _shown_image(chosen), class_="stat shown-image"),
        tag("div", favourites.switches(look, sights), class_="switches"),
        tag(
            "div",
            tag("button", "Swap", class_="plain", data_do="select", **swapped),
            tag("button", "Close", class_="plain", data_do="select", title=f"Show {names[0]} alone", **close),
            class_="ways",
        ),
        class_="header",
    )


def _shown_image(chosen: Chosen) -> list[Markup]:
    stimulus = chosen.shown_stimulus
    if not stimulus:
        return []
    name = tag("span", elided(stimulus, 20), class_="n")
    how = "image, selected" if chosen.stimulus else f"favourite of {elided(chosen.site, 12)}"
    return [favourites.image(chosen.run, stimulus, f"Image {stimulus}"), tag("dl", tag("dt", how), tag("dd", name))]


def _method(chosen: Chosen) -> str:
    """Say once what holds for both sides: folds, and how the ceiling was estimated."""
    ceiling = chosen.run.ceiling_method
    told = ceiling if ceiling.startswith("not available") else f"from {ceiling}"
    return f"{folds_note(chosen.run)} · noise ceiling {told}"


def who(side: Chosen, *, is_network: bool) -> Markup:
    """Return who a side is, its unit, and its numbers."""
    name = side.run.network_title if is_network else side.site
    match, limits = side.run.match(side.site, side.rank), side.run.chance(side.region)
    ceiling = float(side.run.sites(side.region)["noise_ceiling"].at[side.site])
    shown = [
        stat("r, selected and scored on all images", fixed(match["correlation"]), kind="strong"),
        stat("held-out r", fixed(match["held_out"]), kind="strong"),
        stat("noise ceiling", fixed(ceiling)),
        stat("chance, 95%", fixed(limits[0])),
        doubt(side),
    ]
    return tag(
        "header",
        tag(
            "div",
            tag("h2", name, class_="network" if is_network else "region", title=name),
            unit_stat(side),
            class_="name-line",
        ),
        tag("div", shown, class_="numbers"),
        class_="side-head",
    )


def menu(chosen: Chosen, results: Results) -> Markup:
    """Return the menu of what can stand beside the choice; it is the same for every site of a region."""
    tokens = tokens_of(chosen, results)
    networks = [
        tag("button", _dot(tokens[run.digest]), run.network_title, data_do="select", data_beside_network=run.network)
        for run in results.runs(chosen.run.recording)
        if run is not chosen.run and chosen.region in run.regions
    ]
    table = chosen.run.sites(chosen.region)
    sites = [
        tag("button", site, tag("span", f"r {r:.2f}", class_="quiet"), data_do="select", data_beside_site=site)
        for site, r in zip(table.index[:MOST_SITES], table["r"], strict=False)
        if np.isfinite(r)
    ]
    count = plural(len(table), "site")
    told = f"With another site of {chosen.region}" + (
        f", {len(sites)} best of {count}; others: / and ⇧ Enter" if len(sites) < len(table) else ""
    )
    return tag(
        "div",
        [tag("div", "With another network", class_="heading"), networks] if networks else None,
        [tag("div", told, class_="heading"), tag("div", sites, class_="many")] if len(table) > 1 else None,
        class_="menu compare-menu",
        popover="auto",
        data_menu=MENU,
    )


def _drawn_alike(data: Callable, drawing: Callable, limits_of: Callable) -> Callable:
    """Return what draws one side with limits that hold both; the last data are kept, as either side asks for both."""
    kept: dict[tuple, tuple[float, float]] = {}

    def limits(side: Chosen, look: Look) -> tuple[float, float]:
        key = (side.run.digest, side.run.version, side.site, side.rank)
        if key not in kept:
            found = limits_of(data(side, look))
            if len(kept) > 3:
                kept.clear()
            kept[key] = found
        return kept[key]

    def drawn(own: Any, side: Chosen, look: Look) -> Any:
        assert side.beside is not None
        low, high = zip(limits(side, look), limits(side.beside, look), strict=True)
        return drawing(own, side, look, limits=(min(low), max(high)))

    return drawn


def _profile_drawing(data: Any, side: Chosen, look: Look, limits: tuple[float, float]) -> Any:
    layer = side.shown_layer
    return layer_profile.describe(data, layer=layer, regions=side.run.regions, width=_PROFILE_PX, limits=limits)


def _profile_limits(data: Any) -> tuple[float, float]:
    return layer_profile.limits_of(data, room=layer_profile.NOTE_ROOM)


def _chooser_of_layers(choose: Callable[..., None]) -> Callable[[Any], None]:
    return lambda layer: choose(layer=str(layer))


def _dot(token: str) -> Markup:
    return tag("span", class_="dot", style=f"background:var(--us-{token})")
