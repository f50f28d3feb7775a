"""What does this server compute for its visitors? One job at a time, in a process of its own; the others wait.

Jobs belong to the server: every open page sees the same ones, a reload changes nothing, and they end with the server.
"""

import json
import logging
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from dashboard.bell import Bell
from dashboard.child import Child, EndedError
from dashboard.lane import Answer, Lane
from dashboard.requests import AnalyseRequest, MatchRequest, Request
from dashboard.runs import OpenRun
from engine.analyses.batch import State, state_of
from engine.errors import EngineError, SettingsError
from engine.sources import Source

log = logging.getLogger(__name__)

QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
LIVE: Final = (QUEUED, RUNNING)

_RING_EVERY_S: Final = 0.5
_MOST_WAITING: Final = 20
_MOST_ENDED: Final = 20
_OFFERS_LAST_S: Final = 60.0
_LEAST_SHARE: Final = 0.05
"""Below this share the plan's time is a better guess than what was measured so far."""


@dataclass
class Task:
    """One job: what was asked for, and how far it is."""

    id: int
    request: Request
    expected_s: float = 0.0
    """What the plan says; 0 where nobody planned."""
    state: str = QUEUED
    step: str = ""
    done: int = 0
    total: int = 0
    memory: int = 0
    message: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)
    started: float = 0.0
    ended: float = 0.0
    _counted_from: tuple[float, int] = (0.0, 0)

    @property
    def is_live(self) -> bool:
        """Whether it waits or runs."""
        return self.state in LIVE

    @property
    def share(self) -> float:
        """How much of what can be counted is done, 0 to 1."""
        return self.done / self.total if self.total else 0.0

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return (self.ended or time.monotonic()) - self.started if self.started else 0.0

    @property
    def left_s(self) -> float | None:
        """Expected time to its end; None as long as nobody can tell."""
        if not self.total:
            return max(self.expected_s - self.seconds, 1.0) if self.expected_s else None
        begun, done = self._counted_from
        n_new = self.done - done
        if n_new < _LEAST_SHARE * self.total and self.expected_s:
            return max(self.expected_s * (1 - self.share), 1.0)
        return (time.monotonic() - begun) / n_new * (self.total - self.done) if n_new > 0 else None

    def hear(self, line: Mapping[str, Any]) -> None:
        """Take over a line of its process."""
        total, done = int(line.get("total", 0)), int(line.get("done", 0))
        if total != self.total or done < self.done:
            self._counted_from = time.monotonic(), done
        self.step, self.done, self.total = str(line.get("step", "")), done, total
        self.memory = max(int(line.get("memory", 0)), self.memory if total else 0)


@dataclass(frozen=True)
class Offers:
    """What can be matched on this machine."""

    networks: tuple[Mapping[str, Any], ...]
    """name, title, parameters, weights."""
    recordings: Mapping[str, Mapping[str, Any]]
    """By the name that the page shows: name (what opens it), region, sites, stimuli, repeats, status."""

    @property
    def opens(self) -> dict[str, str]:
        """What opens each recording, by the name that the page shows."""
        return {shown: str(row["name"]) for shown, row in self.recordings.items()}


