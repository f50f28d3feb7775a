"""Fields of matched units, of sites, and whether they align: against gradients taken one by one, and planted places."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import engine
from engine.analyses import receptive_fields
from engine.analyses.receptive_fields import (
    DRIVING,
    NO_DEGREES,
    NO_MAPS,
    NO_PIXELS,
    averaged,
    compare_pairs,
    driving_images,
    frame_of,
)
from engine.errors import SettingsError
from engine.gradients import receptive_fields as gradients
from engine.preprocessing import Preprocessing
from engine.starts import noise_starts, stimulus_starts
from engine.store import add_group

SIDE, SIZE_DEG, N_STIMULI = 80, 8.0, 48
SQUARES = np.arange(-3.5, 4)
PLACES = [(0, 1), (1, 4), (3, 2), (4, 4), (2, 0), (1, 1)]
"""(y, x) of the unit of each site, in a map of 5 x 5."""


class Local(nn.Module):
    """Five by five places that each see a sixth of the image, rectified; and a layer that is always silent."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 12, stride=7)
        self.relu = nn.ReLU()
        nn.init.constant_(self.conv.bias, 0.0)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.relu(self.conv(images))


def preprocess() -> Preprocessing:
    return Preprocessing(resize=(40, 40), crop=None, scale=1 / 64, mean=(2.0,) * 3, sd=(1.0,) * 3)


def make(tmp_path_factory, through=None):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = Local()
    network = engine.Network.from_module(module, through or preprocess(), name="local", image_size=(SIDE, SIDE))
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (N_STIMULI, 10, 10, 3)).astype(np.uint8).repeat(8, 1).repeat(8, 2)
    with torch.inference_mode():
        maps_of = module(torch.stack([network.preprocess(picture) for picture in pictures])).numpy()
    response = np.stack([maps_of[:, k % 4, y, x] for k, (y, x) in enumerate(PLACES)], axis=1)
    response = np.concatenate([response, np.ones((N_STIMULI, 1))], axis=1)
    ids, sites = [f"i{k:02d}" for k in range(N_STIMULI)], [f"s{k}" for k in range(7)]
    centre = (np.array([*PLACES, (2, 2)]) * 7 + 6) / 40 - 0.5
    at_y, at_x = -centre[:, 0] * SIZE_DEG, centre[:, 1] * SIZE_DEG
    far = (SQUARES[:, None] - at_y[:, None, None]) ** 2 + (SQUARES - at_x[:, None, None]) ** 2
    coords = {"site": sites, "rf_y": SQUARES, "rf_x": SQUARES}
    rf_map = xr.DataArray(np.exp(-far / 2), coords, ("site", "rf_y", "rf_x"))
    recording = engine.Recording.from_arrays(
        response,
        pictures,
        stimulus_ids=ids,
        site_ids=sites,
        region=["V4"] * 5 + ["IT"] * 2,
        size_deg=SIZE_DEG,
        rf_map=rf_map,
    )
    run = engine.match(network, recording, top=2, shuffles=2, progress=False, store=tmp_path_factory.mktemp("store"))
    return run, SimpleNamespace(network=network, recording=recording, device="cpu", memory="1GiB", progress=None)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return make(tmp_path_factory)


@pytest.fixture(scope="module")
def computed(planted):
    return receptive_fields.compute(*planted, seed=5, starts=8, driving=4)


def test_gradients_are_those_of_the_match_at_noise_and_at_its_own_images(planted, computed):
    run, source = planted
    network, stimuli = source.network, source.recording.stimuli
    drawn = driving_images(run, 4, np.random.default_rng([5, 1]))
    for site in (0, 3):
        unit = [(str(computed["layer"].values[site]), int(computed["unit"].values[site]))]
        by_start = (
            noise_starts(network, stimuli, n=8, seed=5),
            stimulus_starts(network, stimuli, drawn[site].tolist()),
        )
        for start, starts in enumerate(by_start):
            expected = gradients(network, unit, starts=starts).isel(unit=0)
            one = computed.isel(start=start, site=site)
            np.testing.assert_allclose(one["gradient"], averaged(expected["gradient"].mean("colour").values), atol=1e-6)
            energy = averaged(expected["rms"].values.astype(float) ** 2)
            np.testing.assert_allclose(one["rms"], np.sqrt(energy), atol=1e-6)
            assert int(one["live"]) == int(expected["live"])


def test_every_image_that_drives_a_unit_has_a_gradient(computed):
    assert (computed["live"].sel(start=DRIVING).values[:6] == 4).all()
    assert computed["n_starts"].values.tolist() == [8, 4]


def test_fields_lie_where_the_units_were_planted_in_degrees(computed):
    centre = ((np.array(PLACES) * 7 + 6) / 40 - 0.5) * SIZE_DEG
    found = computed.sel(start=DRIVING).isel(site=slice(0, 6))
    np.testing.assert_allclose(found["centroid_y"], -centre[:, 0], atol=0.25)
    np.testing.assert_allclose(found["centroid_x"], centre[:, 1], atol=0.25)
    half = 6 / 40 * SIZE_DEG
    for side, at in (("top", -centre[:, 0] + half), ("bottom", -centre[:, 0] - half)):
        np.testing.assert_allclose(found[f"box_{side}"], at, atol=1e-6)
    for side, at in (("left", centre[:, 1] - half), ("right", centre[:, 1] + half)):
        np.testing.assert_allclose(found[f"box_{side}"], at, atol=1e-6)
    assert (found["sd_major"] < half).all()
    assert (found["sd_minor"] <= found["sd_major"]).all()


