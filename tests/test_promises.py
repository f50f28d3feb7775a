"""The page of promises: all 28 are there, and every test file that it names is there and has tests."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROWS = re.findall(r"^\| (\d+) \| (.*) \|$", (ROOT / "assets" / "promises.md").read_text(), flags=re.MULTILINE)


def test_every_promise_is_there_once():
    assert [int(number) for number, _ in ROWS] == list(range(1, 29))


def test_every_promise_names_tests_that_are_there():
    for number, row in ROWS:
        promise, where, *levels = row.split(" | ")
        files = re.findall(r"`(tests/[^`]+)`", where)
        assert files, number
        assert len(promise) > 20
        assert any(level.strip() for level in levels), number
        for file in files:
            assert (ROOT / file).is_file(), f"promise {number}: {file}"
            assert "\ndef test_" in (ROOT / file).read_text(), f"promise {number}: {file} has no tests"
