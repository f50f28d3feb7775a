"""The page of a site without a browser: fields over images, both ends of the favourites, two side by side."""

import base64
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from dashboard.figures.drawing import Shown
from dashboard.results import Results
from dashboard.unit_fields import Sight, sight_of
from dashboard.views import field_view
from dashboard.views.session import Session
from tests.dashboard.stores import put

SIDE = 8.0
N_CELLS = 16
SD = 0.6


def page_of(session: Session):
    """The page that is shown, and its HTML."""
    page = next(page for page in session.pages.values() if page.screen is not None and page.screen.visible)
    return page, page.screen.written


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).replace("&#x27;", "'").split())


def fields(run, *, maps: bool = True, unit_of_length: str = "degrees", silent: int | None = None) -> xr.Dataset:
    """Every match looks with a Gaussian at (x, y) = (1, 2) degrees, and every site, with maps, at (1, 1)."""
    sites = run["recording"]["site"].values
    best = run["matches"].isel(rank=0)
    y = (0.5 - (np.arange(N_CELLS) + 0.5) / N_CELLS) * SIDE
    x = -y
    energy = np.exp(-((x - 1) ** 2 + (y[:, None] - 2) ** 2) / (2 * SD**2))
    live = np.full((2, len(sites)), 16)
    live[0] = 0
    if silent is not None:
        live[:, silent] = 0
    shape = (2, len(sites))
    known = np.where(live > 0, 1.0, np.nan)
    rms = np.broadcast_to(np.sqrt(energy), (*shape, N_CELLS, N_CELLS)) * known[:, :, None, None]
    found = {
        "rms": (("start", "site", "field_y", "field_x"), rms.astype(np.float32)),
        "gradient": (("start", "site", "field_y", "field_x"), rms.astype(np.float32)),
        "live": (("start", "site"), live),
        "n_starts": ("start", np.array([64, 16])),
        "layer": ("site", best["layer"].values),
        "unit": ("site", best["unit"].values),
        **{name: (("start", "site"), value * known) for name, value in
           {"centroid_x": 1.0, "centroid_y": 2.0, "sd_major": SD, "sd_minor": SD, "angle": 0.0}.items()},
        **{f"box_{name}": ("site", np.full(len(sites), value)) for name, value in
           {"left": -1.0, "right": 3.0, "top": 4.0, "bottom": 0.0}.items()},
    }  # fmt: skip
    if maps:
        density = np.exp(-((x - 1) ** 2 + (y[:, None] - 1) ** 2) / 2)
        found["density"] = ("site", "field_y", "field_x"), np.broadcast_to(density, (len(sites), *density.shape)).copy()
        found["distance"] = ("start", "site"), 1.0 * known
        found["energy_inside"] = ("start", "site"), 0.25 * known
    attrs = {"unit_of_length": unit_of_length, "alignment": "" if maps else "not available"}
    coords = {"site": sites, "start": ["noise", "driving images"], "field_y": y, "field_x": x}
    return xr.Dataset(found, coords, attrs)


@pytest.fixture(scope="module")
def store(tmp_path_factory, run_datasets, other_datasets) -> Path:
    """Two networks on one recording; only the first has fields."""
    root = tmp_path_factory.mktemp("store")
    put(root, {**run_datasets, "receptive_fields": fields(run_datasets)})
    put(root, other_datasets, network="other", title="Other Net")
    return root


@pytest.fixture(scope="module")
def results(store) -> Results:
    return Results(store)


def visit(results, **query: str) -> Session:
    return Session(results, {"page": "site", "network": "tiny", "site": "site02", **query})


def sight(results, **query: str) -> Sight:
    found = sight_of(results.choose(visit(results, **query).selection))
    assert found is not None
    return found


def test_the_outline_lies_where_the_energy_is_a_fiftieth_of_its_peak(results):
    field = sight(results).unit
    (outline,) = field.outline
    centre = np.array([0.5 + 1 / SIDE, 0.5 - 2 / SIDE])
    blurred = SD * np.sqrt(1 + 0.3**2)
    radius = blurred * np.sqrt(2 * np.log(50)) / SIDE
    inside = outline[outline[:, 1] > 0.02]  # the rest is cut at the image's upper edge
    np.testing.assert_allclose(np.hypot(*(inside - centre).T), radius, rtol=0.06)
    np.testing.assert_allclose(np.hypot(*(field.ellipse - centre).T), SD / SIDE, rtol=1e-6)


def test_the_panel_tells_the_field_in_degrees_and_the_site_beside_it(results):
    _, areas = page_of(visit(results))
    told = text_of(areas["stimulus"])
    assert "centre (+1.0, +2.0)°" in told
    assert "radius 0.6° at 1 SD" in told
    assert "gradients of 16 images" in told
    assert "site's field: 1.0° away, 25% of the unit's inside" in told
    assert areas["stimulus"].count('class="contour"') == 3


def test_a_site_without_maps_is_said_to_have_no_field(tmp_path, run_datasets):
    put(tmp_path, {**run_datasets, "receptive_fields": fields(run_datasets, maps=False)})
    _, areas = page_of(visit(Results(tmp_path)))
    assert "site's field: not recorded" in text_of(areas["stimulus"])
    assert areas["stimulus"].count('class="contour"') == 2


