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
from tests.browsers import SHOWN, WCAG, entry, served
from tests.engine.worked_example import activations, images, tiny_network

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

WIDER = """() => [...document.querySelectorAll('*')].flatMap(function walk(e) {
  const inside = e.shadowRoot ? [...e.shadowRoot.querySelectorAll('*')].flatMap(walk) : [];
  const is_out = e.matches('.card, .header > *, .bar > *, h1, h2') && e.offsetParent
    && e.getBoundingClientRect().right > innerWidth + 1;
  return is_out ? [`${e.tagName} ${e.className} ${e.textContent.slice(0, 40)}`, ...inside] : inside;
})"""


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
