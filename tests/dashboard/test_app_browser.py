"""The served page in Chromium: what it shows, taps and keys, the address, and what it leaves behind."""

import gc
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import psutil
import pytest
from axe_playwright_python.sync_playwright import Axe

import engine
from dashboard import headers
from dashboard.results import Results
from dashboard.views.session import Session
from tests.browsers import WCAG, Visit, entry, served
from tests.dashboard.stores import damage, put
from tests.engine.worked_example import N_STIMULI, activations, images, planted_recording, tiny_network

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

FREED_WITHIN_S = 30

# Every figure of the page as Bokeh holds it in the browser: the columns of its sources, by renderer.
SOURCES = """() => Bokeh.documents[0].all_models ? [...Bokeh.documents[0].all_models]
  .filter(m => m.type === 'Figure' || m.type === 'Plot')
  .map(f => ({labels: [...f.below, ...f.left].map(a => a.axis_label?.text ?? a.axis_label),
              texts: f.renderers.flatMap(r => [...(r.data_source?.data?.text ?? [])])})) : []"""

# What the page says before anything of it is there.
SIGNS = """[...document.querySelectorAll('#us-pages > :empty')].slice(0, 1).flatMap((e) => {
  const [first, then] = ['::before', '::after'].map((name) => getComputedStyle(e, name));
  return [first.content, then.opacity, then.content];
})"""

# The image with the second strongest response of the site, and where its point is, in px from the figure's corner.
SECOND_FAVOURITE = """() => {
  const models = [...Bokeh.documents[0].all_models];
  const figure = models.find((m) => m.type === 'Figure' && [...m.left].some((a) => /Matched unit/.test(a.axis_label)));
  const {data_source} = figure.renderers.find((r) => r.data_source.get_column('key'));
  const [key, x, y] = ['key', 'x', 'y'].map((name) => data_source.get_column(name));
  const at = [...x.keys()].sort((i, j) => x[j] - x[i])[1];
  const {x_range, y_range, inner_width, inner_height, min_border_left, min_border_top} = figure;
  return [key[at], min_border_left + inner_width * (x[at] - x_range.start) / (x_range.end - x_range.start),
          min_border_top + inner_height * (y_range.end - y[at]) / (y_range.end - y_range.start)];
}"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that engine.match made: two tiny networks on one recording."""
    root = tmp_path_factory.mktemp("store")
    first = tiny_network()
    recording = planted_recording(first, noise=0.6)
    quiet = {"progress": False, "memory": "1GiB", "store": root, "shuffles": 4}
    engine.match(first, recording, **quiet)
    engine.match(tiny_network(1, "tiny (random weights, seed 1)"), recording, **quiet)
    return root


@pytest.fixture(scope="module")
def results(store: Path) -> Results:
    return Results(store)