def test_a_unit_without_gradient_shows_all_that_it_can_see(tmp_path, run_datasets):
    put(tmp_path, {**run_datasets, "receptive_fields": fields(run_datasets, silent=2)})
    results = Results(tmp_path)
    field = sight(results).unit
    assert field.is_theoretical
    assert field.facts["box"] == (4.0, 4.0)
    told = text_of(page_of(visit(results))[1]["stimulus"])
    assert "all it can see: 4.0 × 4.0°" in told
    assert "no gradient: silent at every start" in told


def test_fields_in_pixels_of_the_input_are_not_placed_on_the_image(tmp_path, run_datasets):
    found = fields(run_datasets, maps=False, unit_of_length="network input pixels")
    put(tmp_path, {**run_datasets, "receptive_fields": found})
    _, areas = page_of(visit(Results(tmp_path)))
    assert "Fields are known in pixels of the network's input only" in text_of(areas["stimulus"])
    assert "<path" not in areas["stimulus"]


def test_without_fields_the_panel_says_what_computes_them(results):
    _, areas = page_of(visit(results, network="other", view="field"))
    assert "unitscope analyse" in text_of(areas["stimulus"])
    assert "receptive_fields" in text_of(areas["stimulus"])
    assert 'aria-disabled="true"' in areas["favourites"]
    assert "thumbs field" not in areas["favourites"]


def test_a_runner_up_that_is_no_sites_match_has_no_field_and_says_so(results):
    session = visit(results)
    for rank in range(1, 12):
        session.act({"do": "select", "rank": str(rank)})
        if sight_of(results.choose(session.selection)).unit is None:
            break
    assert "this runner-up is no site's match" in text_of(page_of(session)[1]["stimulus"])


def test_v_shows_what_lies_in_the_field(results):
    session = visit(results)
    assert "thumbs ringed" in page_of(session)[1]["favourites"]
    session.act({"do": "toggle-view"})
    areas = page_of(session)[1]
    assert session.selection.view == "field"
    assert areas["favourites"].count("thumbs field") == 2
    place = re.search(r"--x:([\d.]+);--y:([\d.]+);--r:([\d.]+)", areas["favourites"])
    field = sight(results).unit
    np.testing.assert_allclose([float(value) for value in place.groups()], [*field.centre, field.radius], atol=1e-3)
    session.act({"do": "select", "view": ""})
    assert "thumbs field" not in page_of(session)[1]["favourites"]


def test_the_weakest_images_are_those_with_the_lowest_responses(results, run_datasets):
    session = visit(results)
    session.act({"do": "select", "favourites": "weakest"})
    html = page_of(session)[1]["favourites"]
    shown = re.findall(r'data-stimulus="([^"]*)" data-list="site"', html)
    response = run_datasets["recording"]["response"].sel(site="site02").to_series()
    assert len(shown) == 10
    assert response[shown].max() <= np.sort(response.to_numpy())[9]
    unit = page_of(session)[0].cards["responses"].data
    n_silent = int((unit["unit_sd"] == unit["unit_sd"].min()).sum())
    assert f"weakest, SD, {n_silent} tied" in text_of(html)


@pytest.mark.parametrize(
    ("query", "second"),
    [({"beside_site": "site03"}, ("tiny", "site03")), ({"beside_network": "other"}, ("other", "site02"))],
)
def test_two_stand_side_by_side_on_the_same_axes_with_the_same_image(results, query, second):
    session = visit(results, **query)
    page, areas = page_of(session)
    assert page.variant == "beside"
    cards = page.cards
    assert cards["responses-beside"].data.attrs["site"] == second[1]
    run = next(run for run in results.runs("planted") if run.network == second[0])
    r = float(run.dataset("matches")["correlation"].sel(site=second[1]).isel(rank=0))
    assert f"{r:.2f}" in text_of(areas["who-beside"])
    for name in ("responses", "layers"):
        first, other = (cards[f"{name}{suffix}"].shown.drawing.axes for suffix in ("", "-beside"))
        assert first.ylim == other.ylim
    assert cards["responses"].shown.drawing.axes.xlim == cards["responses-beside"].shown.drawing.axes.xlim
    session.act({"do": "select", "stimulus": "image0007"})
    for suffix in ("", "-beside"):
        columns = cards[f"responses{suffix}"].shown.drawing.marks_of("Selection").columns
        row = cards[f"responses{suffix}"].data.set_index("stimulus").loc["image0007"]
        assert (columns["x"][0], columns["y"][0]) == (row["site_sd"], row["unit_sd"])


def test_a_comparison_ends_with_close_and_with_escape(results):
    for action in ({"do": "select", "beside_site": "", "beside_network": ""}, {"do": "clear"}):
        session = visit(results, beside_site="site03")
        session.act(action)
        page, _ = page_of(session)
        assert page.variant == ""
        assert "beside" not in session.browser.address["query"]


