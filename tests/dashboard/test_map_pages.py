"""Feature maps, Layers and Runner-ups of a run that was really made: choose, and look at what they say."""

import re
from types import SimpleNamespace
from urllib.parse import urlencode

import numpy as np
import pytest

import engine
from dashboard.results import Results
from dashboard.state import Selection
from dashboard.views import map_card, unit_images, untested_maps
from dashboard.views.feature_maps import units_at
from dashboard.views.figure_card import FigureCard
from dashboard.views.session import Session
from dashboard.views.table import ranking
from engine.analyses import validation_stimuli
from engine.store import add_group
from tests.dashboard.stores import put
from tests.engine.worked_example import activations, images, tiny_network

PLANTED = {"a": (2, 1, 3), "b": (2, 6, 6), "c": (4, 1, 3), "d": (0, 5, 0)}
"""V4 sites, and the unit of conv2, (map, y, x), whose activation each follows; two share a map, two a position."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with one run: V4 follows units of conv2, IT those of the dense layer."""
    network, root = tiny_network(), tmp_path_factory.mktemp("store")
    pictures, rng = images(120), np.random.default_rng(0)
    units = activations(network, pictures)
    conv2 = units["conv2"].reshape(len(pictures), 6, 8, 8)
    follows = [conv2[:, c, y, x] for c, y, x in PLANTED.values()] + [units["fc"][:, k] for k in range(3)]
    z = np.stack([(unit - unit.mean()) / unit.std() for unit in follows], 1)
    recording = engine.Recording.from_arrays(
        10 + z + 0.3 * rng.normal(size=z.shape),
        pictures,
        stimulus_ids=[f"image{i:03d}" for i in range(len(pictures))],
        site_ids=[*PLANTED, "e", "f", "g"],
        region=["V4"] * 4 + ["IT"] * 3,
        size_deg=8.0,
        name="planted",
    )
    run = engine.match(network, recording, progress=False, memory="1GiB", store=root)
    for name in ("map_counts", "validated_maps", "layer_summary", "redundancy"):
        engine.analyse(run, name, progress=False)
    source = SimpleNamespace(network=network, recording=recording, device="cpu", memory="1GiB", progress=None)
    found = validation_stimuli.compute(engine.open_run(run.path), source, level=1e-9, n=3)
    add_group(run, "validation_stimuli", found, {"analysis_version": 1, "analysis_settings": {}, "seed": 0})
    session = Session(Results(root), {"page": "runs", "region": "V4"})
    return SimpleNamespace(
        root=root, session=session, conv2=conv2, responses=recording.data["response"], r=_r(conv2, recording)
    )


def _r(conv2, recording):
    """r of every unit of conv2 with every V4 site, (site, channel, y, x), by numpy."""
    response = recording.data["response"].values[:, :4]
    z = [(values - values.mean(0)) / values.std(0) for values in (conv2, response)]
    return np.einsum("ncyx,ns->scyx", *z) / len(response)


def open_page(made, page, **query):
    """The one session at another address, and its page: figures are made once for all tests."""
    made.session.act({"do": "address", "query": "?" + urlencode({"page": page, "region": "V4", **query})})
    return made.session, made.session.pages[page, ""]


def text_of(page, area):
    return " ".join(re.sub(r"<[^>]*>", " ", page.screen.written[area]).split())


def chosen_of(session):
    return session.results.choose(session.selection)


def marked(page):
    """What each figure of the page marks as the selected map."""
    drawing = {name: card.shown.drawing for name, card in page.cards.items() if card.shown is not None}
    place = page.cards["validated_maps"].data.set_index("place")["channel"]
    bar = drawing["feature_maps"].marks_of("MatchSelected").columns
    names = [name for _, name in drawing["feature_maps"].axes.xticks]
    return {
        "bars": [names[int(x)] for x in (bar["left"] + bar["right"]) / 2],
        "best": [str(place[x]) for x in drawing["validated_maps"].marks_of("Selection").columns["x"]],
        "above": [str(place[x]) for x in drawing["validated_maps_sites"].marks_of("PinHead").columns["x"]],
    }


