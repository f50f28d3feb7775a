"""From network and recording to a stored run: exact, whatever the batch, resumed after a kill."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import engine
from engine.errors import LayerError, MemoryBudgetError, SettingsError
from engine.matching import Matching, exact_float32
from engine.pipeline import plan_match
from engine.schema import RUN_SCHEMAS, require
from engine.store import open_parts
from tests.engine.processes import PROCESSES
from tests.engine.worked_example import IMAGE, activations, images, planted_recording, tiny_network, to_input

QUIET = {"progress": False, "memory": "1GiB"}


@pytest.fixture(scope="module")
def network():
    return tiny_network()


def brute_force(network, recording, chosen=None) -> tuple[np.ndarray, list[tuple[str, int]]]:
    """r (site, unit over all layers) by numpy in float64 over ``chosen`` stimuli, and which unit each column is."""
    units = activations(network, np.stack([recording.stimuli.pixels(i) for i in recording.stimuli.ids]))
    x = np.concatenate(list(units.values()), axis=1)
    names = [(layer, index) for layer, values in units.items() for index in range(values.shape[1])]
    chosen = slice(None) if chosen is None else chosen
    y = recording.data["response"].values[chosen]
    x, y = x[chosen] - x[chosen].mean(0), y - y.mean(0)
    with np.errstate(invalid="ignore"):
        return (y.T @ x) / np.sqrt((y**2).sum(0)[:, None] * (x**2).sum(0)), names


def test_planted_units_are_found_with_r_of_one(network):
    run = engine.match(network, planted_recording(network), **QUIET)
    best = run.dataset("matches").isel(rank=0)
    assert best["layer"].values[:5].tolist() == ["relu1", "conv2", "fc", "conv1", "fc"]
    assert best["unit"].values[:5].tolist() == [700, 100, 3, 5, 0]
    np.testing.assert_allclose(best["correlation"][:5], 1, atol=1e-6)
    assert (best["correlation"][5:] < 0.7).all()
    conv2 = best.sel(site="site1")
    assert (int(conv2["channel"]), int(conv2["y"]), int(conv2["x"])) == np.unravel_index(100, (6, 8, 8))


def test_every_group_is_what_the_schema_says(network):
    run = engine.match(network, planted_recording(network, noise=0.5), **QUIET)
    assert set(RUN_SCHEMAS) <= set(run.names)
    for name in run.names:
        require(run.dataset(name), name)


@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_matches_equal_brute_force_in_float64(network, missing):
    recording = planted_recording(network, noise=0.7, missing=missing)
    matches = engine.match(network, recording, **QUIET).dataset("matches")
    for site in range(7):
        seen = np.isfinite(recording.data["response"].values[:, site])
        r, names = brute_force(network, recording, seen)
        order = np.argsort(-np.where(np.isnan(r[site]), -np.inf, r[site]), kind="stable")[:100]
        np.testing.assert_allclose(matches["correlation"][site], r[site][order], atol=1e-6)
        position = {name: index for index, name in enumerate(names)}
        mine = [
            position[pair] for pair in zip(matches["layer"].values[site], matches["unit"].values[site], strict=True)
        ]
        np.testing.assert_allclose(r[site][mine], matches["correlation"][site], atol=1e-6)


def test_held_out_values_equal_selection_and_scoring_by_hand(network):
    recording = planted_recording(network, noise=0.7)
    run = engine.match(network, recording, **QUIET)
    fold = run.dataset("folds")["fold"].sel(stimulus=recording.data["stimulus"]).values
    by_rank = []
    for left_out in (0, 1):
        selected, _ = brute_force(network, recording, fold != left_out)
        scored, _ = brute_force(network, recording, fold == left_out)
        order = np.argsort(-np.nan_to_num(selected, nan=-2), axis=1, kind="stable")[:, :100]
        by_rank.append(np.take_along_axis(scored, order, 1))
    held_out = run.dataset("matches")["held_out"].values
    np.testing.assert_allclose(held_out[:, :3], np.mean(by_rank, axis=0)[:, :3], atol=2e-6)
    profile = run.dataset("layer_profile")
    assert float(profile["held_out"].max()) <= 1


def test_batch_size_and_order_change_nothing(network, tmp_path):
    recording = planted_recording(network, noise=0.7)
    turned = recording.select(stimuli=list(recording.stimuli.ids)[::-1])
    expected = engine.match(network, recording, store=tmp_path / "a", **QUIET).dataset("matches")
    for number, (other, batch) in enumerate([(recording, 1), (recording, 7), (turned, 32), (recording, 60)]):
        run = engine.match(network, other, store=tmp_path / str(number), batch=batch, **QUIET)
        xr.testing.assert_identical(run.dataset("matches").drop_attrs(), expected.drop_attrs())


def test_what_a_run_says_hangs_together(network):
    """Identity 5 of the checks: whole network >= layer, histogram totals, thresholds, best positions."""
    run = engine.match(network, planted_recording(network, noise=0.7), **QUIET)
    matches, profile, layers = run.dataset("matches"), run.dataset("layer_profile"), run.dataset("layers")
    assert (matches["correlation"].diff("rank") <= 0).all()
    assert (profile["correlation"] <= matches["correlation"][:, 0]).all()
    np.testing.assert_array_equal(profile["correlation"].max("layer"), matches["correlation"][:, 0])
    counts = run.dataset("unit_counts")["count"]
    np.testing.assert_array_equal(counts.sum("r_bin"), np.tile(layers["n_ok"].values[:, None], 7))
    maps = run.dataset("feature_maps")
    assert (abs(maps["correlation"].groupby("layer").max() - profile["correlation"]) <= 1e-6).all()
    for site in range(7):
        best = matches.isel(site=site, rank=0)
        here = (maps["layer"] == str(best["layer"].values)) & (maps["channel"] == int(best["channel"]))
        own = maps.isel(site=site, feature_map=int(np.argmax(here.values)))
        assert abs(float(own["correlation"]) - float(best["correlation"])) <= 1e-6
    of_rank = run.dataset("match_responses")["activation"][matches["match_unit"].values.ravel()]
    response = run.dataset("recording")["response"].sel(stimulus=of_rank["stimulus"]).values
    site = np.repeat(np.arange(7), 100)
    r = [np.corrcoef(of_rank.values[k].astype(float), response[:, s])[0, 1] for k, s in enumerate(site)]
    np.testing.assert_allclose(r, matches["correlation"].values.ravel(), atol=1e-12)


def test_the_best_units_of_every_fold_have_their_responses(network):
    """With few ranks the best unit of a fold is often none of those over all stimuli."""
    run = engine.match(network, planted_recording(network, noise=3.0), top=1, **QUIET)
    best, responses = run.dataset("fold_matches").isel(rank=0), run.dataset("match_responses")
    stored = set(zip(responses["layer"].values.tolist(), responses["unit"].values.tolist(), strict=True))
    named = set(zip(best["layer"].values.ravel().tolist(), best["unit"].values.ravel().tolist(), strict=True))
    assert named <= stored
    assert len(stored) > len(set(run.dataset("matches")["match_unit"].values.ravel().tolist()))


def test_shuffled_sites_show_what_chance_gives(network):
    run = engine.match(network, planted_recording(network), shuffles=50, **QUIET)
    null = run.dataset("null")
    assert null["region"].values.tolist() == ["IT"] * 50 + ["V4"] * 50
    planted = run.dataset("matches")["correlation"][:5, 0]
    assert float(null["network_correlation"].quantile(0.95)) < 0.8 < float(planted.min())
    assert abs(float(null["network_held_out"].mean())) < 0.1
    np.testing.assert_allclose(null["correlation"].max("layer"), null["network_correlation"])


def test_without_folds_there_are_no_held_out_values(network):
    run = engine.match(network, planted_recording(network), folds=1, **QUIET)
    assert np.isnan(run.dataset("matches")["held_out"]).all()
    assert np.isnan(run.dataset("null")["network_held_out"]).all()
    assert "fold_matches" not in run.names


class Degenerate(nn.Module):
    """One channel each: normal, dead, not finite for bright images, active for one image only."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Identity()
        self.head = nn.Tanh()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean((1, 2, 3))
        brightest = (mean > 0.9).float()
        return self.head(torch.stack([mean, mean * 0 + 0.3, torch.where(mean > 0.9, torch.nan, mean), brightest], 1))


