"""How does the page say what is computed: how far it is, what stopped it, what it would take?"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from dashboard.figures.wording import plural, thousands
from dashboard.jobs import CANCELLED, FAILED, QUEUED, Jobs, Task
from dashboard.runs import OpenRun
from dashboard.views.markup import Markup, icon, joined, tag
from engine.analyses import TITLES
from engine.analyses.batch import about
from engine.planning import format_bytes

READ_ONLY = "This page is read-only: it is served without jobs, so that no visitor has this machine compute. "
_SHORTLY = 1.0
_HOUR = 3600


def progress(task: Task, jobs: Jobs) -> Markup:
    """Return the line of a job: its bar, step, time left and memory, and what ends it."""
    cancel = tag("button", "Cancel", class_="link", data_do="cancel", data_job=task.id)
    if task.state == QUEUED:
        before = [one for one in jobs.tasks if one.is_live].index(task) if task in jobs.tasks else 0
        told = f"waits for {plural(before, 'job')} before it" if before else "begins now"
        return tag("div", _bar(0.0, is_known=False), tag("div", tag("span", told), cancel, class_="step"), class_="job")
    facts = ", ".join(fact for fact in (time_left(task), _memory(task)) if fact)
    return tag(
        "div",
        _bar(task.share, is_known=bool(task.total)),
        tag("div", tag("span", task.step), tag("span", facts, class_="quiet"), cancel, class_="step"),
        class_="job",
    )


def ended(task: Task) -> Markup:
    """Return what became of a job that is done, failed or was cancelled, and what to do next."""
    away = tag("button", "Put away", class_="link", data_do="put-away", data_job=task.id)
    if task.state in (FAILED, CANCELLED):
        again = tag("button", "Start again", class_="filled", data_do="again", data_job=task.id)
        sign = icon("error") if task.state == FAILED else None
        head = tag("h3", sign, "It failed" if task.state == FAILED else "Cancelled")
        copy = tag(
            "button", "Copy details", class_="link", data_do="copy", data_text=f"{task.request.command}\n{task.message}"
        )
        return tag(
            "div", head, tag("p", task.message), tag("div", again, copy, away, class_="actions"), class_="job over"
        )
    show = tag("button", "Show it", class_="link", data_do="show", data_job=task.id)
    return tag(
        "div", tag("div", f"done in {duration(task.seconds)}", tag("span"), show, away, class_="step"), class_="job"
    )


def time_left(task: Task) -> str:
    """Say how long a job will still take, "0:42 left"; empty as long as nobody can tell."""
    left = task.left_s
    return "" if left is None else f"{duration(left)} left"


def duration(seconds: float) -> str:
    """Write a time as a clock does: "0:42", "12:05", "1:10:00"."""
    whole = round(seconds)
    hours, rest = divmod(whole, _HOUR)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def compute(jobs: Jobs, run: OpenRun, names: Sequence[str], settings: Mapping[str, Any]) -> Markup:
    """Return what has analyses of a run computed: the expected time and a button; or how far that is, or why not."""
    tasks = [task for name in names if (task := jobs.of_run(run.digest, name)) is not None]
    live = next((task for task in tasks if task.is_live), None)
    if live is not None:
        return progress(live, jobs)
    failed = next((task for task in tasks if task.state in (FAILED, CANCELLED)), None)
    states = [jobs.state(run, name, settings) for name in names]
    if any(state is None for state in states):
        return tag("p", "Finding out what it takes …", class_="quiet")
    found = [state for state in states if state is not None]
    problem = next((state.problem for state in found if state.problem), "")
    missing = [
        f"{state.value.name} needs {state.value.missing}" for state in found if state.value and state.value.missing
    ]
    if problem or missing:
        return tag("p", "It cannot be computed for this run: ", problem or "; ".join(missing))
    seconds = sum(state.value.expected_seconds for state in found if state.value)
    told = tag("p", f"It takes {about(seconds)} on this machine." if seconds >= _SHORTLY else "It takes a moment.")
    return joined([told, ended_before(failed), tag("div", compute_button(run, names, settings), class_="actions")])


def compute_button(
    run: OpenRun, names: Sequence[str], settings: Mapping[str, Any], *, class_: str = "filled"
) -> Markup:
    """Return the button that has analyses computed."""
    return tag(
        "button",
        "Compute",
        class_=class_,
        data_do="analyse",
        data_run=run.digest,
        data_names=" ".join(names),
        data_settings=json.dumps(dict(settings), sort_keys=True) if settings else None,
        aria_label="Compute: " + "; ".join(TITLES.get(name, name) for name in names),
    )


def ended_before(task: Task | None) -> Markup | None:
    """Say what stopped the last try."""
    if task is None:
        return None
    sign = icon("error") if task.state == FAILED else None
    return tag("p", sign, f"Last try: {task.message}", class_="problem")


def list_of_jobs(jobs: Jobs) -> Markup:
    """Return all jobs of this server: what runs, waits, and what became of the others."""
    items = [
        tag("li", tag("h3", task.request.title), progress(task, jobs) if task.is_live else ended(task))
        for task in jobs.tasks
    ]
    if not items:
        return tag("p", "Nothing is computed now. What is started here runs one after the other.", class_="quiet")
    return tag("ul", items, class_="jobs")


def sign(jobs: Jobs | None) -> Markup:
    """Return what the bar says of the job that runs: how far it is; it leads to the page of the runs."""
    live = [task for task in jobs.tasks if task.is_live] if jobs is not None else []
    if not live:
        return Markup("")
    task = live[0]
    share = f"{task.share:.0%}" if task.total else "…"
    waits = f", {len(live) - 1} waiting" if len(live) > 1 else ""
    return tag(
        "button",
        tag("span", "Computing ", class_="wide"),
        share + waits,
        _bar(task.share, is_known=bool(task.total), is_named=False),
        class_="working",
        data_do="select",
        data_page="runs",
        title=f"{task.request.title}. {time_left(task)}",
    )


def plan_facts(plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a plan says, as label and value."""
    n_passes, layers = int(plan.get("passes", 0)), int(plan["layers"])
    facts = [
        ("Sites × images", f"{thousands(plan['sites'])} × {thousands(plan['stimuli'])}"),
        ("Layers, units", f"{thousands(layers)}, {thousands(plan['units'])}"),
    ]
    if plan.get("layers_done"):
        facts.append(("Stored already", f"{plan['layers_done']} of {plural(layers, 'layer')}"))
    if n_passes:
        facts += [
            ("Passes over the images", f"{n_passes}, {plan['batch']} images at a time"),
            ("Memory at most", f"{format_bytes(plan['peak'])} of {format_bytes(plan['memory'])}"),
            ("Expected time", about(plan["seconds"])),
        ]
    elif plan.get("way"):
        facts.append(("Shared out", str(plan["way"])))
    return facts


def _memory(task: Task) -> str:
    allowed = getattr(task.request, "memory", "").replace("GiB", " GiB")
    if not task.memory:
        return ""
    return format_bytes(task.memory) + (f" of {allowed}" if allowed else "")


def _bar(share: float, *, is_known: bool, is_named: bool = True) -> Markup:
    said = {"role": "progressbar", "aria_label": "done", "aria_valuemin": 0, "aria_valuemax": 100} if is_named else {}
    now = {"aria_valuenow": round(100 * share)} if is_named and is_known else {}
    inside = tag("span", style=f"width:{100 * share:.1f}%")
    return tag("span", inside, class_="track" if is_known else "track unknown", **said, **now)
