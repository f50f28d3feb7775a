"""How fast is the page, how heavy, and does it ask anybody else? Measured in Chromium; the server has a process alone.

``UNITSCOPE_BENCH_STORE`` names a store to measure with; by default planted runs are made, as large as real ones. Times
are printed; a test fails only far beyond its target, since machines are shared and Chromium renders in software here.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest

from dashboard.results import Results
from dashboard.state import PAGES
from dashboard.views.session import Session
from engine.store import list_runs, open_run
from tests.dashboard.conftest import build_run
from tests.dashboard.stores import put

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

PROBE = (Path(__file__).parent / "page_probe.js").read_text(encoding="utf-8")
QUIET_S = 0.4
"""Nothing drawn for so long: the page is up to date."""
REPEATS = 30
OPENINGS = 5
"""Times that each page is opened, in a new profile each: how soon a browser paints depends on what else it starts."""
DRAWS_AFTER_MS = 20_000
"""The process that draws files is there then."""
SLACK = 4
"""A test fails only beyond its target times this."""
FIRST_PAINT = """() => performance.getEntriesByName("first-contentful-paint")[0].startTime
  - performance.getEntriesByType("navigation")[0].responseStart"""
SERVE = "from dashboard.server import serve; serve({store!r}, port=0, show=False)"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two networks: the one that was named, or one planted with 1,200 images and 88 sites."""
    if named := os.environ.get("UNITSCOPE_BENCH_STORE"):
        return Path(named)
    root = tmp_path_factory.mktemp("store")
    size: dict[str, Any] = {"n_stimuli": 1200, "sites": {"V4": 48, "IT": 40}}
    put(root, build_run(**size))
    put(root, build_run(**size, seed=1), network="other", title="Other Net")
    return root


@pytest.fixture(scope="module")
def address(store: Path) -> Iterator[str]:
    """The address of a warm server in a process of its own."""
    code = SERVE.format(store=str(store))
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    told = re.search(r"http://\S+/\S*", server.stdout.readline())
    assert told is not None
    try:
        yield f"{told.group()}&{urlencode(fullest(store))}"
    finally:
        server.terminate()
        server.wait(20)
        server.stdout.close()


def fullest(store: Path) -> dict[str, str]:
    """Network and recording of the run that holds most."""
    runs = [open_run(digest, store) for digest in list_runs(store)["digest"]]
    run = max(runs, key=lambda one: len(one.names))
    return {"network": run.network, "recording": run.recording}


class Watched:
    """A page in a fresh profile, with what it drew, fetched and complained about."""

    def __init__(self, chromium: Any, address: str, page: str = "", theme: str = "light") -> None:
        context = chromium.new_context(viewport={"width": 1440, "height": 900})
        context.add_init_script(PROBE)
        self.page = context.new_page()
        self.outside: list[str] = []
        self.errors: list[str] = []
        self.n_bytes = 0
        network = context.new_cdp_session(self.page)
        network.send("Network.enable")
        network.on("Network.loadingFinished", lambda event: self._add(event["encodedDataLength"]))
        network.on("Network.webSocketFrameReceived", lambda event: self._add(len(event["response"]["payloadData"])))
        self.page.on("request", lambda request: self._asked(request.url, address))
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(f"{address}&page={page}&theme={theme}" if page else address)
        self.page.wait_for_selector("[data-page]" if page else "canvas", timeout=60_000)
        self.settle()

    def _add(self, n_bytes: float) -> None:
        self.n_bytes += int(n_bytes)

    def _asked(self, url: str, address: str) -> None:
        if not url.startswith((address.split("?")[0], "data:", "blob:")):
            self.outside.append(url)

    def settle(self, quiet_s: float = QUIET_S) -> None:
        """Wait until nothing was drawn or written for a moment."""
        drawn = -1
        while (now := self.page.evaluate("probe.draws")) != drawn:
            drawn = now
            self.page.wait_for_timeout(1000 * quiet_s)

    def after(self, act: Callable[[], None]) -> tuple[float, float]:
        """Return ms from an input to the first change, and to the last."""
        act()
        self.settle()
        first, last = self.page.evaluate("[probe.first - probe.input, probe.last - probe.input]")
        return first or np.nan, last or np.nan

    @property
    def has_figure(self) -> bool:
        return self.page.locator("[data-slot] canvas").count() > 0

    def close(self) -> None:
        self.page.context.close()


def told(capsys: pytest.CaptureFixture[str], line: str) -> None:
    with capsys.disabled():
        print(line)


def p95(values: list[float]) -> float:
    return float(np.nanpercentile(values, 95))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_first_plot_weight_and_requests_of_every_page(chromium, address, theme, capsys):
    told(capsys, "")
    for page in PAGES:
        first_s, painted_ms = [], []
        for _ in range(OPENINGS):
            watched = Watched(chromium, address, page, theme)
            first_s.append(watched.page.evaluate("probe.firstPlot") / 1000)
            painted_ms.append(watched.page.evaluate(FIRST_PAINT))
            has_figure, n_bytes = watched.has_figure, watched.n_bytes
            watched.close()
            assert (watched.outside, watched.errors) == ([], [])
            assert n_bytes < 5e6
        drawn = f"first plot {median(first_s):.2f}, at most {max(first_s):.2f} s" if has_figure else "no figure here"
        painted = f"first paint {median(painted_ms):.0f}, at most {max(painted_ms):.0f} ms after the server's answer"
        told(capsys, f"{page}, {theme}: {drawn}; {painted}; {n_bytes / 1e6:.2f} MB")
        assert has_figure or page not in ("overview", "site", "runner-ups", "layers")  # others need an analysis
        assert not has_figure or median(first_s) < SLACK * 2
        assert median(painted_ms) < SLACK * 200


