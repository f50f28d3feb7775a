"""Which keys are there? Their list, and the field that ``/`` opens."""

from dashboard.state import PAGES
from dashboard.views.markup import Markup, tag

KEYS = (
    (("↑", "↓"), "previous, next site"),
    (("←", "→"), "better, worse match of the site"),
    (("[", "]"), "earlier, later layer"),
    (("N", "M"), "previous, next feature map of the region’s layer"),
    (("J", "K"), "next, previous image by response"),
    (("V",), "whole images, or only the unit’s field"),
    (("/",), "search a site"),
    (("⇧", "Enter"), "put the site that was found beside this one"),
    (("E",), "export the panel under pointer or focus"),
    (("T",), "its data as a table"),
    (("D",), "light or dark"),
    (("?",), "this list"),
    (("Esc",), "close, or clear layer, map, image and comparison"),
)
"""Keys, and what they do on every page."""


GO = {
    "O": "overview",
    "S": "site",
    "R": "runner-ups",
    "L": "layers",
    "F": "feature-maps",
    "P": "population",
    "C": "selection",
    "J": "runs",
    "V": "provenance",
}
"""After G: letter -> page."""


def key_list() -> Markup:
    """Return the list of keys; ``?`` opens it."""
    rows = [[tag("dt", _keys(*keys)), tag("dd", meaning)] for keys, meaning in KEYS]
    go = [[tag("dt", _keys("G", letter)), tag("dd", PAGES[page])] for letter, page in GO.items()]
    return tag(
        "div",
        tag("div", tag("h3", "Keyboard"), tag("dl", rows)),
        tag("div", tag("h3", "Go to a page"), tag("dl", go)),
        class_="keylist",
        popover="auto",
        data_menu="keys",
        role="dialog",
        aria_label="Keyboard",
    )


def search() -> Markup:
    """Return the field that finds a site; ``/`` opens it, and the browser fills its list."""
    field = tag(
        "input",
        type="text",
        placeholder="Search a site",
        aria_label="Search a site",
        role="combobox",
        aria_expanded="true",
        aria_controls="found-sites",
        autocomplete="off",
        spellcheck="false",
    )
    return tag(
        "div",
        field,
        tag("div", role="listbox", id="found-sites", aria_label="Sites", class_="found"),
        tag("p", class_="note", role="status"),
        class_="search",
        popover="auto",
        data_menu="search",
        role="dialog",
        aria_label="Search a site",
    )


def _keys(*keys: str) -> list[Markup]:
    return [tag("span", key) if key == "then" else tag("kbd", key) for key in keys]