def test_degenerate_units_are_counted_and_never_ranked():
    pictures = images()
    pictures[17] = 250
    network = engine.Network.from_module(Degenerate(), to_input, name="bad", layers=["head"], image_size=(IMAGE, IMAGE))
    rng = np.random.default_rng(0)
    recording = engine.Recording.from_arrays(
        rng.normal(size=(60, 3)), pictures, stimulus_ids=[f"im{i}" for i in range(60)]
    )
    run = engine.match(network, recording, top=4, **QUIET)
    layer = run.dataset("layers").isel(layer=0)
    assert [int(layer[f"n_{s}"]) for s in ("ok", "constant", "low_variation", "nonfinite")] == [2, 1, 0, 1]
    assert str(layer["first_nonfinite"].values) == "im17"
    matches = run.dataset("matches")
    for site in range(3):
        assert sorted(matches["unit"].values[site].tolist()) == [-1, -1, 0, 3]
        assert np.isnan(matches["correlation"].values[site, 2:]).all()
        status = dict(zip(matches["unit"].values[site].tolist(), matches["status"].values[site].tolist(), strict=True))
        assert (status[0], status[3], status[-1]) == ("ok", "sparse", "")


def test_what_does_not_change_a_number_hits_the_cache(network):
    recording = planted_recording(network, noise=0.5)
    first = engine.match(network, recording, **QUIET)
    created = first.manifest["created"]
    again = engine.match(
        tiny_network(), planted_recording(network, noise=0.5), batch=3, device="cpu", memory="2GiB", progress=False
    )
    assert again.digest == first.digest
    assert again.manifest["created"] == created


