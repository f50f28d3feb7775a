"""Every page in Chromium, with all analyses of a small run and with none: clean, in the window, accessible."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe

import engine
from dashboard.state import PAGES
from dashboard.views.keys import GO
from engine.analyses import TITLES
from tests.browsers import SHOWN, WCAG, Visit, entry, served
from tests.engine.worked_example import activations, images, tiny_network

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

WIDER = """() => [...document.querySelectorAll('*')].flatMap(function walk(e) {
  const inside = e.shadowRoot ? [...e.shadowRoot.querySelectorAll('*')].flatMap(walk) : [];
  const is_out = e.matches('.card, .header > *, .bar > *, h1, h2') && e.offsetParent
    && e.getBoundingClientRect().right > innerWidth + 1;
  return is_out ? [`${e.tagName} ${e.className} ${e.textContent.slice(0, 40)}`, ...inside] : inside;
})"""

# A figure by the label of its y axis, once the browser has laid it out: where its marks can be hit, (key, px from its
# corner), what is written in it, and the label of its x axis.
FIGURE = """(axis) => {
  const models = [...Bokeh.documents[0].all_models], named = (a) => a?.axis_label?.text ?? a?.axis_label;
  const is_hit = ({data_source}) => data_source?.data?.key && data_source.data.left;
  const figures = models.filter((m) => m.type === 'Figure' && m.renderers.some(is_hit));
  const figure = figures.find((m) => named([...m.left][0]) === axis);
  if (!figure?.inner_width) return null;
  const {data_source} = figure.renderers.find(is_hit);
  const [key, ...sides] = ['key', 'left', 'right', 'bottom', 'top'].map((name) => [...data_source.get_column(name)]);
  const {x_range, y_range, inner_width, inner_height, min_border_left, min_border_top} = figure;
  const along = (range, low, high) => ((low + high) / 2 - range.start) / (range.end - range.start);
  const hits = key.map((name, i) => {
    const [left, right, bottom, top] = sides.map((side) => side[i]);
    return [String(name), min_border_left + inner_width * along(x_range, left, right),
            min_border_top + inner_height * (1 - along(y_range, bottom, top))];
  });
  const texts = figure.renderers.flatMap((r) => [...(r.data_source.data.text ?? [])]);
  return {hits, texts, label: named([...figure.below][0])};
}"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with every analysis that there can be, and one of the untrained network with none."""
    root, network, pictures = tmp_path_factory.mktemp("store"), tiny_network(), images(96)
    rng = np.random.default_rng(0)
    units = np.concatenate([values.reshape(len(pictures), -1) for values in activations(network, pictures).values()], 1)
    follows = units[:, rng.choice(np.flatnonzero(units.std(0) > 0), 9, replace=False)]
    z = (follows - follows.mean(0)) / follows.std(0)
    recording = engine.Recording.from_arrays(
        np.stack([10 + z + 0.6 * rng.normal(size=z.shape) for _ in range(4)], 2),
        pictures,
        stimulus_ids=[f"image{k:02d}" for k in range(len(pictures))],
        region=["V4"] * 5 + ["IT"] * 4,
        size_deg=8.0,
        name="planted",
        stimulus_coords={"category": [f"kind{k % 4}" for k in range(len(pictures))]},
    )
    quiet = {"progress": False, "memory": "1GiB", "store": root}
    run = engine.match(network, recording, **quiet)
    other = engine.match(tiny_network(1, "tiny (random weights, seed 1)"), recording, **quiet)
    settings = {
        "comparison": {"other": other.digest},
        "decoding": {"runs": 2, "transfer_runs": 2},
        "unit_correlations": {"site": str(recording.data["site"].values[0])},
    }
    for name in TITLES:
        engine.analyse(run, name, network=network, recording=recording, progress=False, **settings.get(name, {}))
    return root


@pytest.fixture(scope="module")
def server(store) -> Iterator:
    with served(store) as server:
        yield server


