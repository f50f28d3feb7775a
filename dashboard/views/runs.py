"""What is computed, what is running, what failed and how is it mended?"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from dashboard.figures.wording import thousands
from dashboard.results import Chosen, Problem, Results
from dashboard.runs import OpenRun
from dashboard.views import working
from dashboard.views.card import Card, Look
from dashboard.views.colours import tokens_of
from dashboard.views.headers import stat
from dashboard.views.markup import Markup, icon, joined, tag
from dashboard.views.match_form import MatchForm
from dashboard.views.missing import command
from dashboard.views.page import Page, area, page_of
from engine.analyses import ANALYSES, TITLES, find_analysis
from engine.analyses.batch import State, about
from engine.planning import format_bytes

RUNS_HELP = "Every complete run of this store, one for each network and recording: the newest. A tap shows it."
_COLUMNS = ("Network", "Weights", "Recording", "Sites × images", "Units", "Folds", "Analyses", "Size", "Computed")
_LEFT = ("Network", "Weights", "Recording")


class RunsPage(Page):
    """The page of the store, and of what the server computes."""

    name = "runs"
    layout = page_of(
        "runs",
        tag(
            "div",
            tag("div", area("runs"), area("analyses"), class_="column"),
            tag("div", area("jobs"), area("form"), class_="column"),
            class_="row runs-1",
        ),
    )

    def make_cards(self) -> list[Card]:
        """No figure."""
        return []

    def areas(self, chosen: Chosen, look: Look) -> Mapping[str, object]:
        """Nothing that stays: all of it may be computed meanwhile."""
        return {}

    def live(self, chosen: Chosen, look: Look) -> Mapping[str, object]:
        """Header line, runs, jobs, the form of a new match, and the analyses of the run."""
        runs = [self.results.open(digest) for digest in self.results.table()["digest"]][::-1]
        sizes = sizes_of(self.results, runs)
        return {
            "header": header(runs, sizes, self.results.problems()),
            "runs": runs_card(self.results, chosen, runs, sizes),
            "analyses": analyses_card(chosen),
            "jobs": jobs_card(self.results),
            "form": form_card(self.asks.form if self.asks is not None else None, chosen.run.recording),
        }


def header(runs: Sequence[OpenRun], sizes: Mapping[str, int], problems: Sequence[Problem]) -> Markup:
    """Return the header line: what the store holds."""
    size = format_bytes(sum(sizes.values())) if sizes else "…"
    return tag(
        "header",
        tag("div", tag("h1", "Runs"), tag("p", "of this store", class_="quiet"), class_="who"),
        stat("complete runs", str(len(runs))),
        stat("networks", str(len({run.network for run in runs}))),
        stat("recordings", str(len({run.recording for run in runs}))),
        stat("on disk", *size.split(" ", 1)),
        stat("not complete", str(len(problems)), "below the table") if problems else None,
        class_="header",
    )


def sizes_of(results: Results, runs: Sequence[OpenRun]) -> Mapping[str, int]:
    """Return the bytes of each run on disk, by digest; empty as long as they are counted."""
    paths = {run.digest: str(run.stored.path) for run in runs}
    key = ("sizes", frozenset((run.digest, run.version) for run in runs))
    found = results.lane.ask(key, lambda: {digest: _bytes_below(path) for digest, path in paths.items()})
    return found.value or {} if found is not None else {}


def runs_card(results: Results, chosen: Chosen, runs: Sequence[OpenRun], sizes: Mapping[str, int]) -> Markup:
    """Return the table of the runs, and what is not complete below it."""
    tokens = {digest: token for run in _first_of_each(runs) for digest, token in _tokens(results, chosen, run).items()}
    rows = [_row(run, chosen, tokens.get(run.digest, "control"), sizes.get(run.digest)) for run in runs]
    heads = [tag("th", name, scope="col", class_="t" if name in _LEFT else None) for name in _COLUMNS]
    table = tag(
        "table",
        tag("thead", tag("tr", heads)),
        tag("tbody", rows),
        class_="ranks",
        role="grid",
        aria_label="Complete runs",
    )
    problems = [_problem(problem, has_form=results.jobs is not None) for problem in results.problems()[:20]]
    return tag(
        "section",
        _title("Complete runs", "one for each network and recording, the newest; tap one to show it"),
        tag(
            "div",
            table,
            class_="scroll list",
            data_scroll=True,
            tabindex="0",
            role="region",
            aria_label="Complete runs",
        ),
        tag("div", problems, class_="problem-list") if problems else None,
        class_="card",
    )


def analyses_card(chosen: Chosen) -> Markup:
    """Return every analysis of the run that is shown: stored, or what it would take, or what is missing."""
    run = chosen.run
    stored = [name for name in ANALYSES if run.has(name)]
    lacking = [name for name in ANALYSES if not run.has(name)]
    caption = f"{len(stored)} of {len(ANALYSES)} are stored"
    jobs = chosen.jobs
    states = {name: jobs.state(run, name, {}) for name in lacking} if jobs is not None else {}
    found = {name: state.value for name, state in states.items() if state is not None and state.value is not None}
    rows = [_lacking_row(chosen, name, found.get(name)) for name in lacking]
    rows += [_stored_row(run, name) for name in stored]
    can = [name for name, state in found.items() if not state.missing]
    every = None
    if jobs is not None and len(can) > 1 and not any(_is_live(chosen, name) for name in can):
        seconds = sum(found[name].expected_seconds for name in can)
        button = working.compute_button(run, can, {})
        label = button.replace(">Compute<", f">Compute all {len(can)}, {about(seconds)}<")
        every = tag("div", Markup(label), class_="actions")
    told = tag("p", working.READ_ONLY, "Where the store is:") if jobs is None and lacking else None
    how = command(f"unitscope analyse {run.digest[:12]} --all") if jobs is None and lacking else None
    return tag(
        "section",
        _title(f"Analyses of {run.network_title} against {run.recording}", caption),
        told,
        how,
        every,
        tag("table", tag("tbody", rows), class_="analyses"),
        class_="card",
    )


def jobs_card(results: Results) -> Markup:
    """Return what this server computes now, and what became of what it computed before."""
    if results.jobs is None:
        return Markup("")
    n_live = sum(task.is_live for task in results.jobs.tasks)
    caption = "one at a time, in a process of its own" if n_live else ""
    return tag("section", _title("Computed here", caption), working.list_of_jobs(results.jobs), class_="card jobs-card")


def form_card(form: MatchForm | None, recording: str) -> Markup:
    """Return the form of a new match; or, on a read-only page, the commands."""
    if form is None:
        told = tag("p", working.READ_ONLY, "Where the store is, match with:", class_="quiet")
        serve = tag("p", "or serve it with jobs, on that machine alone:", class_="quiet")
        match = command(f"unitscope match NETWORK {recording or 'RECORDING'}")
        body = joined([told, match, serve, command("unitscope serve")])
    else:
        body = form.html(recording)
    return tag("section", _title("New match", "a network against a recording"), body, class_="card form-card")


def empty_jobs(form: MatchForm | None) -> Markup:
    """Return what a store without runs offers: the form of its first match, and how far that is."""
    if form is None:
        return Markup("")
    return tag(
        "div",
        form_card(form, ""),
        tag("section", _title("Computed here", ""), working.list_of_jobs(form.jobs), class_="card jobs-card"),
        class_="first-run",
    )


def _row(run: OpenRun, chosen: Chosen, token: str, size: int | None) -> Markup:
    told = run.manifest.get("recording", {})
    sites = sum(told["sites"].values()) if isinstance(told, Mapping) and "sites" in told else None
    network = run.manifest.get("network", {})
    units, weights = network.get("units"), str(network.get("weights", ""))
    n_analyses = sum(run.has(name) for name in ANALYSES)
    created = str(run.manifest.get("created", ""))
    took = run.manifest.get("compute", {}).get("seconds")
    dot = tag("span", class_="dot", style=f"background:var(--us-{token})")
    simulated = " (SIMULATED)" if isinstance(told, Mapping) and told.get("simulated") else ""
    return tag(
        "tr",
        tag("td", tag("button", dot, run.network_title.split(",")[0].split(" (")[0], class_="pick"), class_="t"),
        tag("td", _weights(weights), class_="t weak", title=weights),
        tag("td", run.recording + simulated, class_="t"),
        tag("td", f"{thousands(sites)} × {thousands(told['stimuli'])}" if sites else "n/a"),
        tag("td", thousands(units) if units else "n/a"),
        tag("td", str(run.manifest.get("settings", {}).get("folds", "n/a"))),
        tag("td", f"{n_analyses} of {len(ANALYSES)}"),
        tag("td", format_bytes(size) if size is not None else "…"),
        tag("td", _day(created), class_="weak", title=f"{created}, took {took} s" if took else created),
        data_do="select",
        data_network=run.network,
        data_recording=run.recording,
        aria_selected="true" if run is chosen.run else "false",
    )


def _stored_row(run: OpenRun, name: str) -> Markup:
    return tag(
        "tr",
        tag("td", tag("span", name, class_="name"), tag("span", TITLES[name], class_="what")),
        tag("td", "stored", class_="weak"),
    )


def _lacking_row(chosen: Chosen, name: str, state: State | None) -> Markup:
    task = chosen.jobs.of_run(chosen.run.digest, name) if chosen.jobs is not None else None
    right: object = "not computed"
    below: object = None
    if chosen.jobs is not None and task is not None and task.is_live:
        right, below = "", working.progress(task, chosen.jobs)
    elif state is not None and state.missing:
        right = "computed on its page" if find_analysis(name).lacking({}) else "not for this run"
        below = tag("p", "It needs ", state.missing, class_="quiet")
    elif state is not None:
        button = working.compute_button(chosen.run, [name], {}, class_="outlined")
        right, below = (
            joined([tag("span", about(state.expected_seconds)), button]),
            working.ended_before(_stopped(task)),
        )
    return tag(
        "tr",
        tag("td", tag("span", name, class_="name"), tag("span", TITLES[name], class_="what"), below),
        tag("td", right, class_="weak"),
    )


def _stopped(task: Any) -> Any:
    return task if task is not None and task.state in ("failed", "cancelled") else None


def _is_live(chosen: Chosen, name: str) -> bool:
    task = chosen.jobs.of_run(chosen.run.digest, name) if chosen.jobs is not None else None
    return task is not None and task.is_live


def _problem(problem: Problem, *, has_form: bool) -> Markup:
    go_on = None
    if has_form and problem.network and problem.is_unfinished:
        name, _, about_weights = problem.network.partition(" (random weights, seed ")
        seed = about_weights.rstrip(")")
        go_on = tag(
            "button",
            "Go on with it",
            class_="outlined",
            data_do="form",
            data_network=name,
            data_recording=problem.recording,
            data_weights="random" if seed else "pretrained",
            data_weights_seed=seed or "0",
        )
    sign = None if problem.is_unfinished else icon("error")
    what = "not finished" if problem.is_unfinished else "cannot be shown"
    return tag(
        "div",
        tag("h3", sign, f"{problem.name}: {what}"),
        tag("p", problem.reason),
        tag("div", go_on, command(problem.command), class_="actions"),
        class_="job over",
    )


def _title(title: str, caption: str) -> Markup:
    return tag("div", tag("h2", title), tag("span", caption, class_="caption"), class_="title")


def _first_of_each(runs: Sequence[OpenRun]) -> list[OpenRun]:
    return list({run.recording: run for run in runs}.values())


def _tokens(results: Results, chosen: Chosen, run: OpenRun) -> dict[str, str]:
    return (
        tokens_of(Chosen(run, "", "", 0, "", ""), results)
        if run.recording != chosen.run.recording
        else tokens_of(chosen, results)
    )


def _weights(told: str) -> str:
    if told.startswith("random"):
        return told
    return "trained" if told.startswith("pretrained") else told or "n/a"


def _day(created: str) -> str:
    return created[:16].replace("T", " ") or "n/a"


def _bytes_below(path: str) -> int:
    total = 0
    for folder, _, files in os.walk(path):
        for name in files:
            try:
                total += os.stat(os.path.join(folder, name)).st_size
            except OSError:  # it was replaced since it was listed
                continue
    return total
