"""What may a page ask the server to compute? Only what the server itself listed, whatever the browser sends."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter
from pathlib import Path
from typing import Any, Final

from dashboard.runs import OpenRun
from engine.analyses import ANALYSES, TITLES, find_analysis
from engine.errors import SettingsError

FOLDS: Final = (1, 2, 4, 5, 10)
MEMORIES: Final = ("1GiB", "2GiB", "4GiB", "8GiB", "16GiB", "32GiB")
WEIGHTS: Final = ("pretrained", "random")
MOST_SEEDS: Final = 1000
_LONGEST: Final = 100
_MOST: Final = 50


@dataclass(frozen=True)
class MatchRequest:
    """Match a network against a recording."""

    network: str
    recording: str
    weights: str = "pretrained"
    weights_seed: int = 0
    folds: int = 2
    memory: str = "4GiB"

    @property
    def title(self) -> str:
        """What is computed, for people."""
        random = f" (random weights, seed {self.weights_seed})" if self.weights == "random" else ""
        return f"Match {self.network}{random} against {Path(self.recording).name if _is_path(self) else self.recording}"

    @property
    def command(self) -> str:
        """The command that does the same."""
        random = ["--weights=random", f"--weights-seed={self.weights_seed}"] if self.weights == "random" else []
        options = [*random, f"--folds={self.folds}", f"--memory={self.memory}"]
        return shlex.join(["unitscope", "match", self.network, self.recording, *options])

    def as_line(self, do: str = "match") -> dict[str, Any]:
        """The request to a process of the engine."""
        asked = {"network": self.network, "recording": self.recording, "weights": self.weights}
        return {"do": do, **asked, "weights_seed": self.weights_seed, "folds": self.folds, "memory": self.memory}


@dataclass(frozen=True)
class AnalyseRequest:
    """Compute analyses of a run, all with default settings but for those given."""

    digest: str
    run: str
    """The run for people, "SqueezeNet 1.1 against builtin"."""
    names: tuple[str, ...]
    settings: str = "{}"
    """JSON; each goes to those of the analyses that have it."""

    @property
    def title(self) -> str:
        """What is computed, for people."""
        what = TITLES[self.names[0]] if len(self.names) == 1 else f"{len(self.names)} analyses: {', '.join(self.names)}"
        return f"{what} · {self.run}"

    @property
    def command(self) -> str:
        """The command that does the same."""
        return analyse_command(self.digest, self.names, json.loads(self.settings))

    @property
    def by_name(self) -> dict[str, dict[str, Any]]:
        """Settings of each analysis."""
        given = json.loads(self.settings)
        known = {name: find_analysis(name).defaults for name in self.names}
        return {name: {key: value for key, value in given.items() if key in known[name]} for name in self.names}

    def as_line(self, do: str = "analyse") -> dict[str, Any]:
        """The request to a process of the engine."""
        return {"do": do, "run": self.digest, "names": list(self.names), "settings": self.by_name}


Request = MatchRequest | AnalyseRequest


def analyse_command(digest: str, names: Sequence[str], settings: Mapping[str, Any]) -> str:
    """Return the command that computes analyses of a run."""
    given = [f"--set={key}={_as_text(value)}" for key, value in settings.items()]
    return shlex.join(["unitscope", "analyse", digest[:12], *names, *given])


def analyse_request(run: OpenRun, names: Sequence[str], settings: Mapping[str, Any], runs: Sequence[str]) -> Request:
    """Return the request to compute analyses of ``run``, once all of it makes sense.

    Parameters
    ----------
    run
        The run that is analysed.
    names, settings
        What was asked for; from a browser, so anything.
    runs
        Digests of the runs on the same recording, with which one can be compared.

    Raises
    ------
    SettingsError
        If an analysis or a setting is none that there is, or a value none that the setting can have.
    """
    unknown = [name for name in names if name not in ANALYSES]
    if unknown or not names:
        raise SettingsError(
            f"There is no analysis {(unknown or [''])[0][:_LONGEST]!r}. Choose one that the page lists."
        )
    defaults = {key: value for name in names for key, value in find_analysis(name).defaults.items()}
    for key, value in settings.items():
        if key not in defaults:
            raise SettingsError(f"{', '.join(names)}: there is no setting {str(key)[:_LONGEST]!r}.")
        there = runs if key == "other" else [*run.layers, *run.regions, *run.dataset("recording")["site"].values]
        if not _is_sensible(value, defaults[key], there):
            raise SettingsError(f"{', '.join(names)}: the setting {key!r} cannot be {str(value)[:_LONGEST]!r}.")
    told = f"{run.network_title} against {run.recording}"
    return AnalyseRequest(run.digest, told, tuple(dict.fromkeys(names)), json.dumps(dict(settings), sort_keys=True))


def match_request(asked: Mapping[str, str], networks: Sequence[str], recordings: Mapping[str, str]) -> MatchRequest:
    """Return the request to match, once every field is one of those that the page offers.

    ``recordings`` are names as the page shows them, and what opens them.

    Raises
    ------
    SettingsError
        Naming the first field that is none of them.
    """
    fields = {
        "network": networks,
        "recording": list(recordings),
        "weights": WEIGHTS,
        "weights_seed": [str(seed) for seed in range(MOST_SEEDS)],
        "folds": [str(folds) for folds in FOLDS],
        "memory": MEMORIES,
    }
    for name, there in fields.items():
        if asked.get(name) not in there:
            shown = ", ".join(there[:5]) + (" ..." if len(there) > 5 else "")
            raise SettingsError(
                f"{name.replace('_', ' ').capitalize()} {str(asked.get(name))[:_LONGEST]!r} is not offered here. "
                f"Choose one of: {shown}."
            )
    numbers = {name: int(asked[name]) for name in ("weights_seed", "folds")}
    seed = numbers["weights_seed"] if asked["weights"] == "random" else 0
    opens = recordings[asked["recording"]]
    return MatchRequest(asked["network"], opens, asked["weights"], seed, numbers["folds"], asked["memory"])


def _is_sensible(value: Any, default: Any, there: Sequence[str]) -> bool:
    """Say whether a value is of the kind of the default; text must be one of the names that there are."""
    if isinstance(value, str):
        return value in there
    if isinstance(value, list):
        is_list = default is None or isinstance(default, tuple | list)
        return is_list and len(value) <= _MOST and all(isinstance(one, int | float) for one in value)
    if value is None:
        return default is None
    if isinstance(value, bool) or isinstance(default, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    return (
        isinstance(value, int | float)
        and (default is None or isinstance(default, int | float))
        and (default is not Parameter.empty and abs(value) <= 1_000_000)
    )


def _is_path(request: MatchRequest) -> bool:
    return Path(request.recording).is_absolute()


def _as_text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
