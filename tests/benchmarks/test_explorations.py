"""Large explorations: r of all units against one forward pass, and zooming in millions of points in Chromium.

Run by hand, quiet machine: ``pytest tests/benchmarks/test_explorations.py -m benchmark -s``. It takes the run of the
built-in world from your store (``unitscope demo`` makes it); the zoom needs ``chromium`` and playwright.
"""

import time

import numpy as np
import pytest

import engine
from dashboard.figures import unit_correlations
from dashboard.figures.layer_strips import View
from engine.activations import input_batches, recorded
from engine.allocation import freed_memory_kept
from engine.correlating import correlate_units
from engine.errors import EngineError
from engine.matching import exact_float32, fixed_batch
from engine.pooling import fast_max_pooling
from engine.sources import Source
from tests.browsers import entry, served

pytestmark = [pytest.mark.benchmark, pytest.mark.slow, pytest.mark.timeout(1800)]

NETWORK = "squeezenet1_1"
N_ZOOMS = 60
WARMED_AFTER_S = 15
"""What is warmed beside the server is ready then."""
FIND = """() => {
  const models = [...(window.Bokeh?.documents[0]?.all_models ?? [])]
  const figure = models.find((m) => m.type == "Figure" && m.tags?.[0]?.layers)
  const source = figure?.renderers.find((r) => r.glyph.type == "Image").data_source
  if (!source || source.data.image[0].shape[0] < 2) return false
  window.drawn = 0
  source.properties.data.change.connect(() => requestAnimationFrame(() => { window.drawn = performance.now() }))
  return true
}"""
PLACE = """() => {
  const find = (node) => {
    for (const e of node.querySelectorAll("*")) {
      if (e.matches("[data-card=unit_correlations] [data-slot]")) return e
      const found = e.shadowRoot && find(e.shadowRoot)
      if (found) return found
    }
    return null
  }
  const e = find(document)
  e.scrollIntoView({block: "center"})
  const {x, y, width, height} = e.getBoundingClientRect()
  return {x: x + width * 0.55, y: y + height * 0.5}
}"""


@pytest.fixture(scope="module")
def matched() -> tuple:
    """The run of the built-in world in the store, its network and its recording."""
    try:
        run = engine.open_run(f"{NETWORK}@builtin")
    except EngineError as error:
        pytest.skip(f"no run of the built-in world: {error}")
    return run, engine.load_network(NETWORK), engine.open_recording("builtin")


def test_all_units_take_little_more_than_a_forward_pass(matched):
    run, network, recording = matched
    source = Source(run, network=network, recording=recording)
    sites = run.dataset("recording")
    took: dict[str, list[float]] = {"forward": [], "1 site": [], "8 sites": [], "all sites": []}
    for _ in range(3):
        took["forward"].append(timed(lambda: forward(network, recording)))
        for label, n in (("1 site", 1), ("8 sites", 8), ("all sites", sites.sizes["site"])):
            took[label].append(timed(lambda n=n: correlate_units(source, sites.isel(site=slice(n)))))
    medians = {name: float(np.median(values)) for name, values in took.items()}
    for name, seconds in medians.items():
        print(f"{name}: {seconds:.2f} s, {seconds / medians['forward']:.2f} of decoding and a forward pass")
    assert medians["1 site"] < 2.5 * medians["forward"]


def test_the_server_counts_millions_of_units_in_little_time(matched):
    run, network, recording = matched
    r = engine.analyse(run, "unit_correlations", network=network, recording=recording, site=site_of(run))
    groups = (run.dataset(name) for name in ("layers", "matches", "null", "recording"))
    told = unit_correlations.about(*groups, site_of(run))
    values, rng = r["correlation"].values[0], np.random.default_rng(0)
    unit_correlations.cells(values, told, View((0.0, 20.0), (-0.3, 1.0), 1080, 280))
    took = []
    for _ in range(N_ZOOMS):
        low, width = rng.uniform(0, 19), 10 ** rng.uniform(-1, 1.3)
        view = View((low, min(low + width, 20.0)), (-0.3, 1.0), 1080, 280)
        took.append(timed(lambda view=view: unit_correlations.cells(values, told, view)))
    print(f"{len(values):,} units counted: {told_of(took)}")
    assert np.quantile(took, 0.95) < 0.25


@pytest.mark.browser
def test_zooming_in_all_units_stays_under_a_second(chromium, matched):
    run, network, recording = matched
    engine.analyse(run, "unit_correlations", network=network, recording=recording, site=site_of(run))
    with served(run.path.parent.parent, warm=True) as server:
        time.sleep(WARMED_AFTER_S)
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        page.goto(entry(server, f"?page=site&site={site_of(run)}"))
        page.wait_for_function(FIND, timeout=60_000)
        place = page.evaluate(PLACE)
        page.mouse.click(place["x"], place["y"])
        page.wait_for_timeout(1500)
        took = [zoomed(page, -240 if (k // 6) % 2 == 0 else 240) for k in range(N_ZOOMS)]
        page.close()
    print(f"zoom in Chromium, software rendering: {told_of(took)}")
    assert np.quantile(took, 0.95) < 1.0


def zoomed(page, by: int) -> float:
    """Turn the wheel, and return the seconds until the cells that were counted for it are drawn."""
    begun = page.evaluate("window.drawn = 0, performance.now()")
    page.mouse.wheel(0, by)
    page.wait_for_function("window.drawn > 0", timeout=10_000)
    took = (page.evaluate("window.drawn") - begun) / 1000
    page.wait_for_timeout(120)
    return took


def forward(network: engine.Network, recording: engine.Recording) -> None:
    """Decode all images and pass them through the network, its last layer recorded and thrown away."""
    ids, batch = np.array(recording.stimuli.ids), fixed_batch(next(network.module.parameters()).device)
    spans = [slice(k, min(k + batch, len(ids))) for k in range(0, len(ids), batch)]
    last = network.layers["name"].iloc[-1]
    plain = recorded(network, [last], lambda *_: None)
    with exact_float32(), freed_memory_kept(), fast_max_pooling(network.module), plain as run_forward:
        for _, inputs in input_batches(network, recording.stimuli, ids, spans):
            run_forward(inputs)


def site_of(run: engine.Run) -> str:
    return str(run.dataset("recording")["site"].values[11])


def timed(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def told_of(took: list[float]) -> str:
    return f"p50 {1000 * np.median(took):.0f} ms, p95 {1000 * np.quantile(took, 0.95):.0f} ms, n = {len(took)}"
