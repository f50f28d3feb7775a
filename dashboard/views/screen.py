"""What does the browser hold? Screens: HTML that Python writes area by area, and figures in named slots."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import param
from panel.custom import Children, JSComponent

HERE = Path(__file__).parent.parent
SHEETS = ("base", "panels", "maps", "bar", "keys", "runs", "provenance", "site", "explorers", "results")
"""Of ``dashboard/styles``, each over those before it."""
STYLES = "".join((HERE / "styles" / f"{name}.css").read_text(encoding="utf-8") for name in SHEETS)

Action = Mapping[str, Any]

# The first message of a page without figures carries the page's own model back, which the server knows: no harm.
warnings.filterwarnings("ignore", "reference already known")


class Screen(JSComponent):
    """One page, or the bar above it.

    ``layout`` holds elements with ``data-area`` and ``data-slot``: the first take the HTML of ``areas``, the second
    the figures, in the order of ``slots``. A change of one area leaves the others alone.
    """

    layout = param.String(constant=True, doc="HTML of the skeleton; made of markup.tag.")
    areas = param.Dict(default={}, doc="Name of an area -> its HTML.")
    slots = param.List(default=[], constant=True, doc="Names of the slots, in the order of the figures.")
    figures = Children(doc="Panes of the figures.")

    _esm = HERE / "screen.js"
    _render_policy = "manual"  # else a figure that comes or changes has all others of the page rendered again

    def __init__(
        self, act: Callable[[Action], None], when_ready: Callable[[], None] = lambda: None, **params: Any
    ) -> None:
        super().__init__(stylesheets=[STYLES], **params)
        self._act, self._when_ready = act, when_ready
        self.written: dict[str, str] = dict(self.areas)
        self._is_ready = False

    def write(self, areas: Mapping[str, str]) -> None:
        """Write areas; the others stay.

        Once the browser holds the screen the HTML goes to it as a message: as a property it would make Bokeh look
        through all models of the page, 10 ms an action.
        """
        changed = {name: html for name, html in areas.items() if self.written.get(name) != html}
        self.written |= changed
        if self._is_ready and changed:
            self._send_msg({"areas": changed})
        elif changed:
            self.areas = dict(self.written)

    def _handle_msg(self, data: Any) -> None:
        if not isinstance(data, Mapping):
            return
        if data.get("do") != "ready":
            self._act(data)
            return
        self._is_ready = True
        self._send_msg({"areas": self.written})
        self._when_ready()


class Browser(JSComponent):
    """Keys, the address with Back, the colours of the document, its title, and downloads."""

    address = param.Dict(default={"query": "", "push": False}, doc="Query of the address; push = a new entry for Back.")
    theme = param.String(default="light", doc="Colours of the document: light or dark.")
    title = param.String(default="unitscope", doc="Title of the document.")

    _esm = HERE / "browser.js"

    def __init__(self, act: Callable[[Action], None], **params: Any) -> None:
        super().__init__(**params)
        self._act = act

    def _handle_msg(self, data: Any) -> None:
        if isinstance(data, Mapping):
            self._act(data)

    def tell(self, **message: Any) -> None:
        """Give the browser what it asked for."""
        self._send_msg(message)

    def download(self, name: str, kind: str, content: str) -> None:
        """Let the browser save a file; ``content`` in base64."""
        self._send_msg({"name": name, "kind": kind, "content": content})
