"""Figures in a browser: what Bokeh and the browser make of names, fonts and pointers, which no model can tell."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from bokeh.embed import file_html
from bokeh.resources import INLINE
from bokeh.themes import Theme

from dashboard.figures import responses
from dashboard.figures.drawing import Shown
from dashboard.theme import bokeh_theme, css_sheet

pytestmark = pytest.mark.browser
HOSTILE = "<img src=x onerror=\"document.title='owned'\">@thumb $$x$$"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]


@pytest.fixture(scope="module")
def page() -> Iterator:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        found = next((path for path in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(path).exists()), None)
        try:
            browser = running.chromium.launch(executable_path=found, args=FLAGS)
        except playwright.Error as error:
            pytest.skip(f"no Chromium to drive: {str(error).splitlines()[0]}")
        yield browser.new_page(viewport={"width": 500, "height": 500})
        browser.close()


@pytest.fixture
def hostile_run(run_datasets):
    names = run_datasets["recording"]["stimulus"].values.copy()
    names[:] = [f"{HOSTILE}{i}" for i in range(len(names))]
    sites = run_datasets["recording"]["site"].values.copy()
    sites[3] = HOSTILE
    recording = run_datasets["recording"].assign_coords(stimulus=names, site=sites)
    units = run_datasets["match_responses"].assign_coords(stimulus=names)
    return recording, run_datasets["matches"].assign_coords(site=sites), units


def test_a_hostile_name_is_shown_literally_and_one_picture_is_fetched(hostile_run, page, tmp_path):
    data = responses.data(*hostile_run, HOSTILE)
    shown = Shown(responses.describe(data, thumb_base="thumbs"), width=400)
    shown.figure.name = "scatter"
    html = file_html(shown.figure, INLINE, title="figure", theme=Theme(json=bokeh_theme("light")))
    path = tmp_path / "figure.html"
    path.write_text(html.replace("</head>", f"<style>{css_sheet()}</style></head>"))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_function("Bokeh.documents.length && Bokeh.documents[0].is_idle")
    floor = np.flatnonzero(data["is_silent"])[0]
    where = page.evaluate(
        """([x, y]) => {
            const view = Bokeh.index.get_by_name ? Bokeh.index.get_by_name("scatter") : Object.values(Bokeh.index)[0]
            const frame = view.frame.bbox, box = view.el.getBoundingClientRect()
            const [xs, ys] = [view.model.x_range, view.model.y_range]
            return [box.left + frame.left + (x - xs.start) / (xs.end - xs.start) * frame.width,
                    box.top + frame.bottom - (y - ys.start) / (ys.end - ys.start) * frame.height]
        }""",
        [float(data["site_sd"][floor]), float(data["unit_sd"][floor])],
    )
    page.mouse.move(*where)
    page.wait_for_selector(".bk-Tooltip")
    page.wait_for_timeout(300)
    said = page.evaluate(
        "[...document.querySelectorAll('.bk-Tooltip')].map(e => e.textContent + e.shadowRoot.textContent).join()"
    )
    assert HOSTILE in said
    assert page.title() == "figure"
    fetched = [url for url in asked if "/thumbs/" in url]
    assert len(fetched) == 1
    assert "/thumbs/%3Cimg%20src%3Dx" in fetched[0]
    assert not [url for url in asked if url.startswith("http")]
