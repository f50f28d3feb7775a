"""What a run holds and lacks, settings from text, and several analyses of which one fails."""

from types import SimpleNamespace

import pytest
import xarray as xr

import engine
from engine import analyses
from engine.analyses.batch import compute_all, parsed, settings_by_name, state_of
from engine.analyses.results import Analysis
from engine.errors import SettingsError
from engine.sources import Source
from engine.store import write_run
from tests.engine.small_runs import DIGEST, manifest, recording

HOURS = 7200.0
LACKS = "trials: give (stimulus, site, repeat)."


def quick(run, *, seed=0, size=3, limits=(0.5, 1.0)):
    return xr.Dataset({"size": ((), size)})


def failing(run, *, seed=0, depth=1):
    raise ValueError("a bug")


def against(run, *, other: str, seed=0, only: str | None = None):
    return xr.Dataset({"length": ((), len(other))})


MODULES = {
    "quick": SimpleNamespace(VERSION=1, compute=quick, expected_seconds=lambda run, size=3: HOURS * size / 3),
    "lacking": SimpleNamespace(
        VERSION=1, compute=failing, missing=lambda run: "trials: give (stimulus, site, repeat)."
    ),
    "failing": SimpleNamespace(VERSION=1, compute=failing),
    "against": SimpleNamespace(VERSION=1, compute=against),
}


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setattr(analyses, "find_analysis", lambda name: Analysis(name, MODULES[name]))
    return Source(write_run(tmp_path, DIGEST, {"recording": recording()}, manifest("tiny", "planted")))


def test_a_run_is_told_to_hold_to_allow_or_to_lack_an_analysis(source):
    assert str(state_of("quick", source)) == "can run, about 2 h"
    assert str(state_of("quick", source, settings={"size": 9})) == "can run, about 6 h"
    assert str(state_of("failing", source)) == "can run, a moment"
    lacking = state_of("lacking", source)
    assert str(lacking) == "cannot be computed, see below"
    assert lacking.missing == LACKS
    compute_all(source, ["quick"], tell=lambda text: None)
    assert str(state_of("quick", source)) == "stored"
    told = str(state_of("quick", source, seed=2))
    assert told == "stored with seed=0, size=3, limits=[0.5, 1.0]; with these settings it can run, about 2 h"


def test_a_result_of_an_older_version_is_told_as_such(source, monkeypatch):
    compute_all(source, ["quick"], tell=lambda text: None)
    monkeypatch.setattr(MODULES["quick"], "VERSION", 2)
    assert "stored with version 1 of the analysis" in str(state_of("quick", source))


def test_one_that_fails_or_lacks_something_does_not_stop_the_others(source):
    told = []
    results, failed = compute_all(source, ["quick", "lacking", "failing"], tell=told.append, is_asked=False)
    assert list(results) == ["quick"]
    assert failed == ["failing"]
    assert told[0] == "quick: about 2 h"
    assert told[1].startswith("quick: took ")
    assert told[1].endswith(" s, stored in 5eed5eed5eed")
    assert told[2] == f"lacking of tiny@planted cannot be computed: {LACKS}"
    assert told[4].startswith("failing failed: ValueError: a bug\nTraceback")
    told.clear()
    _, failed = compute_all(source, ["lacking", "quick"], tell=told.append)
    assert failed == ["lacking"]
    assert told[1].startswith("quick: stored already; it took ")


def test_settings_go_to_the_analyses_that_have_them(source):
    given = {"size": "4", "depth": "2", "limits": "0.1, 0.2"}
    found = settings_by_name(["quick", "failing"], given)
    assert found == {"quick": {"size": 4, "limits": (0.1, 0.2)}, "failing": {"depth": 2}}
    with pytest.raises(
        SettingsError, match=r"setting 'sise'\. Settings: quick: size, limits, seed; failing: depth, seed"
    ):
        settings_by_name(["quick", "failing"], {"sise": "4"})


def test_one_that_needs_a_setting_says_so_and_is_no_failure_where_all_are_computed(source):
    needed = "the setting 'other': --set other=VALUE on the command line, other= in Python."
    assert state_of("against", source).missing == needed
    told = []
    assert compute_all(source, ["against"], tell=told.append, is_asked=False) == ({}, [])
    assert told == [f"against lacks {needed}"]
    assert compute_all(source, ["against"], tell=told.append)[1] == ["against"]
    digest = source.run.digest
    settings = settings_by_name(["against"], {"other": digest[:10], "only": "None"})
    assert settings == {"against": {"other": digest[:10], "only": None}}
    results, _ = compute_all(source, ["against"], settings=settings, tell=told.append)
    assert int(results["against"]["length"]) == 10
    assert str(state_of("against", source)) == f"stored with seed=0, other={digest}, only=None"


@pytest.mark.parametrize(
    ("text", "default", "expected"),
    [
        ("10", 5, 10),
        ("0.5", 1.0, 0.5),
        ("3", 1.0, 3),
        ("true", False, True),
        ("None", 5, None),
        ("pool5", "", "pool5"),
        ("7", "name", "7"),
        ("10,25", (1,), (10, 25)),
        ("(10)", (1,), (10,)),
        ("a,b", ("x",), ("a", "b")),
        ("x@y", None, "x@y"),
        ("3", None, 3),
    ],
)
def test_a_setting_is_read_as_the_kind_of_its_default(text, default, expected):
    found = parsed(text, default, "quick, size")
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "default"), [("0.5", 5), ("many", 5), ("true", 5), ("half", 0.5), ("1", True), ("a", (1,))]
)
def test_a_setting_of_another_kind_is_refused(text, default):
    with pytest.raises(SettingsError, match=rf"quick, size={text}: expected \w+, as in "):
        parsed(text, default, "quick, size")


def test_the_real_analyses_are_known_by_their_names(tmp_path):
    run = write_run(tmp_path, DIGEST, {"recording": recording()}, manifest("tiny", "planted"))
    engine.analyse(run, "reliability")
    assert str(state_of("reliability", Source(run))) == "stored"
