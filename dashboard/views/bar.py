"""What does the bar hold? Tabs, the chosen recording and network with their menus, what is wrong, and light or dark."""

from collections.abc import Sequence

from dashboard.figures.wording import plural, thousands
from dashboard.results import Chosen, Results
from dashboard.state import PAGES, Selection
from dashboard.theme import region_token
from dashboard.views.colours import network_of, tokens_of
from dashboard.views.markup import Markup, icon, joined, tag
from dashboard.views.missing import command

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
        tag("div", data_area="tabulated"),
    ]
)

_FILTERED_FROM = 12
"""Items from which a menu has a field to filter them."""


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


def notice(text: str) -> Markup:
    """Return a line under the bar, or nothing."""
    return tag("div", text, class_="notice") if text else Markup("")


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


def _is(condition: bool, value: str) -> str | None:
    return value if condition else None
