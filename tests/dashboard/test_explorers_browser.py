"""The explorers in Chromium: the wheel zooms once the figure was clicked, and what is seen is counted anew."""

import pytest

from engine.store import add_group
from tests.browsers import entry, served
from tests.dashboard.figures import explored
from tests.dashboard.stores import put

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

SITE = "site03"
FIND = """() => {
  const models = [...(window.Bokeh?.documents[0]?.all_models ?? [])]
  window.figure = models.find((m) => m.type == "Figure" && m.tags?.[0]?.layers)
  window.cells = window.figure?.renderers.find((r) => r.glyph.type == "Image").data_source
  return Boolean(window.cells && window.cells.data.image[0].shape[0] > 1)
}"""
LIMITS = "[figure.x_range.start, figure.x_range.end, cells.data.x[0], cells.data.x[0] + cells.data.dw[0]]"


def test_the_wheel_zooms_after_a_click_and_a_double_click_shows_everything(chromium, tmp_path, run_datasets):
    add_group(put(tmp_path, run_datasets), "unit_correlations.3", explored.unit_correlations(run_datasets, SITE))
    wrong: list[str] = []
    with served(tmp_path) as server:
        page = chromium.new_page(viewport={"width": 1440, "height": 1500})
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.goto(entry(server, f"?page=site&site={SITE}"))
        page.wait_for_function(FIND, timeout=60_000)
        page.locator("[aria-busy=true]").first.wait_for(state="detached")
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
        page.close()
    assert wrong == []
