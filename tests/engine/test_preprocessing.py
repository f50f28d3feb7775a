import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engine.errors import SettingsError
from engine.preprocessing import Preprocessing

PLAIN = {"scale": 1.0, "mean": (0.0, 0.0, 0.0), "sd": (1.0, 1.0, 1.0)}


def photograph(height: int = 90, width: int = 130, seed: int = 0) -> np.ndarray:
    """Smooth gradients with some noise, uint8 (height, width, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    gradients = np.stack([y * 2, x * 1.5, 128 + 100 * np.sin(x / 9) * np.cos(y / 7)], axis=-1)
    return np.clip(gradients + rng.normal(0, 8, gradients.shape), 40, 215).astype(np.uint8)


@pytest.mark.parametrize("size", [(33, 47), (224, 224)], ids=["down", "up"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_resizing_agrees_with_pillow_up_to_its_two_roundings(size, interpolation):
    image = photograph()
    method = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[interpolation]
    expected = np.asarray(Image.fromarray(image).resize(size[::-1], method), dtype=float)
    found = Preprocessing(resize=size, crop=None, interpolation=interpolation, **PLAIN)(image)
    assert found.dtype == torch.float32
    assert np.abs(found.permute(1, 2, 0).numpy() - expected).max() < 1.5


def test_bicubic_overshoot_is_cut_to_the_range_of_pixels():
    edge = np.zeros((8, 8, 3), np.uint8)
    edge[:, 4:] = 255
    found = Preprocessing(resize=(32, 32), crop=None, interpolation="bicubic", **PLAIN)(edge)
    assert (found.min(), found.max()) == (0, 255)


def test_shorter_side_and_central_crop_agree_with_pillow():
    image = photograph(90, 130)
    resized = Image.fromarray(image).resize((92, 64), Image.Resampling.BILINEAR)  # 64 * 130 // 90 = 92
    expected = np.asarray(resized.crop((18, 4, 18 + 56, 4 + 56)), dtype=float)
    found = Preprocessing(resize=64, crop=(56, 56), **PLAIN)(image)
    assert np.abs(found.permute(1, 2, 0).numpy() - expected).max() <= 1


def test_pixels_are_scaled_then_standardised_in_the_order_of_the_channels():
    image = np.full((4, 4, 3), (10, 20, 40), dtype=np.uint8)
    found = Preprocessing(resize=None, crop=(4, 4), channels="BGR", scale=0.5, mean=(1, 2, 3), sd=(1, 2, 4))(image)
    np.testing.assert_allclose(found[:, 0, 0], [(20 - 1) / 1, (10 - 2) / 2, (5 - 3) / 4])


def test_gradients_reach_the_pixels_that_are_seen():
    pixels = torch.tensor(photograph(90, 130), dtype=torch.float32).permute(2, 0, 1).requires_grad_()
    preprocess = Preprocessing(resize=64, crop=(64, 64))
    network_input = preprocess.from_pixels(pixels)
    network_input.square().sum().backward()
    assert (pixels.grad[..., 65] != 0).all()
    assert (pixels.grad[..., 0] == 0).all()  # cut off by the crop
    stimulus = pixels.detach().permute(1, 2, 0).numpy().astype(np.uint8)
    torch.testing.assert_close(preprocess(stimulus), network_input.detach())


def test_a_read_only_stimulus_is_taken_without_a_warning_and_left_alone():
    image = photograph()
    before = image.copy()
    image.flags.writeable = False
    Preprocessing()(image)
    np.testing.assert_array_equal(image, before)


def test_a_batch_of_pixels_is_what_its_images_are():
    pixels = torch.tensor(np.stack([photograph(seed=0), photograph(seed=1)])).permute(0, 3, 1, 2).float()
    preprocess = Preprocessing(resize=40, crop=(32, 36))
    expected = torch.stack([preprocess.from_pixels(image) for image in pixels])
    torch.testing.assert_close(preprocess.from_pixels(pixels), expected)


@given(height=st.integers(20, 80), width=st.integers(20, 80), resize=st.integers(16, 70))
def test_the_output_has_the_image_size_that_was_announced(height, width, resize):
    preprocess = Preprocessing(resize=resize, crop=(16, 12))
    assert preprocess.image_size == (16, 12)
    assert preprocess(np.zeros((height, width, 3), np.uint8)).shape == (3, 16, 12)


def test_a_planted_dot_is_found_at_the_degrees_where_it_was():
    stimulus_size, size_deg = (300, 400), 8.0
    stimulus = np.zeros((*stimulus_size, 3), np.uint8)
    stimulus[95:106, 245:256] = 255  # centre at 100.5 of 300 rows from above, 250.5 of 400 columns from the left
    preprocess = Preprocessing(resize=150, crop=(140, 140), **PLAIN)
    seen = preprocess(stimulus)[0].numpy()
    y, x = (np.average(np.arange(140), weights=seen.sum(axis)) for axis in (1, 0))
    y_deg, x_deg = preprocess.to_degrees(y, x, stimulus_size=stimulus_size, size_deg=size_deg)
    assert y_deg == pytest.approx((150 - 100.5) * 8 / 400, abs=0.01)  # up is positive
    assert x_deg == pytest.approx((250.5 - 200) * 8 / 400, abs=0.01)


def test_edges_of_the_input_are_edges_of_a_stimulus_that_is_seen_whole():
    edges = np.array([-0.5, 111.5, 223.5])
    from_top, from_left = Preprocessing().to_stimulus(edges, edges, stimulus_size=(112, 112))
    np.testing.assert_allclose(from_top, [0, 0.5, 1])
    np.testing.assert_allclose(from_left, [0, 0.5, 1])


def test_settings_are_plain_values_and_tell_every_difference():
    one = Preprocessing()
    assert json.loads(json.dumps(one.settings())) == one.settings()
    for other in (Preprocessing(channels="BGR"), Preprocessing(resize=256), Preprocessing(antialias=False)):
        assert other.settings() != one.settings()
    every = {field.name for field in dataclasses.fields(Preprocessing)}
    assert set(Preprocessing(rounding="even").settings()) == every
    assert set(one.settings()) == every - {"rounding"}  # as before there was that setting: runs keep their digests


@pytest.mark.parametrize(("length", "down", "even"), [(20, 2, 2), (21, 2, 2), (22, 3, 3), (23, 3, 4)])
def test_an_odd_margin_is_rounded_as_told_in_the_picture_and_in_degrees(length, down, even):
    stimulus = np.arange(length, dtype=np.uint8)[None, :, None].repeat(16, 0).repeat(3, 2)
    for rounding, first in (("down", down), ("even", even)):
        preprocess = Preprocessing(resize=None, crop=(16, 16), rounding=rounding, **PLAIN)
        assert preprocess(stimulus)[0, 0, 0] == first
        from_left = preprocess.to_stimulus(0, 0, stimulus_size=(16, length))[1]
        assert from_left == pytest.approx((first + 0.5) / length)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"interpolation": "nearest"}, r"interpolation: expected 'bilinear' or 'bicubic', got 'nearest'"),
        ({"channels": "GRB"}, r"channels: expected 'RGB' or 'BGR', got 'GRB'"),
        ({"rounding": "up"}, r"rounding: expected 'down' or 'even', got 'up'"),
        ({"resize": 0}, r"resize: expected pixels > 0, got 0"),
        ({"resize": 224, "crop": None}, r"crop: expected \(height, width\), as resize is not, got None"),
        ({"resize": 200, "crop": (224, 224)}, r"crop: expected no larger than resize, 200, got \(224, 224\)"),
        ({"crop": (224, -1)}, r"crop: expected \(height, width\) > 0 or None, got \(224, -1\)"),
        ({"scale": 0.0}, r"scale: expected a positive number, got 0.0"),
        ({"mean": (0.5, 0.5)}, r"mean: expected three numbers, got \(0.5, 0.5\)"),
        ({"sd": (1.0, 0.0, 1.0)}, r"sd: expected three positive numbers, got \(1.0, 0.0, 1.0\)"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(SettingsError, match=message):
        Preprocessing(**settings)


def test_a_stimulus_smaller_than_the_crop_is_refused():
    preprocess = Preprocessing(resize=None, crop=(64, 64))
    with pytest.raises(SettingsError, match=r"crop \(64, 64\) does not fit into a stimulus of \(50, 90\).*resize=64"):
        preprocess(np.zeros((50, 90, 3), np.uint8))


def test_anything_but_uint8_colour_is_refused():
    with pytest.raises(SettingsError, match=r"uint8 \(height, width, 3\), got float64 \(9, 9, 3\)"):
        Preprocessing()(np.zeros((9, 9, 3)))
