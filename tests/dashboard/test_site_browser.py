"""Two side by side and fields in Chromium: entered and left by hand, in sight at every width."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboard.figures.site_rail import ROW_PX, TOP_PX
from dashboard.views.card import Card
from tests.browsers import Visit, served
from tests.dashboard.stores import put
from tests.dashboard.test_site_page import fields

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

CUT = """() => [...document.querySelectorAll('*')].flatMap(function walk(e) {
  const inside = e.shadowRoot ? [...e.shadowRoot.querySelectorAll('*')].flatMap(walk) : [];
  const is_cut = e.matches('.content .thumb, .content .lens, .content h1, .content .plain, .content .switch') &&
    e.offsetParent && e.getBoundingClientRect().right > innerWidth + 1;
  return is_cut ? [e.className || e.tagName, ...inside] : inside;
})"""

FRAME = """() => {
  let found = document.activeElement;
  while (found.shadowRoot?.activeElement) found = found.shadowRoot.activeElement;
  return found.matches('.bk-events') ? getComputedStyle(found).outlineColor : '';
}"""
CLEAR = "rgba(0, 0, 0, 0)"

FRAMED_ROW = """() => {
  const models = [...Bokeh.documents[0].all_models];
  const {marks, frame} = models.find((model) => model.type === 'CustomJS' && model.args.frame).args;
  const [at] = frame.get_column('bottom');
  return marks.get_column('key')[marks.get_column('bottom').indexOf(at)];
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory, run_datasets, other_datasets) -> Iterator:
    """A server of two networks on one recording, the first one with fields."""
    root: Path = tmp_path_factory.mktemp("store")
    put(root, {**run_datasets, "receptive_fields": fields(run_datasets)})
    put(root, other_datasets, network="other", title="Other Net")
    with served(root) as server:
        yield server


def test_a_comparison_is_entered_from_the_menu_and_left_with_escape_and_back(chromium, server):
    visit = Visit(chromium, server, "?page=site&network=tiny&site=site02")
    visit.page.locator(".opener").click()
    visit.page.locator("[data-beside-network=other]").click()
    visit.until(beside_network="other")
    visit.sees("Tiny Net and Other Net", "h1")
    for panel in ("responses", "layers", "responses-beside", "layers-beside"):
        visit.page.locator(f"[data-card={panel}] canvas:visible").first.wait_for(timeout=15_000)
    thumb = visit.page.locator("[data-card=favourites-beside] .thumb").nth(2)
    stimulus = thumb.get_attribute("data-stimulus")
    thumb.click()
    visit.until(stimulus=stimulus)
    visit.sees(stimulus, ".shown-image")
    visit.page.set_viewport_size({"width": 900, "height": 900})
    visit.page.wait_for_timeout(600)
    assert visit.page.evaluate(CUT) == []
    visit.page.keyboard.press("Escape")
    visit.until(beside_network="")
    visit.sees("site02", "h1")
    visit.page.go_back()
    visit.until(beside_network="other")
    visit.close()


def test_a_site_that_was_searched_is_put_beside_with_shift(chromium, server):
    visit = Visit(chromium, server, "?page=site&network=tiny&site=site02")
    visit.page.keyboard.press("/")
    visit.page.keyboard.type("site05")
    visit.page.get_by_role("option").first.wait_for(timeout=15_000)
    visit.page.keyboard.press("Shift+Enter")
    visit.until(beside_site="site05", site="site02")
    visit.sees("site02 and site05", "h1")
    visit.close()


def test_a_figure_is_framed_for_who_comes_by_keyboard_and_stays_where_it_is_when_dragged(chromium, server):
    visit = Visit(chromium, server, "?page=site&network=tiny&site=site02")
    canvas = visit.page.locator("[data-card=responses] canvas").first
    canvas.wait_for(timeout=15_000)
    visit.page.wait_for_timeout(1000)
    before, box = canvas.screenshot(), canvas.bounding_box()
    visit.page.mouse.move(box["x"] + 150, box["y"] + 100)
    visit.page.mouse.down()
    visit.page.mouse.move(box["x"] + 240, box["y"] + 160, steps=5)
    visit.page.mouse.up()
    assert visit.page.evaluate(FRAME) == CLEAR
    visit.page.mouse.move(2, 2)
    visit.page.wait_for_timeout(500)
    assert canvas.screenshot() == before
    frames = set()
    for _ in range(120):
        visit.page.keyboard.press("Tab")
        frames.add(visit.page.evaluate(FRAME))
        if frames - {""}:
            break
    assert frames - {"", CLEAR}
    visit.close()


def test_a_tap_on_the_list_is_seen_before_the_figures_are_made(chromium, server, monkeypatch):
    visit = Visit(chromium, server, "?page=site&network=tiny&site=site02")
    made, refresh = threading.Event(), Card.refresh
    monkeypatch.setattr(Card, "refresh", lambda *given: made.wait(20) and refresh(*given))
    canvas = visit.page.locator("[data-slot=rail] canvas").first.bounding_box()
    before = visit.page.evaluate(FRAMED_ROW)
    visit.page.mouse.click(canvas["x"] + 130, canvas["y"] + TOP_PX + 4.5 * ROW_PX)
    visit.page.wait_for_function(f"before => ({FRAMED_ROW})() !== before", arg=before, timeout=10_000)
    tapped = visit.page.evaluate(FRAMED_ROW)
    visit.sees(tapped, "h1")
    assert (visit.chosen("site"), before) == ("site02", "site02")
    made.set()
    visit.until(site=tapped)
    assert visit.page.evaluate(FRAMED_ROW) == tapped
    visit.close()


def test_v_shows_the_part_of_each_image_that_lies_in_the_field(chromium, server):
    visit = Visit(chromium, server, "?page=site&network=tiny&site=site02")
    visit.page.locator("[data-area=stimulus] .fields").wait_for(timeout=15_000)
    visit.page.keyboard.press("v")
    visit.until(view="field")
    image = visit.page.locator(".thumbs.field .thumb img").first
    image.wait_for(timeout=15_000)
    inside, frame = image.bounding_box(), visit.page.locator(".thumbs.field .thumb .pic").first.bounding_box()
    place = visit.page.locator(".thumbs.field").first.evaluate(
        "e => ['--x', '--y', '--r'].map(name => parseFloat(e.style.getPropertyValue(name)))"
    )
    x, y, r = place
    assert inside["width"] * 2 * r == pytest.approx(frame["width"], abs=1)
    assert inside["x"] + x * inside["width"] == pytest.approx(frame["x"] + frame["width"] / 2, abs=1)
    assert inside["y"] + y * inside["height"] == pytest.approx(frame["y"] + frame["height"] / 2, abs=1)
    visit.close()