@pytest.mark.parametrize(
    ("network", "theme", "width"),
    [
        ("tiny", "light", 1440),
        pytest.param("tiny", "dark", 1920, marks=pytest.mark.slow),
        pytest.param("tiny (random weights, seed 1)", "dark", 900, marks=pytest.mark.slow),
    ],
)
def test_every_page_is_clean_in_the_window_and_accessible(chromium, server, network, theme, width):
    """From page to page by its key, as a visitor goes who cannot use a mouse."""
    wrong, outside, found = [], [], {}
    address = f"http://127.0.0.1:{server.port}/"
    shown = chromium.new_page(viewport={"width": width, "height": 900})
    shown.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
    shown.on("pageerror", lambda error: wrong.append(str(error)))
    shown.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:")) else outside.append(r.url))
    shown.goto(entry(server, f"?page=overview&theme={theme}&network={network}"))
    for letter, page in GO.items():
        shown.locator("[data-page]").first.wait_for(timeout=30_000)
        shown.keyboard.press("g")
        shown.keyboard.press(letter.lower())
        shown.locator(f".page[data-page={page}]").wait_for(timeout=30_000)
        shown.wait_for_timeout(500)
        assert shown.evaluate(SHOWN) == [[page, True]]
        broken = Axe().run(shown, options=WCAG).response["violations"]
        told = {f"{v['id']}: {v['help']}": [node["html"][:120] for node in v["nodes"][:3]] for v in broken}
        if told or (wider := shown.evaluate(WIDER)):
            found[page] = told or wider
    shown.close()
    assert (wrong, outside, found) == ([], [], {})
    assert set(GO.values()) == set(PAGES)


def test_a_tap_on_a_map_and_on_a_position_is_followed_by_the_other_views(chromium, server, store):
    visit = Visit(chromium, server, "?page=feature-maps&network=tiny&recording=planted&region=V4")
    figure = figure_of(visit, "Best r with any site")
    shown = visit.page.locator("[data-area=map-head] h2").inner_text()
    channel, x, y = next(hit for hit in figure["hits"] if f"Map {hit[0]}" != shown)
    tap(visit, "validated_maps", x, y)
    visit.until(feature_map=channel)
    visit.sees(f"Map {channel}", "[data-area=map-head]")
    followed(visit, channel)

    figure = figure_of(visit, "Row")
    run = engine.open_run("tiny@planted", store)
    is_v4 = run.dataset("recording")["region"].values == "V4"
    best = run.dataset("layer_matches").sel(layer=figure["label"].removeprefix("Column in the maps of "))
    best = best.isel(rank=0, site=is_v4)
    elsewhere = best.isel(site=best["channel"].values != int(channel))
    taken = [f"({y}, {x})" for y, x in zip(elsewhere["y"].values, elsewhere["x"].values, strict=True)]
    position, x, y = next(hit for hit in figure["hits"] if hit[0] in taken)
    tap(visit, "feature_maps_positions", x, y)
    visit.page.wait_for_function(
        "before => new URLSearchParams(location.search).get('feature_map') !== before", arg=channel
    )
    site, channel = visit.chosen("site"), visit.chosen("feature_map")
    there = best.sel(site=site)
    assert (f"({there['y'].item()}, {there['x'].item()})", str(there["channel"].item())) == (position, channel)
    visit.sees(f"Map {channel}", "[data-area=map-head]")
    visit.sees(site, "[data-area=map]")
    followed(visit, channel)
    visit.close()


def tap(visit: Visit, figure: str, x: float, y: float) -> None:
    canvas = visit.page.locator(f"[data-slot={figure}] canvas").first
    canvas.scroll_into_view_if_needed()
    frame = canvas.bounding_box()
    visit.page.mouse.click(frame["x"] + x, frame["y"] + y)


def figure_of(visit: Visit, axis: str) -> dict:
    return visit.page.wait_for_function(FIGURE, arg=axis, timeout=15_000).json_value()


def followed(visit: Visit, channel: str) -> None:
    """The selected map is named in the figure of all maps, as the browser holds it."""
    visit.page.wait_for_function(
        f"([axis, name]) => ({FIGURE})(axis)?.texts.includes(name)",
        arg=["Best r with any site", f"map {channel}"],
        timeout=15_000,
    )
