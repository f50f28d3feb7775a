"""Jobs, keys and the bar in Chromium: two open pages see the same job, and keys reach everything."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import engine
from dashboard.requests import AnalyseRequest
from dashboard.results import Results
from tests.browsers import entry, served
from tests.dashboard.conftest import build_run
from tests.dashboard.stores import put

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

N_NETWORKS = 14
LONG = '{"n_resamples": 1000000}'


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Iterator[Results]:
    """Runs of so many networks that their menu has a field to filter them."""
    root: Path = tmp_path_factory.mktemp("store")
    run = build_run(sites={"V4": 12, "IT": 3}, n_stimuli=40, layers=(("one", 2, 2), ("two", 3, 1)), n_ranks=5)
    for number in range(N_NETWORKS):
        put(root, run, network=f"net{number:02d}", title=f"Network {number:02d}")
    made = Results(root)
    made.compute_jobs()
    yield made
    made.jobs.close()
    made.lane.close()


@pytest.fixture(scope="module")
def server(results) -> Iterator:
    """A server with jobs, in a thread of this process."""
    with served(results) as server:
        yield server


@pytest.fixture
def visit(chromium, server):
    """Open pages of the server; nothing may go wrong in them."""
    errors: list[str] = []
    pages: list = []

    def opened(query: str, width: int = 1440):
        page = chromium.new_page(viewport={"width": width, "height": 900})
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: errors.append(str(e)))
        page.set_default_timeout(60_000)
        page.goto(entry(server, query))
        page.wait_for_selector("[data-page]", timeout=60_000)
        pages.append(page)
        return page

    yield opened
    for page in pages:
        page.close()
    assert errors == []


def test_a_job_is_seen_by_every_page_survives_a_reload_and_is_cancelled(visit, results):
    layers, runs = visit("?page=layers&network=net00"), visit("?page=runs&network=net00")
    digest = next(iter(results.table()["digest"]))
    task = results.jobs.start(AnalyseRequest(digest, "a run", ("intervals",), LONG))
    for page in (layers, runs):
        page.locator(".working").wait_for(timeout=60_000)
    runs.reload()
    runs.locator(".jobs button[data-do=cancel]").click(timeout=60_000)
    runs.get_by_role("heading", name="Cancelled").wait_for(timeout=60_000)
    layers.locator(".working").wait_for(state="detached", timeout=60_000)
    assert task.state == "cancelled"


def test_what_one_page_has_computed_appears_on_the_other(visit):
    one, two = visit("?page=runs&network=net01"), visit("?page=runs&network=net01")
    one.locator("button[data-do=analyse][data-names=layer_summary]").click()
    for page in (one, two):
        page.get_by_text("done in").wait_for()
        page.locator("button[data-do=analyse][data-names=layer_summary]").wait_for(state="detached")
        assert page.locator(".analyses tr", has_text="layer_summary").get_by_text("stored", exact=True).is_visible()


@pytest.fixture
def nothing(tmp_path, monkeypatch) -> Iterator[Results]:
    """A store without runs, beside a recording of the visitor's own."""
    monkeypatch.setenv("UNITSCOPE_DATA", str(tmp_path / "data"))
    rng = np.random.default_rng(0)
    recording = engine.Recording.from_arrays(
        rng.gamma(2, 3, (16, 3)),
        rng.integers(0, 255, (16, 32, 32, 3), np.uint8),
        stimulus_ids=[f"image{i}" for i in range(16)],
        region=["V4"] * 3,
        name="mine",
    )
    recording.save(tmp_path / "data" / "mine")
    made = Results(tmp_path / "store")
    made.compute_jobs()
    yield made
    made.jobs.close()
    made.lane.close()


def test_the_first_match_of_a_store_is_planned_started_and_shown_from_the_form(chromium, nothing):
    page = chromium.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(60_000)
    with served(nothing) as server:
        page.goto(entry(server))
        page.locator("[data-name=recording]").select_option("mine")
        page.locator("[data-name=weights]").select_option("random")
        page.get_by_role("button", name="See the plan").click()
        page.get_by_role("button", name="Start", exact=True).wait_for()
        plan = page.locator(".facts").inner_text()
        facts = ("Passes over the images", "Memory at most", "Expected time")
        assert [fact for fact in facts if fact not in plan] == []
        page.get_by_role("button", name="Start", exact=True).click()
        page.locator(".jobs [role=progressbar]").first.wait_for()
        page.wait_for_function("() => new URLSearchParams(location.search).get('recording') === 'mine'")
        assert "(random weights, seed 0)" in page.locator(".bar").inner_text()
    page.close()
    (stored,) = engine.list_runs(nothing.root)["digest"]
    assert engine.open_run(stored, nothing.root).verify() == []


def test_keys_search_a_site_export_a_panel_and_list_themselves(visit):
    page = visit("?page=runs&network=net02")
    page.keyboard.press("/")
    page.get_by_role("combobox", name="Search a site").wait_for()
    page.keyboard.type("site1")
    page.locator(".hit").first.wait_for(timeout=60_000)
    assert page.locator(".hit").count() == 5
    assert page.get_by_text("5 of 15 sites").is_visible()
    page.keyboard.press("ArrowDown")
    chosen = page.locator(".hit[aria-selected=true] span").first.inner_text()
    page.keyboard.press("Enter")
    page.wait_for_function(f"() => new URLSearchParams(location.search).get('site') === '{chosen}'")
    page.wait_for_function("() => new URLSearchParams(location.search).get('page') === 'site'")
    page.locator("[data-card=responses] canvas").first.wait_for(timeout=60_000)
    page.locator("[data-card=responses] h2").hover()
    page.keyboard.press("e")
    page.locator("[data-menu=responses-export]").wait_for(state="visible")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keyboard").wait_for()
    assert page.get_by_text("Go to a page").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("v")
    page.wait_for_function("() => new URLSearchParams(location.search).get('view') === 'field'")


def test_the_bar_folds_and_its_menu_filters_networks(visit):
    page = visit("?page=runs&network=net03", width=900)
    assert page.locator(".bar nav").is_hidden()
    page.locator(".bar .fold").click()
    page.locator("[data-menu=pages]").get_by_role("button", name="Provenance").click()
    page.get_by_role("button", name="Check this run").wait_for(timeout=60_000)
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    page.get_by_title("Network", exact=True).click()
    page.keyboard.type("work 11")
    shown = page.locator("[data-menu=network] .items button:visible")
    assert shown.count() == 1
    page.keyboard.press("Enter")
    page.wait_for_function("() => new URLSearchParams(location.search).get('network') === 'net11'")
