"""The built-in world: sites do what was chosen for them, its truth is found, and it is built once."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engine import world
from engine.analyses.reliability import site_reliability
from engine.errors import RecordingError, SettingsError
from engine.known_recordings import open_recording
from engine.networks import load_network
from engine.pipeline import match
from engine.recordings import Recording
from engine.simulation import N_REPEATS, SPONTANEOUS, activations_of, is_usable, spike_counts, squares_and_blank

LAYERS = (  # kernel, stride, padding on the left and above
    ("conv1", 3, 2, 0), ("pool1", 3, 2, 0), ("fire2", 3, 1, 1), ("fire3", 3, 1, 1),
    ("pool3", 3, 2, 0), ("fire4", 3, 1, 1), ("fire5", 3, 1, 1), ("pool5", 3, 2, 0),
    ("fire6", 3, 1, 1), ("fire7", 3, 1, 1), ("fire8", 3, 1, 1), ("fire9", 3, 1, 1),
)  # fmt: skip


@pytest.fixture(scope="module")
def small() -> Recording:
    """Two pictures of each object."""
    return world.build_world(n_images=2)


def single_sites(recording: Recording, above: float = 0.0) -> list[str]:
    data = recording.data
    return data["site"].values[(data["n_units"].values == 1) & (data["true_reliability"].values > above)].tolist()


def field_px(layer: str, position: int) -> tuple[int, int]:
    """First and last input pixel, along one axis, that a unit at this position of a feature map can see."""
    name, _, squeeze = layer.partition(".")
    first = last = position
    for at, kernel, stride, padding in LAYERS[[row[0] for row in LAYERS].index(name) :: -1]:
        if at == name and squeeze:
            continue
        first, last = first * stride - padding, last * stride - padding + kernel - 1
    return first, last


def test_regions_sites_and_labels_are_those_of_the_plan(small: Recording) -> None:
    data = small.data
    assert data.sizes == {"stimulus": 128, "site": 88, "repeat": N_REPEATS, "rf_y": 8, "rf_x": 8}
    assert pd.Series(data["region"].values).value_counts().to_dict() == {"V4": 48, "IT": 40}
    assert data["site"].values[[0, 47, 48, 87]].tolist() == ["v4-00", "v4-47", "it-00", "it-39"]
    assert pd.Series(data["category"].values).value_counts().unique().tolist() == [16]
    assert len(np.unique(data["object"])) == 64
    assert len(single_sites(small)) >= 88 / 3
    assert len(single_sites(small, above=0.9)) >= 24
    assert data.attrs["simulated"] == 1
    assert data.attrs["size_deg"] == 8.0
    assert data.attrs["window_ms"] == "70-170"


def test_stimuli_are_gray(small: Recording) -> None:
    pixels = small.stimuli.pixels(small.stimuli.ids[5])
    assert pixels.shape == (224, 224, 3)
    assert (pixels == pixels[..., :1]).all()


def test_a_site_of_one_unit_correlates_with_it_as_its_reliability_says(small: Recording) -> None:
    data = small.data.sel(site=single_sites(small))
    units = [
        (str(layer), int(unit)) for layer, unit in zip(data["true_layer"].values, data["true_unit"].values, strict=True)
    ]
    activations = activations_of(load_network("squeezenet1_1"), small.stimuli, units)
    found = [np.corrcoef(activations[unit], data["response"].values[:, k])[0, 1] for k, unit in enumerate(units)]
    expected = np.sqrt(data["true_reliability"].values)
    error = 4 * (1 - expected**2) / np.sqrt(small.data.sizes["stimulus"])
    assert (np.abs(found - expected) < error + 0.01).all()


def test_measured_reliability_is_the_chosen_one(small: Recording) -> None:
    chosen = small.data["true_reliability"].values
    found = site_reliability(small.data)["reliability"].values
    assert np.median(np.abs(found - chosen)) < 0.03
    assert np.abs(found - chosen).max() < 0.25
    assert np.abs(found - chosen)[chosen > 0.9].max() < 0.04
    assert np.corrcoef(found, chosen)[0, 1] > 0.97


def test_units_are_neither_sparse_nor_constant_nor_blind_to_squares() -> None:
    rng = np.random.default_rng(0)
    busy, squares = np.maximum(rng.normal(size=200), 0), np.r_[0.0, np.full(64, 3.0)]
    assert is_usable(busy, squares)
    assert not is_usable(busy, np.zeros(65))
    assert not is_usable(np.ones(200), squares)
    assert not is_usable(np.r_[np.zeros(190), np.ones(10)], squares)
    assert not is_usable(np.r_[np.full(199, 1.0), 100.0] + 0.01 * busy, squares)


def test_counts_are_poisson_and_the_same_for_rates_that_differ_by_rounding() -> None:
    rates = np.full(4000, 3.0)
    counts = spike_counts(rates, np.random.default_rng(1))
    again = spike_counts(rates * (1 + 1e-12), np.random.default_rng(1))
    np.testing.assert_array_equal(counts, again)
    assert counts.mean() == pytest.approx(3, abs=0.02)
    assert counts.var() == pytest.approx(3, abs=0.05)


def test_a_site_fires_at_its_spontaneous_rate_to_what_it_likes_least(small: Recording) -> None:
    least = small.data["response"].min("stimulus")
    assert (least < SPONTANEOUS + 4 * np.sqrt(SPONTANEOUS / N_REPEATS)).all()
    assert least.mean() < SPONTANEOUS + 0.1
    assert small.data["trials"].max() < 100


def test_squares_lie_where_their_names_say() -> None:
    stimuli = squares_and_blank()
    assert len(stimuli) == 65
    assert (stimuli.pixels("blank") == 128).all()
    upper_left = stimuli.pixels("y3.5x-3.5")[..., 0]
    assert (upper_left[:28, :28] == 255).all()
    assert (upper_left == 255).sum() == 28 * 28
    assert (stimuli.pixels("y-3.5x0.5")[-28:, 112:140] == 255).all()


def test_squares_outside_the_field_of_a_sites_unit_leave_it_at_rest(small: Recording) -> None:
    """Of the maps that rise well out of their noise, every peak overlaps the unit's theoretical field."""
    n_seen = 0
    network = load_network("squeezenet1_1").layers.set_index("name")
    for name in single_sites(small):
        site = small.data.sel(site=name)
        layer, unit = str(site["true_layer"].item()), int(site["true_unit"].item())
        height, width = network.loc[layer, ["height", "width"]]
        position = np.unravel_index(unit % (height * width), (height, width))
        map_, noise = site["rf_map"], np.sqrt(2 * site["trials"].values.mean() / N_REPEATS)
        if map_.max() < 6 * noise:
            continue
        peak = map_.where(map_ == map_.max(), drop=True)
        n_seen += 1
        for degrees, (first, last) in zip(
            (-peak["rf_y"].values[0], peak["rf_x"].values[0]), (field_px(layer, int(p)) for p in position), strict=True
        ):
            start = (4 + degrees - 0.5) * 28
            assert first <= start + 28, name
            assert last >= start, name
    assert n_seen >= 10