def test_the_map_of_the_selected_match_is_shown_unless_one_is_chosen(made):
    session, page = open_page(made, "feature-maps", site="c")
    assert chosen_of(session).run.layer_like("V4") == "conv2"
    assert marked(page) == {"bars": ["4"], "best": ["4"], "above": ["4"]}
    session.act({"do": "select", "feature_map": "2"})
    assert marked(page) == {"bars": ["2"], "best": ["2"], "above": ["2"]}
    assert text_of(page, "map-head").startswith("Map 2 best of conv2 for 2 sites")
    assert "feature_map=2" in session.selection.query()


def test_where_the_match_lies_elsewhere_the_best_map_is_shown(made):
    session, page = open_page(made, "feature-maps", site="a", rank="0")
    run = chosen_of(session).run
    best = made.r.max(axis=(0, 2, 3)).argmax()
    assert run.best_map("V4") == str(best)
    other = next(rank for rank in range(100) if run.layer_of("a", rank) != "conv2")
    session.act({"do": "select", "site": "a", "rank": str(other)})
    assert marked(page)["best"] == [str(best)]


def test_the_card_tells_r_and_place_of_the_map_for_every_site(made):
    session, page = open_page(made, "feature-maps", feature_map="2")
    sites = page.table("map", chosen_of(session)).set_index("site")
    for i, site in enumerate(PLANTED):
        own = made.r[i, 2]
        assert sites.loc[site, "r"] == pytest.approx(own.max(), abs=1e-6)
        assert (sites.loc[site, "y"], sites.loc[site, "x"]) == np.unravel_index(own.argmax(), own.shape)
    assert sites.index[sites["is_match"]].tolist() == sorted("ab", key=lambda site: -sites.loc[site, "r"])
    assert sites.loc[["c", "d"], "held_out"].isna().all()
    told = text_of(page, "map")
    assert told.startswith("Validated : best r ")
    assert "Match of these sites" in told
    assert "Explained best after those" in told
    assert "elsewhere" not in told


def test_the_card_shows_the_images_that_drive_the_unit_most(made):
    session, page = open_page(made, "feature-maps", site="d")
    activation = made.conv2[:, 0, 5, 0]
    best = [f"image{i:03d}" for i in np.argsort(-activation, kind="stable")[: map_card.N_IMAGES]]
    assert re.findall(r'data-stimulus="(image\d+)"', page.screen.written["map"]) == best
    session.act({"do": "select", "stimulus": best[2]})
    pressed = re.search(r'data-stimulus="(image\d+)" aria-pressed="true"', page.screen.written["map"])
    assert pressed.group(1) == best[2]


def test_images_of_an_unvalidated_map_come_from_the_list_that_tests_it(made):
    session, page = open_page(made, "feature-maps")
    table = page.table("untested", chosen_of(session))
    name, own = next(iter(table.groupby("feature_map")))
    session.act({"do": "select", "feature_map": str(name)})
    shown = re.findall(r'data-stimulus="(image\d+)"', page.screen.written["map"])
    at = own.iloc[0]
    if unit_images.row_of(chosen_of(session).run, "conv2", int(name), at["y"], at["x"]) is None:
        assert shown == own[own["kind"] == "favourite"]["stimulus"].tolist()
    assert shown


def test_a_unit_whose_responses_are_stored_nowhere_is_said_so(made):
    session, _ = open_page(made, "feature-maps")
    told = map_card._images(chosen_of(session), ("conv2", 5, 99, 99), None)
    assert "Responses of this unit are not stored" in told


def test_a_picture_is_cut_to_the_field_of_its_unit():
    style = unit_images._style(unit_images.Cut(0.75, 0.25, 0.5))
    assert style == "width:200%;left:-100.0%;top:-0.0%"
    assert unit_images._style(unit_images.Cut(0, 1, 0.25)) == "width:400%;left:-0.0%;top:-300.0%"


