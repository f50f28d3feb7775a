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


class UntestedMaps:
    """The maps of one region of a run, listed; rows are kept as they were written, since few change with a choice."""

    def __init__(self, chosen: Chosen) -> None:
        self._data = listed(chosen)
        self._of_map: dict[str, list[Mapping[str, Any]]] = {}
        self._written: dict[tuple[str, ...], Markup] = {}
        self._needed = None if self._data is None or self._data.empty else _needed(self._data)
        if self._data is not None:
            names = list(dict.fromkeys(self._data["feature_map"]))[: validation_stimuli.MOST_ROWS]
            for row in self._data[self._data["feature_map"].isin(names)].to_dict("records"):
                self._of_map.setdefault(str(row["feature_map"]), []).append(row)

    def head(self) -> Markup:
        """Return the head of the panel; the caption says how many maps there are, and how many are shown."""
        return head(
            "untested",
            validation_stimuli.TITLE,
            "" if self._data is None else validation_stimuli.caption(self._data),
            help_text=validation_stimuli.LIST_HELP,
            keys=tag("p", KEY, class_="key-line") if self._of_map else None,
            exports=("csv",) if self._of_map else (),
        )

    def body(self, chosen: Chosen) -> Markup:
        """Return the first maps, each with the images that drive its best unit most and least."""
        if self._data is None:
            return not_computed(chosen, [GROUP])
        if self._data.empty:
            return tag("p", "Every feature map of the layer is validated: there is nothing to test.", class_="empty")
        items = [self._row(name, chosen) for name in self._of_map]
        return joined([tag("ol", items, class_="untested"), self._needed])

    def marked(self, chosen: Chosen) -> tuple[str, str]:
        """Return what the list marks: the chosen map and image, where they are in it."""
        is_image = any(chosen.shown_stimulus == row["stimulus"] for rows in self._of_map.values() for row in rows)
        is_map = chosen.shown_map in self._of_map
        return chosen.shown_map if is_map else "", chosen.shown_stimulus if is_image else ""

    def _row(self, name: str, chosen: Chosen) -> Markup:
        rows = self._of_map[name]
        is_image = any(chosen.shown_stimulus == row["stimulus"] for row in rows)
        key = name, str(chosen.shown_map == name), chosen.shown_stimulus if is_image else ""
        if key not in self._written:
            self._written[key] = _row(rows, chosen)
        return self._written[key]


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
