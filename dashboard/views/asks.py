"""What may a visitor have the server do? Plan, start, cancel, check; every field is compared with what was offered."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from dashboard.jobs import Jobs
from dashboard.requests import AnalyseRequest, analyse_request
from dashboard.results import Results
from dashboard.views.match_form import MatchForm
from engine.errors import SettingsError

Action = Mapping[str, Any]


class Asks:
    """Turns what the browser reports into work of the server; whatever makes no sense is refused in a sentence.

    Parameters
    ----------
    results
        Runs of the store, and the jobs of this server if it has any.
    choose
        Chooses on the page.
    """

    def __init__(self, results: Results, choose: Callable[..., None]) -> None:
        self.results, self._choose = results, choose
        self.form = MatchForm(results.jobs) if results.jobs is not None else None
        self.checked: set[str] = set()
        """Digests of the runs whose self-check was asked for."""
        self._does: dict[str, Callable[[Action], None]] = {"check": self._check, "show": self._show}
        if self.form is not None and results.jobs is not None:
            self._does |= self._of_jobs(self.form, results.jobs)

    def act(self, action: Action) -> bool:
        """Do what is asked for; say whether it was for us.

        Raises
        ------
        SettingsError
            If it makes no sense.
        """
        does = self._does.get(str(action.get("do")))
        if does is None:
            return False
        does(action)
        return True

    def _of_jobs(self, form: MatchForm, jobs: Jobs) -> dict[str, Callable[[Action], None]]:
        def plan(action: Action) -> None:
            if "memory" in action:
                form.set({"memory": action["memory"]})
            form.plan()

        def start(action: Action) -> None:
            form.start()

        def again(action: Action) -> None:
            task = next((one for one in jobs.tasks if one.id == _number(action) and not one.is_live), None)
            if task is not None:
                jobs.put_away(task.id)
                jobs.start(task.request, expected_s=task.expected_s)

        return {
            "form": form.set,
            "plan": plan,
            "plan-again": lambda _: jobs.plan_anew(),
            "unplan": lambda _: form.set({}),
            "start": start,
            "analyse": lambda action: self._analyse(action, jobs),
            "again": again,
            "cancel": lambda action: jobs.cancel_soon(_number(action)),
            "put-away": lambda action: jobs.put_away(_number(action)),
        }

    def _analyse(self, action: Action, jobs: Jobs) -> None:
        listed = self.results.table()
        digest = str(action.get("run"))
        if digest not in set(listed["digest"]):
            raise SettingsError("This run is not in the store any more. Choose another one on the page Runs.")
        run = self.results.open(digest)
        same = [other.digest for other in self.results.runs(run.recording) if other is not run]
        names = str(action.get("names", "")).split()[:50]
        request = analyse_request(run, names, _settings(action), same)
        assert isinstance(request, AnalyseRequest)
        states = [jobs.state(run, name, request.by_name[name]) for name in names]
        seconds = sum(state.value.expected_seconds for state in states if state is not None and state.value is not None)
        jobs.start(request, expected_s=seconds)

    def _check(self, action: Action) -> None:
        digest = str(action.get("run"))
        if digest in set(self.results.table()["digest"]):
            self.checked.add(digest)
            if action.get("again"):
                self.results.lane.forget(check_key(self.results.open(digest).digest, self.results))

    def _show(self, action: Action) -> None:
        """Choose the run that a job made, or that is stored already."""
        digest = str(action.get("run", ""))
        if self.results.jobs is not None and "job" in action:
            tasks = {task.id: task for task in self.results.jobs.tasks}
            digest = str(tasks[_number(action)].result.get("digest", "")) if _number(action) in tasks else ""
        table = self.results.table()
        for row in table[table["digest"] == digest].itertuples():
            self._choose(page="overview", recording=row.recording, network=row.network)
            return
        raise SettingsError("The page shows another run of this network and recording: the newest one.")


def check_key(digest: str, results: Results) -> tuple:
    """Return the key of a run's self-check: what it found holds as long as nothing of the run is written anew."""
    return ("check", digest, results.open(digest).version)


def _settings(action: Action) -> dict[str, Any]:
    try:
        settings = json.loads(str(action.get("settings") or "{}")[:4000])
    except ValueError:
        settings = None
    if not isinstance(settings, dict):
        raise SettingsError("The settings of an analysis are an object of JSON, by their names.")
    return settings


def _number(action: Action) -> int:
    text = str(action.get("job", ""))
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
