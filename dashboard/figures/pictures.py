"""How does a figure show a stimulus where no server answers? From one sprite with all of them, or not at all."""

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from dashboard.figures.marks import Drawing

THUMB_PX = 48
SPRITE = "--us-sprite"
"""CSS variable that holds the sprite."""


def without_addresses(drawing: Drawing, places: Mapping[str, str]) -> Drawing:
    """Return a drawing whose tooltips ask for no picture: they show a piece of the sprite, or none.

    Parameters
    ----------
    drawing
        Of any figure.
    places
        Stimulus -> where it is in the sprite, as CSS has it, "-48px -96px"; empty without a sprite.
    """
    if drawing.hit is None or "<img" not in drawing.hit.tooltip:
        return drawing
    picture = (
        f"<div style='width:{THUMB_PX}px;height:{THUMB_PX}px;border-radius:4px;margin-bottom:6px;"
        f"background:var({SPRITE}) @thumb'></div>"
    )
    tooltip = re.sub(r"<img[^>]*>", picture if places else "", drawing.hit.tooltip)
    marks = []
    for mark in drawing.marks:
        columns = {name: column for name, column in mark.columns.items() if name != "thumb"}
        if places and "thumb" in mark.columns:
            columns["thumb"] = np.array([places.get(str(name), "") for name in mark.columns["key"]], dtype=object)
        marks.append(replace(mark, columns=columns))
    return replace(drawing, marks=marks, hit=replace(drawing.hit, tooltip=tooltip))
