"""What stands around every page: the bar with tabs and choices, the footer, the list of keys, and what is wrong."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dashboard.figures.wording import fixed, plural, thousands
from dashboard.requests import analyse_command
from dashboard.results import Chosen, Problem, Results
from dashboard.runs import OpenRun
from dashboard.state import PAGES, Selection
from dashboard.theme import CONTROL, NETWORK_TOKENS, network_token, region_token
from dashboard.views import working
from dashboard.views.markup import Markup, icon, joined, tag
from engine.analyses import TITLES

LAYOUT = joined(
    [
        tag(
            "header",
            tag("div", data_area="bar", class_="bar-left"),
            tag("div", data_area="working"),
            tag("div", data_area="choices", class_="bar-right"),
            class_="bar",
        ),
        tag("div", data_area="menus"),
        tag("div", data_area="notice", role="status", aria_live="polite"),
        tag("div", data_area="keys"),
        tag("div", data_area="search"),
    ]
)

KEYS = (
    (("↑", "↓"), "previous, next site"),
    (("←", "→"), "better, worse match of the site"),
    (("[", "]"), "earlier, later layer"),
    (("J", "K"), "next, previous image by response"),
    (("V",), "whole images, or only the unit’s field"),
    (("/",), "search a site"),
    (("E",), "export the panel under pointer or focus"),
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

NOT_COMPUTED = "not-computed"
"""Class of what stands in place of a figure."""

_FILTERED_FROM = 12
"""Items from which a menu has a field to filter them."""

NO_MATCH = {"constant": "the site's response never varies", "n_too_small": "fewer than 3 responses"}
"""Status of a site that has no match -> words."""


def colours(chosen: Chosen, results: Results) -> dict[str, str]:
    """Return the colour tokens of the chosen region and network."""
    return {
        "region": region_token(chosen.region, chosen.run.regions),
        "network": network_of(chosen, results),
    }


def network_of(chosen: Chosen, results: Results) -> str:
    """Return the colour token of the chosen network: its place among the trained ones of the recording."""
    return tokens_of(chosen, results)[chosen.run.digest]


def tokens_of(chosen: Chosen, results: Results) -> dict[str, str]:
    """Return the colour tokens of all networks of the recording, by the digest of the run.

    Where there are more than colours, the chosen one has the first, one beside it the second, and all others are grey.
    """
    runs = results.runs(chosen.run.recording)
    coloured = [run.digest for run in runs if not run.is_control]
    if len(coloured) > len(NETWORK_TOKENS):
        shown = [chosen.run, *([chosen.beside.run] if chosen.beside is not None else [])]
        coloured = [digest for digest in dict.fromkeys(run.digest for run in shown) if digest in coloured]
    tokens = {digest: network_token(place) for place, digest in enumerate(coloured)}
    return {run.digest: tokens.get(run.digest, CONTROL) for run in runs}


def bar(selection: Selection) -> Markup:
    """Return the left of the app bar: name, and tabs, which fold into a menu where the window is narrow."""
    tabs = [_tab(page, title, is_shown=selection.page == page, class_="tab") for page, title in PAGES.items()]
    fold = tag(
        "button",
        PAGES[selection.page],
        icon("down"),
        class_="choice fold",
        data_do="open",
        data_menu_name="pages",
        **_opens("Page"),
    )
    items = [_tab(page, title, is_shown=selection.page == page) for page, title in PAGES.items()]
    menu = tag("div", items, class_="menu", popover="auto", data_menu="pages", role="group", aria_label="Pages")
    home = tag("button", "unitscope", class_="name", data_do="select", data_page="overview", title="Overview")
    return joined([home, tag("nav", tabs, aria_label="Pages"), fold, menu])


def choices(selection: Selection, results: Results, chosen: Chosen | None) -> Markup:
    """Return the right of the app bar: what is wrong, recording with region, network, and light or dark."""
    to = "dark" if selection.theme == "light" else "light"
    colour = tag("button", icon(selection.theme), class_="round", data_do="theme", aria_label=f"Show in {to} colours")
    if chosen is None:
        return joined([colour])
    run = chosen.run
    recording = [
        _dot(region_token(chosen.region, run.regions)),
        tag("span", chosen.region),
        tag("span", run.recording, class_="quiet cut"),
    ]
    network = [_dot(network_of(chosen, results)), tag("span", run.network_title, class_="cut")]
    return joined(
        [
            _problems(results),
            _simulated(chosen),
            _choice("recording", "Region and recording", recording),
            _choice("network", "Network", network),
            colour,
        ]
    )


def menus(results: Results, chosen: Chosen | None) -> Markup:
    """Return what the choices of the bar open."""
    if chosen is None:
        return Markup("")
    recordings, networks = _recordings(results, chosen), _networks(results, chosen)
    return joined([_menu("recording", "Region and recording", recordings), _menu("network", "Network", networks)])


def provenance(runs: Sequence[OpenRun], regions: Sequence[str]) -> list[str]:
    """Return what figures rest on: recording, sites of the regions x images, networks, units, folds and seed.

    ``runs`` are one or more of the same recording, the chosen one first or all in the order of the page.
    """
    run = runs[0]
    n_sites = sum(len(run.sites(region)) for region in regions)
    repeats = run.attrs.get("n_repeats")
    units = f"{plural(len(run.layers), 'layer')}, {thousands(run.n_units)} units"
    settings = dict.fromkeys(f"{plural(run.n_folds, 'fold')}, seed {run.manifest.get('seed', 'n/a')}" for run in runs)
    return [
        run.recording + (" (SIMULATED)" if run.is_simulated else ""),
        f"{plural(n_sites, 'site')} × {plural(len(run.stimuli), 'image')}"
        + (f", mean of {repeats} repeats" if repeats else ""),
        "; ".join(dict.fromkeys(map(_with_weights, runs))),
        *([units] if len(runs) == 1 else []),
        "; ".join(settings),
    ]


def paper_footer(runs: Sequence[OpenRun], regions: Sequence[str]) -> str:
    """Return the line below an exported figure: its provenance, with regions and runs."""
    digests = ", ".join(run.digest[:8] for run in runs)
    recording, *rest = provenance(runs, regions)
    return " · ".join([recording, ", ".join(regions), *rest, f"run {digests}", "unitscope"])


def footer(chosen: Chosen) -> Markup:
    """Return provenance, with the run to copy, and four keys."""
    run = chosen.run
    told = provenance([run], run.regions)
    created = str(run.manifest.get("created", ""))[:10]
    return tag(
        "footer",
        tag("span", " · ".join(told), class_="cut", title=" · ".join(told)),
        tag("span", class_="room"),
        tag("span", f"run {run.digest[:8]}" + (f" · {created}" if created else ""), style="white-space:nowrap"),
        tag("button", icon("copy"), data_do="copy", data_text=run.digest, aria_label="Copy the digest of the run"),
        tag(
            "span",
            _keys("↑", "↓"),
            tag("span", "site", class_="what"),
            _keys("←", "→"),
            tag("span", "rank", class_="what"),
            _keys("?"),
            tag("span", "all keys"),
            class_="keys",
            aria_hidden="true",
        ),
        class_="footer",
    )


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


def notice(text: str) -> Markup:
    """Return a line under the bar, or nothing."""
    return tag("div", text, class_="notice") if text else Markup("")


def empty_store(where: str, problems: Sequence[Problem]) -> Markup:
    """Say that there is nothing to show, what would make it, and which runs cannot be shown."""
    told = tag(
        "section",
        tag("h2", "No run yet in this store"),
        tag("p", f"{where} holds no complete run: a network matched against a recording."),
        tag("p", "The built-in world needs no data. It is rendered and matched against two networks in a few minutes:"),
        command("unitscope demo"),
        tag("p", "Real recordings of macaque V4, and your own network:"),
        command("unitscope fetch cowley-v4 && unitscope match squeezenet1_1 cowley-v4/190923"),
        class_="card state",
    )
    return joined([told, [broken_run(problem) for problem in problems]])


def broken_run(problem: Problem) -> Markup:
    """Say what is wrong with a run, and what to do next."""
    return tag(
        "section",
        tag("h2", "A run is not finished")
        if problem.is_unfinished
        else tag("h2", icon("error"), "A run cannot be shown"),
        tag("p", tag("b", problem.name)),
        tag("p", problem.reason),
        command(problem.command),
        class_="card state",
        role="alert",
    )


def not_computed(chosen: Chosen, lacks: Sequence[str], settings: Mapping[str, Any] | None = None) -> Markup:
    """Say in place of a figure which analyses of the run it needs, what they take, and have them computed.

    Parameters
    ----------
    chosen
        What is shown; ``chosen.jobs`` computes, where the page is not read-only.
    lacks
        Names of the analyses, or other groups, that the run does not hold.
    settings
        Of these analyses, where the figure needs others than the defaults; each goes to those that have it.
    """
    names = [name for name in lacks if name in TITLES]
    if not names:
        told = (
            f"This run was stored without {', '.join(lacks)}: match again with a newer version, or another recording."
        )
        return refused(told)
    given = _with_other(chosen, names, settings or {})
    text = analyse_command(chosen.run.digest, names, given)
    jobs = chosen.jobs
    how = tag("p", working.READ_ONLY, "Where the store is:") if jobs is None else None
    return tag(
        "div",
        tag("h3", "Not computed yet"),
        tag("p", "; ".join(TITLES[name] for name in names) + "."),
        how if jobs is None else working.compute(jobs, chosen.run, names, given),
        command(text),
        class_=NOT_COMPUTED,
    )


def refused(why: str) -> Markup:
    """Say in place of a figure why there is none."""
    return tag("div", tag("h3", "Nothing to show"), tag("p", why), class_=NOT_COMPUTED)


def command(text: str) -> Markup:
    """Return a command to copy."""
    copy = tag("button", icon("copy"), data_do="copy", data_text=text, aria_label=f"Copy: {text}")
    return tag("div", tag("code", text), copy, class_="command")


def title_line(title: str, chosen: Chosen) -> Markup:
    """Return the first part of a header line: the page's title, and region and recording below."""
    return tag(
        "div",
        tag("h1", title),
        tag("p", tag("span", chosen.region, class_="region"), f" · {chosen.run.recording}", class_="quiet cut"),
        class_="who",
    )


