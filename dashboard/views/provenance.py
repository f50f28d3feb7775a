"""What does a number rest on, and does it still hold? Everything a run was made of, and its claims tried again."""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dashboard.figures.wording import plural, thousands
from dashboard.results import Chosen
from dashboard.runs import OpenRun
from dashboard.views.asks import check_key
from dashboard.views.card import Card, Look
from dashboard.views.headers import stat, title_line
from dashboard.views.markup import Markup, icon, joined, tag
from dashboard.views.missing import command
from dashboard.views.page import Page, area, page_of
from engine.analyses import ANALYSES
from engine.checks import CLAIMS, Check, check_run
from engine.errors import EngineError
from engine.interchange import analyse_again
from engine.planning import format_seconds
from engine.sources import match_command

_HIDDEN = ("groups", "kind", "format")
_RESULTS = {True: "holds", False: "fails", None: "not checked"}


class ProvenancePage(Page):
    """The page of one run's provenance and self-check."""

    name = "provenance"
    layout = page_of(
        "provenance",
        tag(
            "div",
            tag("div", area("check"), area("commands"), area("analyses"), class_="column"),
            tag("div", area("manifest"), class_="column"),
            class_="row origin-1",
        ),
    )

    def make_cards(self) -> list[Card]:
        """No figure."""
        return []

    def areas(self, chosen: Chosen, look: Look) -> Mapping[str, object]:
        """Header line, the manifest, analyses with their settings, and the commands that make the run again."""
        return {
            "header": header(chosen),
            "manifest": manifest_card(chosen.run),
            "analyses": analyses_card(chosen.run),
            "commands": commands_card(chosen.run),
        }

    def live(self, chosen: Chosen, look: Look) -> Mapping[str, object]:
        """The self-check, which is made in a thread when somebody asks for it."""
        run, is_wanted = chosen.run, self.asks is not None and chosen.run.digest in self.asks.checked
        lane, key = self.results.lane, check_key(run.digest, self.results)
        found = lane.ask(key, lambda: check_run(run.stored)) if is_wanted or lane.knows(key) else None
        if found is not None and found.value is None:
            return {"check": check_card(run, None, found.problem)}
        checks = found.value if found is not None else None
        told = [Check(one.name, one.claim, self.results.told(one.found), one.is_passed) for one in checks or ()]
        return {"check": check_card(run, told or None, "…" if is_wanted and not told else "")}


def header(chosen: Chosen) -> Markup:
    """Return the header line: the run, its seed, when and on what it was made."""
    manifest = chosen.run.manifest
    made = manifest.get("compute", {})
    seconds = f"in {format_seconds(made['seconds'])}" if "seconds" in made else ""
    return tag(
        "header",
        title_line("Provenance", chosen),
        stat("run", chosen.run.digest[:12]),
        stat("seed", str(manifest.get("seed", "n/a")), plural(chosen.run.n_folds, "fold")),
        stat(
            "made",
            str(manifest.get("created", "n/a"))[:10],
            f"on {made['device']} {seconds}" if "device" in made else "",
        ),
        stat("unitscope", str(manifest.get("versions", {}).get("unitscope", "n/a")), _torch(manifest)),
        class_="header",
    )


def check_card(run: OpenRun, checks: Sequence[Check] | None, problem: str) -> Markup:
    """Return the self-check: what is claimed of the run, and whether it holds."""
    if problem == "…":
        track = tag("span", tag("span"), class_="track unknown", role="progressbar", aria_label="Checking")
        body = tag("div", track, tag("div", tag("span", "Reading the whole run …"), class_="step"), class_="job")
        return _card("Self-check", f"{len(CLAIMS)} claims", body)
    if checks is None:
        told = tag(
            "p", "Reads all of the run, compares every file with its sha256, and computes anew what must be true."
        )
        sign = tag("p", icon("error"), problem, class_="problem") if problem else None
        start = tag("button", "Check this run", class_="filled", data_do="check", data_run=run.digest)
        return _card("Self-check", f"{len(CLAIMS)} claims", joined([told, sign, tag("div", start, class_="actions")]))
    failed = sum(check.is_passed is False for check in checks)
    held = sum(check.is_passed is True for check in checks)
    caption = f"{held} of {len(checks)} claims hold" + (f", {failed} fail" if failed else "")
    again = tag("button", "Check again", class_="link", data_do="check", data_run=run.digest, data_again="1")
    rows = [_check_row(check) for check in checks]
    heads = [tag("th", name, scope="col", class_="t") for name in ("", "Claim", "Found")]
    table = tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows), class_="ranks checks")
    mend = None
    if failed:
        why = "A number of this run may be wrong. Delete the run, and make it again:"
        remove = command(match_command(run.stored) or "unitscope match NETWORK RECORDING")
        mend = tag("div", tag("h3", icon("error"), "This run does not hold"), tag("p", why), remove, class_="job over")
    return _card("Self-check", caption, joined([mend, table, tag("div", again, class_="actions")]))


def commands_card(run: OpenRun) -> Markup:
    """Return the commands that make the run and its analyses again."""
    match = match_command(run.stored)
    if not match:
        told = (
            "The run cannot tell how its network was made: hand the network over in Python, "
            "engine.match(network, recording)."
        )
        return _card("Made by", "", tag("p", told, class_="quiet"))
    stored = [group for name in ANALYSES for group in run.groups_of(name)]
    analysed = list(_made(run, stored))
    text = "\n".join([match, *analysed])
    copy = tag("button", icon("copy"), data_do="copy", data_text=text, aria_label="Copy all commands")
    lines = tag("pre", tag("code", text), class_="lines", tabindex="0", role="region", aria_label="Commands")
    return _card("Made by", plural(len(analysed) + 1, "command"), lines, extra=copy)


