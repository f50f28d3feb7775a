"""Which analyses of a run are stored, which can be computed and in what time, and what do the others lack?

And several of them in turn, with one network and one recording opened for all.
"""

import ast
import inspect
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import xarray as xr

from engine import analyses
from engine.analyses.results import Analysis
from engine.errors import EngineError, NotAvailableError, SettingsError
from engine.planning import format_seconds
from engine.sources import Source

_WORDS: Final = {"true": True, "false": False, "none": None}
_MOMENT: Final = 0.5
"""Seconds below which nobody waits."""


@dataclass(frozen=True)
class State:
    """Where an analysis of a run stands: stored, or what it would take, or what is missing."""

    name: str
    is_stored: bool
    expected_seconds: float
    missing: str | None
    stored_with: str = ""
    """What a stored result was made with that is not what was asked for; "" without one."""

    def __str__(self) -> str:
        if self.is_stored:
            return "stored"
        if self.missing:
            return f"stored with {self.stored_with}" if self.stored_with else "cannot be computed, see below"
        asked = f"can run, {about(self.expected_seconds)}"
        return f"stored with {self.stored_with}; with these settings it {asked}" if self.stored_with else asked


def state_of(name: str, source: Source, *, seed: int = 0, settings: Mapping[str, Any] | None = None) -> State:
    """Return where an analysis stands for a source's run; opens neither network nor images."""
    one, run = analyses.find_analysis(name), source.run
    lacking = one.lacking(settings or {})
    if lacking:
        return State(name, False, 0.0, _needs(lacking[0]), one.stored_with(source.run))
    filled = one.identified(run, one.filled(settings or {}))
    is_stored = one.is_stored(source, seed, filled)
    missing = None if is_stored else one.missing(source)
    expected = 0.0 if is_stored or missing else one.expected_seconds(run, filled)
    return State(name, is_stored, expected, missing, "" if is_stored else one.stored_with(source.run))


def settings_by_name(names: Iterable[str], given: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the settings of each analysis from text: each goes to the analyses that have it.

    Raises
    ------
    SettingsError
        If none of them has it, or the text is no value of its kind.
    """
    found = {name: analyses.find_analysis(name) for name in names}
    defaults = {name: one.defaults for name, one in found.items()}
    for key in given:
        if not any(key in known for known in defaults.values()):
            told = "; ".join(f"{name}: {', '.join([*known, 'seed'])}" for name, known in defaults.items())
            raise SettingsError(f"no analysis named here has a setting {key!r}. Settings: {told}.")
    return {
        name: {key: _read(one, key, text) for key, text in given.items() if key in defaults[name]}
        for name, one in found.items()
    }


def parsed(text: str, default: Any, where: str) -> Any:
    """Read a setting from text, of the kind of its default: ``10``, ``0.5``, ``true``, ``10,25,50``, a name.

    Raises
    ------
    SettingsError
        If it is of another kind.
    """
    if isinstance(default, str):
        return text
    if isinstance(default, tuple | list):
        items = [item.strip() for item in text.strip("()[] ").split(",")]
        kind = default[0] if default else inspect.Parameter.empty
        return tuple(parsed(item, kind, where) for item in items if item)
    value = _literal(text)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = {
        bool: isinstance(value, bool),
        int: is_number and isinstance(value, int),
        float: is_number,
    }.get(type(default), True)
    if not fits and value is not None:
        raise SettingsError(f"{where}={text}: expected {type(default).__name__}, as in {default!r}.")
    return value


def compute_all(
    source: Source,
    names: Iterable[str],
    *,
    seed: int = 0,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    tell: Callable[[str], None] = print,
    progress: bool = False,
    is_asked: bool = True,
) -> tuple[dict[str, xr.Dataset], list[str]]:
    """Compute analyses one after the other, going on after one that fails.

    Parameters
    ----------
    source
        Of the run.
    names
        Of the analyses.
    seed, settings
        Settings by the name of the analysis.
    tell
        Told, for each analysis, the expected time before and the time it took after, or what went wrong.
    progress
        As for ``analyse``.
    is_asked
        Whether each was asked for by name: else one that lacks something has not failed.

    Returns
    -------
    tuple
        Results by name, and the names of those that failed.
    """
    results: dict[str, xr.Dataset] = {}
    failed = []
    for name in names:
        chosen = (settings or {}).get(name, {})
        lacking = analyses.find_analysis(name).lacking(chosen)
        if lacking and not is_asked:
            tell(f"{name} lacks {_needs(lacking[0])}")
            continue
        try:
            results[name] = _told(name, source, seed, chosen, tell, progress)
        except NotAvailableError as error:
            tell(str(error))
            failed += [name] if is_asked else []
        except EngineError as error:
            tell(f"{name} failed: {error}")
            failed.append(name)
        except Exception as error:
            tell(f"{name} failed: {type(error).__name__}: {error}\n{traceback.format_exc()}")
            failed.append(name)
    return results, failed


def about(seconds: float) -> str:
    """Write an expected time."""
    return f"about {format_seconds(seconds)}" if seconds >= _MOMENT else "a moment"


def _told(
    name: str, source: Source, seed: int, settings: Mapping[str, Any], tell: Callable[[str], None], progress: bool
) -> xr.Dataset:
    one, run = analyses.find_analysis(name), source.run
    state = state_of(name, source, seed=seed, settings=settings)
    if not state.is_stored and not state.missing:
        tell(f"{name}: {about(state.expected_seconds)}")
    started = time.monotonic()
    dataset = one.result(source, seed=seed, settings=settings, progress=progress)
    took = format_seconds(time.monotonic() - started)
    computed = f"; it took {format_seconds(dataset.attrs['seconds'])}" if "seconds" in dataset.attrs else ""
    tell(
        f"{name}: stored already{computed}" if state.is_stored else f"{name}: took {took}, stored in {run.digest[:12]}"
    )
    return dataset


def _needs(setting: str) -> str:
    return f"the setting {setting!r}: --set {setting}=VALUE on the command line, {setting}= in Python."


def _read(one: Analysis, key: str, text: str) -> Any:
    default = one.defaults[key]
    if not one.is_text(key) or text.lower() == "none":
        return parsed(text, default, f"{one.name}, {key}")
    return parsed(text, ("",) if isinstance(default, tuple | list) else "", f"{one.name}, {key}")


def _literal(text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