def test_a_tap_on_a_position_goes_through_its_sites(made):
    session, page = open_page(made, "feature-maps", site="d")
    tapped = [site for site in ("a", "c") if made.r[0, 2, 1, 3] > 0]
    for expected in sorted(tapped, key=lambda site: -made.r[list(PLANTED).index(site)].max()) * 2:
        page.go_through("(1, 3)")
        assert session.selection.site == expected
        assert session.selection.feature_map == str(PLANTED[expected][0])
    page.go_through("(3, 3)")  # nobody there
    assert session.selection.site == expected
    frame = page.cards["feature_maps_positions"].shown.drawing.marks_of("CellSelected").columns
    assert (frame["left"].tolist(), frame["top"].tolist()) == ([3], [7])


def test_the_switch_counts_runner_ups_and_stays_in_the_address(made):
    session, page = open_page(made, "feature-maps")
    assert not page.shows("feature_maps_runner_ups", chosen_of(session))  # drawn once it is seen
    session.act({"do": "select", "view": "runner-ups"})
    assert "view=runner-ups" in session.selection.query()
    data = page.cards["feature_maps_runner_ups"].data
    assert data["n_units"].sum() == data.attrs["n_units"]
    assert 'data-shows="runner-ups"' in page.screen.written["header"]
    everyone = units_at(chosen_of(session), "(1, 3)")
    assert {"a", "c"} <= set(everyone["site"])
    session.act({"do": "select", "page": "runner-ups"})
    assert session.selection.view == ""


def test_images_that_test_unvalidated_maps_are_listed_and_select(made):
    session, page = open_page(made, "feature-maps")
    chosen = chosen_of(session)
    table = page.table("untested", chosen)
    assert set(table["region"]) == {"V4"}
    written = page.screen.written["untested"]
    assert written.count("<li") == min(table["feature_map"].nunique(), 12)
    assert written.count("<img") == len(table)
    first = table.iloc[0]
    session.act({"do": "select", "feature_map": str(first["feature_map"]), "stimulus": first["stimulus"]})
    written = page.screen.written["untested"]
    assert written.count('aria-current="true"') == 1
    assert f'data-stimulus="{first["stimulus"]}" aria-pressed="true"' in written
    assert "would test" in text_of(page, "untested")


def test_where_all_maps_are_validated_there_is_nothing_to_test(made, monkeypatch):
    session, page = open_page(made, "feature-maps")
    none = page.table("untested", chosen_of(session)).iloc[:0]
    none.attrs["n_maps"] = 0
    monkeypatch.setattr(untested_maps, "listed", lambda chosen: none)
    listed = untested_maps.UntestedMaps(chosen_of(session))
    assert "nothing to test" in listed.body(chosen_of(session))
    assert "every feature map of the layer is validated" in listed.head()


def test_the_header_answers_how_many_maps_are_validated(made):
    _, page = open_page(made, "feature-maps")
    judged = page.cards["validated_maps"].data
    told = text_of(page, "header")
    assert f"validated {judged.attrs['n_validated']} of 6" in told
    assert f"chance {judged.attrs['threshold']:.2f} for the best of all maps and sites" in told
    assert "selected; none held out" in told
    assert "V4-like layer conv2 6 maps" in told


def test_maps_of_a_dense_layer_have_no_positions(made):
    session, page = open_page(made, "feature-maps", region="IT", site="e")
    assert chosen_of(session).run.layer_like("IT") == "fc"
    assert "(0, 0)" not in text_of(page, "map")


def test_a_run_without_the_analyses_says_what_would_make_them(tmp_path, run_datasets):
    put(tmp_path, run_datasets)
    session = Session(Results(tmp_path), {"page": "feature-maps"})
    page = session.pages["feature-maps", ""]
    assert "unitscope analyse" in text_of(page, "untested")
    assert "match the network again" in text_of(page, "map")
    assert page.table("map", chosen_of(session)) is None
    session.act({"do": "select", "page": "layers"})
    assert "Not computed yet" in text_of(session.pages["layers", ""], "layers-state")
    session.act({"do": "select", "page": "runner-ups"})
    assert "Effective rank not computed" in text_of(session.pages["runner-ups", ""], "alike")


