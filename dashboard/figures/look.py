"""How a role is coloured in a drawing, and what HoloViews and the page's sources get of a mark.

Both translators, the page's and the paper's, start here.
"""

from typing import Any, Final

import holoviews as hv
import numpy as np

from dashboard.figures.marks import ROLES, TOKEN, Drawing, Mark, Role, element
from dashboard.theme import MODES, TOKENS, Mode, ramp

_SHORT: Final = 64
"""Rows up to which a list is sent faster than an array."""


def look(mark: Mark, drawing: Drawing, mode: Mode) -> tuple[Role, Any, Any, float]:
    """Return role, fill, stroke and opacity of a mark; "colour" where each row has its own."""
    role, tokens = ROLES[mark.role], TOKENS[mode]

    def colour(name: str | None) -> Any:
        if name not in ("region", "network"):
            return None if name is None else tokens[name]
        if TOKEN in mark.columns:
            return "colour"  # the column of the source
        return tokens[mark.token or drawing.colours.get(name, "V4" if name == "region" else "network1")]

    return role, colour(role.fill), colour(role.stroke), role.alpha[MODES.index(mode)]


def ramp_of(mark: Mark, drawing: Drawing, mode: Mode) -> tuple[str, ...]:
    """Return the ramp of an image."""
    name = ROLES[mark.role].fill or "region"
    return ramp(mark.token or drawing.colours.get(name, name), mode)


def source_columns(mark: Mark, mode: Mode) -> dict[str, Any]:
    """Return the columns of the Bokeh source of a mark; ``colour`` where its rows have tokens of their own.

    Short ones are lists: Bokeh sends each array as two messages of its own, and a step of a page has sixty arrays.
    """
    columns = _columns(mark, mode)
    return {name: column.tolist() if _is_short(column) else column for name, column in columns.items()}


def _is_short(column: Any) -> bool:
    return isinstance(column, np.ndarray) and len(column) <= _SHORT


def _columns(mark: Mark, mode: Mode) -> dict[str, Any]:
    if mark.kind == "area":
        x, low, high = (mark.columns[name] for name in ("x", "low", "high"))
        return {"x": np.concatenate([x, x[::-1]]), "y": np.concatenate([low, high[::-1]])}
    if mark.kind == "image":
        left, bottom, right, top = mark.columns["bounds"]
        return {
            "image": [mark.columns["image"]],
            "x": [left],
            "y": [bottom],
            "dw": [right - left],
            "dh": [top - bottom],
        }
    if TOKEN in mark.columns:
        return {**mark.columns, "colour": [TOKENS[mode][name] for name in mark.columns[TOKEN]]}
    return dict(mark.columns)


def overlay_of(drawing: Drawing) -> hv.Overlay:
    """Return the elements of a drawing, bottom first, as HoloViews holds them."""
    return hv.Overlay([element(mark) for mark in drawing.marks])
