"""When closed pages are cleared away: in a quiet moment, at the latest when many were closed."""

import json
import subprocess
import sys

import pytest

from dashboard.collecting import Collector


class Office:
    """Pages, a clock, and what was collected."""

    def __init__(self) -> None:
        self.now, self.used, self.n_pages, self.collected = 0.0, 0.0, 0, []
        self.collector = Collector(
            lambda: self.n_pages,
            lambda: self.used,
            collect=lambda: self.collected.append(self.now),
            clock=lambda: self.now,
        )

    def passes(self, seconds: float, *, is_used: bool = False) -> None:
        for _ in range(int(seconds)):
            self.now += 1
            self.used = self.now if is_used else self.used
            self.collector.look()


@pytest.fixture
def office() -> Office:
    return Office()


def test_nothing_is_collected_while_pages_are_open_and_none_was_closed(office):
    office.n_pages = 50
    office.passes(599)
    assert office.collected == []
    office.passes(2)
    assert office.collected == [601]


def test_a_closed_page_waits_for_a_quiet_moment_and_is_cleared_away_once(office):
    office.n_pages = 2
    office.passes(5, is_used=True)
    office.n_pages = 1
    office.passes(5, is_used=True)
    assert office.collected == []
    office.passes(20)
    assert office.collected == [13]


def test_many_closed_pages_do_not_wait(office):
    office.n_pages = 30
    office.passes(1, is_used=True)
    office.n_pages = 11
    office.passes(3, is_used=True)
    assert office.collected == []
    office.n_pages = 10
    office.passes(3, is_used=True)
    assert office.collected == [5]


def test_somebody_who_never_rests_waits_once_an_hour(office):
    office.passes(3700, is_used=True)
    assert office.collected == [3601]


def test_python_leaves_the_old_generation_alone_from_then_on():
    code = (
        "import asyncio, gc, json\n"
        "from dashboard.collecting import Collector\n"
        "async def main():\n"
        "    Collector(lambda: 0, lambda: 0.0).start()\n"
        "    before = gc.get_stats()[2]['collections']\n"
        "    kept = [[[] for _ in range(100)] for _ in range(20000)]\n"
        "    print(json.dumps([gc.get_freeze_count() > 0, gc.get_stats()[2]['collections'] - before]))\n"
        "asyncio.run(main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [True, 0]
