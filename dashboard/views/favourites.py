"""Which images drive the site most, and which its unit? Two lists side by side, and the image that is selected."""

import numpy as np
import pandas as pd

from dashboard.figures.wording import UNKNOWN, signed, thousands
from dashboard.results import Chosen
from dashboard.thumbnails import address
from dashboard.views.card import Look, head
from dashboard.views.frame import no_match
from dashboard.views.markup import Markup, joined, tag

TITLE = "Favourite images"
HELP = """**What it shows.** The images that drive the site most, and those that drive its unit most, with response and
activation in standard deviations from the mean over all images. A dot marks an image that is in both lists.

**How it is computed.** Averaged responses and activations are sorted; nothing is fitted. Images that were not shown to
the site are left out.

**How to read chance.** Two lists of 10 out of 1,000 images share 0.1 images by accident.

*As figure 2 of Arend et al. 2018.*"""


def favourites_head(data: pd.DataFrame) -> Markup:
    """Return the head of the panel; the caption counts the images in both lists."""
    shared = int((data["is_site_favourite"] & data["is_unit_favourite"]).sum())
    listed = int(data["is_site_favourite"].sum())
    return head("favourites", TITLE, f"{shared} of {listed} shared ●", help_text=HELP, exports=("csv",))


def favourites(data: pd.DataFrame, chosen: Chosen, look: Look) -> Markup:
    """Return both lists, strongest first; tapping an image selects it."""
    columns = look.n_favourites // 2
    site = chosen.site
    unit = "Matched unit" if chosen.rank == 0 else f"Unit of rank {chosen.rank}"
    return joined(
        [
            _label("region", site, "strongest responses, SD"),
            _thumbs(data, chosen, "site", columns),
            _label("network", unit, "strongest activations, SD"),
            _thumbs(data, chosen, "unit", columns),
        ]
    )


def selected_head(chosen: Chosen) -> Markup:
    """Return the head of the panel of the selected image."""
    how = "selected" if chosen.stimulus else "the site's favourite"
    return head("stimulus", tag("span", chosen.shown_stimulus), how, help_text=SELECTED_HELP, exports=())


SELECTED_HELP = """**What it shows.** The selected image with the response of the site and the activation of its unit,
in standard deviations from their mean over all images, and the rank of the image for both.

**How to select.** Tap a point of the scatter or a favourite image; J and K step through the images by response."""


def selected(data: pd.DataFrame, chosen: Chosen) -> Markup:
    """Return the selected image with SD and rank for site and unit."""
    if not chosen.shown_stimulus:
        return tag("p", "No image was shown to this site.", class_="empty")
    row = data.loc[data["stimulus"] == chosen.shown_stimulus].iloc[0]
    response = chosen.run.dataset("recording")["response"].sel(site=chosen.site, stimulus=chosen.shown_stimulus)
    unranked = UNKNOWN if np.isfinite(response.item()) else "not shown"
    known = _known_of(chosen)
    return joined(
        [
            tag(
                "img",
                src=address(chosen.run, chosen.shown_stimulus),
                alt=f"Image {chosen.shown_stimulus}",
                decoding="sync",
            ),
            tag(
                "table",
                _fact("region", chosen.site, row["site_sd"], row["site_rank"], unranked),
                _fact("network", "Unit", row["unit_sd"], row["unit_rank"], unranked),
                class_="facts",
            ),
            tag("p", known, class_="about") if known else None,
            tag(
                "p",
                "Tap a point or a favourite; ",
                tag("kbd", "J"),
                " ",
                tag("kbd", "K"),
                " step by response.",
                class_="about",
            ),
        ]
    )


def _label(kind: str, who: object, what: str) -> Markup:
    return tag("p", tag("b", who, class_=kind), " · " + what, class_="fav-label")


def _thumbs(data: pd.DataFrame, chosen: Chosen, who: str, columns: int) -> Markup:
    listed = data[data[f"is_{who}_favourite"]].sort_values(f"{who}_rank", kind="stable")
    shared = data["is_site_favourite"] & data["is_unit_favourite"]
    if listed.empty:
        return tag("p", _why_none(chosen, who), class_="empty")
    items = [
        tag(
            "button",
            tag("img", src=address(chosen.run, str(row.stimulus)), alt="", decoding="sync"),
            tag(
                "span",
                tag("span", signed(getattr(row, f"{who}_sd"))),
                tag("span", class_="shared", title="in both lists") if shared[row.Index] else None,
                class_="sd",
            ),
            class_="thumb",
            data_do="select",
            data_stimulus=row.stimulus,
            data_list=who,
            aria_pressed="true" if row.stimulus == chosen.shown_stimulus else "false",
            aria_label=f"Image {row.stimulus}, {signed(getattr(row, f'{who}_sd'))} SD",
            title=str(row.stimulus),
        )
        for row in listed.itertuples()
    ]
    return tag("div", items, class_="thumbs", style=f"--columns:{columns}")


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
    stimulus = chosen.run.dataset("recording")["stimulus"]
    names = [name for name in ("category", "object") if name in stimulus.coords]
    return " · ".join(f"{name} {stimulus.coords[name].sel(stimulus=chosen.shown_stimulus).item()}" for name in names)
