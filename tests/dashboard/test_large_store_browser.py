"""Chromium on stores as large as a lab makes them: 300 networks on one recording, and 2,000 sites."""

import time
from pathlib import Path

import numpy as np
import pytest

from engine import Recording, analyse, match
from tests.browsers import Visit, served
from tests.dashboard.conftest import build_run
from tests.dashboard.stores import put
from tests.engine.worked_example import N_STIMULI, images, tiny_network

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]

N_NETWORKS, N_SITES = 300, {"V4": 1200, "IT": 800}
LAYERS = (("one", 2, 2), ("two", 3, 1))
ANALYSED = (
    "map_counts",
    "validated_maps",
    "site_correlations",
    "assignment",
    "redundancy",
    "intervals",
    "pool_size",
    "layer_summary",
)
LONGEST_S = 6.0
"""From the address to the first figure; a page of twelve sites takes two to four here."""


@pytest.fixture(scope="module")
def many_networks(tmp_path_factory) -> Path:
    """300 runs of networks on one small recording."""
    root = tmp_path_factory.mktemp("networks")
    run = build_run(sites={"V4": 12, "IT": 3}, n_stimuli=40, layers=LAYERS, n_ranks=5)
    for number in range(N_NETWORKS):
        put(root, run, network=f"net{number:03d}", title=f"Network {number:03d}")
    return root


@pytest.fixture(scope="module")
def many_sites(tmp_path_factory) -> Path:
    """Two networks matched against a recording of 2,000 sites, the first with all that its pages show."""
    root, rng = tmp_path_factory.mktemp("sites"), np.random.default_rng(0)
    recording = Recording.from_arrays(
        rng.gamma(2, 5, (N_STIMULI, sum(N_SITES.values()))),
        images(),
        stimulus_ids=[f"image{k:02d}" for k in range(N_STIMULI)],
        region=[region for region, n in N_SITES.items() for _ in range(n)],
        name="wide",
    )
    for seed, name in enumerate(("one", "two")):
        run = match(tiny_network(seed, name), recording, shuffles=5, store=root, progress=False)
        for analysis in ANALYSED if name == "one" else ():
            analyse(run, analysis)
    return root


def opened(chromium, server, query: str) -> Visit:
    """Visit an address, in no longer than the limit once the store was listed."""
    began = time.monotonic()
    visit = Visit(chromium, server, query)
    print(f"{query}: {time.monotonic() - began:.1f} s")
    return visit


def test_one_of_300_networks_is_found_and_entered(chromium, many_networks):
    with served(many_networks, warm=True) as server:
        opened(chromium, server, "?page=overview").close()  # lists the store
        began = time.monotonic()
        visit = opened(chromium, server, "?page=overview")
        assert time.monotonic() - began < LONGEST_S
        visit.page.locator("button[data-menu-name=network]").click()
        visit.page.locator("input[data-filter=network]").fill("Network 217")
        visit.page.locator("[data-menu=network] button:visible", has_text="Network 217").click()
        visit.until(network="net217")
        visit.close()


def test_one_of_2000_sites_is_found_and_stepped_from(chromium, many_sites):
    with served(many_sites, warm=True) as server:
        for page in ("overview", "site", "runner-ups", "layers", "feature-maps", "population", "selection"):
            began = time.monotonic()
            visit = opened(chromium, server, f"?page={page}&network=one")
            assert time.monotonic() - began < 2 * LONGEST_S
            visit.close()
        visit = opened(chromium, server, "?page=site&region=V4")
        visit.page.keyboard.press("/")
        visit.page.get_by_role("combobox").fill("site1150")
        visit.page.keyboard.press("Enter")
        visit.until(site="site1150")
        began = time.monotonic()
        visit.page.keyboard.press("ArrowDown")
        visit.page.wait_for_function("() => new URLSearchParams(location.search).get('site') !== 'site1150'")
        print(f"next of 1,200 sites: {time.monotonic() - began:.2f} s")
        assert time.monotonic() - began < 2
        visit.close()
