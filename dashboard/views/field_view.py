"""What does the unit see of an image? Its field over the selected image, enlarged, and in the favourites."""

from collections.abc import Iterable, Mapping

import numpy as np

from dashboard.figures.wording import elided, fixed, signed, tick
from dashboard.results import Chosen
from dashboard.theme import TOKENS
from dashboard.unit_fields import GROUP, Outline, Sight, UnitField, same_length
from dashboard.views.markup import Markup, joined, tag
from dashboard.views.missing import not_computed
from engine.analyses.receptive_fields import NOISE

_LIGHT, _DARK = TOKENS["light"]["paper"], TOKENS["dark"]["bg"]
"""Of lines over photographs, in both modes of the page."""


def over_image(image: Markup, sight: Sight | None, colours: Mapping[str, str], size_deg: float) -> Markup:
    """Return an image in a frame of degrees, with the contours of unit and site over it, dimmed outside the unit's."""
    drawn = None if sight is None else _drawn(sight, colours)
    picture = tag("div", image, drawn, class_="pic")
    if not np.isfinite(size_deg):
        return tag("div", picture, class_="in-degrees bare")
    return tag("div", _ticks(size_deg, "y"), picture, _ticks(size_deg, "x"), class_="in-degrees")


def told(sight: Sight | None, image: Markup, chosen: Chosen) -> Markup:
    """Return the field enlarged in a circle, and its numbers; or why there is none, and what would compute it."""
    if sight is None:
        return not_computed(chosen, [GROUP])
    if sight.unit is None:
        return joined([tag("p", text, class_="about") for text in (sight.why_not, _of_site(sight).capitalize())])
    lens = tag("div", tag("div", image, class_="pic"), class_="lens", style=place_of(sight.unit))
    rows = [tag("b", "In the unit's field"), *_numbers(sight, sight.unit), _of_site(sight)]
    return tag("div", lens, tag("p", [tag("span", row) for row in rows]), class_="seen")


def place_of(field: UnitField) -> str:
    """Return the style that tells the page's sheet where a field is in every image of a list."""
    x, y = field.centre
    return f"--x:{x:.4f};--y:{y:.4f};--r:{field.radius:.4f};--on-photo:{_LIGHT};--casing:{_DARK}"


def _drawn(sight: Sight, colours: Mapping[str, str]) -> Markup:
    """Return contours for a square of 100; their colours are those for a dark ground, as they lie on photographs."""
    light = {name: TOKENS["dark"][token] for name, token in colours.items()}
    marks: list[Markup] = []
    if sight.unit is not None:
        outline = _path(sight.unit.outline, is_closed=True)
        marks.append(tag("path", d=f"M0 0H100V100H0Z{outline}", class_="outside"))
    if sight.site:
        marks += _cased(_path(sight.site), light["region"])
    if sight.unit is not None:
        dash = "3 3" if sight.unit.is_theoretical else None
        marks += _cased(outline, light["network"], dash=dash)
        if not sight.unit.is_theoretical:
            marks += _cased(_path([sight.unit.ellipse], is_closed=True), light["network"])
    return tag("svg", marks, viewBox="0 0 100 100", class_="fields", style=f"--casing:{_DARK}", aria_hidden="true")


def _cased(path: str, colour: str, dash: str | None = None) -> list[Markup]:
    line = tag("path", d=path, stroke=colour, stroke_dasharray=dash, class_="contour")
    return [tag("path", d=path, class_="casing"), line]


def _path(lines: Iterable[np.ndarray] | Outline, *, is_closed: bool = False) -> str:
    end = "Z" if is_closed else ""
    return "".join("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in 100 * line) + end for line in lines)


def _ticks(size_deg: float, axis: str) -> Markup:
    """Return tick labels along an edge of the image: 0 and as far as whole degrees go on both sides."""
    far = next((step for step in (50, 20, 10, 5, 2, 1, 0.5) if step <= size_deg / 2), 0)
    at = [(0.5 + value / size_deg, value) for value in sorted({-far, 0, far})]
    side = "left" if axis == "x" else "bottom"
    labels = [tag("span", f"{tick(value)}°", style=f"{side}:{100 * share:.1f}%") for share, value in at]
    return tag("div", labels, class_=f"ticks-{axis}", aria_hidden="true")


def _numbers(sight: Sight, field: UnitField) -> list[str]:
    facts, length = field.facts, same_length(sight.unit_of_length)
    digits = 1 if length == "°" else 0
    centre = f"centre ({signed(facts['x'], digits)}, {signed(facts['y'], digits)}){length}"
    width, height = (fixed(value, digits) for value in facts["box"])
    can_see = f"all it can see: {width} × {height}{length}"
    if field.is_theoretical:
        return [centre, can_see, "no gradient: silent at every start"]
    n = facts["n_starts"]
    live = "" if facts["live"] == n else f", {facts['live']} live"
    kind = "noise images" if facts["start"] == NOISE else "images"
    return [centre, f"radius {fixed(facts['sd'], digits)}{length} at 1 SD", f"gradients of {n} {kind}{live}"]


def _of_site(sight: Sight) -> str:
    if not sight.site:
        return "site's field: not recorded"
    if sight.site_facts is None:
        return "site's field: outlined"
    distance, inside = sight.site_facts["distance"], sight.site_facts["energy_inside"]
    length = same_length(sight.unit_of_length)
    return f"site's field: {fixed(distance, 1)}{length} away, {100 * inside:.0f}% of the unit's inside"


def caption_of(chosen: Chosen) -> str:
    """Say how the image came to be shown."""
    return "selected" if chosen.stimulus else f"favourite of {elided(chosen.site, 16)}"