def test_what_is_stored_lies_in_the_box_and_says_where(computed):
    y, x = computed["field_y"].values, computed["field_x"].values
    assert len(y) == len(x) == 64
    assert y[0] == pytest.approx(4 - 1 / 16)
    assert x[0] == pytest.approx(-4 + 1 / 16)
    one, edge = computed.sel(start=DRIVING).isel(site=3), 0.2
    outside = (y[:, None] > float(one["box_top"]) + edge) | (x > float(one["box_right"]) + edge)
    assert not one["rms"].values[outside].any()
    assert one["rms"].values.any()
    assert computed.attrs["unit_of_length"] == "degrees"


def test_planted_fields_align_and_others_less(computed):
    v4 = computed.sel(start=DRIVING, region="V4")
    assert int(v4["n_aligned"]) == 5
    assert float(v4["mean_distance"]) < 0.4 < float(v4["random_distance"])
    assert float(v4["mean_energy"]) > 0.7 > float(v4["random_energy"])
    assert float(v4["mean_distance_p"]) < 0.03
    assert float(v4["mean_energy_p"]) < 0.03
    assert computed.attrs["alignment"] == ""
    np.testing.assert_allclose(computed["distance_p"].sel(start=DRIVING).values[:5], 1 / 5)


def test_a_site_without_a_match_has_a_field_of_its_own_and_nothing_else(computed):
    one = computed.isel(site=6)
    assert np.isnan(one["rms"]).all()
    assert np.isnan(one["box_top"])
    assert np.isfinite(one["site_y"])
    assert np.isnan(one["distance"]).all()
    assert one["live"].values.tolist() == [0, 0]


def test_it_can_be_stored(planted, computed):
    run, _ = planted
    stored = add_group(run, "receptive_fields", computed, {"key": "1"})
    assert stored["rms"].dtype == np.float32
    assert receptive_fields.expected_seconds(run) > 0
    assert receptive_fields.missing(run) is None


def test_without_maps_or_size_there_are_gradients_and_a_reason(planted):
    run, source = planted
    recording = run.dataset("recording").drop_vars("rf_map").assign_attrs(size_deg=np.nan)
    bare = SimpleNamespace(dataset=lambda name: recording if name == "recording" else run.dataset(name))
    found = receptive_fields.compute(bare, source, starts=2, driving=2)
    assert found.attrs["alignment"] == NO_MAPS
    assert found.attrs["unit_of_length"] == "stimulus pixels"
    assert float(found["field_x"][0]) == pytest.approx(-40 + 80 / 128)
    assert "distance" not in found
    frame = frame_of((80, 80), np.nan, "pixels")
    assert receptive_fields._no_degrees(frame) == NO_DEGREES


def test_with_another_preprocessing_fields_are_in_pixels_of_network_input(tmp_path_factory):
    def plain(image):
        return torch.from_numpy(image[::2, ::2].copy()).permute(2, 0, 1).float() / 64 - 2

    run, source = make(tmp_path_factory, plain)
    found = receptive_fields.compute(run, source, starts=2, driving=2)
    assert found.attrs["unit_of_length"] == "network input pixels"
    assert found.attrs["alignment"] == NO_PIXELS
    assert found.sizes["field_y"] == 40
    y, x = PLACES[3]
    assert float(found["box_top"][3]) == pytest.approx(20 - 7 * y)
    assert float(found["box_left"][3]) == pytest.approx(7 * x - 20)


def test_driving_images_are_among_those_that_drive_most_and_drawn_by_id(planted):
    run, _ = planted
    drawn = driving_images(run, 4, np.random.default_rng(0))
    response = run.dataset("recording")["response"].to_pandas()
    for site in range(6):
        strongest = response.iloc[:, site].sort_values(ascending=False).index[:8]
        assert set(drawn[site]) <= set(strongest)
        assert len(set(drawn[site])) == 4
    assert set(drawn[6]) == {""}


@pytest.mark.parametrize("length", [40, 64, 80, 112, 333])
def test_averaging_keeps_the_mean(length):
    values = np.random.default_rng(0).normal(size=(2, length, 100))
    coarse = averaged(values)
    assert coarse.shape == (2, min(length, 64), 64)
    np.testing.assert_allclose(coarse.mean(axis=(1, 2)), values.mean(axis=(1, 2)), atol=1e-12)


def test_pairs_are_compared_within_their_region():
    distance = np.array([[0.1, 2, 9], [2, 0.2, 9], [9, 9, 0.3]])
    found = compare_pairs(distance, 1 / (1 + distance), np.array(["V4", "V4", "IT"]), np.random.default_rng(0))
    assert found["region"].values.tolist() == ["IT", "V4"]
    np.testing.assert_allclose(found["mean_distance"], [0.3, 0.15])
    np.testing.assert_allclose(found["distance_p"], [0.5, 0.5, np.nan])
    assert float(found["random_distance"].sel(region="V4")) == pytest.approx((0.15 + 2) / 2, abs=0.05)
    assert np.isnan(found["random_distance"].sel(region="IT"))
    assert found["n_aligned"].values.tolist() == [1, 2]


def test_what_does_not_fit_is_named(planted):
    run, source = planted
    with pytest.raises(SettingsError, match="starts=0: a whole number of at least 1 is needed"):
        receptive_fields.compute(run, source, starts=0)
    with pytest.raises(SettingsError, match="driving=99: the recording has 48 stimuli; choose at most as many"):
        receptive_fields.compute(run, source, driving=99)
    matches = run.dataset("matches")
    nothing = matches.assign(site_status=("site", ["constant"] * 7))
    none = SimpleNamespace(recording="mine", network="net", dataset=lambda _: nothing)
    assert receptive_fields.missing(none) == (
        "no site of mine has a match with net; its responses or all units are constant."
    )
