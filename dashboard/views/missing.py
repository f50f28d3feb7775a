"""What stands where there is nothing to show: an empty store, a broken run, an analysis that nobody computed yet."""

from collections.abc import Mapping, Sequence
from typing import Any

from dashboard.requests import analyse_command
from dashboard.results import Chosen, Problem
from dashboard.views import working
from dashboard.views.markup import Markup, icon, joined, tag
from engine.analyses import TITLES

NOT_COMPUTED = "not-computed"
"""Class of what stands in place of a figure."""


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


def _with_other(chosen: Chosen, names: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings, with the network shown beside this one where an analysis compares two and none was named."""
    compares = "comparison" in names and "other" not in settings
    if compares and chosen.beside is not None and chosen.beside_network:
        return {**settings, "other": chosen.beside.run.digest}
    return dict(settings)
