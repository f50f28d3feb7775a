"""What does the page of a report hold? Figures that answer the pointer, a table of sites, where it all comes from."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bokeh.document import Document
from bokeh.embed import components
from bokeh.resources import Resources
from bokeh.themes import Theme
from PIL import Image

from dashboard.figures.drawing import Shown
from dashboard.figures.keys import keys_html
from dashboard.figures.pictures import SPRITE, THUMB_PX, without_addresses
from dashboard.figures.wording import fixed, known_of, thousands
from dashboard.report import GENERATOR, Absent, Entry
from dashboard.runs import OpenRun
from dashboard.theme import Mode, bokeh_theme, css_sheet
from dashboard.views.card import paragraphs
from dashboard.views.document import faces
from dashboard.views.footer import provenance
from dashboard.views.markup import Markup, tag
from dashboard.views.tabulated import data_table
from engine.analyses import ANALYSES
from engine.interchange import analyse_again
from engine.sources import match_command

_QUALITY, _EDGE_PX = 70, 34
_IN_A_ROW = 40
_HOW = "What it shows, and how to make it again"
MOST_ROWS = 200
"""Rows of a figure's data that are in the page."""
_STYLES = (Path(__file__).parent.parent / "styles" / "report.css").read_text(encoding="utf-8")


def report_page(
    run: OpenRun, entries: Sequence[Entry], absent: Sequence[Absent], *, with_images: bool, mode: Mode
) -> str:
    """Return the HTML of the report; nothing in it asks for anything outside."""
    sprite, places = _sprite(run) if with_images else ("", {})
    figures = [_figure(entry, places, mode) for entry in entries]
    script, places_in_page = _embedded(figures, mode)
    cards = [
        _card(i, entry, Markup(place)) for i, (entry, place) in enumerate(zip(entries, places_in_page, strict=True))
    ]
    body = tag(
        "main",
        _head(run),
        tag("h2", "Figures"),
        tag("nav", [tag("a", _name(entry), href=f"#f{i}") for i, entry in enumerate(entries)], aria_label="Figures"),
        tag("div", style="height:14px"),
        tag("div", cards, class_="figures"),
        _absent(absent),
        tag("h2", "Sites"),
        [_sites(run, region) for region in run.regions],
        tag("h2", "Where this comes from"),
        _provenance(run),
    )
    styles = f"{faces()}\n{css_sheet()}\n{_STYLES}" + (f":root{{{SPRITE}:url({sprite})}}" if sprite else "")
    return _document(run, mode, styles, _library(), f"{body}\n{script}")


def _embedded(figures: Sequence[Any], mode: Mode) -> tuple[str, Sequence[str]]:
    """Return the script that draws the figures, and the element of each."""
    if not figures:
        return "", ()
    document = Document(theme=Theme(json=bokeh_theme(mode)))
    with document.models.freeze():  # else every root makes Bokeh look through all that came before it
        for figure in figures:
            document.add_root(figure)
    script, elements = components(figures, theme=document.theme)
    return script, elements


def _library() -> str:
    """Return BokehJS alone: the whole set would name files of other packages, which are not beside the page."""
    return "".join(f"<script>{code}</script>" for code in Resources(mode="inline", components=["bokeh"]).js_raw)


