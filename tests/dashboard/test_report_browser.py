"""A report opened from a file in Chromium: it asks for nothing, raises nothing, and draws."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from dashboard.registry import FIGURES
from dashboard.report import write_report
from tests.browsers import WCAG
from tests.dashboard.stores import put

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


@pytest.mark.parametrize("with_images", [False, True])
def test_a_report_needs_nothing_but_itself(chromium, run_datasets, tmp_path, monkeypatch, with_images):
    monkeypatch.setattr("dashboard.report.FIGURES", {name: FIGURES[name] for name in ("responses", "every_site")})
    file = write_report(put(tmp_path, run_datasets), tmp_path / "report.html", with_images=with_images)
    asked, said = [], []
    page = chromium.new_page(viewport={"width": 1200, "height": 900})
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(file.as_uri())
    page.wait_for_function("() => Bokeh.documents[0]?.is_idle")
    figure = page.locator("[data-figure=responses] .bk-Figure").first.bounding_box()
    for share in (0.3, 0.4, 0.5):
        page.mouse.move(figure["x"] + figure["width"] * share, figure["y"] + figure["height"] * 0.75)
    page.wait_for_timeout(300)
    figures = page.locator(".bk-Figure").count()
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    rows = page.locator("[data-figure=responses] details.data").first.locator("tbody tr").count()
    judged = Axe().run(page, options=WCAG).response["violations"]
    page.close()
    assert [address for address in asked if not address.startswith("data:")] == [file.as_uri()]
    assert said == []
    assert figures == 4
    assert rows == 120
    assert [(one["id"], one["nodes"][0]["html"]) for one in judged] == []