class Jobs:
    """The jobs of one server.

    Parameters
    ----------
    store
        Folder of the store that they write to.
    bell
        Rung when a job begins, ends or got further, and when a plan is there.
    on_end
        Called when a job has ended, before the bell rings: the store holds more now.
    how
        How every match is done, as ``engine.match`` takes it: ``device``, ``workers`` or ``scheduler``.
    """

    def __init__(
        self,
        store: str,
        bell: Bell,
        on_end: Callable[[], None] = lambda: None,
        how: Mapping[str, Any] | None = None,
    ) -> None:
        self._store, self._bell, self._on_end = store, bell, on_end
        self._how = {name: value for name, value in (how or {}).items() if value is not None}
        self._plans, self._states = Lane(bell), Lane(bell)
        self._last_states: dict[tuple[str, ...], Answer[State]] = {}
        self._planning: dict[MatchRequest, Child] = {}
        self._tasks: OrderedDict[int, Task] = OrderedDict()
        self._children: dict[int, Child] = {}
        self._changed = threading.Condition()
        self._is_closed = False
        self._rang = 0.0
        self._n_plans = 0
        self.version = 0
        """Goes up whenever a job comes, begins, ends or is put away."""
        threading.Thread(target=self._work, daemon=True, name="unitscope-jobs").start()

    @property
    def tasks(self) -> list[Task]:
        """All jobs: what runs, what waits in its order, then what has ended, newest first."""
        with self._changed:
            tasks = list(self._tasks.values())
        live = sorted((task for task in tasks if task.is_live), key=lambda task: (task.state != RUNNING, task.id))
        return live + sorted((task for task in tasks if not task.is_live), key=lambda task: -task.ended)

    @property
    def is_busy(self) -> bool:
        """Whether a job runs or waits."""
        return any(task.is_live for task in self.tasks)

    def of_run(self, digest: str, name: str) -> Task | None:
        """Return the newest job that computes an analysis of a run, if there is one."""
        for task in reversed(list(self._tasks.values())):
            request = task.request
            if isinstance(request, AnalyseRequest) and request.digest == digest and name in request.names:
                return task
        return None

    def offers(self) -> Answer[Offers] | None:
        """Return what can be matched; None as long as that is found out."""
        found = self._plans.ask("offers", self._find_offers)
        if found is not None and (found.value is None or time.monotonic() - self._offered_at > _OFFERS_LAST_S):
            self._plans.forget("offers")
        return found

    def plan(self, request: MatchRequest) -> Answer[dict[str, Any]] | None:
        """Return the plan of a match as ``engine.jobs`` tells it; None as long as it is made."""
        return self._plans.ask((request, self._n_plans), lambda: self._find_plan(request))

    def plan_anew(self) -> None:
        """Make plans again: something about this machine may have changed."""
        self._n_plans += 1

    def state(self, run: OpenRun, name: str, settings: Mapping[str, Any]) -> Answer[State] | None:
        """Return where an analysis of a run stands; None as long as that is found out.

        Where it was found for another value of the same settings, that stands meanwhile: an analysis takes as long
        for the next site, and a step to it would rewrite its place twice.
        """
        key = (run.digest, run.version, name, json.dumps(dict(settings), sort_keys=True))
        found = self._states.ask(key, lambda: state_of(name, Source(run.stored), settings=settings))
        alike = (run.digest, name, *sorted(settings))
        if found is not None:
            self._last_states[alike] = found
        return self._last_states.get(alike)

    def drop_plans(self, wanted: MatchRequest | None = None) -> None:
        """Stop planning what nobody wants any more."""
        for request, child in list(self._planning.items()):
            if request != wanted:
                child.end()

    def start(self, request: Request, *, expected_s: float = 0.0) -> Task:
        """Do it as soon as what was asked for before is done; what is asked for twice is done once.

        Raises
        ------
        SettingsError
            If too many wait already.
        """
        with self._changed:
            waiting = [task for task in self._tasks.values() if task.is_live]
            same = next((task for task in waiting if task.request == request), None)
            if same is not None:
                return same
            if self._is_closed or len(waiting) >= _MOST_WAITING:
                raise SettingsError(f"{len(waiting)} jobs wait already. Start this one when some of them are done.")
            task = Task(max(self._tasks, default=0) + 1, request, expected_s)
            self._tasks[task.id] = task
            self._news()
            return task

    def cancel(self, number: int) -> None:
        """End a job that runs, or take one that waits out of the queue; its process is gone when this returns."""
        with self._changed:
            task, child = self._tasks.get(number), self._children.get(number)
            if task is None or not task.is_live:
                return
            if task.state == QUEUED:
                self._end(task, CANCELLED, "It was cancelled before it began.")
                return
        if child is not None:
            child.end()

    def cancel_soon(self, number: int) -> None:
        """Cancel without waiting for the end: for the server's loop."""
        threading.Thread(target=self.cancel, args=(number,), daemon=True).start()

    def put_away(self, number: int) -> None:
        """Show a job that has ended no more."""
        with self._changed:
            if number in self._tasks and not self._tasks[number].is_live:
                del self._tasks[number]
                self._news()

    def close(self) -> None:
        """End everything; no process is left when this returns."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            children = [*self._children.values(), *self._planning.values()]
        for child in children:
            child.end()
        self._plans.close()
        self._states.close()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or self._next() is not None)
                task = self._next()
                if self._is_closed or task is None:
                    return
                child = Child(self._asked(task.request.as_line()), partial(self._hear, task))
                self._children[task.id] = child
                task.state, task.started, task.step = RUNNING, time.monotonic(), "starting"
                self._news()
            self._do(task, child)

    def _do(self, task: Task, child: Child) -> None:
        try:
            task.result = child.result()
            state, message = DONE, ""
        except EndedError as error:
            state, message = CANCELLED, str(error)
        except EngineError as error:
            state, message = FAILED, str(error)
        except Exception:  # whatever the system refuses; the queue goes on
            name = secrets.token_hex(3)
            log.exception("error %s in job %s", name, task.request.title)
            state, message = FAILED, f"It could not be started (error {name}; the server's log says more)."
        self._on_end()
        self.plan_anew()
        with self._changed:
            del self._children[task.id]
            self._end(task, state, message)

    def _asked(self, line: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a process is asked, with the store and how this server matches."""
        how = self._how if line["do"] != "analyse" else {k: v for k, v in self._how.items() if k == "device"}
        return {**line, **how, "store": self._store}

    def _next(self) -> Task | None:
        return next((task for task in self._tasks.values() if task.state == QUEUED), None)

    def _end(self, task: Task, state: str, message: str) -> None:
        task.state, task.message, task.ended = state, message, time.monotonic()
        ended = sorted((one for one in self._tasks.values() if not one.is_live), key=lambda one: one.ended)
        for old in ended[:-_MOST_ENDED]:
            del self._tasks[old.id]
        self._news()

    def _hear(self, task: Task, line: Mapping[str, Any]) -> None:
        task.hear(line)
        now = time.monotonic()
        if now - self._rang > _RING_EVERY_S:
            self._rang = now
            self._bell.ring(is_news=False)

    def _news(self) -> None:
        self.version += 1
        self._changed.notify_all()
        self._bell.ring()

    def _find_offers(self) -> Offers:
        told = Child({"do": "offers"}).result()
        self._offered_at = time.monotonic()
        usable = [row for row in told["recordings"] if not str(row["status"]).startswith(("not fetched", "damaged"))]
        shown = [str(row["name"]).replace("\\", "/") for row in usable]
        short = [name.rsplit("/", 1)[-1] if name.startswith("/") or ":/" in name else name for name in shown]
        names = [one if short.count(one) == 1 else f"{one} ({number + 1})" for number, one in enumerate(short)]
        return Offers(tuple(told["networks"]), dict(zip(names, usable, strict=True)))

    def _find_plan(self, request: MatchRequest) -> dict[str, Any]:
        child = self._planning[request] = Child(self._asked(request.as_line("plan")))
        try:
            return child.result()
        finally:
            self._planning.pop(request, None)

    _offered_at: float = 0.0