def _document(run: OpenRun, mode: Mode, styles: str, library: str, body: str) -> str:
    title = tag("title", f"{run.network_title} against {run.recording} · unitscope")
    return (
        f'<!DOCTYPE html>\n<html lang="en" data-theme="{mode}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="generator" content="{GENERATOR} {version("unitscope")}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"{title}\n<style>{styles}</style>\n{library}\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _head(run: OpenRun) -> Markup:
    simulated = tag("p", tag("span", "SIMULATED", class_="chip"), " The sites of this recording were simulated.")
    return tag(
        "header",
        tag("h1", f"{run.network_title} against {run.recording}"),
        tag("p", " · ".join(provenance([run], run.regions)), class_="quiet"),
        simulated if run.is_simulated else None,
        [_median(run, region) for region in run.regions],
    )


def _median(run: OpenRun, region: str) -> Markup:
    whole = run.neural_correlation.sel(region=region, layer="")
    sites, chance = run.sites(region), run.chance(region)[2]
    over = known_of(int(sites["r"].notna().sum()), len(sites), f"{region} site")
    r, held_out = fixed(float(whole["correlation"])), fixed(float(whole["held_out"]))
    return tag("p", tag("b", f"r {r}, held-out {held_out}"), f", median of {over}; chance {fixed(chance)}")


def _figure(entry: Entry, places: Mapping[str, str], mode: Mode) -> Any:
    drawing = without_addresses(entry.drawing, places)
    shown = Shown(drawing, mode, width=entry.figure.width, height=entry.figure.height)
    shown.figure.output_backend = "canvas"
    return shown.figure


def _sprite(run: OpenRun) -> tuple[str, dict[str, str]]:
    """Return all stimuli as one picture, a data address, and the place of each in it as CSS has it."""
    pixels = run.dataset("thumbnails")["pixels"]
    names = [str(name) for name in pixels["stimulus"].values]
    rows = -(-len(names) // _IN_A_ROW)
    sheet = Image.new("RGB", (_IN_A_ROW * THUMB_PX, max(rows, 1) * THUMB_PX))
    places = {}
    for i, (name, one) in enumerate(zip(names, pixels.transpose("stimulus", ..., "colour").values, strict=True)):
        picture = Image.fromarray(one[..., 0] if one.shape[-1] == 1 else one).convert("RGB")
        left, top = i % _IN_A_ROW * THUMB_PX, i // _IN_A_ROW * THUMB_PX
        sheet.paste(picture.resize((THUMB_PX, THUMB_PX)), (left, top))
        places[name] = f"-{left}px -{top}px"
    written = io.BytesIO()
    sheet.save(written, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(written.getvalue()).decode('ascii')}", places


def _name(entry: Entry) -> str:
    return f"{entry.heading.title}{f', {entry.of}' if entry.of else ''}"


def _card(position: int, entry: Entry, place: Markup) -> Markup:
    figure, heading = entry.figure, entry.heading
    number = figure.number if figure.number.startswith("Table") else f"figure {figure.number} of the paper"
    keys = keys_html(heading.keys, entry.drawing.colours) if heading.keys else ""
    return tag(
        "section",
        tag("div", tag("h3", _name(entry)), tag("span", heading.caption, class_="quiet")),
        Markup(keys),
        place,
        tag(
            "details",
            tag("summary", _HOW),
            paragraphs(figure.module.HELP),
            tag("p", f"{number} · {figure.name}" if figure.number else figure.name),
            tag("pre", entry.command),
        ),
        _table(entry),
        class_="card",
        id=f"f{position}",
        style=f"width:{figure.width + _EDGE_PX}px",
        data_figure=figure.name,
    )


def _table(entry: Entry) -> Markup:
    """Return what opens the data of a figure."""
    rest = f"the command under “{_HOW}” writes all, as csv beside the picture"
    body, size = data_table(entry.data, _name(entry), most_rows=MOST_ROWS, rest=rest)
    scrolled = {"class_": "scroll", "tabindex": "0", "role": "region", "aria_label": f"Data of {_name(entry)}"}
    return tag("details", tag("summary", "Its data"), tag("p", size), tag("div", body, **scrolled), class_="data")


def _absent(absent: Sequence[Absent]) -> Markup:
    if not absent:
        return Markup("")
    rows = [
        tag("tr", tag("td", one.figure.module.TITLE), tag("td", one.why), tag("td", tag("code", one.command)))
        for one in absent
    ]
    return tag(
        "details",
        tag("summary", f"Not in this report: {thousands(len(absent))} figures, and what would make them"),
        tag("div", tag("table", rows), class_="scroll"),
        class_="card",
    )


def _sites(run: OpenRun, region: str) -> Markup:
    """Return the sites of a region as a table: r, held-out r, noise ceiling, and p where it is known."""
    table = run.sites(region)
    significance = run.dataset("significance") if run.has("significance") else None
    heads = ["site", "r", "held-out r", "noise ceiling", *(["p", "q"] if significance is not None else [])]
    rows = []
    for site, row in zip(table.index, table.itertuples(), strict=True):
        told = [fixed(value, 3) for value in (row.r, row.held_out, row.noise_ceiling)]
        if significance is not None:
            told += [_p(float(significance[name].sel(site=site))) for name in ("p", "q")]
        rows.append(tag("tr", tag("td", site), [tag("td", text) for text in told]))
    caption = (
        f"{known_of(int(table['r'].notna().sum()), len(table), region + ' site')}, the best match first. r is selected "
        f"and scored on all images. Noise ceiling: {run.ceiling_method}."
    )
    parts = [tag("caption", caption), tag("thead", tag("tr", [tag("th", name, scope="col") for name in heads]))]
    inside = tag("table", parts, tag("tbody", rows), data_region=region)
    return tag(
        "div", tag("div", inside, class_="scroll", tabindex="0", role="region", aria_label=region), class_="card"
    )


def _p(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.2g}"


def _provenance(run: OpenRun) -> Markup:
    manifest = run.manifest
    names = ("created", "seed", "settings", "versions", "digests")
    facts = [("run", run.digest), *((name, _told(manifest[name])) for name in names if name in manifest)]
    held = [name for name in ANALYSES if run.has(name)]
    made = [*[one for one in [match_command(run.stored)] if one], *(analyse_again(run.stored, name) for name in held)]
    rows = [tag("tr", tag("td", name), tag("td", text, style="text-align:left")) for name, text in facts]
    return tag(
        "div",
        tag("table", rows, class_="facts"),
        tag("p", "The commands that make it again:"),
        tag("pre", "\n".join(made)),
        class_="card",
    )


def _told(value: Any) -> str:
    return ", ".join(f"{key} {one}" for key, one in value.items()) if isinstance(value, Mapping) else str(value)
