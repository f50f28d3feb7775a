"""Which images should be shown next? For each map without a site, those that its best unit likes and those not."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dashboard.figures import validation_stimuli
from dashboard.figures.wording import fixed, plural
from dashboard.results import Chosen
from dashboard.views.card import head
from dashboard.views.markup import Markup, joined, tag
from dashboard.views.missing import not_computed
from dashboard.views.unit_images import images

GROUP = "validation_stimuli"
KEY = (
    "Left the images that drive the best unit of the map most, right those that drive it least; "
    "below each the activation to predict, in SD from the mean over all images."
)
ENDS = {"favourite": "images that drive it most", "least": "images that drive it least"}


def listed(chosen: Chosen) -> pd.DataFrame | None:
    """Return one row a map and image, of all unvalidated maps of the region; None where they were not computed."""
    if not chosen.run.has(GROUP):
        return None
    return validation_stimuli.data(chosen.run.dataset(GROUP), chosen.region)


def marked(data: pd.DataFrame | None, chosen: Chosen) -> tuple[bool, str, str]:
    """Return what the list marks: whether it is there, and the chosen map and image where they are in it."""
    if data is None or data.empty:
        return data is not None, "", ""
    is_map = chosen.shown_map in {str(name) for name in data["feature_map"].unique()}
    is_image = chosen.shown_stimulus in set(data["stimulus"])
    return True, chosen.shown_map if is_map else "", chosen.shown_stimulus if is_image else ""


def untested_head(data: pd.DataFrame | None) -> Markup:
    """Return the head of the panel; the caption says how many maps there are, and how many are shown."""
    told = "" if data is None else validation_stimuli.caption(data)
    is_listed = data is not None and len(data) > 0
    return head(
        "untested",
        validation_stimuli.TITLE,
        told,
        help_text=validation_stimuli.LIST_HELP,
        keys=tag("p", KEY, class_="key-line") if is_listed else None,
        exports=("csv",) if is_listed else (),
    )


def untested(data: pd.DataFrame | None, chosen: Chosen) -> Markup:
    """Return the first maps, each with the images that drive its best unit most and least."""
    if data is None:
        return not_computed(chosen, [GROUP])
    if data.empty:
        return tag("p", "Every feature map of the layer is validated: there is nothing to test.", class_="empty")
    names = list(dict.fromkeys(data["feature_map"]))[: validation_stimuli.MOST_ROWS]
    records = data[data["feature_map"].isin(names)].to_dict("records")
    items = [_row([row for row in records if row["feature_map"] == name], chosen) for name in names]
    return joined([tag("ol", items, class_="untested"), _needed(data)])


def _row(of_map: Sequence[Mapping[str, Any]], chosen: Chosen) -> Markup:
    first = of_map[0]
    is_chosen = str(first["feature_map"]) == chosen.shown_map
    silent = min(row["z"] for row in of_map)
    ends = {kind: [row for row in of_map if row["kind"] == kind] for kind in ENDS}
    ends["favourite"] = [row for row in ends["favourite"] if row["z"] > silent]  # the others do not drive it
    return tag(
        "li",
        tag(
            "button",
            tag("b", f"Map {first['feature_map']}"),
            tag("span", f"best r {fixed(first['best_r'])}", class_="quiet"),
            tag("span", f"with {first['best_site']}", class_="quiet cut"),
            data_do="select",
            data_feature_map=first["feature_map"],
            aria_pressed="true" if is_chosen else "false",
            class_="who-site",
        ),
        [tag("div", _pictures(part, chosen), role="group", aria_label=ENDS[kind]) for kind, part in ends.items()],
        aria_current="true" if is_chosen else None,
    )


def _pictures(part: Sequence[Mapping[str, Any]], chosen: Chosen) -> Markup:
    return images(chosen, [str(row["stimulus"]) for row in part], [float(row["z"]) for row in part], told=True)


def _needed(data: pd.DataFrame) -> Markup:
    """Say how many images test all maps, and which one tests most of them."""
    favourites = data[data["kind"] == "favourite"]["stimulus"]
    counts = favourites.value_counts()
    told = f"{plural(len(counts), 'image')} would test {plural(data.attrs['n_maps'], 'map')}"
    most = f"; {counts.index[0]} is a favourite of {counts.iloc[0]} of them" if counts.iloc[0] > 1 else ""
    return tag("p", told, most, ". The csv lists all maps and images.", class_="note-line quiet")