@pytest.mark.parametrize("change", [{"top": 50}, {"folds": 3}, {"seed": 1}, {"shuffles": 4}])
def test_what_changes_a_number_misses_it(network, change):
    recording = planted_recording(network)
    digests = [engine.match(network, recording, **QUIET, **settings).digest for settings in ({}, change)]
    assert digests[0] != digests[1]


def test_a_second_pass_over_the_layers_gives_the_same_run(network, tmp_path):
    recording = planted_recording(network, n=200, noise=0.7)
    ample = engine.match(network, recording, store=tmp_path / "ample", **QUIET)
    smallest = str(_smallest_memory(network, recording))
    assert len(plan_match(network, recording, memory=smallest).passes) > 1
    tight = engine.match(network, recording, store=tmp_path / "tight", memory=smallest, progress=False)
    xr.testing.assert_identical(ample.dataset("matches").drop_attrs(), tight.dataset("matches").drop_attrs())
    for name in ("layer_matches", "feature_maps", "null"):
        one, other = (run.dataset(name)["correlation"] for run in (ample, tight))
        xr.testing.assert_allclose(one, other, atol=1e-6)


def _smallest_memory(network, recording) -> str:
    with pytest.raises(MemoryBudgetError) as error:
        plan_match(network, recording, memory="1MiB")
    return str(error.value).split("memory=")[2].split(" ")[0]


def test_too_little_memory_is_refused_before_the_first_forward_pass(network, monkeypatch):
    recording = planted_recording(network)
    monkeypatch.setattr(type(network.module), "forward", None)
    with pytest.raises(
        MemoryBudgetError, match=r"memory=1 MiB is too little for this network and recording: at least .*MiB"
    ):
        engine.match(network, recording, memory="1MiB", progress=False)