KEYS = {
    ("site", "ArrowDown"): "next site",
    ("site", "ArrowRight"): "next rank",
    ("site", "j"): "next image",
    ("runner-ups", "ArrowDown"): "next site",
    ("overview", "ArrowDown"): "next site",
    ("layers", "]"): "next layer",
    ("feature-maps", "m"): "next feature map",
    ("population", "ArrowDown"): "next site",
    ("selection", "ArrowDown"): "next site",
}


@pytest.mark.parametrize(("page", "key"), KEYS)
def test_a_key_is_seen_at_once(chromium, address, page, key, capsys):
    watched = Watched(chromium, address, page)
    if not watched.has_figure and page not in ("overview", "site", "runner-ups", "layers"):
        watched.close()
        pytest.skip(f"the store holds no analysis that {page} shows; name one that does in UNITSCOPE_BENCH_STORE")
    found = [watched.after(lambda: watched.page.keyboard.press(key)) for _ in range(REPEATS)]
    watched.close()
    first, last = ([row[k] for row in found] for k in (0, 1))
    told(
        capsys,
        f"\n{page}, {KEYS[page, key]}: first change {np.nanmedian(first):.0f} / {p95(first):.0f} ms, all figures "
        f"{np.nanmedian(last):.0f} / {p95(last):.0f} ms (median / p95; targets 100, 250)",
    )
    assert p95(first) < SLACK * 100
    assert p95(last) < SLACK * 250


def test_a_tap_is_seen_at_once(chromium, address, capsys):
    """Rows of the list of sites, from one to the next."""
    watched = Watched(chromium, address, "site")
    rail = watched.page.locator("[data-slot=rail] canvas").first.bounding_box()
    assert rail is not None
    found = [
        watched.after(lambda y=rail["y"] + 60 + 14 * row: watched.page.mouse.click(rail["x"] + 130, y))
        for row in range(REPEATS)
    ]
    watched.close()
    first, last = ([row[k] for row in found] for k in (0, 1))
    told(
        capsys,
        f"\ntap on a site: first change {np.nanmedian(first):.0f} / {p95(first):.0f} ms, all figures "
        f"{np.nanmedian(last):.0f} / {p95(last):.0f} ms (median / p95; targets 100, 250)",
    )
    assert p95(first) < SLACK * 100


def test_a_map_is_swapped_at_once(chromium, capsys):
    """One figure of ours, 256 x 200 values, from a tap to the last draw."""
    server = subprocess.Popen([sys.executable, "-m", "tests.benchmarks.map_server"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        port = next(line for line in server.stdout if line.strip().isdigit()).strip()
        watched = Watched(chromium, f"http://localhost:{port}/")
        found = [watched.after(lambda: watched.page.mouse.click(300, 200)) for _ in range(REPEATS)]
        watched.close()
    finally:
        server.terminate()
        server.wait(20)
        server.stdout.close()
    last = [row[1] for row in found]
    told(capsys, f"\nmap of 256 x 200: {np.nanmedian(last):.0f} / {p95(last):.0f} ms (median / p95; target 80)")
    assert np.isfinite(last).all()
    assert p95(last) < SLACK * 80


def test_an_export_is_announced(chromium, address, capsys):
    watched = Watched(chromium, address, "population")
    cards = watched.page.locator("[data-card]:has(canvas)")
    names = [cards.nth(k).get_attribute("data-card") for k in range(cards.count())]
    if not names:
        watched.close()
        pytest.skip("the store holds no analysis that population shows; name one that does in UNITSCOPE_BENCH_STORE")
    watched.page.wait_for_timeout(DRAWS_AFTER_MS)
    found = {}
    for name in names:
        watched.page.locator(f"[data-menu-name={name}-export]").click()
        with watched.page.expect_download(timeout=60_000):
            found[name], _ = watched.after(watched.page.locator(f"[data-menu={name}-export] [data-kind=png]").click)
    watched.close()
    told(capsys, f"\nannounced after, ms: {', '.join(f'{name} {ms:.0f}' for name, ms in found.items())} (target 200)")
    assert np.isfinite(list(found.values())).all()
    assert max(found.values()) < SLACK * 200


@pytest.mark.parametrize("page", PAGES)
def test_the_server_does_little_for_an_action(store, page, capsys):
    """What one step to the next site costs the server's loop."""
    session = Session(Results(store), {"page": page, **fullest(store)})
    took = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        session.act({"do": "step", "name": "site", "by": 1})
        took.append(1000 * (time.perf_counter() - start))
    told(capsys, f"\n{page}: {median(took):.0f} / {p95(took):.0f} ms of the server (median / p95; target 40)")
    assert median(took) < SLACK * 40


@pytest.mark.parametrize("kind", ["svg", "pdf", "png", "csv"])
def test_an_export_takes_a_moment(store, kind, capsys, monkeypatch):
    session = Session(Results(store), fullest(store))
    files: list[str] = []
    monkeypatch.setattr(session.browser, "download", lambda name, *_: files.append(name))
    took = {}
    for page in PAGES:
        session.act({"do": "select", "page": page})
        cards = session._page(page, session.results.choose(session.selection)).cards
        for name in [name for name, card in cards.items() if card.shown is not None]:  # not what a switch hides
            start = time.perf_counter()
            session.act({"do": "export", "figure": name, "kind": kind})
            took[f"{name} of {page}"] = time.perf_counter() - start
    slowest = sorted(took.items(), key=lambda one: -one[1])[:5]
    told(
        capsys,
        f"\n{kind}, {len(took)} figures: median {median(took.values()):.2f} s; slowest "
        + ", ".join(f"{name} {s:.2f} s" for name, s in slowest)
        + " (target 2)",
    )
    assert len(files) == len(took) >= 4
    assert max(took.values()) < SLACK * 2