def stat(label: str, text: str, note: object = "", *, kind: str = "") -> Markup:
    """Return one number of the header line: what it is, the number, and its interval, folds or method in small grey."""
    classes = f"n {kind}" + (" unknown" if text.startswith(("n/a", "not available")) else "")
    return tag("dl", tag("dt", label), tag("dd", tag("span", text, class_=classes), note), class_="stat")


def ceiling_note(run: OpenRun, ceiling: float, *, of: str = "site") -> Markup:
    """Return the noise ceiling with its method, or why there is none; ``of`` a "site" or a "region"."""
    if np.isfinite(ceiling):
        return stat("noise ceiling", fixed(ceiling), run.ceiling_method)
    return stat(
        "noise ceiling",
        run.ceiling_method if not np.isfinite(run.noise_ceiling.values).any() else f"not available for this {of}",
    )


def folds_note(run: OpenRun) -> str:
    """Say how many folds a held-out r is a mean of, or why there is none."""
    return plural(run.n_folds, "fold") if run.n_folds > 1 else "not held out: 1 fold"


def no_match(chosen: Chosen) -> str:
    """Say why the site has no match; runs that do not tell get the plain fact."""
    matches = chosen.run.dataset("matches")
    status = str(matches["site_status"].sel(site=chosen.site).item()) if "site_status" in matches else ""
    return NO_MATCH.get(status, "no unit has an r with this site")


