"""Image files of every kind, committed, give the committed pixels or are refused: nothing saturates in silence."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.errors import RecordingError
from engine.pictures import decode

PICTURES = Path(__file__).with_name("pictures")
with np.load(PICTURES / "expected.npz") as found:
    EXPECTED = dict(found)
REFUSED = {
    "animated.gif": "holds 2 frames",
    "animated.png": "holds 2 frames",
    "animated.webp": "holds 2 frames",
    "pages.tif": "holds 2 frames",
    "gray16.png": "more than 8 bits",
    "gray16.tif": "more than 8 bits",
    "gray_alpha16.png": "more than 8 bits",
    "rgb16.png": "more than 8 bits",
    "rgba16.png": "more than 8 bits",
    "float.tif": r"another kind of pixel \(mode F\)",
    "int32.tif": r"another kind of pixel \(mode I\)",
    "lab.tif": r"another kind of pixel \(mode LAB\)",
    "gray_alpha.png": "alpha down to 200 of 255",
    "rgba.png": "alpha down to 0 of 255",
    "palette_transparent.png": "alpha down to 0 of 255",
    "rgb_transparent_colour.png": "alpha down to 0 of 255",
    "icc_broken.png": "a colour profile other than sRGB",
    "icc_lab.png": "a colour profile other than sRGB",
    "icc_swapped.jpg": "a colour profile other than sRGB",
    "icc_swapped.png": "a colour profile other than sRGB",
}
EVERY = sorted(path.name for path in PICTURES.iterdir() if path.suffix != ".npz")
WITHIN = {".jpg": 2}
"""JPEG decoders may differ by rounding; each patch of these pictures is one colour."""


def test_every_picture_is_judged():
    assert set(EVERY) == set(EXPECTED) | set(REFUSED)
    assert {f"exif{k}.{ending}" for k in range(1, 9) for ending in ("jpg", "png")} <= set(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_pixels_are_those_that_were_committed(name):
    pixels, expected = decode((PICTURES / name).read_bytes(), name), EXPECTED[name]
    assert (pixels.dtype, pixels.shape) == (np.uint8, expected.shape)
    assert np.abs(pixels.astype(int) - expected).max() <= WITHIN.get(Path(name).suffix, 0)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_has_no_8_bit_form_is_refused_with_its_reason(name):
    with pytest.raises(RecordingError, match=rf"^{name}: .*{REFUSED[name]}"):
        decode((PICTURES / name).read_bytes(), name)


def test_without_our_rules_16_bits_saturate_and_orientation_is_lost():
    """Negative control: the decoder's own defaults fail on these very files."""
    with Image.open(PICTURES / "gray16.tif") as image:
        assert (np.asarray(image.convert("RGB")) == 255).mean() > 0.9
    with Image.open(PICTURES / "exif6.png") as image:
        assert np.asarray(image.convert("RGB")).shape != EXPECTED["exif6.png"].shape
    with Image.open(PICTURES / "rgba.png") as image:
        assert (np.asarray(image)[..., 3] == 0).any()
        assert np.asarray(image.convert("RGB")).shape[2] == 3