def test_swap_makes_the_second_the_first(results):
    session = visit(results, beside_site="site03")
    swap = re.search(r'<button[^>]*data-site="([^"]*)" data-beside-site="([^"]*)">Swap', page_of(session)[1]["header"])
    session.act({"do": "select", "site": swap[1], "beside_site": swap[2]})
    assert (session.selection.site, session.selection.beside_site) == ("site03", "site02")


def test_the_menu_offers_the_other_networks_and_every_site(results):
    html = page_of(visit(results))[1]["compare"]
    assert re.findall(r'data-beside-network="([^"]*)"', html) == ["other"]
    assert set(re.findall(r'data-beside-site="([^"]*)"', html)) == {f"site{i:02d}" for i in range(7)}


def test_the_second_sides_figures_leave_the_page_under_its_name(results, monkeypatch):
    session, files = visit(results, beside_network="other"), []
    monkeypatch.setattr(session.browser, "download", lambda *file: files.append(file))
    session.act({"do": "export", "figure": "responses-beside", "kind": "csv"})
    session.act({"do": "export", "figure": "favourites", "kind": "csv"})
    assert [file[0] for file in files] == [
        "SIMULATED_other_planted_site02_responses-beside.csv",
        "SIMULATED_tiny_planted_site02_favourites.csv",
    ]
    above = [base64.b64decode(file[2]).decode().partition("\n")[0] for file in files]
    assert all(line.startswith("# planted (SIMULATED)") for line in above)
    assert ["Other Net" in line for line in above] == [True, False]


def test_the_header_gives_the_interval_of_r_where_it_was_computed(tmp_path, run_datasets):
    low = xr.DataArray(np.linspace(0.1, 0.2, 12), {"site": run_datasets["recording"]["site"].values}, ["site"])
    intervals = xr.Dataset({"correlation_low": low, "correlation_high": low + 0.5})
    put(tmp_path / "with", {**run_datasets, "intervals": intervals})
    put(tmp_path / "without", run_datasets)
    at = {"page": "site", "site": "site02"}
    headers = [
        text_of(page_of(Session(Results(tmp_path / store), {**at, "rank": rank}))[1]["header"])
        for store, rank in (("with", "0"), ("with", "1"), ("without", "0"))
    ]
    told = f"[{float(low.sel(site='site02')):.2f}, {float(low.sel(site='site02')) + 0.5:.2f}]"
    assert [told in header for header in headers] == [True, False, False]
    assert "runner-up 1" in headers[1]


def test_ticks_of_an_image_are_whole_degrees_on_both_sides_of_its_centre():
    assert re.findall(r">([^<]*°)<", field_view.over_image(field_view.tag("img"), None, {}, 8.0)) == [
        "−2°", "0°", "2°", "−2°", "0°", "2°",
    ]  # fmt: skip


def test_no_step_makes_a_figure_anew(tmp_path, run_datasets, monkeypatch):
    put(tmp_path, run_datasets)
    session = Session(Results(tmp_path), {"page": "site"})
    chosen = session.results.choose(session.selection)
    made, make = [], Shown.__init__

    def noted(shown, drawing, *args, **options) -> None:
        made.append([mark.role for mark in drawing.marks])
        make(shown, drawing, *args, **options)

    monkeypatch.setattr(Shown, "__init__", noted)
    best = chosen.run.sites(chosen.region)["r"]
    assert best.max() > 0.6 > best.min()  # the slope's note stands on either side of its line
    for site in best.index:
        session.controls.select(site=site)
        session.controls.select(rank=1)
    assert made == []


def test_a_browser_gets_the_page_at_once_and_the_figures_in_turn(tmp_path, run_datasets):
    put(tmp_path, run_datasets)
    whole = page_of(Session(Results(tmp_path), {"page": "site"}))[0]
    page, _ = page_of(Session(Results(tmp_path), {"page": "site"}, in_turn=True))
    drawn = lambda: {name for name, card in page.cards.items() if card.shown is not None}  # noqa: E731
    busy = lambda: {name for name, html in page.shown.written.items() if "aria-busy" in html}  # noqa: E731
    assert drawn() == set()
    assert busy() == {"responses-state", "rail-state", "layers-state", "units-state"}
    page.draw_one()
    assert drawn() == {"responses"}
    assert busy() == {"rail-state", "layers-state", "units-state"}
    told = page.shown.written
    for name in ("layers", "units"):
        assert text_of(told[f"{name}-head"]) == text_of(whole.shown.written[f"{name}-head"])
        page.draw(name)
        marks, expected_marks = (one.cards[name].shown.drawing.marks for one in (page, whole))
        for mark, expected in zip(marks, expected_marks, strict=True):
            np.testing.assert_equal(dict(mark.columns), dict(expected.columns))
        assert "aria-busy" not in page.shown.written[f"{name}-state"]


def test_what_is_exported_before_it_was_drawn_is_drawn_first(tmp_path, run_datasets, monkeypatch):
    put(tmp_path, run_datasets)
    session, saved = Session(Results(tmp_path), {"page": "site"}, in_turn=True), []
    monkeypatch.setattr(session.browser, "download", lambda name, *_: saved.append(name))
    session.act({"do": "export", "figure": "layers", "kind": "svg"})
    assert len(saved) == 1