def titles(runs: Sequence[OpenRun]) -> dict[str, OpenRun]:
    """Return runs by a title of their own: the network's, or its name where two share a title."""
    told = [run.network_title for run in runs]
    return {title if told.count(title) == 1 else run.network: run for title, run in zip(told, runs, strict=True)}


def _with_other(chosen: Chosen, names: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings, with the network shown beside this one where an analysis compares two and none was named."""
    compares = "comparison" in names and "other" not in settings
    if compares and chosen.beside is not None and chosen.beside_network:
        return {**settings, "other": chosen.beside.run.digest}
    return dict(settings)


def _recordings(results: Results, chosen: Chosen) -> list[Markup]:
    items = []
    for recording in results.recordings():
        run = results.runs(recording)[0]
        for region in run.regions:
            is_it = (recording, region) == (chosen.run.recording, chosen.region)
            items.append(
                tag(
                    "button",
                    _dot(region_token(region, run.regions)),
                    tag("span", f"{region}  {recording}"),
                    tag("span", plural(len(run.sites(region)), "site"), class_="quiet"),
                    data_do="select",
                    data_recording=recording,
                    data_region=region,
                    aria_current=_is(is_it, "true"),
                )
            )
    return items


def _networks(results: Results, chosen: Chosen) -> list[Markup]:
    tokens = tokens_of(chosen, results)
    return [
        tag(
            "button",
            _dot(tokens[run.digest]),
            tag("span", run.network_title),
            tag("span", run.network, class_="quiet") if run.network != run.network_title else None,
            data_do="select",
            data_network=run.network,
            aria_current=_is(run.network == chosen.run.network, "true"),
        )
        for run in results.runs(chosen.run.recording)
    ]


def _choice(name: str, label: str, shown: Sequence[Markup]) -> Markup:
    return tag(
        "button",
        shown,
        icon("down"),
        class_="choice",
        data_do="open",
        data_menu_name=name,
        **_opens(label),
    )


def _menu(name: str, label: str, items: Sequence[Markup]) -> Markup:
    field = tag(
        "input", type="text", placeholder="Filter", aria_label=f"Filter: {label}", data_filter=name, autocomplete="off"
    )
    head = tag("div", label, tag("span", thousands(len(items)), class_="quiet"), class_="heading")
    is_long = len(items) > _FILTERED_FROM
    return tag(
        "div",
        head,
        field if is_long else None,
        tag("div", items, class_="items"),
        class_="menu",
        popover="auto",
        data_menu=name,
    )


def _tab(page: str, title: str, *, is_shown: bool, class_: str | None = None) -> Markup:
    return tag("button", title, class_=class_, data_do="select", data_page=page, aria_current=_is(is_shown, "page"))


def _opens(label: str) -> dict[str, str]:
    return {"title": label, "aria_haspopup": "true", "aria_expanded": "false"}


def _simulated(chosen: Chosen | None) -> Markup | None:
    if chosen is None or not chosen.run.is_simulated:
        return None
    return tag("span", "SIMULATED", class_="chip simulated", title="The sites of this recording were simulated.")


def _with_weights(run: OpenRun) -> str:
    weights = "random weights" if run.is_control else "trained weights"
    return f"{run.network_title}, {weights}" if "random" not in run.network_title else run.network_title


def _problems(results: Results) -> list[Markup] | None:
    problems = results.problems()
    if not problems:
        return None
    what = "not finished" if all(problem.is_unfinished for problem in problems) else "cannot be shown"
    count = plural(len(problems), "run")
    button = tag(
        "button",
        f"{count} {what}",
        class_="chip",
        data_do="open",
        data_menu_name="problems",
        aria_haspopup="true",
    )
    told = [
        tag("div", tag("h3", problem.name), tag("p", problem.reason), command(problem.command))
        for problem in problems[:20]
    ]
    return [button, tag("div", told, class_="help problems", popover="auto", data_menu="problems")]


def _dot(token: str) -> Markup:
    return tag("span", class_="dot", style=f"background:var(--us-{token})")


def _keys(*keys: str) -> list[Markup]:
    return [tag("span", key) if key == "then" else tag("kbd", key) for key in keys]


def _is(condition: bool, value: str) -> str | None:
    return value if condition else None


def style_of(tokens: Mapping[str, str]) -> str:
    """Return the style that gives ``--region`` and ``--network`` their colours."""
    return ";".join(f"--{what}:var(--us-{token})" for what, token in tokens.items())