@pytest.fixture(scope="module")
def server(results: Results) -> Iterator:
    """A server that looks sooner than one for users whether a session has lost its browser."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dashboard.gate.LEFT_AFTER_S", 3)
        patch.setattr("dashboard.server._LOOK_EVERY_MS", 500)
        with served(results, warm=True) as server:
            yield server


@pytest.fixture
def visit(chromium, server):
    """Open the page; afterwards nothing was asked from outside, and the console is clean."""
    visits = []

    def open_page(query: str = "", **options) -> Visit:
        visits.append(Visit(chromium, server, query, **options))
        return visits[-1]

    yield open_page
    for one in visits:
        one.close()


def test_overview_shows_the_networks(visit):
    page = visit("?recording=planted&network=tiny")
    page.sees("neural correlation, r")
    for panel in ("networks", "pair", "layers", "sites"):
        assert page.page.locator(f"[data-card={panel}] canvas").count() > 0, panel
    page.sees("held-out r", "[data-area=header]")


def test_site_shows_match_favourites_and_figures(visit, store):
    page = visit("?page=site&network=tiny&recording=planted&region=V4&site=site1")
    best = engine.open_run("tiny@planted", store).dataset("matches").sel(site="site1").isel(rank=0)
    page.sees(f"{float(best['correlation']):.2f}", "[data-area=header]")
    page.sees(str(best["layer"].item()), "[data-area=header]")
    page.sees("site1", "h1")
    for panel in ("responses", "layers", "units"):
        assert page.page.locator(f"[data-card={panel}] canvas").count() > 0, panel
    thumbs = page.page.locator("[data-card=favourites] .thumb img")
    assert thumbs.count() == 20
    assert thumbs.first.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0


def test_runner_ups_shows_the_table(visit, store):
    page = visit("?page=runner-ups&network=tiny&recording=planted&region=V4&site=site1")
    r = engine.open_run("tiny@planted", store).dataset("matches")["correlation"].sel(site="site1").values
    page.sees(f"{r[0]:.3f}", "[data-area=table]")
    assert page.page.locator("[data-area=table] tbody tr").count() == np.isfinite(r).sum()


def test_a_tap_on_a_favourite_reaches_header_scatter_and_address(visit):
    page = visit("?page=site&network=tiny&recording=planted&site=site1")
    thumb = page.page.locator("[data-card=favourites] .thumb").nth(3)
    stimulus = thumb.get_attribute("data-stimulus")
    thumb.click()
    page.until(stimulus=stimulus)
    page.sees(stimulus, "[data-area=stimulus-head]")
    assert page.page.locator(f".thumb[data-stimulus={stimulus}]").first.get_attribute("aria-pressed") == "true"


def test_a_tap_on_a_point_of_the_scatter_chooses_its_image(visit):
    page = visit("?page=site&network=tiny&recording=planted&site=site1")
    stimulus, x, y = page.page.evaluate(SECOND_FAVOURITE)
    assert stimulus not in page.page.locator("[data-area=stimulus-head]").inner_text()
    frame = page.page.locator("[data-slot=responses] canvas").first.bounding_box()
    page.page.mouse.click(frame["x"] + x, frame["y"] + y)
    page.until(stimulus=stimulus)
    page.sees(stimulus, "[data-area=stimulus-head]")


def test_a_tap_on_the_rail_opens_the_site_in_every_view(visit):
    page = visit("?page=site&network=tiny&recording=planted&region=V4")
    first = page.chosen("site")
    rail = page.page.locator("[data-slot=rail] canvas").first.bounding_box()
    page.page.mouse.click(rail["x"] + 120, rail["y"] + 22 + 14 * 2 + 7)
    page.page.wait_for_function(
        "site => new URLSearchParams(location.search).get('site') !== site", arg=first, timeout=15_000
    )
    site = page.chosen("site")
    page.sees(site, "h1")
    page.page.wait_for_function(
        f"site => ({SOURCES})().some(f => f.labels.includes(`${{site}}, response (SD)`))", arg=site, timeout=15_000
    )
    figures = page.page.evaluate(SOURCES)
    assert any(f"r with {site}" in figure["labels"] for figure in figures)


def test_a_tap_on_a_row_of_the_table_chooses_the_rank(visit):
    page = visit("?page=runner-ups&network=tiny&recording=planted&region=V4&site=site1")
    page.page.locator("[data-area=table] tbody tr").nth(4).click()
    page.until(rank="4")
    assert page.page.locator("tr[aria-selected=true]").get_attribute("data-rank") == "4"


def test_keys_step_through_sites_ranks_layers_and_images(visit):
    page = visit("?page=site&network=tiny&recording=planted&region=V4")
    first = page.chosen("site")
    page.page.keyboard.press("ArrowDown")
    page.page.wait_for_function("site => new URLSearchParams(location.search).get('site') !== site", arg=first)
    page.page.keyboard.press("ArrowUp")
    page.until(site=first)
    page.page.keyboard.press("ArrowRight")
    page.until(rank="1")
    page.sees("runner-up 1", "[data-area=header]")
    page.page.keyboard.press("j")
    page.page.wait_for_function("() => new URLSearchParams(location.search).has('stimulus')")
    page.page.keyboard.press("]")
    page.page.wait_for_function("() => new URLSearchParams(location.search).has('layer')")
    page.page.keyboard.press("g")
    page.page.keyboard.press("r")
    page.until(page="runner-ups")
    page.page.keyboard.press("?")
    page.page.locator("[data-menu=keys]").wait_for(state="visible")
    page.page.keyboard.press("Escape")
    page.page.locator("[data-menu=keys]").wait_for(state="hidden")


def test_a_fresh_browser_shows_what_the_address_says(visit):
    page = visit("?page=site&network=tiny&recording=planted&region=IT")
    page.page.keyboard.press("ArrowRight")
    page.until(rank="1")
    page.page.locator("[data-card=favourites] .thumb").nth(2).click()
    page.page.wait_for_function("() => new URLSearchParams(location.search).has('stimulus')")
    fresh = visit("?" + urlsplit(page.page.url).query)
    for area in ("header", "favourites", "stimulus", "rail-head"):
        texts = [one.page.locator(f"[data-area={area}]").inner_text() for one in (page, fresh)]
        assert texts[0] == texts[1]
    assert fresh.page.url == page.page.url


def test_back_returns_to_what_was_chosen_before(visit):
    page = visit("?page=site&network=tiny&recording=planted&region=V4&site=site1")
    page.page.locator("[data-page=runner-ups].tab").click()
    page.until(page="runner-ups")
    page.sees("Top ", "[data-area=table-head]")
    assert page.shown_pages() == [["runner-ups", True]]
    page.page.go_back()
    page.until(page="site")
    page.page.locator("[data-card=favourites]").wait_for(state="visible")
    assert page.shown_pages() == [["site", True]]
    page.page.go_forward()
    page.until(page="runner-ups")
    page.page.locator("[data-area=table]").wait_for(state="visible")


def test_dark_changes_the_colours_and_keeps_the_figures(visit):
    page = visit("?page=site&network=tiny&recording=planted")
    canvases = page.page.locator("canvas").count()
    background = "() => getComputedStyle(document.body).backgroundColor"
    assert page.page.evaluate(background) == "rgb(247, 248, 249)"
    page.page.keyboard.press("d")
    page.until(theme="dark")
    assert page.page.evaluate(background) == "rgb(17, 20, 23)"
    assert page.page.locator("canvas").count() == canvases


def test_help_and_export_of_a_panel(visit):
    page = visit("?page=site&network=tiny&recording=planted&site=site1")
    page.page.locator("[data-menu-name=layers-help]").click()
    page.sees("What it shows.", "[data-menu=layers-help]")
    page.page.keyboard.press("Escape")
    page.page.locator("[data-menu-name=layers-export]").click()
    with page.page.expect_download(timeout=20_000) as download:
        page.page.locator("[data-menu=layers-export] [data-kind=csv]").click()
    assert download.value.suggested_filename == "tiny_planted_site1_layers.csv"
    assert "correlation" in Path(download.value.path()).read_text(encoding="utf-8")


def test_the_data_of_a_figure_are_a_table_that_needs_no_mouse(visit):
    page = visit("?page=site&network=tiny&recording=planted&site=site1")
    dialog = page.page.locator("[data-menu=tabulated]")
    page.page.locator("[data-menu-name=responses-export]").focus()
    page.page.keyboard.press("t")
    dialog.wait_for(timeout=10_000)
    assert dialog.locator("h3").inner_text() == "Response to every image"
    assert dialog.locator("tbody tr").count() == N_STIMULI
    assert dialog.get_by_role("columnheader", name="unit sd").count() == 1
    assert Axe().run(page.page, options=WCAG).response["violations"] == []
    rows = dialog.locator(".rows")
    page.page.keyboard.press("ArrowDown")
    page.page.wait_for_function("rows => rows.scrollTop > 0", arg=rows.element_handle())
    page.page.keyboard.press("Escape")
    dialog.wait_for(state="hidden", timeout=10_000)
    page.page.locator("[data-menu-name=layers-export]").click()
    page.page.locator("[data-menu=layers-export]").get_by_text("Show as table").click()
    page.sees("Best match in each layer", "[data-menu=tabulated] h3")


def test_r_is_computed_again_from_an_exported_csv(visit, store):
    page = visit("?page=site&network=tiny&recording=planted&site=site1")
    page.page.locator("[data-menu-name=responses-export]").click()
    with page.page.expect_download(timeout=20_000) as download:
        page.page.locator("[data-menu=responses-export] [data-kind=csv]").click()
    file = Path(download.value.path())
    assert file.read_text(encoding="utf-8").startswith("# planted")
    table = pd.read_csv(file, skiprows=1)
    r = np.corrcoef(table["site_sd"], table["unit_sd"])[0, 1]
    best = engine.open_run("tiny@planted", store).dataset("matches").sel(site="site1").isel(rank=0)
    assert r == pytest.approx(float(best["correlation"]), abs=1e-6)
    page.sees(f"{r:.2f}", "[data-area=header]")


def test_a_drawn_file_comes_from_a_process_beside_the_server(visit):
    page = visit("?page=site&network=tiny&recording=planted")
    page.page.locator("[data-card=layers] canvas").first.wait_for(timeout=15_000)
    site = page.page.evaluate("() => new URLSearchParams(location.search).get('site')")
    page.page.locator("[data-menu-name=layers-export]").click()
    with page.page.expect_download(timeout=60_000) as download:
        page.page.locator("[data-menu=layers-export] [data-kind=svg]").click()
        page.page.keyboard.press("ArrowDown")  # the page goes on meanwhile
        page.page.wait_for_function("site => new URLSearchParams(location.search).get('site') !== site", arg=site)
    assert download.value.suggested_filename == f"tiny_planted_{site}_layers.svg"
    drawn = Path(download.value.path()).read_text(encoding="utf-8")
    assert drawn.startswith("<?xml")
    assert "planted" in drawn


def test_a_file_is_announced_until_it_is_drawn(visit, results):
    page = visit("?page=site&network=tiny&recording=planted&site=site1")
    file = "tiny_planted_site1_layers.svg"
    ask_for(page, "svg")
    page.page.wait_for_event("download", timeout=60_000)  # from now on the process that draws is there
    drawing = psutil.Process(results.drawing._process.pid)
    drawing.suspend()
    try:
        ask_for(page, "svg")
        page.sees(f"Drawing {file} …", ".notice")
        page.page.keyboard.press("ArrowRight")  # it goes on meanwhile, and so does the sign
        page.until(rank="1")
        ask_for(page, "pdf")
        page.sees(f"Drawing {file}, {file.replace('svg', 'pdf')} …", ".notice")
    finally:
        drawing.resume()
    page.page.locator(".notice").wait_for(state="detached")


def ask_for(visit: Visit, kind: str) -> None:
    visit.page.locator("[data-menu-name=layers-export]").click()
    visit.page.locator(f"[data-menu=layers-export] [data-kind={kind}]").click()


def test_what_a_page_says_while_it_opens_goes(visit):
    assert not visit("?page=site&network=tiny&recording=planted").page.evaluate(SIGNS)


def test_pictures_are_kept_by_the_browser_and_nothing_else_is_served(visit, server, store):
    page = visit("?page=site&network=tiny&recording=planted&site=site1")
    address = page.page.locator(".thumb img").first.get_attribute("src")
    answer = page.page.request.get(page.base + address)
    assert answer.headers["content-type"] == "image/jpeg"
    assert "immutable" in answer.headers["cache-control"]
    digest = address.split("/")[1]
    for wrong in (
        f"img/{digest}/..%2F..%2Fmanifest.json.jpg",
        f"img/{'0' * 64}/image001.jpg",
        f"img/{digest}/nothing.jpg",
    ):
        assert page.page.request.get(page.base + wrong).status == 404


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (1920, 1080)])
def test_nothing_is_wider_than_the_window(visit, width, height):
    page = visit("?page=site&network=tiny&recording=planted&site=site1")
    page.page.set_viewport_size({"width": width, "height": height})
    from playwright.sync_api import expect

    thumbnails = page.page.locator("[data-card=favourites] .thumbs").first.locator(".thumb")
    expect(thumbnails).to_have_count({1280: 8, 1920: 12}[width], timeout=15_000)
    assert page.page.locator("main").first.evaluate("main => main.scrollWidth <= main.clientWidth")


def test_sessions_are_freed_when_the_browser_leaves(chromium, server):
    page = Visit(chromium, server, "?page=site")
    page.page.keyboard.press("g")
    page.page.keyboard.press("r")
    page.until(page="runner-ups")
    assert len(server.get_sessions()) >= 1
    page.close()
    end = time.monotonic() + FREED_WITHIN_S
    while time.monotonic() < end and server.get_sessions():
        time.sleep(0.5)
    assert server.get_sessions() == []
    gc.collect()
    living = [o for o in gc.get_objects() if type(o) is Session and o._document is not None]
    assert living == []


def test_the_planted_unit_is_what_the_page_shows(visit, store):
    """site2 is a copy of unit 3 of the dense layer, with noise: the page names that layer."""
    network = tiny_network()
    assert "fc" in activations(network, images(2))
    page = visit("?page=site&network=tiny&recording=planted&region=V4&site=site2")
    best = engine.open_run("tiny@planted", store).dataset("matches").sel(site="site2").isel(rank=0)
    page.sees(f"map {int(best['channel'])}", "[data-area=header]")


@pytest.mark.parametrize(("is_there", "told"), [(False, "No run yet in this store"), (True, "A run cannot be shown")])
def test_a_store_without_a_run_that_can_be_shown_says_what_to_do(chromium, tmp_path, run_datasets, is_there, told):
    if is_there:
        damage(put(tmp_path, run_datasets), "matches/correlation").unlink()
    with served(tmp_path) as server:
        shown, wrong = chromium.new_page(), []
        shown.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
        shown.goto(entry(server))
        shown.get_by_text(told).first.wait_for(timeout=30_000)
        assert "unitscope" in shown.locator("code").first.inner_text()
        shown.close()
    assert wrong == []


def answers(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


def test_panel_serve_shows_the_page_read_only_and_says_why(chromium, store):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = Path(__file__).parents[2] / "dashboard" / "app.py"
    command = [sys.executable, "-m", "panel", "serve", str(app), "--port", str(port), "--address", "127.0.0.1"]
    with subprocess.Popen(command, env={**os.environ, "UNITSCOPE_STORE": str(store)}) as process:
        try:
            end = time.monotonic() + 60
            while not answers(port) and time.monotonic() < end:
                time.sleep(0.2)
            page = chromium.new_page()
            page.goto(f"http://localhost:{port}/app?page=runs")
            page.get_by_text("This page is read-only: panel serve cannot say who listens").first.wait_for()
            assert page.locator("[data-do=plan], [data-do=start]").count() == 0
            page.close()
        finally:
            process.terminate()


FIRST_FRAME_HELD = """const frame = requestAnimationFrame;
window.requestAnimationFrame = (act) => (window.first ? frame(act) : ((window.first = act), 0));"""
NO_WAIT_IS_OVER = "const wait = setTimeout; window.setTimeout = (act, ms) => (ms === 300 ? 0 : wait(act, ms));"


def test_scripts_wait_until_the_browser_has_painted_that_the_page_opens(chromium, server):
    page = chromium.new_page()
    page.add_init_script(FIRST_FRAME_HELD + NO_WAIT_IS_OVER)
    page.goto(entry(server, "?page=site"))
    page.wait_for_function("!!window.first", polling=100)
    page.wait_for_timeout(500)
    assert page.evaluate("[document.querySelectorAll('script[src]').length, typeof Bokeh]") == [0, "undefined"]
    page.evaluate("first(0)")
    page.locator("canvas").first.wait_for()
    page.close()


NO_FACE = "FontFaceSet.prototype.load = () => Promise.reject(new Error('no face'));"


@pytest.mark.parametrize("hindered", [FIRST_FRAME_HELD, NO_FACE], ids=["never painted", "without its face"])
def test_a_page_opens_whatever_the_browser_does_not_do(chromium, server, hindered):
    page = chromium.new_page()
    page.add_init_script(hindered)
    page.goto(entry(server, "?page=site"))
    page.wait_for_function("window.Bokeh?.documents.length", polling=100)
    page.close()


# Pages that are never there keep their session for a minute: they come last.


def test_a_page_says_that_it_opens_and_what_to_do_if_it_does_not(chromium, server):
    page = chromium.new_page()
    page.route("**/bokeh*.js*", lambda script: None)  # they do not come
    try:
        page.goto(entry(server, "?page=site"), wait_until="commit")
        page.wait_for_function(f"{SIGNS}[0]?.includes('Opening')", timeout=15_000)
        assert page.evaluate(SIGNS)[1:] == ["0", '"That takes long. If nothing comes, reload the page."']
        page.evaluate("document.getAnimations().forEach((one) => one.finish())")
        assert page.evaluate(SIGNS)[1] == "1"
    finally:
        page.close()


NEEDED = {
    "script-src": ["'nonce-{}'", "'unsafe-eval'"],
    "style-src": ["'self'", "'unsafe-inline'"],
    "img-src": ["'self'", "data:"],
    "font-src": ["data:"],
    "connect-src": ["blob:"],
}


@pytest.mark.parametrize(("directive", "source"), [(name, one) for name, sources in NEEDED.items() for one in sources])
def test_without_any_part_of_the_content_policy_the_page_complains(chromium, server, monkeypatch, directive, source):
    whole = headers.page_policy

    def stricter(nonce: str, websockets: Sequence[str]) -> str:
        parts = whole(nonce, websockets).split("; ")
        at = next(k for k, part in enumerate(parts) if part.startswith(directive))
        assert source.format(nonce) in parts[at].split()
        parts[at] = " ".join(one for one in parts[at].split() if one != source.format(nonce))
        return "; ".join(parts)

    monkeypatch.setattr(headers, "page_policy", stricter)
    page = chromium.new_page()
    with page.expect_console_message(
        lambda message: message.type == "error" and "Content Security Policy" in message.text
    ):
        page.goto(entry(server, "?page=site&network=tiny&recording=planted"))
    page.close()
