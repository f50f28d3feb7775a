"""Which images drive the site most, or least, and which its unit? Two lists, and the image that is selected."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from dashboard.figures.wording import UNKNOWN, elided, signed, thousands
from dashboard.results import Chosen
from dashboard.runs import OpenRun
from dashboard.state import FIELD
from dashboard.thumbnails import address
from dashboard.unit_fields import Sight
from dashboard.views import field_view
from dashboard.views.card import Look, head
from dashboard.views.headers import no_match
from dashboard.views.markup import Markup, joined, tag
from dashboard.views.switches import switch

TITLE = "Favourite images"
HELP = """**What it shows.** The images that drive the site most, or least, and those that do so with its unit, with
response and activation in standard deviations from the mean over all images. A dot marks an image that is in both
lists. The white ring is the unit's field; *Field* shows only what lies in it.

**How it is computed.** Averaged responses and activations are sorted; nothing is fitted. Images that were not shown to
the site are left out. Where more images share the lowest value than the list holds, as for a silent unit, those are
listed among them that drive the other one least.

**How to read chance.** Two lists of 10 out of 1,000 images share 0.1 images by accident.

*As figure 2 of Arend et al. 2018.*"""
SELECTED_HELP = """**What it shows.** The selected image with the response of the site and the activation of its unit,
in standard deviations from their mean over all images, and the rank of the image for both. Over it the unit's field:
the ellipse of one SD of its energy, and the outline at 2% of the peak; what lies outside is dimmed. In the region's
colour the site's own field, where it was recorded. The circle shows what lies in the unit's field.

**How it is computed.** The energy is the mean square of the gradient of the unit's activation to the pixels, at images
that drive it; the outline is drawn after a slight blur. A dashed outline is all that the unit can see: it had no
gradient. The site's field is the density of its responses to flashed squares, at exp(−1/2) of its peak.

**How to select.** Tap a point of the scatter or a favourite image; J and K step through the images by response, V
shows fields in place of images.

*Fields as in figure S2 of Arend et al. 2018.*"""


class Listed(NamedTuple):
    """The images of one list, in its order."""

    stimuli: list[str]
    sd: list[float]
    n_tied: int
    """Images that share the last one's value, where the list holds only some of them; else 0."""


def favourites_head(data: pd.DataFrame, chosen: Chosen, look: Look, *, name: str = "favourites") -> Markup:
    """Return the head of the panel; the caption counts the images in both lists."""
    site, unit = (listed(data, who, look) for who in ("site", "unit"))
    shared = len(set(site.stimuli) & set(unit.stimuli))
    title = TITLE if name == "favourites" and chosen.beside is None else "Favourites"
    caption = f"{shared} of {len(site.stimuli)} shared ●" if site.stimuli and unit.stimuli else ""
    return head(name, title, caption, help_text=HELP, exports=("csv",))


def favourites(
    data: pd.DataFrame, chosen: Chosen, look: Look, sight: Sight | None, *, has_switches: bool = True
) -> Markup:
    """Return both lists; tapping an image selects it."""
    which_end, which_view = switches(look, [sight]) if has_switches else (None, None)
    lists = {who: listed(data, who, look) for who in ("site", "unit")}
    shared = set(lists["site"].stimuli) & set(lists["unit"].stimuli)
    unit = "Matched unit" if chosen.rank == 0 else f"Unit of rank {chosen.rank}"
    return joined(
        [
            _label("region", chosen.site, _what(lists["site"], look), which_end),
            _thumbs(lists["site"], shared, chosen, look, sight, "site"),
            _label("network", unit, _what(lists["unit"], look), which_view),
            _thumbs(lists["unit"], shared, chosen, look, sight, "unit"),
        ]
    )


def switches(look: Look, sights: Sequence[Sight | None]) -> tuple[Markup, Markup]:
    """Return the switch of strongest and weakest, and that of images and fields, where any field is known."""
    has_field = any(sight is not None and sight.unit is not None for sight in sights)
    ends = {"strongest": "Strongest", "weakest": "Weakest"}
    return (
        switch("Which responses", ends, look.favourites, selects="favourites"),
        switch(
            "What is shown of an image",
            {"": "Image", FIELD: "Field"},
            look.view if has_field and look.view == FIELD else "",
            why_not="" if has_field else "The field of this unit is not known",
        ),
    )


def listed(data: pd.DataFrame, who: str, look: Look) -> Listed:
    """Return the images that drive the site, or the unit, most or least."""
    values, other = (data[f"{one}_sd"].to_numpy() for one in ((who, "unit") if who == "site" else (who, "site")))
    known = np.flatnonzero(np.isfinite(values))
    n = look.n_favourites
    if look.favourites == "weakest":
        order = known[np.lexsort((np.nan_to_num(other[known]), values[known]))][:n]
    else:
        order = known[np.argsort(-values[known], kind="stable")][:n]
    stimuli = data["stimulus"].to_numpy()
    n_tied = int(np.sum(values[known] == values[order[-1]])) if len(order) else 0
    n_here = int(np.sum(values[order] == values[order[-1]])) if len(order) else 0
    return Listed([str(stimuli[k]) for k in order], values[order].tolist(), n_tied if n_tied > n_here else 0)


