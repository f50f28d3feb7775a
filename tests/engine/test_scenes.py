"""The built-in pictures: the same each time, gray, balanced, and the category is in the object alone."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from engine import scenes
from engine.errors import EngineError
from engine.scenery.backgrounds import background, palette
from engine.world import SEED

_told: list[int] = []


@pytest.fixture(scope="module")
def one_of_each() -> np.ndarray:
    """One picture of each of the 64 objects, half of them from the second process."""
    _told.clear()
    return scenes.render_all(SEED, 1, advance=_told.append)


def accuracy_on_new_objects(features: np.ndarray, listed: list[scenes.Scene]) -> float:
    """Read the category with a linear classifier from objects that it has not seen, in four folds over the objects."""
    category, k = (np.array([getattr(scene, name) for scene in listed]) for name in ("category", "object"))
    classifier = make_pipeline(StandardScaler(), RidgeClassifier(alpha=300.0))
    correct = np.zeros(len(listed), dtype=bool)
    for fold in range(4):
        left_out = k // 2 == fold
        classifier.fit(features[~left_out], category[~left_out])
        correct[left_out] = classifier.predict(features[left_out]) == category[left_out]
    return float(correct.mean())


def test_pictures_are_the_same_in_any_order_and_in_another_process(one_of_each: np.ndarray) -> None:
    listed = scenes.list_scenes(SEED, 1)
    chosen = np.random.default_rng(0).permutation(64)[:16]
    assert len(set(chosen % 2)) == 2, "both processes"
    again = scenes.render([listed[k] for k in chosen], SEED)
    np.testing.assert_array_equal(again, one_of_each[chosen])


def test_another_seed_gives_other_pictures(one_of_each: np.ndarray) -> None:
    other = scenes.render(scenes.list_scenes(SEED + 1, 1)[:2], SEED + 1)
    assert (other != one_of_each[:2]).mean() > 0.9


def test_pictures_are_gray_and_use_the_range(one_of_each: np.ndarray) -> None:
    assert one_of_each.shape == (64, scenes.SIZE_PX, scenes.SIZE_PX)
    assert one_of_each.dtype == np.uint8
    means, sds = one_of_each.mean(axis=(1, 2)), one_of_each.std(axis=(1, 2))
    assert means.min() > 60
    assert means.max() < 200
    assert sds.min() > 15


def test_categories_and_objects_are_balanced_and_ids_unique() -> None:
    listed = scenes.list_scenes(SEED)
    assert len({scene.id for scene in listed}) == len(listed) == 640
    assert set(Counter((scene.category, scene.object) for scene in listed).values()) == {10}
    assert [scene.id for scene in listed[:2]] == ["animals-0-00", "animals-0-01"]


def test_position_size_pose_and_light_vary_alike_in_every_category() -> None:
    listed = scenes.list_scenes(SEED)
    for name, spread in (("centre", 0.1), ("radius", 0.04), ("light", 0.1)):
        for category in scenes.CATEGORIES:
            values = np.array([getattr(scene, name) for scene in listed if scene.category == category])
            assert (values.std(axis=0) > spread).all(), (name, category)


def test_the_background_does_not_change_with_the_object() -> None:
    scene = scenes.list_scenes(SEED)[0]
    fruit, chair = (
        replace(scene, category=name, radius=0.2, centre=np.array([0.3, 0.3])) for name in ("fruits", "chairs")
    )
    first, second = scenes.render([fruit, chair], SEED)
    differs = first != second
    assert differs[20:110, 20:110].any()
    assert not differs[120:].any()
    assert not differs[:, 120:].any()


def test_the_category_cannot_be_read_from_the_background() -> None:
    listed = scenes.list_scenes(SEED, 3)
    textures = palette(SEED)
    seen = [background(textures, np.random.default_rng([SEED, 3, *scene.id.encode()]), 24).ravel() for scene in listed]
    assert accuracy_on_new_objects(np.stack(seen), listed) < 0.125 + 3 * np.sqrt(0.125 * 0.875 / len(listed))


def test_every_object_stands_out_from_its_background(one_of_each: np.ndarray) -> None:
    listed = scenes.list_scenes(SEED, 1)
    empty = [replace(scene, radius=1e-4) for scene in listed]
    for picture, without, scene in zip(one_of_each[::4], scenes.render(empty[::4], SEED), listed[::4], strict=True):
        changed = np.abs(picture.astype(int) - without) > 10
        assert 0.005 < changed.mean() < 0.7, scene.id


def test_progress_is_told_until_the_end(one_of_each: np.ndarray) -> None:
    assert sum(_told) == len(one_of_each)


def test_a_second_process_that_fails_is_an_error_with_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "_render_each", lambda listed, seed, advance: np.zeros((32, 224, 224), np.uint8))
    monkeypatch.setattr(scenes.os, "cpu_count", lambda: 2)
    start = subprocess.Popen

    def fail(command: list[str], **settings: object) -> subprocess.Popen:
        return start([sys.executable, "-c", "raise SystemExit('no room left')"], **settings)

    monkeypatch.setattr(scenes.subprocess, "Popen", fail)
    with pytest.raises(EngineError, match=r"second process .* ended with code 1: no room left.*try again"):
        scenes.render_all(SEED, 1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_squeezenet_reads_the_category_of_new_objects_and_pixels_do_not() -> None:
    import torch

    from engine.activations import recorded
    from engine.networks import load_network

    listed = scenes.list_scenes(SEED)
    pictures = scenes.render_all(SEED)
    network = load_network("squeezenet1_1")
    channels = dict(zip(network.layers["name"], network.layers["channels"], strict=True))
    layers = ["fire2", "fire5", "fire7", "fire8", "fire9"]
    parts: dict[str, list[np.ndarray]] = {layer: [] for layer in layers}

    def take(layer: str, activation: torch.Tensor) -> None:
        parts[layer].append(activation.reshape(len(activation), channels[layer], -1).mean(-1).numpy().copy())

    with recorded(network, layers, take) as run:
        for start in range(0, len(pictures), 16):
            batch = np.repeat(pictures[start : start + 16, :, :, None], 3, axis=3)
            run(torch.stack([network.preprocess(image) for image in batch]))
    best = max(accuracy_on_new_objects(np.concatenate(parts[layer]), listed) for layer in layers)
    small = [
        np.asarray(Image.fromarray(picture).resize((32, 32), Image.Resampling.BOX)).ravel() for picture in pictures
    ]
    assert best >= 0.5
    assert accuracy_on_new_objects(np.stack(small).astype(float), listed) <= 0.25