class Same(nn.Module):
    """3001 units that all give the same."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Identity()
        self.out = nn.Tanh()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(x.mean((1, 2, 3))[:, None].expand(-1, 3001).contiguous())


@pytest.mark.parametrize("batch", [1, 7, 32])
def test_of_equal_units_the_first_are_ranked_and_all_are_tied(batch):
    network = engine.Network.from_module(Same(), to_input, name="same", layers=["out"], image_size=(IMAGE, IMAGE))
    responses = np.random.default_rng(0).normal(size=(60, 3))
    recording = engine.Recording.from_arrays(responses, images(), stimulus_ids=[f"im{i}" for i in range(60)])
    run = engine.match(network, recording, top=10, batch=batch, **QUIET)
    matches = run.dataset("matches")
    assert matches["unit"].values.tolist() == [list(range(10))] * 3
    assert matches["tied"].values.all()
    assert run.dataset("layer_profile")["unit"].values.tolist() == [[0, 0, 0]]
    assert run.dataset("layer_matches")["unit"].values[0, :, :8].tolist() == [list(range(8))] * 3


def test_sites_without_a_match_say_why_and_leave_the_others_alone(network):
    recording = planted_recording(network, noise=0.5)
    responses = recording.data["response"].values.copy()
    responses[:, 2] = 4.0
    names = list(recording.stimuli.ids)
    other = engine.Recording.from_arrays(responses, recording.stimuli, stimulus_ids=names, region=["V4"] * 7)
    run = engine.match(network, other, **QUIET)
    matches = run.dataset("matches")
    assert matches["site_status"].values.tolist() == ["ok", "ok", "constant", "ok", "ok", "ok", "ok"]
    assert np.isnan(matches["correlation"][2]).all()
    assert int(run.dataset("neural_correlation")["n_correlation"].sel(layer="", region="V4")) == 6
    dull = engine.Recording.from_arrays(np.ones((60, 2)), recording.stimuli, stimulus_ids=names)
    assert (engine.match(network, dull, **QUIET).dataset("matches")["site_status"] == "constant").all()


def test_another_description_of_the_recording_is_another_run(network):
    plain = planted_recording(network)
    described = planted_recording(network, attrs={"n_repeats": 4, "response_unit": "spike count"})
    runs = [engine.match(network, recording, **QUIET) for recording in (plain, described)]
    assert [run.dataset("reliability").attrs["method"][:7] for run in runs] == ["not ava", "Poisson"]


def put_aside(change: str, said) -> None:
    exec(change, {"torch": torch})
    backends = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    before = [backend.fp32_precision for backend in backends]
    with exact_float32():
        inside = [backend.fp32_precision for backend in backends]
    said.send((before, inside, [backend.fp32_precision for backend in backends]))


@pytest.mark.parametrize(
    "change",
    [
        "torch.backends.fp32_precision = 'tf32'",
        "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
        "torch.set_float32_matmul_precision('medium')",
    ],
)
def test_what_the_user_set_for_float32_is_put_aside_and_comes_back(change):
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=put_aside, args=(change, sender))
    process.start()
    before, inside, after = receiver.recv()
    process.join()
    process.close()
    for end in (receiver, sender):
        end.close()
    assert inside == ["ieee", "ieee"]
    assert after == before != inside


@pytest.mark.gpu
def test_a_gpu_gives_the_same_matches(network, tmp_path):
    recording = planted_recording(network, noise=0.7)
    on_cpu = engine.match(network, recording, device="cpu", store=tmp_path / "cpu", **QUIET).dataset("matches")
    on_gpu = engine.match(network, recording, device="cuda", store=tmp_path / "cuda", **QUIET).dataset("matches")
    xr.testing.assert_allclose(on_cpu["correlation"], on_gpu["correlation"], atol=2e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch": -1}, "batch=-1: a whole number of stimuli of at least 1"),
        ({"batch": 2.5}, "batch=2.5: a whole number"),
        ({"device": "tpu"}, "device='tpu' is unknown. Choose 'auto', 'cpu', 'cuda' or 'cuda:N'"),
        ({"device": "cuda:99"}, "sees .* CUDA devices here"),
        ({"top": 0}, "top=0: a whole number of at least 1"),
        ({"folds": 40}, "folds=40 with 60 stimuli"),
        ({"memory": "lots"}, "memory='lots' is no amount of memory"),
    ],
)
def test_wrong_settings_are_refused_by_name(network, settings, message):
    with pytest.raises(SettingsError, match=message):
        engine.match(network, planted_recording(network), **{**QUIET, **settings})


def test_a_network_without_layers_is_refused(network):
    bare = replace(network, layers=network.layers.iloc[:0])
    with pytest.raises(LayerError, match="tiny has no layers to match"):
        engine.match(bare, planted_recording(network), **QUIET)


def test_an_interrupted_match_goes_on_and_ends_with_the_same_numbers(network, tmp_path, monkeypatch):
    recording = planted_recording(network, noise=0.7)
    whole = engine.match(network, recording, store=tmp_path / "whole", **QUIET)

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("engine.pipeline.merge_layers", interrupted)
        with pytest.raises(KeyboardInterrupt):
            engine.match(network, recording, store=tmp_path / "cut", **QUIET)
    assert engine.list_runs(tmp_path / "cut")["status"].tolist() == ["incomplete"]
    with monkeypatch.context() as patch:
        for way in ("stream", "hold"):  # all layers are there: not one is computed again
            patch.setattr(f"engine.matching.Matching.{way}", interrupted)
        resumed = engine.match(network, recording, store=tmp_path / "cut", **QUIET)
    for name in RUN_SCHEMAS:
        xr.testing.assert_identical(resumed.dataset(name), whole.dataset(name))


def test_a_match_that_goes_on_in_another_way_ends_with_the_same_matches(network, tmp_path, monkeypatch):
    """Some layers are held, which scores them in float64; others are streamed, and scored when all are merged."""
    recording = planted_recording(network, noise=0.7)
    whole = engine.match(network, recording, store=tmp_path / "whole", **QUIET)
    hold = Matching.hold

    def hold_one_layer(*args, **kwargs):
        yield next(hold(*args, **kwargs))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Matching, "hold", hold_one_layer)
        with pytest.raises(KeyboardInterrupt):
            engine.match(network, recording, store=tmp_path / "cut", **QUIET)
    assert len(list((tmp_path / "cut").glob("parts/*/*.part"))) == 1
    mixed = engine.match(network, recording, store=tmp_path / "cut", batch=7, **QUIET)
    xr.testing.assert_identical(mixed.dataset("matches"), whole.dataset("matches"))
    xr.testing.assert_identical(mixed.dataset("fold_matches"), whole.dataset("fold_matches"))
    of_layers = [run.dataset("layer_matches")["correlation"] for run in (mixed, whole)]
    xr.testing.assert_allclose(*of_layers, rtol=0, atol=2e-6)


def match_and_say(root: Path, said) -> None:
    torch.set_num_threads(1)
    made = tiny_network()
    recording = planted_recording(made, noise=0.7)
    said.send("started")
    engine.match(made, recording, store=root, **QUIET)
    said.send("done")


def killed_after(root: Path, seconds: float, *, or_a_layer: bool = False) -> bool:
    """Match in a process and kill -9 it, or as soon as a layer is finished; says whether it was done before."""
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=match_and_say, args=(root, sender))
    process.start()
    sender.close()
    assert receiver.recv() == "started"
    end, done = time.perf_counter() + seconds, False
    while not done and time.perf_counter() < end and not (or_a_layer and list(root.glob("parts/*/*.part"))):
        done = receiver.poll(0.001 if or_a_layer else seconds)
    process.kill()
    process.join()
    receiver.close()
    process.close()
    return done


def kill_and_go_on(network, folder: Path, n: int) -> int:
    """Kill a match ``n`` times in the same store, each time after what was finished before, and go on.

    In every store the first of four kills comes as soon as a layer is finished, the others at any moment.
    """
    recording = planted_recording(network, noise=0.7)
    whole = engine.match(network, recording, store=folder / "whole", **QUIET)
    killed_after(folder / "warm", 60)  # so that the start of the process that others are forked from is not timed
    begun = time.perf_counter()
    assert killed_after(folder / "timed", 60)
    duration, n_killed = time.perf_counter() - begun, 0
    kept: set[str] = set()
    n_kept = 0
    for index, moment in enumerate(np.random.default_rng(0).uniform(0, duration, size=n)):
        store = folder / f"cut{index // 4}"
        is_first = index % 4 == 0
        n_killed += not killed_after(store, 60 if is_first else moment, or_a_layer=is_first)
        kept = set() if is_first else kept
        n_kept += bool(kept)
        finished = set(open_parts(store, whole.digest))
        assert finished >= kept or engine.list_runs(store)["status"].tolist() == ["complete"]
        kept = finished
        if index % 4 == 3:
            resumed = engine.match(network, recording, store=store, **QUIET)
            assert resumed.verify() == []
            for name in RUN_SCHEMAS:
                xr.testing.assert_identical(resumed.dataset(name), whole.dataset(name))
    print(f"{n_kept} kills found finished layers of the kill before")
    assert n_kept
    return n_killed


def test_a_match_that_is_killed_anywhere_ends_with_the_same_numbers(network, tmp_path):
    assert kill_and_go_on(network, tmp_path, 4)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_match_that_is_killed_a_hundred_times_ends_with_the_same_numbers(network, tmp_path):
    print(f"{kill_and_go_on(network, tmp_path, 100)} of 100 killed before their end")
