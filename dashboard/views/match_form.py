"""How does a visitor begin a match? Choose what the server offers, see the plan, start it."""

from collections.abc import Mapping, Sequence
from typing import Any

from dashboard.figures.wording import plural, thousands
from dashboard.jobs import Jobs, Offers, Task
from dashboard.requests import FOLDS, MEMORIES, MOST_SEEDS, MatchRequest, match_request
from dashboard.views import working
from dashboard.views.markup import Markup, icon, joined, tag
from dashboard.views.missing import command
from engine.errors import SettingsError

_FIELDS = ("network", "recording", "weights", "weights_seed", "folds", "memory")
_TRAINED, _NOT_BUILT = "pretrained", "not built"
_NO_ROOM = "is too little"
"""What the engine says of a memory in which nothing fits."""


class MatchForm:
    """The form of one visitor: what is chosen, and whether its plan is wanted."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self.fields = {"weights": _TRAINED, "weights_seed": "0", "folds": "2", "memory": "4GiB"}
        self.is_planned = False
        self.problem = ""

    def set(self, asked: Mapping[str, Any], recording: str = "") -> None:
        """Choose; the plan is another one then. ``recording`` is taken where none was chosen yet."""
        given = {name: str(asked[name])[:300] for name in _FIELDS if name in asked}
        if asked.get("name") in _FIELDS:
            given[str(asked["name"])] = str(asked.get("value", ""))[:300]
        self.fields |= given
        self.is_planned, self.problem = False, ""
        self.jobs.drop_plans()

    def plan(self) -> None:
        """Have the plan made of what is chosen."""
        self.is_planned, self.problem = True, ""

    def start(self) -> Task | None:
        """Start what was planned; None where there is no plan to it."""
        offers = self._offers()
        request = self._request(offers) if offers is not None else None
        found = self.jobs.plan(request) if request is not None and self.is_planned else None
        if request is None or found is None or found.value is None:
            return None
        self.is_planned = False
        return self.jobs.start(request, expected_s=float(found.value.get("seconds", 0.0)))

    def html(self, recording: str) -> Markup:
        """Return the form, with the plan once there is one; ``recording`` is the one that the page shows."""
        found = self.jobs.offers()
        if found is None:
            return tag("p", "Finding out what can be matched here …", class_="quiet busy")
        if found.value is None:
            return tag("p", icon("error"), found.problem, class_="problem")
        offers = found.value
        if not offers.recordings:
            told = tag("p", "There is no recording on this machine yet. Fetch one, then open this page again:")
            return joined([told, command("unitscope fetch cowley-v4")])
        self._fill(offers, recording)
        return joined([self._choices(offers), self._below(offers)])

    def _offers(self) -> Offers | None:
        found = self.jobs.offers()
        return found.value if found is not None else None

    def _fill(self, offers: Offers, recording: str) -> None:
        names = [str(row["name"]) for row in offers.networks]
        there = list(offers.recordings)
        self.fields.setdefault("network", names[0])
        self.fields.setdefault("recording", recording if recording in there else there[0])

    def _request(self, offers: Offers) -> MatchRequest | None:
        try:
            return match_request(self.fields, [str(row["name"]) for row in offers.networks], offers.opens)
        except SettingsError as error:
            self.problem = str(error)
            return None

    def _choices(self, offers: Offers) -> Markup:
        networks = [
            (str(row["name"]), f"{row['title']} · {thousands(row['parameters'])} weights") for row in offers.networks
        ]
        recordings = [(name, _described(name, row)) for name, row in offers.recordings.items()]
        weights = [(_TRAINED, "trained"), ("random", "random (a control)")]
        is_random = self.fields["weights"] == "random"
        folds = [(str(n), plural(n, "fold") if n > 1 else "1: nothing held out") for n in FOLDS]
        memory = [(name, name.replace("GiB", " GiB")) for name in MEMORIES]
        return tag(
            "div",
            self._select("network", "Network", networks, is_wide=True),
            self._select("recording", "Recording", recordings, is_wide=True),
            self._select("weights", "Weights", weights),
            self._seed() if is_random else None,
            self._select("folds", "Folds, for held-out r", folds),
            self._select("memory", "Memory at most", memory),
            class_="fields",
        )

    def _select(self, name: str, label: str, there: Sequence[tuple[str, str]], *, is_wide: bool = False) -> Markup:
        chosen = self.fields[name]
        options = [tag("option", shown, value=value, selected=value == chosen) for value, shown in there]
        select = tag("select", options, data_do="form", data_name=name)
        return tag("label", tag("span", label), select, class_="wide" if is_wide else None)

    def _seed(self) -> Markup:
        field = tag(
            "input", type="number", min=0, max=MOST_SEEDS - 1, value=self.fields["weights_seed"], data_do="form",
            data_name="weights_seed",
        )  # fmt: skip
        return tag("label", tag("span", "Seed of the weights"), field)

    def _below(self, offers: Offers) -> Markup:
        request = self._request(offers)
        if request is None:
            return tag("p", icon("error"), self.problem, class_="problem")
        running = next((task for task in self.jobs.tasks if task.is_live and task.request == request), None)
        if running is not None:
            return working.progress(running, self.jobs)
        if not self.is_planned:
            see = tag("button", "See the plan", class_="filled", data_do="plan")
            return joined([self._note(request, offers), tag("div", see, class_="actions")])
        found = self.jobs.plan(request)
        if found is None:
            return joined(
                [_busy(), tag("div", tag("button", "Cancel", class_="link", data_do="unplan"), class_="actions")]
            )
        if found.value is None:
            return self._no_plan(found.problem)
        return self._planned(found.value, request)

    def _note(self, request: MatchRequest, offers: Offers) -> Markup | None:
        entry = next(row for row in offers.networks if row["name"] == request.network)
        if request.weights == _TRAINED and not str(entry["weights"]).startswith(_TRAINED):
            return tag("p", f"Its trained weights are not on this machine; {entry['weights']}.", class_="problem")
        if offers.recordings[self.fields["recording"]]["status"] == _NOT_BUILT:
            return tag("p", "The built-in world is rendered first, once: about a minute.", class_="quiet")
        return tag("p", "The plan tries every step on this machine, and stores nothing.", class_="quiet")

    def _no_plan(self, problem: str) -> Markup:
        more = MEMORIES[MEMORIES.index(self.fields["memory"]) + 1 :]
        buttons = [tag("button", "Plan again", class_="link", data_do="plan-again")]
        if _NO_ROOM in problem and more:
            label = f"Plan with {more[0].replace('GiB', ' GiB')}"
            buttons.insert(0, tag("button", label, class_="filled", data_do="plan", data_memory=more[0]))
        return joined([tag("p", icon("error"), problem, class_="problem"), tag("div", buttons, class_="actions")])

    def _planned(self, plan: Mapping[str, Any], request: MatchRequest) -> Markup:
        facts = tag("table", [_fact(*fact) for fact in working.plan_facts(plan)], class_="facts")
        if plan["is_stored"]:
            show = tag("button", "Show it", class_="filled", data_do="show", data_run=plan["digest"])
            told = tag("p", "This run is stored already: there is nothing to compute.")
            return joined([facts, told, tag("div", show, class_="actions")])
        goes_on = plan.get("layers_done", 0) > 0
        start = tag("button", "Go on with it" if goes_on else "Start", class_="filled", data_do="start")
        waits = sum(task.is_live for task in self.jobs.tasks)
        queue = tag("p", f"{plural(waits, 'job')} before it.", class_="quiet") if waits else None
        return joined([facts, queue, tag("div", start, class_="actions"), command(request.command)])


def _described(name: str, row: Mapping[str, Any]) -> str:
    sizes = [plural(int(row[key]), word) for key, word in (("sites", "site"), ("stimuli", "image")) if row[key]]
    return " · ".join([name, *([str(row["region"])] if row["region"] else []), *sizes])


def _fact(label: str, value: str) -> Markup:
    return tag("tr", tag("th", label, scope="row"), tag("td", value, class_="v"))


def _busy() -> Markup:
    track = tag("span", tag("span"), class_="track unknown", role="progressbar", aria_label="The plan is made")
    return tag("div", track, tag("div", tag("span", "Trying every step of this match …"), class_="step"), class_="job")