def test_keys_go_through_the_feature_maps_of_the_regions_layer(made):
    session, page = open_page(made, "feature-maps", site="a")
    maps = chosen_of(session).run.maps_of("V4")
    at = maps.index(chosen_of(session).shown_map)
    by = 1 if at < len(maps) - 1 else -1
    session.act({"do": "step", "name": "feature_map", "by": by})
    assert chosen_of(session).feature_map == maps[at + by]
    assert f"Map {maps[at + by]}" in text_of(page, "map-head")
    session.act({"do": "step", "name": "feature_map", "by": 500})
    assert chosen_of(session).feature_map == maps[-1]


def test_the_card_of_a_layer_tells_its_numbers_and_its_sites(made):
    session, page = open_page(made, "layers", site="a")
    told = text_of(page, "layer")
    assert text_of(page, "layer-head").startswith("conv2 ")
    assert "6 maps of 8 × 8 384" in told
    assert f"{np.median(made.r.max(axis=(1, 2, 3))):.2f}" in told
    assert "Match of 4 V4 sites" in told
    assert "Open its feature maps" in told
    session.act({"do": "step", "name": "layer", "by": 1})
    assert text_of(page, "layer-head").startswith("fc ")
    assert "No V4 site has its match here; it matches best" in text_of(page, "layer")
    for name, role in (("layers", "SelectedRow"), ("layer_by_layer", "Selection")):
        assert not page.cards[name].shown.drawing.marks_of(role).is_empty
    sites = page.table("layer", chosen_of(session))
    assert not sites["is_match"].any()
    assert len(sites) == 4


def test_one_network_is_told_in_a_sentence_and_not_drawn(made):
    _, page = open_page(made, "layers")
    assert "match another one against planted" in text_of(page, "layers_depth-state")
    assert page.cards["layers_depth"].shown is None


def test_a_network_without_the_analysis_is_named_with_its_command(made, tmp_path, run_datasets, other_datasets):
    run = put(tmp_path, run_datasets)
    summary = engine.open_run(next((made.root / "runs").iterdir())).dataset("layer_summary")
    add_group(run, "layer_summary", summary, {"analysis_version": 1, "analysis_settings": {}, "seed": 0})
    other = put(tmp_path, other_datasets, network="other", title="Other Net")
    results = Results(tmp_path)
    told = FigureCard("layers_depth", results, least_runs=2)._why_not(results.choose(Selection(network="tiny")))
    assert told.startswith("It compares networks, and Tiny Net alone has “")
    assert told.endswith(f"Next: unitscope analyse {other.digest[:12]} layer_summary.")


def test_the_table_gives_r_of_the_same_unit_in_each_half(made):
    session, page = open_page(made, "runner-ups", site="b")
    chosen = chosen_of(session)
    table = ranking(chosen)
    fold = chosen.run.dataset("folds")["fold"].values
    unit, response = made.conv2[:, 2, 6, 6], made.responses.sel(site="b").values
    for i, name in enumerate(("half_A", "half_B")):
        expected = np.corrcoef(unit[fold == i], response[fold == i])[0, 1]
        assert table[name].iloc[0] == pytest.approx(expected, abs=1e-6)
    assert "half A" in text_of(page, "table")
    told = text_of(page, "alike")
    known = table[["half_A", "half_B"]].dropna()  # a unit can be silent in one half
    agreement = np.corrcoef(known["half_A"], known["half_B"])[0, 1]
    assert f"over the ranks {agreement:.2f}" in told
    assert re.search(r"Effective rank \d+\.\d of 100", told)


def test_redundancy_takes_the_place_of_the_counts(made):
    session, page = open_page(made, "runner-ups", site="b", view="redundancy")
    assert page.cards["redundancy"].shown.drawing.marks_of("RowFrame").columns["bottom"].size == 1
    assert not page.shows("runner-ups", chosen_of(session))
    assert 'aria-pressed="true">redundancy' in page.screen.written["redundancy-head"]
