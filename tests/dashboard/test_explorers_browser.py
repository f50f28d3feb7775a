"""The explorers in Chromium: the wheel zooms once the figure was clicked, and what is seen is counted anew."""

import asyncio
import shutil
import threading
from collections.abc import Iterator

import pytest

from dashboard.server import make_server
from engine.store import add_group
from tests.dashboard.figures import explored
from tests.dashboard.stores import put

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

SITE = "site03"
CHROMIUM = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
FIND = """() => {
  const models = [...(window.Bokeh?.documents[0]?.all_models ?? [])]
  window.figure = models.find((m) => m.type == "Figure" && m.tags?.[0]?.layers)
  window.cells = window.figure?.renderers.find((r) => r.glyph.type == "Image").data_source
  return Boolean(window.cells && window.cells.data.image[0].shape[0] > 1)
}"""
LIMITS = "[figure.x_range.start, figure.x_range.end, cells.data.x[0], cells.data.x[0] + cells.data.dw[0]]"


@pytest.fixture
def served(tmp_path, run_datasets) -> Iterator[str]:
    """A server of a run with r of all units for one site."""
    add_group(put(tmp_path, run_datasets), "unit_correlations.3", explored.unit_correlations(run_datasets, SITE))
    ready, made = threading.Event(), []

    def work() -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())
        made.append(make_server(tmp_path, port=0, warm=False))
        ready.set()
        made[0].io_loop.start()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert ready.wait(60)
    yield f"http://127.0.0.1:{made[0].port}/?page=site&site={SITE}"
    made[0].io_loop.add_callback(made[0].io_loop.stop)
    thread.join(10)
    made[0].stop()


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_the_wheel_zooms_after_a_click_and_a_double_click_shows_everything(served):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1440, "height": 1500})
        wrong: list[str] = []
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.goto(served)
        page.wait_for_function(FIND, timeout=60_000)
        frame = page.locator("[data-card=unit_correlations] [data-slot]").bounding_box()
        x, y = frame["x"] + 0.6 * frame["width"], frame["y"] + 0.5 * frame["height"]
        home = page.evaluate(LIMITS)
        page.mouse.move(x, y)
        page.mouse.wheel(0, -300)
        page.wait_for_timeout(300)
        assert page.evaluate(LIMITS)[:2] == home[:2]
        page.mouse.click(x, y)
        page.wait_for_timeout(500)
        page.mouse.wheel(0, -300)
        page.wait_for_function("cells.data.dw[0] < 3.9 && cells.data.x[0] == figure.x_range.start", timeout=20_000)
        assert page.evaluate(LIMITS)[1] - page.evaluate(LIMITS)[0] < home[1] - home[0]
        page.mouse.dblclick(x, y)
        page.wait_for_function(f"figure.x_range.end == {home[1]} && cells.data.dw[0] == {home[3]}", timeout=20_000)
        browser.close()
    assert wrong == []
