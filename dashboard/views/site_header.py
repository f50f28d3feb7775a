"""Who is this site, how good is its match, and which unit is it? The header line of the page of a site."""

import numpy as np

from dashboard.figures.wording import fixed, short, tick
from dashboard.results import Chosen
from dashboard.views.headers import ceiling_note, folds_note, no_match, stat
from dashboard.views.markup import Markup, icon, joined, tag

MENU = "compare"
"""Name of the menu that opens a comparison."""


def header(chosen: Chosen) -> Markup:
    """Return the header line of a site: who it is, its numbers, and the unit that is shown."""
    run, sites = chosen.run, chosen.run.sites(chosen.region)
    match, ceiling = run.match(chosen.site, chosen.rank), _ceiling(chosen)
    best, best_held_out, _ = run.chance(chosen.region)
    place = sites.index.get_loc(chosen.site) + 1
    return tag(
        "header",
        tag(
            "div",
            tag("h1", chosen.site, title=chosen.site),
            tag("p", tag("span", chosen.region, class_="region"), f" · {place} of {len(sites)} by r", class_="quiet"),
            class_="who",
        ),
        numbers(chosen),
        tag("dl", layer_note(chosen), class_="stat") if chosen.layer else None,
        doubt(chosen),
        evidence(float(match["correlation"]), float(match["held_out"]), ceiling, best, best_held_out),
        tag("div", opener(), unit_stat(chosen), class_="last"),
        class_="header",
    )


def numbers(chosen: Chosen) -> list[Markup]:
    """Return r, held-out r, noise ceiling and chance of a site."""
    run, match = chosen.run, chosen.run.match(chosen.site, chosen.rank)
    note = interval_note(chosen) if chosen.rank == 0 else f"runner-up {chosen.rank}"
    return [
        stat("r, selected and scored on all images", fixed(match["correlation"]), note, kind="strong"),
        stat("held-out r", fixed(match["held_out"]), folds_note(run), kind="strong"),
        ceiling_note(run, _ceiling(chosen)),
        stat("chance, 95%", fixed(run.chance(chosen.region)[0]), f"best of {short(run.n_units)}"),
    ]


def interval_note(chosen: Chosen) -> str:
    """Return the 95 % interval of r over the images; nothing where it was not computed or there is none."""
    if not chosen.run.has("intervals"):
        return ""
    one = chosen.run.dataset("intervals").sel(site=chosen.site)
    low, high = float(one["correlation_low"]), float(one["correlation_high"])
    return f"[{fixed(low)}, {fixed(high)}]" if np.isfinite(low) and np.isfinite(high) else ""


def opener() -> Markup:
    """Return the button that opens the menu of what the site can be compared with."""
    return tag(
        "button",
        "Compare",
        icon("down"),
        class_="opener",
        data_do="open",
        data_menu_name=MENU,
        aria_haspopup="true",
        aria_expanded="false",
        title="Show another site or network beside this one",
    )


def layer_note(chosen: Chosen) -> Markup:
    """Return r and held-out r of the best unit of the chosen layer."""
    profile = chosen.run.dataset("layer_profile").sel(site=chosen.site, layer=chosen.layer)
    both = f"{fixed(float(profile['correlation']))} · {fixed(float(profile['held_out']))}"
    return joined(
        [
            tag("dt", "best in ", chosen.layer, class_="cut", style="max-width:160px", title=chosen.layer),
            tag("dd", tag("span", both, class_="n"), "held-out"),
        ]
    )


def unit_stat(chosen: Chosen) -> Markup:
    """Return layer, map and position of the unit that is shown."""
    match = chosen.run.match(chosen.site, chosen.rank)
    layer = str(match["layer"])
    if not layer:
        return stat("matched unit", "n/a", no_match(chosen))
    height, width = chosen.run.size_of(layer)
    where = f"map {match['channel']}"
    if height * width > 1:
        where += f" · position ({match['y']}, {match['x']}) of {height}×{width}"
    told = [where, " · sparse" if match["status"] == "sparse" else "", " · tied" if match["tied"] else ""]
    which = "matched unit" if chosen.rank == 0 else f"runner-up {chosen.rank}"
    return stat(which, layer, "".join(told), kind="name")


def doubt(chosen: Chosen) -> Markup | None:
    """Return a chip where r or held-out r is within what shuffled images give."""
    match, limits = chosen.run.match(chosen.site, chosen.rank), chosen.run.chance(chosen.region)
    told = (("r", match["correlation"], limits[0]), ("held-out r", match["held_out"], limits[1]))
    weak = [name for name, value, limit in told if value <= limit]
    verb = "is" if len(weak) == 1 else "are"
    return tag("span", f"{' and '.join(weak)} {verb} within chance", class_="chip") if weak else None


def _ceiling(chosen: Chosen) -> float:
    return float(chosen.run.sites(chosen.region)["noise_ceiling"].at[chosen.site])


def evidence(r: float, held_out: float, ceiling: float, best: float, best_held_out: float) -> Markup:
    """Return all of a site's numbers on one axis from 0 to 1, for windows that have the room."""
    width, left = 300, 12

    def at(value: float) -> float:
        return round(left + (width - 2 * left) * min(max(value, -0.04), 1), 1)

    def zone(end: float, colour: str) -> Markup | None:
        return tag("rect", x=at(0), y=8, width=max(at(end) - at(0), 0), height=22, fill=colour) if end > 0 else None

    ticks = [tag("text", tick(value), x=at(value), y=46, text_anchor="middle") for value in (0, 0.25, 0.5, 0.75, 1)]
    marks = [
        zone(best, "var(--us-band)"),
        zone(best_held_out, "var(--us-band2)"),
        tag("path", d=f"M{at(0)} 30.5H{at(1)}", stroke="var(--us-axis)"),
        ticks,
    ]
    is_low = ceiling < 0.8
    if np.isfinite(ceiling):
        marks += [
            tag("path", d=f"M{at(ceiling)} 8V30", stroke="var(--us-ink)", stroke_width=1.5),
            tag(
                "text", "ceiling", x=at(ceiling) + (5 if is_low else -5), y=16, text_anchor="start" if is_low else "end"
            ),
        ]
    if np.isfinite(held_out) and np.isfinite(r):
        marks.append(tag("path", d=f"M{at(held_out)} 22H{at(r)}", stroke="var(--region)", stroke_opacity=".55"))
    if np.isfinite(held_out):
        marks.append(
            tag(
                "circle",
                cx=at(held_out),
                cy=22,
                r=3.8,
                fill="var(--us-paper)",
                stroke="var(--region)",
                stroke_width=1.5,
            )
        )
    if np.isfinite(r):
        marks.append(tag("circle", cx=at(r), cy=22, r=4, fill="var(--region)"))
    if best > 0.12:
        marks.append(tag("text", "chance", x=at(0) + 5, y=18))
    told = f"r {fixed(r)}, held-out r {fixed(held_out)}, noise ceiling {fixed(ceiling)}, chance {fixed(best)}"
    return tag("svg", marks, class_="evidence", width=width, height=50, role="img", aria_label=told)
