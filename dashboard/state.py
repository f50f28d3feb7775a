"""What has the user chosen? One selection drives every view, and is what the page's address says.

Only controls (``dashboard.views.controls``) write it; views read it.
"""

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

import param

PAGES = {
    "overview": "Overview",
    "site": "Site",
    "runner-ups": "Runner-ups",
    "layers": "Layers",
    "feature-maps": "Feature maps",
    "population": "Population",
    "selection": "Selection",
    "runs": "Runs",
    "provenance": "Provenance",
}
"""Name of a page in the address, and its title on the tab."""

ADDRESS = (
    "page",
    "recording",
    "region",
    "network",
    "site",
    "layer",
    "rank",
    "feature_map",
    "stimulus",
    "favourites",
    "beside_site",
    "beside_network",
    "view",
    "theme",
)
"""What the address holds, in this order."""

FIELD = "field"
"""The view of a site that shows of every image what lies in the unit's field; any other shows whole images."""

_LONGEST = 300
_LONGEST_QUERY = 8_000
_MOST_FIELDS = 50
_ALWAYS = ("page", "recording", "region", "network", "site")


class Selection(param.Parameterized):
    """One network, recording, region, layer, site, rank, feature map and stimulus, and what is shown beside them.

    An empty text means "not chosen": the page then shows the first, or the best.
    """

    page = param.Selector(default="overview", objects=list(PAGES), doc="Page that is shown.")  # type: ignore[var-annotated]
    network = param.String(default="", doc="Name of the network.")
    recording = param.String(default="", doc="Name of the recording.")
    region = param.String(default="", doc="Region of the recording.")
    layer = param.String(default="", doc="Layer; empty = the layer of the selected unit.")
    site = param.String(default="", doc="Site of the recording.")
    rank = param.Integer(default=0, bounds=(0, 100_000), doc="0 is the match, 1 and on are its runner-ups.")
    feature_map = param.String(default="", doc="Channel of the region's layer; empty = that of the selected unit.")
    stimulus = param.String(default="", doc="Stimulus; empty = the one that drives the site most.")
    favourites = param.Selector(  # type: ignore[var-annotated]
        default="strongest", objects=["strongest", "weakest"], doc="Which end of the responses favourites are."
    )
    beside_site = param.String(default="", doc="Second site, shown beside the first.")
    beside_network = param.String(default="", doc="Second network, shown beside the first.")
    view = param.String(default="", doc="What the switch of the page shows; empty = its first choice.")
    theme = param.Selector(default="light", objects=["light", "dark"], doc="Ink on paper, or paper on ink.")  # type: ignore[var-annotated]

    def query(self) -> str:
        """Return the selection as the query of an address, ``?page=site&...``; what is not chosen is left out."""
        values = {name: getattr(self, name) for name in ADDRESS}
        kept = {k: v for k, v in values.items() if v not in ("", 0) and (k in _ALWAYS or v != self.param[k].default)}
        return "?" + urlencode(kept)

    def read(self, query: str) -> None:
        """Take over what the query of an address says, ``?page=site&...``."""
        short = query.removeprefix("?")[:_LONGEST_QUERY]
        self.take(dict(parse_qsl(short, max_num_fields=_MOST_FIELDS)) if short.count("&") < _MOST_FIELDS else {})

    def take(self, values: Mapping[str, str]) -> None:
        """Choose what ``values`` say, in one step; what they leave out or say wrongly becomes the default.

        An address can be typed by anyone: long or unknown values are dropped, never an error.
        """
        self.param.update(**{name: self._sensible(name, values.get(name, "")) for name in ADDRESS})

    def _sensible(self, name: str, text: str) -> str | int:
        parameter = self.param[name]
        if isinstance(parameter, param.Integer):
            return min(int(text), 100_000) if text.isascii() and text.isdigit() else parameter.default
        is_known = text in parameter.objects if isinstance(parameter, param.Selector) else len(text) <= _LONGEST
        return text if is_known else parameter.default
