"""How does another program have work done? It asks a process of ours, and reads progress and result as lines of JSON.

``python -m engine.jobs`` reads one request from its standard input, does it, and ends: it tells what can be matched,
plans a match, matches, or analyses. Every line that it writes is a JSON object: ``step`` with ``done`` of ``total`` and
the ``memory`` in bytes that it took so far beside the loaded network, at the end ``result``, or ``error`` with a
message for people. It ends at once when its input is closed: whoever asked is gone then.
"""

import json
import os
import secrets
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Final

import engine
from engine.errors import EngineError, SettingsError

_LEAST_S: Final = 0.2
"""Between two lines that tell progress."""

_GIVEN_UP: Final = 3
NICE: Final = 5
"""Others on this machine go first: the page must answer while we compute."""


class Reporter:
    """Writes lines of JSON, of progress no more than a few a second."""

    def __init__(self, out: IO[str]) -> None:
        self._out, self._told_at, self._step = out, 0.0, ""
        self._base = _resident()

    def begin(self, step: str) -> None:
        """Say what is done now, which nobody counts; memory is counted from here."""
        self._base = _resident()
        self.write(step=step, done=0, total=0, memory=0)

    def progress(self, step: str, done: int, total: int) -> None:
        """Say how far the step is; the engine's own ``Progress``."""
        now = time.monotonic()
        if step == self._step and done < total and now - self._told_at < _LEAST_S:
            return
        self._step, self._told_at = step, now
        self.write(step=step, done=done, total=total, memory=max(_resident() - self._base, 0))

    def write(self, **line: Any) -> None:
        """Write one line."""
        self._out.write(json.dumps(line) + "\n")
        self._out.flush()


def main() -> None:
    """Do what one line of standard input asks for."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not pass for an answer
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_input, daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(NICE)
    reporter = Reporter(out)
    try:
        reporter.write(result=DOES[request.pop("do")](reporter, **request))
    except EngineError as error:
        reporter.write(error=str(error), kind=type(error).__name__)
    except Exception:  # its text may name files of this machine, and whoever asked shows what we say
        name = secrets.token_hex(3)
        print(f"error {name}:\n{traceback.format_exc()}", file=sys.stderr)
        reporter.write(error=f"It failed (error {name}; the server's log says more).", kind="unexpected")


def offers(reporter: Reporter) -> dict[str, Any]:
    """Tell which networks and recordings there are on this machine."""
    recordings = engine.list_recordings()
    return {
        "networks": json.loads(engine.list_networks().to_json(orient="records")),
        "recordings": json.loads(recordings.to_json(orient="records")),
    }


def plan(reporter: Reporter, **asked: Any) -> dict[str, Any]:
    """Tell how a match would be done, and how much of it is stored; tries the steps, and stores nothing."""
    from engine.store import find_run, open_parts, store_root

    job, root = _job(reporter, asked), store_root(asked.get("store"))
    stored = find_run(root, job.digest)
    told = {
        "digest": job.digest,
        "is_stored": stored is not None,
        "layers": len(job.network.layers),
        "units": int(job.network.layers["units"].sum()),
        "sites": job.recording.data.sizes["site"],
        "stimuli": len(job.targets.stimuli),
    }
    if stored is not None:
        return told
    job.require_room()
    reporter.begin("trying every step")
    done, names = open_parts(root, job.digest), job.network.layers["name"].tolist()
    todo = [name for name in names if name not in done]
    told |= {"layers_done": len(names) - len(todo)}
    if not todo:
        return told
    if asked.get("workers") or asked.get("scheduler"):
        return told | _shared_plan(job, asked)
    with job.ready():
        found = job.plan(todo)
    passes = len(found.passes) + (not found.is_held)
    return (
        told
        | {"passes": passes, "batch": found.batch, "peak": found.peak, "memory": found.memory}
        | {
            "seconds": found.seconds,
            "way": found.describe(),
        }
    )


def _shared_plan(job: Any, asked: Mapping[str, Any]) -> dict[str, Any]:
    from engine.dispatch import plan_all

    how = {name: asked[name] for name in ("workers", "scheduler", "device", "memory") if name in asked}
    return {"way": plan_all(job.network, [job.recording], job.settings, **how).splitlines()[0]}


def match(reporter: Reporter, **asked: Any) -> dict[str, Any]:
    """Match a network against a recording."""
    network, recording = _opened(reporter, asked)
    given = ("folds", "seed", "memory", "device", "store", "workers", "scheduler")
    settings = {name: asked[name] for name in given if name in asked}
    reporter.begin("trying every step")
    run = engine.match(network, recording, progress=reporter.progress, **settings)
    return {"digest": run.digest}


def analyse(reporter: Reporter, **asked: Any) -> dict[str, Any]:
    """Compute analyses of a run one after the other, going on after one that fails; ``settings`` by their names."""
    from engine.analyses import find_analysis
    from engine.sources import Source

    run = engine.open_run(asked["run"], asked.get("store"))
    source = Source(run, device=asked.get("device", "auto"), memory=asked.get("memory", "4GiB"))
    names, failed = asked["names"], {}
    for number, name in enumerate(names):
        label = f"{name}, {number + 1} of {len(names)}" if len(names) > 1 else name
        reporter.begin(label)
        try:
            settings = asked.get("settings", {}).get(name, {})
            find_analysis(name).result(source, settings=settings, progress=_labelled(reporter, label))
        except EngineError as error:
            failed[name] = str(error)
    if failed:
        raise SettingsError(" ".join(failed.values()))
    return {"digest": run.digest}


def _labelled(reporter: Reporter, label: str) -> Callable[[str, int, int], None]:
    return lambda step, done, total: reporter.progress(f"{label}: {step}", done, total)


def _opened(reporter: Reporter, asked: Mapping[str, Any]) -> tuple["engine.Network", "engine.Recording"]:
    reporter.begin(f"opening {Path(asked['recording']).name}")
    recording = engine.open_recording(asked["recording"])
    reporter.begin(f"loading {asked['network']}")
    weights = {"weights": asked.get("weights", "pretrained"), "seed": asked.get("weights_seed", 0)}
    return engine.load_network(asked["network"], **weights), recording


def _job(reporter: Reporter, asked: Mapping[str, Any]) -> Any:
    from engine.matching import MatchSettings, choose_device
    from engine.pipeline import Job

    network, recording = _opened(reporter, asked)
    settings = MatchSettings(folds=asked.get("folds", 2), seed=asked.get("seed", 0))
    device = choose_device(asked.get("device", "auto"))
    return Job(network, recording, settings, device, asked.get("memory", "4GiB"), None)


def _end_with_the_input() -> None:
    while os.read(0, 4096):  # not sys.stdin: its lock would be missed when the process ends
        pass
    os._exit(_GIVEN_UP)


def _resident() -> int:
    """Bytes of memory that this process holds now; 0 where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


DOES: Final[Mapping[str, Callable[..., dict[str, Any]]]] = {
    "offers": offers,
    "plan": plan,
    "match": match,
    "analyse": analyse,
}

if __name__ == "__main__":
    main()