def selected_head(chosen: Chosen) -> Markup:
    """Return the head of the panel of the selected image."""
    how = field_view.caption_of(chosen)
    return head("stimulus", tag("span", chosen.shown_stimulus), how, help_text=SELECTED_HELP, exports=())


def selected(data: pd.DataFrame, chosen: Chosen, look: Look, sight: Sight | None) -> Markup:
    """Return the selected image with the fields, SD and rank for site and unit, and what lies in the unit's field."""
    if not chosen.shown_stimulus:
        return tag("p", "No image was shown to this site.", class_="empty")
    picture = image(chosen.run, chosen.shown_stimulus, f"Image {chosen.shown_stimulus}")
    size_deg = float(chosen.run.attrs.get("size_deg", np.nan))
    again = image(chosen.run, chosen.shown_stimulus)
    known = _known_of(chosen)
    return joined(
        [
            field_view.over_image(picture, sight, look.colours, size_deg),
            facts(data, chosen),
            field_view.told(sight, again, chosen),
            tag("p", known, class_="about") if known else None,
        ]
    )


def facts(data: pd.DataFrame, chosen: Chosen) -> Markup:
    """Return SD and rank of the selected image for site and unit."""
    at = chosen.run.position_of(chosen.shown_stimulus)
    is_shown = bool(np.isfinite(chosen.run.response_of(chosen.site)[at]))
    unranked = UNKNOWN if is_shown else "not shown"
    rows = (("region", elided(chosen.site, 20), "site"), ("network", "Unit", "unit"))
    return tag(
        "table",
        [
            _fact(kind, name, data[f"{who}_sd"].to_numpy()[at], data[f"{who}_rank"].to_numpy()[at], unranked)
            for kind, name, who in rows
        ],
        class_="facts",
    )


def image(run: OpenRun, stimulus: str, alt: str = "") -> Markup:
    """Return the picture of a stimulus."""
    return tag("img", src=address(run, stimulus), alt=alt, decoding="sync")


def _what(found: Listed, look: Look) -> str:
    tied = f", {thousands(found.n_tied)} tied" if found.n_tied and look.favourites == "weakest" else ""
    return f"{look.favourites}, SD{tied}"


def _label(kind: str, who: object, what: str, extra: object = None) -> Markup:
    text = tag("span", tag("b", who, class_=kind), " · " + what, class_="cut", title=what)
    return tag("p", text, extra, class_="fav-label")


def _thumbs(found: Listed, shared: set[str], chosen: Chosen, look: Look, sight: Sight | None, who: str) -> Markup:
    if not found.stimuli:
        return tag("p", _why_none(chosen, who), class_="empty")
    items = [_thumb(name, sd, name in shared, chosen, who) for name, sd in zip(found.stimuli, found.sd, strict=True)]
    style = f"--columns:{look.n_favourites // 2}"
    kind = ""
    if sight is not None and sight.unit is not None:
        style += ";" + field_view.place_of(sight.unit)
        kind = " field" if look.view == FIELD else " ringed" if who == "unit" else ""
    return tag("div", items, class_="thumbs" + kind, style=style)


def _thumb(stimulus: str, sd: float, is_shared: bool, chosen: Chosen, who: str) -> Markup:
    number = signed(sd)
    dot = tag("span", class_="shared", title="in both lists") if is_shared else None
    return tag(
        "button",
        tag("span", image(chosen.run, stimulus), class_="pic"),
        tag("span", tag("span", number), dot, class_="sd"),
        class_="thumb",
        data_do="select",
        data_stimulus=stimulus,
        data_list=who,
        aria_pressed="true" if stimulus == chosen.shown_stimulus else "false",
        aria_label=f"Image {stimulus}, {number} SD",
        title=stimulus,
    )


def _why_none(chosen: Chosen, who: str) -> str:
    if who == "site":
        return "The site's response never varies." if chosen.shown_stimulus else "No image was shown to this site."
    if chosen.run.n_ranks(chosen.site) == 0:
        return f"No match: {no_match(chosen)}."
    return "The unit's activation never varies over the images of this site, or is not stored."


def _fact(kind: str, who: str, sd: float, rank: int, unranked: str) -> Markup:
    dot = tag("span", class_="dot", style=f"background:var(--{kind})")
    place = f"rank {thousands(rank)}" if rank > 0 else unranked
    return tag(
        "tr",
        tag("th", dot, who, scope="row"),
        tag("td", f"{signed(sd)} SD" if rank > 0 else "", class_="v"),
        tag("td", place, class_="v quiet"),
    )


def _known_of(chosen: Chosen) -> str:
    coordinates: Mapping = chosen.run.dataset("recording").coords
    at = chosen.run.position_of(chosen.shown_stimulus)
    names = [name for name in ("category", "object") if name in coordinates]
    return " · ".join(f"{name} {coordinates[name].values[at]}" for name in names)
