"""Views without a browser: choose, and look at what is written and drawn."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from bokeh.document import Document
from bokeh.models import Div
from panel.io.state import set_curdoc

from dashboard import exporting
from dashboard.results import Results
from dashboard.runs import OpenRun
from dashboard.server import make_server
from dashboard.views import footer, headers
from dashboard.views.document import models_come
from dashboard.views.markup import Markup, joined, tag
from dashboard.views.session import Session
from engine.errors import SettingsError, StoreError
from tests.dashboard.stores import damage, put

PAYLOAD = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def store(tmp_path_factory, run_datasets, other_datasets) -> Path:
    """Two networks on one recording; whoever changes it makes a copy."""
    root = tmp_path_factory.mktemp("store")
    put(root, run_datasets)
    put(root, other_datasets, network="other", title="Other Net")
    return root


@pytest.fixture
def results(store) -> Results:
    return Results(store)


@pytest.fixture(scope="module")
def untouched(store) -> Session:
    """A session for all that must not change it."""
    return Session(Results(store), {"page": "site", "network": "tiny", "site": "site02"})


def page_of(session: Session):
    """The page that is shown, and its HTML without tags."""
    page = next(page for page in session.pages.values() if page.screen is not None and page.screen.visible)
    return page, {name: re.sub(r"<[^>]*>", " ", html) for name, html in page.screen.written.items()}


def test_text_is_escaped_and_markup_is_not():
    assert (
        tag("p", PAYLOAD, title='a"b') == f'<p title="a&quot;b">{PAYLOAD.replace("<", "&lt;").replace(">", "&gt;")}</p>'
    )
    assert joined([tag("b", "x"), "<", None, [1, Markup("<i></i>")]]) == "<b>x</b>&lt;1<i></i>"


def test_overview_tells_the_neural_correlation_held_out_and_chance(results, run_datasets, other_datasets):
    _, areas = page_of(Session(results))
    found = {"Tiny Net": run_datasets, "Other Net": other_datasets}
    whole = {title: run["neural_correlation"].sel(region="V4", layer="") for title, run in found.items()}
    best = max(whole, key=lambda title: float(whole[title]["correlation"]))
    assert best in areas["header"]
    for name in ("correlation", "held_out", "chance_median"):
        assert f"{float(whole[best][name]):.2f}" in areas["header"]
    assert "held-out r" in areas["header"]
    assert "chance, median" in areas["header"]


def test_a_run_that_appears_while_the_page_is_open_is_drawn(tmp_path, run_datasets, other_datasets, monkeypatch):
    monkeypatch.setattr("dashboard.results._RELIST_AFTER_S", 0)
    put(tmp_path, run_datasets)
    session = Session(Results(tmp_path), {"network": "tiny", "recording": "planted"})
    page, _ = page_of(session)
    assert set(page.cards["networks"].data["network"]) == {"Tiny Net"}
    put(tmp_path, other_datasets, network="other", title="Other Net")
    session.refresh()
    page, _ = page_of(session)
    assert set(page.cards["networks"].data["network"]) == {"Tiny Net", "Other Net"}
    assert set(page.cards["pair"].data["network"]) == {"Tiny Net", "Other Net"}
    drawn = page.cards["pair"].shown.drawing.marks_of("NetworkMatch").columns["key"]
    assert set(drawn) == {"Tiny Net", "Other Net"}


def without_a_match(run_datasets, site, status, response):
    """The run as it would be if the site had these responses, and for that reason no match."""
    found = {name: dataset.copy(deep=True) for name, dataset in run_datasets.items()}
    found["recording"]["response"].loc[{"site": site}] = response
    matches = found["matches"]
    for name, none in (("correlation", np.nan), ("held_out", np.nan), ("unit", -1), ("match_unit", -1), ("layer", "")):
        matches[name].loc[{"site": site}] = none
    for name in ("correlation", "held_out"):
        found["layer_profile"][name].loc[{"site": site}] = np.nan
    matches["site_status"] = matches["site_status"].astype(object)
    matches["site_status"].loc[{"site": site}] = status
    return found


@pytest.mark.parametrize(
    ("status", "response", "why"),
    [
        ("constant", 3.0, "the site's response never varies"),
        ("n_too_small", np.nan, "fewer than 3 responses"),
    ],
)
def test_a_site_without_a_match_says_why(tmp_path, run_datasets, status, response, why):
    put(tmp_path, without_a_match(run_datasets, "site02", status, response))
    session = Session(Results(tmp_path), {"page": "site", "network": "tiny", "site": "site02"})
    _, areas = page_of(session)
    assert why in areas["header"].replace("&#x27;", "'")
    assert f"No match: {why}." in areas["favourites"].replace("&#x27;", "'")
    session.act({"do": "select", "page": "runner-ups"})
    assert f"No match: {why}." in page_of(session)[1]["alike"].replace("&#x27;", "'")


def test_not_shown_is_said_only_of_an_image_without_a_response(tmp_path, run_datasets):
    found = without_a_match(run_datasets, "site02", "constant", 3.0)
    found["recording"]["response"].loc[{"site": "site02", "stimulus": "image0003"}] = np.nan
    put(tmp_path, found)
    session = Session(Results(tmp_path), {"page": "site", "site": "site02", "stimulus": "image0004"})
    _, areas = page_of(session)
    assert "The site's response never varies." in areas["favourites"].replace("&#x27;", "'")
    assert "not shown" not in areas["stimulus"]
    assert areas["stimulus"].count("n/a") == 2
    session.act({"do": "select", "stimulus": "image0003"})
    assert page_of(session)[1]["stimulus"].count("not shown") == 2


def test_a_run_that_does_not_tell_why_gives_the_plain_fact(results, monkeypatch):
    chosen = results.choose(Session(results, {"network": "tiny"}).selection)
    matches = chosen.run.dataset("matches").drop_vars("site_status")
    monkeypatch.setattr(chosen.run, "dataset", lambda name: matches)
    assert headers.no_match(chosen) == "no unit has an r with this site"


def test_medians_are_labelled_with_the_sites_that_have_a_value(tmp_path, run_datasets):
    found = without_a_match(run_datasets, "site02", "constant", 3.0)
    sites = ("region", "layer"), np.full((2, 5), 6)
    found["neural_correlation"] = found["neural_correlation"].assign(n_correlation=sites, n_held_out=sites)
    put(tmp_path, found)
    page, areas = page_of(Session(Results(tmp_path), {"region": "V4"}))
    assert "median of 6 of 7 sites" in areas["header"]
    assert "median and quartiles of 6 of 7 V4 sites" in areas["layers-head"]
    label = page.cards["networks"].shown.drawing.axes.xlabel
    assert label == "Neural correlation, median over 6 of 7 V4 sites"


def test_a_region_without_a_ceiling_is_told_of_as_a_region(tmp_path, run_datasets):
    ceiling = run_datasets["reliability"].copy(deep=True)
    ceiling["noise_ceiling"].loc[{"site": ceiling["region"] == "V4"}] = np.nan
    put(tmp_path, {**run_datasets, "reliability": ceiling})
    _, areas = page_of(Session(Results(tmp_path), {"region": "V4"}))
    assert "not available for this region" in areas["header"]


def test_the_chosen_region_stands_against_another_one(tmp_path, run_datasets):
    names = {f"site{i:02d}": "V1" if i < 4 else "V2" if i < 7 else "LGN" for i in range(12)}
    found = {name: dataset.copy(deep=True) for name, dataset in run_datasets.items()}
    for name in ("recording", "null"):
        region = np.array([names[site] for site in found[name]["site"].values], dtype=object)
        found[name] = found[name].assign_coords(region=(found[name]["region"].dims, region))
    del found["neural_correlation"]
    put(tmp_path, found)
    session = Session(Results(tmp_path), {"region": "LGN"})
    page, areas = page_of(session)
    assert "V1 against LGN" in areas["pair-head"]
    assert page.cards["pair"].data.attrs["regions"] == ("V1", "LGN")
    session.act({"do": "select", "region": "V2"})
    assert "V1 against V2" in page_of(session)[1]["pair-head"]


def test_without_folds_no_page_counts_them(tmp_path, run_datasets):
    whole = run_datasets["folds"].copy(deep=True)
    whole["fold"][:] = 0
    put(tmp_path, {**run_datasets, "folds": whole})
    session = Session(Results(tmp_path))
    for page in ("overview", "site", "runner-ups"):
        session.act({"do": "select", "page": page})
        assert "not held out: 1 fold" in page_of(session)[1]["header"]


def test_an_exported_figure_tells_all_networks_that_it_shows(results, run_datasets):
    session = Session(results, {"network": "tiny", "region": "V4"})
    page, _ = page_of(session)
    chosen = results.choose(session.selection)
    told = footer.paper_footer(*page.sources("networks", chosen))
    assert told.startswith("planted (SIMULATED) · V4 · 7 sites × 120 images · ")
    assert "Other Net, trained weights; Tiny Net, trained weights · 2 folds, seed 0 · run " in told
    assert footer.paper_footer(*page.sources("pair", chosen)).startswith("planted (SIMULATED) · V4, IT · 12 sites")
    alone = footer.paper_footer(*page.sources("sites", chosen))
    assert "Tiny Net, trained weights · 4 layers, 324 units · 2 folds, seed 0" in alone
    assert "Other Net" not in alone


@pytest.mark.parametrize(
    ("weights", "told"),
    [("random, seed 3", "Tiny Net, random weights"), ("the caller's", "Tiny Net, own weights"), ("", "Tiny Net")],
)
def test_a_figure_claims_trained_weights_only_where_the_run_tells_so(tmp_path, run_datasets, weights, told):
    run = OpenRun(put(tmp_path, run_datasets, weights=weights))
    assert f" · {told} · 4 layers" in footer.paper_footer([run], ["V4"])


def test_site_header_tells_the_match_of_the_site(results, run_datasets):
    _, areas = page_of(Session(results, {"page": "site", "network": "tiny", "site": "site02"}))
    match = run_datasets["matches"].sel(site="site02").isel(rank=0)
    assert "site02" in areas["header"]
    assert f"{float(match['correlation']):.2f}" in areas["header"]
    assert str(match["layer"].item()) in areas["header"]
    assert f"map {int(match['channel'])}" in areas["header"]
    assert "split half" in areas["header"]
    assert "SIMULATED" in areas["footer"]


def test_a_runner_up_is_called_one(results, run_datasets):
    session = Session(results, {"page": "site", "network": "tiny", "site": "site02"})
    session.act({"do": "step", "name": "rank", "by": 3})
    page, areas = page_of(session)
    assert "runner-up 3" in areas["header"]
    assert "Unit of rank 3" in areas["favourites"]
    r = float(run_datasets["matches"]["correlation"].sel(site="site02").isel(rank=3))
    assert page.cards["responses"].data.attrs["correlation"] == r


def test_one_choice_reaches_every_figure_of_the_page(results):
    session = Session(results, {"page": "site", "network": "tiny", "site": "site02"})
    session.act({"do": "select", "site": "site01"})
    page, areas = page_of(session)
    assert {page.cards[name].data.attrs["site"] for name in ("responses", "layers", "units")} == {"site01"}
    selected = page.cards["rail"].shown.drawing.marks_of("RowLabelSelected").columns["text"]
    assert list(selected) == ["site01"]
    assert "site01" in areas["favourites"]


def test_choosing_a_site_lets_go_of_rank_and_layer_but_not_of_the_image(results):
    session = Session(
        results, {"page": "site", "network": "tiny", "site": "site02", "rank": "3", "stimulus": "image0007"}
    )
    session.act({"do": "select", "site": "site01"})
    chosen = session.selection
    assert (chosen.site, chosen.rank, chosen.layer, chosen.stimulus) == ("site01", 0, "", "image0007")


def test_a_recording_without_the_chosen_network_shows_another_and_blames_nobody(store, tmp_path, run_datasets):
    results = Results(shutil.copytree(store, tmp_path / "copy"))
    put(tmp_path / "copy", run_datasets, network="third", recording="other sites")
    session = Session(results, {"network": "tiny", "recording": "planted", "region": "V4"})
    session.act({"do": "select", "recording": "other sites", "region": "IT"})
    chosen = results.choose(session.selection)
    assert (chosen.run.network, chosen.run.recording, chosen.region) == ("third", "other sites", "IT")
    assert (session.selection.network, chosen.notice) == ("", "")


def test_a_recording_with_the_chosen_network_keeps_it(store, tmp_path, run_datasets):
    results = Results(shutil.copytree(store, tmp_path / "copy"))
    put(tmp_path / "copy", run_datasets, network="a third", recording="other sites")
    put(tmp_path / "copy", run_datasets, network="tiny", recording="other sites")
    session = Session(results, {"network": "tiny", "recording": "planted"})
    session.act({"do": "select", "recording": "other sites", "region": "IT"})
    assert session.selection.network == "tiny"


def test_steps_stop_at_both_ends(results):
    session = Session(results, {"page": "site", "network": "tiny"})
    sites = list(results.choose(session.selection).run.sites("V4").index)
    session.act({"do": "step", "name": "site", "by": -1})
    assert session.selection.site == sites[0]
    session.act({"do": "step", "name": "site", "by": 500})
    assert session.selection.site == sites[-1]
    session.act({"do": "step", "name": "rank", "by": -1})
    assert session.selection.rank == 0


def test_a_layer_takes_its_best_unit_along(results, run_datasets):
    session = Session(results, {"page": "site", "network": "tiny", "site": "site02"})
    layers = run_datasets["matches"]["layer"].sel(site="site02").values
    other = next(name for name in layers if name != layers[0])
    session.act({"do": "select", "layer": other})
    assert session.selection.layer == other
    assert session.selection.rank == list(layers).index(other)
    assert f"best in {other}" in page_of(session)[1]["header"]


@pytest.mark.parametrize(
    "action",
    [
        {},
        {"do": "nothing"},
        {"do": "select", "page": "admin"},
        {"do": "select", "rank": "x"},
        {"do": "step", "name": "page", "by": 1},
        {"do": "step", "name": "site", "by": "1"},
        {"do": "export", "figure": "../x", "kind": "svg"},
        {"do": "window", "width": None},
    ],
)
def test_what_makes_no_sense_changes_nothing(untouched, action):
    before = untouched.selection.query()
    untouched.act(action)
    assert untouched.selection.query() == before


def test_the_address_says_what_is_shown_and_brings_it_back(results):
    session = Session(results, {"page": "site", "network": "tiny", "site": "site02"})
    session.act({"do": "select", "stimulus": "image0005"})
    again = Session(results)
    again.act({"do": "address", "query": session.browser.address["query"]})
    assert again.browser.address["query"] == session.browser.address["query"]
    assert page_of(again)[1]["stimulus"] == page_of(session)[1]["stimulus"]


def test_dark_recolours_the_figures_that_are_there(results):
    session = Session(results, {"page": "site"})
    figure = page_of(session)[0].cards["responses"].shown.figure
    session.act({"do": "theme"})
    page, _ = page_of(session)
    assert page.cards["responses"].shown.figure is figure
    assert page.cards["responses"].shown.mode == "dark"
    assert session.browser.theme == "dark"


def test_the_table_holds_every_rank_and_marks_the_chosen_one(results, run_datasets):
    session = Session(results, {"page": "runner-ups", "network": "tiny", "site": "site02", "rank": "4"})
    page, _ = page_of(session)
    html = page.screen.written["table"]
    r = run_datasets["matches"]["correlation"].sel(site="site02").values
    assert html.count("<tr data-do") == np.isfinite(r).sum()
    assert re.search(r'data-rank="4"[^>]*aria-selected="true"', html)
    assert f"{r[0]:.3f}" in html


def test_an_empty_store_says_what_is_missing_and_what_to_do(tmp_path):
    session = Session(Results(tmp_path / "none"))
    assert "No run yet in this store" in session.shown[0].written["told"]
    assert "unitscope demo" in session.shown[0].written["told"]


def test_a_broken_run_is_shown_with_what_to_do(tmp_path, run_datasets):
    damage(put(tmp_path, run_datasets), "matches/correlation").unlink()
    layout = Session(Results(tmp_path)).shown[0].written["told"]
    assert "A run cannot be shown" in layout
    assert "unitscope match tiny planted" in layout


def test_damage_that_shows_only_when_it_is_read_ends_in_words(tmp_path, run_datasets, monkeypatch):
    monkeypatch.setattr("engine.runs.READ_AT_ONCE", 0)  # as with groups of a real size
    damage(put(tmp_path, run_datasets), "match_responses/activation")
    layout = Session(Results(tmp_path), {"page": "site"}).shown[0].written["told"]
    assert "A run cannot be shown" in layout
    assert "match_responses" in layout


def test_damage_of_another_network_leaves_the_chosen_one(tmp_path, run_datasets, other_datasets):
    put(tmp_path, run_datasets)
    damage(put(tmp_path, other_datasets, network="other", title="Other Net"), "neural_correlation/correlation")
    session = Session(Results(tmp_path), {"page": "overview", "network": "tiny"})
    page, _ = page_of(session)
    assert set(page.cards["networks"].data["network"]) == {"Tiny Net"}
    (problem,) = session.results.problems()
    assert problem.name == "other against planted"
    assert "neural_correlation" in problem.reason


def test_an_unknown_site_in_the_address_is_told(results):
    session = Session(results, {"page": "site", "site": PAYLOAD})
    assert "no site" in session.bar.written["notice"]
    assert "<img" not in session.bar.written["notice"]
    session.act({"do": "select", "stimulus": "image0003"})
    assert session.bar.written["notice"] == ""
    assert session.selection.stimulus == "image0003"


def test_without_trials_the_page_says_so(tmp_path, run_datasets):
    put(tmp_path, {name: dataset for name, dataset in run_datasets.items() if name != "reliability"})
    _, areas = page_of(Session(Results(tmp_path), {"page": "site"}))
    assert "not available: no trials" in areas["header"]


def test_one_network_and_one_region_is_one_sentence_without_axes(tmp_path, run_datasets):
    v4 = {
        name: dataset.sel(site=dataset["region"] == "V4")
        if "site" in dataset.dims and "region" in dataset.coords
        else dataset
        for name, dataset in run_datasets.items()
    }
    sites = v4["recording"]["site"].values
    only = {name: dataset.sel(site=sites) if "site" in dataset.dims else dataset for name, dataset in v4.items()}
    only["neural_correlation"] = run_datasets["neural_correlation"].sel(region=["V4"])
    put(tmp_path, only)
    page, areas = page_of(Session(Results(tmp_path)))
    assert "Only Tiny Net was run" in areas["pair"]
    assert "pair" not in page.cards


@pytest.mark.parametrize("kind", ["svg", "pdf", "png", "csv"])
def test_every_figure_of_a_page_leaves_it(untouched, kind, monkeypatch):
    files = []
    monkeypatch.setattr(untouched.browser, "download", lambda *file: files.append(file))
    untouched.act({"do": "export", "figure": "layers", "kind": kind})
    ((name, media, content),) = files
    assert name == f"SIMULATED_tiny_planted_site02_layers.{kind}"
    assert media == exporting.KINDS[kind]
    assert len(content) > 500


@pytest.mark.parametrize("address", ["0.0.0.0", "192.168.1.7", "example.org", "::"])
def test_other_machines_are_kept_out_unless_they_are_let_in(tmp_path, address):
    with pytest.raises(SettingsError, match="allow_remote=True"):
        make_server(tmp_path, address=address, warm=False)


def test_an_error_while_models_come_leaves_the_page_able_to_take_more():
    document = Document()
    with set_curdoc(document), pytest.raises(StoreError), models_come():
        raise StoreError("damaged")
    figure = Div(text="later")
    document.add_root(figure)
    assert document.get_model_by_id(figure.id) is figure
