"""The explorers without a browser: what they show, what zooming and tapping do, what is missing or broken."""

import re
import subprocess
import sys
import threading
from pathlib import Path
from queue import Queue

import numpy as np
import pytest
from bokeh.document import Document
from bokeh.io.doc import patch_curdoc

from dashboard.results import Results
from dashboard.views import explorers
from dashboard.views import latest as latest_module
from dashboard.views.latest import Latest
from dashboard.views.session import Session
from engine.store import add_group
from tests.dashboard.figures import explored
from tests.dashboard.stores import damage, put

SITE = "site03"


@pytest.fixture(scope="module")
def store(tmp_path_factory, run_datasets) -> Path:
    """A run with r of all units for one site."""
    root = tmp_path_factory.mktemp("store")
    run = put(root, {**run_datasets, "feature_maps": explored.feature_maps(run_datasets)})
    add_group(run, "unit_correlations.3", explored.unit_correlations(run_datasets, SITE))
    return root


@pytest.fixture(scope="module")
def session(store) -> Session:
    """The page of that site."""
    return Session(Results(store), {"page": "site", "site": SITE})


def card_of(session: Session, name: str):
    page = next(page for page in session.pages.values() if page.screen is not None and page.screen.visible)
    return page.cards[name], {key: re.sub(r"<[^>]*>", " ", html) for key, html in page.screen.written.items()}


def counted(card, role):
    return card.shown.renderer_of(role).data_source.data["image"][0]


def test_units_are_counted_anew_for_what_is_zoomed_to_and_for_another_site(session):
    card, areas = card_of(session, "unit_correlations")
    n_seen = int(card.data["count"].sum())
    assert np.nansum(10 ** counted(card, "UnitDensity")) == pytest.approx(n_seen, rel=1e-4)
    assert f"{card.data.attrs['n_units']} units" in areas["unit_correlations-head"]
    home = (card.shown.figure.x_range.start, card.shown.figure.x_range.end)
    assert card.shown.figure.x_range.bounds == home
    card.look_at((1.0, 2.0), (0.0, 0.2))
    assert 0 < card.data["count"].sum() < n_seen
    assert (card.shown.figure.x_range.start, card.shown.figure.x_range.end) == (1.0, 2.0)
    card.show_all()
    assert card.data["count"].sum() == n_seen
    assert (card.shown.figure.x_range.start, card.shown.figure.x_range.end) == home
    session.controls.select(site="site05")
    _, areas = card_of(session, "unit_correlations")
    assert "unitscope analyse" in areas["unit_correlations-state"]
    assert "unit_correlations --set=site=site05" in areas["unit_correlations-state"]
    session.controls.select(site=SITE)
    assert "unitscope analyse" not in card_of(session, "unit_correlations")[1]["unit_correlations-state"]
    assert card.data["count"].sum() == n_seen


def test_a_tap_selects_a_ranked_unit_by_its_rank_and_another_one_by_its_layer(session):
    card, _ = card_of(session, "unit_correlations")
    about = card.data.attrs
    strips = explorers.unit_correlations.strips_of(about)
    card.tapped(float(strips.at(about["ranked_layer"][1], about["ranked_unit"][1])), about["ranked_r"][1])
    assert session.selection.rank == 1
    lowest = card.data.sort_values("r_low").iloc[0]
    x = card.data.attrs["x"][1] * (lowest["column"] + 0.5) / card.data.attrs["grid"][1]
    card.tapped(x, (lowest["r_low"] + lowest["r_high"]) / 2)
    assert session.selection.layer == str(lowest["layer"])
    drawing = card.shown.drawing
    named = [*drawing.marks_of("UnitName").columns["text"], *drawing.marks_of("UnitNameLeft").columns["text"]]
    assert named[0].startswith(f"not ranked: {lowest['layer']}, map ")
    assert drawing.marks_of("Selection").columns["y"][0] == pytest.approx(lowest["r_low"], abs=0.05)
    session.controls.select(rank=0)
    drawing = card.shown.drawing
    named = [*drawing.marks_of("UnitName").columns["text"], *drawing.marks_of("UnitNameLeft").columns["text"]]
    assert named[0].startswith("match: ")


def test_a_tap_on_a_map_selects_its_site_layer_and_map(store):
    session = Session(Results(store), {"page": "feature-maps"})
    card, areas = card_of(session, "map_correlations")
    about = card.data.attrs
    assert "pairs above chance" in areas["map_correlations-head"]
    own = about["layers"].index(session.results.choose(session.selection).run.layer_like("V4"))
    strips = explorers.map_correlations.strips_of(about)
    card.tapped(float(strips.at(own, 1)), len(about["sites"]) - 1.5)
    assert session.selection.site == about["sites"][1]
    assert (session.selection.layer, session.selection.feature_map) == (about["layers"][own], "1")
    card.tapped(1.0, 0.5)
    assert session.selection.site == about["sites"][1]
    card.look_at((0.0, 1.0), (0.0, 2.0))
    assert set(card.data["layer"].astype(str)) == {about["layers"][0]}


def test_a_damaged_count_says_so_in_its_panel_and_the_rest_is_shown(tmp_path, run_datasets):
    run = put(tmp_path, run_datasets)
    large = explored.unit_correlations(run_datasets, SITE)
    many = large["correlation"].values.repeat(2**20 * 5 // 8 // large.sizes["unit"], axis=1)
    add_group(run, "unit_correlations.3", large.drop_vars("correlation").assign(correlation=(("site", "unit"), many)))
    damage(run, "unit_correlations.3/correlation")
    session = Session(Results(tmp_path), {"page": "site", "site": SITE})
    _, areas = card_of(session, "unit_correlations")
    assert "was changed after it was written" in areas["unit_correlations-state"]
    assert "unitscope analyse" in areas["unit_correlations-state"]
    assert SITE in areas["header"]
    assert not session.results.problems()


def test_only_the_last_answer_is_handed_over_and_on_the_loop(monkeypatch):
    document, told, ticks = Document(), [], Queue()
    document._session_context = lambda: document
    monkeypatch.setattr(latest_module, "change_soon", lambda document, loop, change: ticks.put(change))
    latest, begun, go = Latest(told.append), threading.Event(), threading.Event()

    def slow() -> str:
        begun.set()
        go.wait(10)
        return "overtaken"

    with patch_curdoc(document):
        latest.ask(slow)
        begun.wait(10)
        for k in range(5):
            latest.ask(lambda k=k: k)
    assert latest.is_waiting
    go.set()
    while not told:
        ticks.get(timeout=10)()
    assert told == [4]
    assert not latest.is_waiting


def test_what_is_compiled_beside_a_page_that_opens_loads_nothing_any_more():
    """Panel lists what a page has imported, and failed where a thread loaded something meanwhile."""
    code = """
import sys
import dashboard.server
from dashboard.views import explorers, latest
explorers.warm()
before = set(sys.modules)
latest.threads().shutdown()
print(sorted(set(sys.modules) - before))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
