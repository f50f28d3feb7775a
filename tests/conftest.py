"""What every test shares: a seeded Hypothesis profile, folders of its own, the real recordings where there are any."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.browsers import CHROMIUM, FLAGS

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is loaded: else its idle threads spin on the core
# that another worker of pytest needs, and the suite takes a fourth longer

settings.register_profile("seeded", derandomize=True, deadline=None)
settings.load_profile("seeded")


@pytest.fixture(scope="session", autouse=True)
def nobody_waits_for_the_disk() -> Iterator[None]:
    """Leave out fsync in this process: it guards against a power cut, which no test can make.

    Processes that are killed keep theirs, and where a disk refuses it, ``tests/engine/test_durable.py`` looks.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True)
def isolated_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point store and recordings to a temporary folder, so that no test reads or writes the user's."""
    monkeypatch.setenv("UNITSCOPE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("UNITSCOPE_DATA", str(tmp_path / "data"))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """One browser for the module."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def cowley_dir() -> Path:
    """Folder of the published V4 recordings: images, responses_repeat_averaged, responses_raw."""
    beside_checkout = Path(__file__).parents[2] / "shared" / "data" / "cowley_v4"
    folder = Path(os.environ.get("UNITSCOPE_TEST_DATA") or beside_checkout)
    if not (folder / "images").is_dir():
        pytest.skip(f"no published V4 recordings in {folder}; set UNITSCOPE_TEST_DATA to a copy")
    return folder