def analyses_card(run: OpenRun) -> Markup:
    """Return every stored analysis: its settings and seed, when it was made, how long it took, and its version."""
    stored = [group for name in ANALYSES for group in run.groups_of(name)]
    names = ("Analysis", "Settings", "Seed", "Version", "Took", "Computed")
    heads = [tag("th", name, scope="col", class_="t" if name in names[:2] else None) for name in names]
    rows = [_analysis_row(run, name) for name in stored]
    table = tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows), class_="ranks made")
    frame = tag("div", table, class_="scroll", tabindex="0", role="region", aria_label="Stored analyses")
    return _card("Analyses", f"{len(stored)} stored", frame)


def manifest_card(run: OpenRun) -> Markup:
    """Return the manifest of the run, part by part, to read and to copy."""
    told = {name: value for name, value in run.manifest.items() if name not in _HIDDEN}
    first = ("digest", "created", "seed", "network", "recording", "settings", "compute", "versions", "digests")
    ordered = {name: told[name] for name in first if name in told} | told
    whole = json.dumps(ordered, indent=2, default=str)
    copy = tag("button", icon("copy"), data_do="copy", data_text=whole, aria_label="Copy the manifest as JSON")
    layers = tag("tbody", tag("tr", tag("th", "Layers", colspan=2, scope="rowgroup")), _layer_rows(run))
    parts = [_part(name, value) for name, value in ordered.items()]
    return _card("Manifest", "everything the run rests on", tag("table", parts, layers, class_="manifest"), extra=copy)


def _card(title: str, caption: str, body: object, *, extra: object = None) -> Markup:
    tools = tag("span", extra, class_="tools") if extra is not None else None
    head = tag("div", tag("h2", title), tag("span", caption, class_="caption"), tools, class_="title")
    return tag("section", head, body, class_="card")


def _check_row(check: Check) -> Markup:
    result = _RESULTS[check.is_passed]
    sign = icon("error") if check.is_passed is False else None
    kind = {True: "holds", False: "fails", None: "weak"}[check.is_passed]
    return tag(
        "tr",
        tag("td", sign, result, class_=f"t {kind}"),
        tag("td", tag("b", check.name), ": ", check.claim, class_="t wrap"),
        tag("td", check.found, class_="t wrap weak"),
    )


def _analysis_row(run: OpenRun, name: str) -> Markup:
    try:
        about = run.stored.attributes(name)
    except EngineError as error:
        return tag("tr", tag("td", name, class_="t"), tag("td", f"cannot be read: {error}", class_="t wrap", colspan=5))
    given = about.get("analysis_settings", {}).items()
    settings = ", ".join(f"{key} {_short(value)}" for key, value in given if value is not None)
    versions = ", ".join(f"{key} {value}" for key, value in about.get("versions", {}).items())
    took = format_seconds(about["seconds"]) if "seconds" in about else "n/a"
    return tag(
        "tr",
        tag("td", name, class_="t"),
        tag("td", settings or "as it comes", class_="t weak", title=settings),
        tag("td", str(about.get("seed", "n/a"))),
        tag("td", str(about.get("analysis_version", "n/a")), title=versions),
        tag("td", took),
        tag("td", str(about.get("computed", "n/a"))[:16].replace("T", " "), class_="weak", title=versions),
    )


def _part(name: str, value: Any) -> Markup:
    label = name.replace("_", " ").capitalize()
    if not isinstance(value, Mapping):
        return tag("tbody", _line(label, value))
    rows = [_line(str(key), part) for key, part in value.items()]
    return tag("tbody", tag("tr", tag("th", label, colspan=2, scope="rowgroup")), rows)


def _line(label: str, value: Any) -> Markup:
    text = ", ".join(f"{key} {part}" for key, part in value.items()) if isinstance(value, Mapping) else _short(value)
    return tag("tr", tag("th", label.replace("_", " "), scope="row"), tag("td", text))


def _layer_rows(run: OpenRun) -> Iterable[Markup]:
    layers = run.dataset("layers")
    for name, kind, *shape, units in zip(
        *(layers[key].values.tolist() for key in ("layer", "kind", "channels", "height", "width", "units")), strict=True
    ):
        yield tag(
            "tr",
            tag("th", name, scope="row"),
            tag("td", f"{kind}, {'×'.join(map(str, shape))}, {thousands(units)} units"),
        )


def _made(run: OpenRun, names: Sequence[str]) -> Iterable[str]:
    for name in names:
        try:
            yield analyse_again(run.stored, name)
        except EngineError:  # damaged: the table says so
            yield shlex.join(["unitscope", "analyse", run.digest[:12], name])


def _short(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, int) and not isinstance(value, bool):
        return thousands(value)
    text = "n/a" if value is None or value != value else str(value)  # NaN is not itself
    return text if len(text) < 300 else f"{text[:300]}…"


def _torch(manifest: Mapping[str, Any]) -> str:
    versions = manifest.get("versions", {})
    return ", ".join(f"{name} {versions[name]}" for name in ("torch", "numpy", "python") if name in versions)