def test_matching_finds_the_units_behind_reliable_sites(small: Recording, tmp_path: Path) -> None:
    names = single_sites(small, above=0.9)[::8]
    several = small.data["site"].values[small.data["n_units"].values == 2][:1].tolist()
    recording = small.select(small.stimuli.ids[::2], [*names, *several], name="builtin-part")
    run = match(load_network("squeezenet1_1"), recording, top=5, shuffles=1, store=tmp_path, progress=False)
    truth = world.ground_truth(recording, run)
    assert truth["site"].tolist() == names
    assert truth["found"].all()
    assert (truth["true_rank"] == 0).all()
    assert (truth["correlation"] - truth["ceiling"]).abs().max() < 0.05


class _Answers:
    """What a run would answer."""

    network, recording = "other", "mine"

    def __init__(self, **datasets: object) -> None:
        self.datasets = datasets

    def dataset(self, name: str) -> object:
        return self.datasets[name]


def test_truth_that_is_not_there_is_refused(small: Recording) -> None:
    mine = Recording.from_arrays(
        np.random.default_rng(0).random((4, 2)), np.zeros((4, 8, 8), np.uint8), stimulus_ids=list("abcd"), name="mine"
    )
    with pytest.raises(SettingsError, match=r"mine: no site has a known unit behind it.*open_recording\('builtin'\)"):
        world.ground_truth(mine, _Answers())
    layers = pd.DataFrame({"layer": ["fire2", "blocks.1"]}).set_index("layer").to_xarray()
    with pytest.raises(
        SettingsError, match=r"run of other against mine lacks \d+ of their layers, first 'fire3'.*squeezenet1_1"
    ):
        world.ground_truth(small, _Answers(layers=layers))


def test_the_world_is_built_once_and_again_only_when_it_changed(
    small: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []
    monkeypatch.setenv("UNITSCOPE_DATA", str(tmp_path))

    def build(progress: bool) -> Recording:
        built.append(progress)
        return Recording(small.data.assign_attrs(world=world.world_key()), small.stimuli)

    monkeypatch.setattr(world, "build_world", build)
    first = world.open_world(progress=True)
    second = open_recording("builtin")
    assert built == [True]
    np.testing.assert_array_equal(first.data["trials"], second.data["trials"])
    assert second.name == "builtin"
    monkeypatch.setattr(world, "WORLD_VERSION", world.WORLD_VERSION + 1)
    world.open_world()
    world.open_world()
    assert built == [True, False]


def test_a_damaged_world_is_an_error_that_says_what_to_remove(
    small: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNITSCOPE_DATA", str(tmp_path))
    small.save(tmp_path / "builtin")
    (tmp_path / "builtin" / "stimuli.zip").write_bytes(b"")
    with pytest.raises(RecordingError, match=r"built-in world at .*builtin cannot be opened: .*Remove that folder"):
        world.open_world()


def test_somebody_elses_recording_in_its_place_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNITSCOPE_DATA", str(tmp_path))
    mine = Recording.from_arrays(
        np.random.default_rng(0).random((4, 2)), np.zeros((4, 8, 8), np.uint8), stimulus_ids=list("abcd"), name="mine"
    )
    mine.save(tmp_path / "builtin")
    with pytest.raises(RecordingError, match=r"holds the recording 'mine', not the built-in world. Move"):
        world.open_world()
    assert open_recording(tmp_path / "builtin").name == "mine"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_at_least_95_percent_of_reliable_single_unit_sites_find_their_unit(tmp_path: Path) -> None:
    recording = world.build_world()
    run = match(load_network("squeezenet1_1"), recording, top=10, shuffles=1, store=tmp_path, progress=False)
    truth = world.ground_truth(recording, run)
    reliable = truth[truth["true_reliability"] > 0.9]
    assert len(reliable) >= 24
    assert reliable["found"].mean() >= 0.95
    found = run.dataset("reliability")["reliability"].values
    assert np.abs(found - recording.data["true_reliability"].values).max() < 0.15
