"""What the marks of a figure mean: the keys above its frame, in reading order, as HTML in the page's colours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal


@dataclass(frozen=True)
class Key:
    """One mark and its meaning; ``token`` is a token of the theme, or "region" or "network"."""

    shape: Literal["dot", "open", "ring", "line", "dash", "box", "tick", "interval", "bar"]
    label: str
    token: str = "region"


def keys_html(keys: Sequence[Key], colours: Mapping[str, str]) -> str:
    """Return the keys as one line of HTML: labels escaped, colours as CSS variables, so dark needs no redraw."""
    written = "".join(
        f'<span style="display:inline-flex;align-items:center;gap:6px;margin-right:16px;white-space:nowrap">'
        f"{_picture(key.shape, f'var(--us-{colours.get(key.token, key.token)})')}{escape(key.label)}</span>"
        for key in keys
    )
    style = "font:400 11px/18px var(--us-font);color:var(--us-text2);min-height:18px;display:flex;flex-wrap:wrap"
    return f'<div class="us-keys" style="{style}">{written}</div>'


def _picture(shape: str, colour: str) -> str:
    width, drawn = {
        "dot": (8, f'<circle cx="4" cy="7" r="3.5" fill="{colour}"/>'),
        "open": (9, f'<circle cx="4.5" cy="7" r="3.5" fill="none" stroke="{colour}" stroke-width="1.25"/>'),
        "ring": (13, f'<circle cx="6.5" cy="7" r="5.5" fill="none" stroke="{colour}" stroke-width="1.75"/>'),
        "line": (16, f'<path d="M0 7H16" stroke="{colour}" stroke-width="2"/>'),
        "interval": (16, f'<path d="M0 7H16" stroke="{colour}" stroke-width="3" opacity=".5"/>'),
        "dash": (16, f'<path d="M0 7H16" stroke="{colour}" stroke-width="1.5" stroke-dasharray="4 2"/>'),
        "box": (14, f'<rect y="2" width="14" height="10" rx="2" fill="{colour}"/>'),
        "bar": (14, f'<rect y="2" width="14" height="10" rx="2" fill="{colour}" opacity=".3"/>'),
        "tick": (3, f'<path d="M1.5 2V12" stroke="{colour}" stroke-width="1.5"/>'),
    }[shape]
    return f'<svg width="{width}" height="14" style="flex:none" aria-hidden="true">{drawn}</svg>'
