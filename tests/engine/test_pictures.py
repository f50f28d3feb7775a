import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from engine.errors import RecordingError
from engine.pictures import decode

COLOURED = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
GRAY = COLOURED[..., 0]
RAMP = np.linspace(0, 255, 96).astype(np.uint8).reshape(8, 12)


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def png_chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_of_16_bit_colours():
    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(24) for _ in range(4))
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def huge_png(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(b"\0")) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def srgb_profile():
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def profile_with_red_and_green_swapped():
    return srgb_profile().replace(b"rXYZ", b"temp").replace(b"gXYZ", b"rXYZ").replace(b"temp", b"gXYZ")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (encoded(COLOURED), COLOURED),
        (encoded(GRAY), np.repeat(GRAY[..., None], 3, 2)),
        (encoded(Image.fromarray(GRAY > 127)), np.repeat(255 * (GRAY > 127)[..., None].astype(np.uint8), 3, 2)),
        (encoded(Image.fromarray(RAMP).convert("P")), np.repeat(RAMP[..., None], 3, 2)),
        (encoded(Image.merge("LA", [Image.fromarray(GRAY), Image.new("L", (12, 8), 255)])), np.stack([GRAY] * 3, -1)),
        (encoded(np.dstack([COLOURED, np.full((8, 12), 255, np.uint8)])), COLOURED),
        (encoded(Image.fromarray(255 - np.dstack([COLOURED, 0 * GRAY + 255]), "CMYK"), "TIFF"), COLOURED),
        (encoded(COLOURED, "BMP"), COLOURED),
        (encoded(COLOURED, "TIFF"), COLOURED),
        (encoded(COLOURED, "WEBP", lossless=True), COLOURED),
        (encoded(COLOURED, icc_profile=srgb_profile()), COLOURED),
    ],
    ids=["rgb", "gray", "one bit", "palette", "gray+alpha", "rgba", "cmyk", "bmp", "tiff", "webp", "srgb profile"],
)
@pytest.mark.filterwarnings("ignore:'mode' parameter:DeprecationWarning")
def test_kinds_that_have_an_exact_8_bit_form(content, expected):
    pixels = decode(content, "image")
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation, kind):
    gray = np.kron(np.array([[0, 80], [160, 240], [40, 200]], np.uint8), np.ones((16, 16), np.uint8))
    upright = {
        1: gray,
        2: gray[:, ::-1],
        3: gray[::-1, ::-1],
        4: gray[::-1],
        5: gray.T,
        6: np.rot90(gray, -1),
        7: gray[::-1, ::-1].T,
        8: np.rot90(gray),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decode(encoded(gray, kind, exif=exif), "image")
    np.testing.assert_allclose(pixels[..., 0].astype(int), upright, atol=6)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (encoded(GRAY.astype(np.uint16) * 257), "im.png: has more than 8 bits .* save it as 8-bit PNG"),
        (png_of_16_bit_colours(), "more than 8 bits"),
        (encoded(GRAY.astype(np.float32), "TIFF"), "another kind of pixel .mode F"),
        (encoded(np.dstack([COLOURED, np.full((8, 12), 254, np.uint8)])), "alpha down to 254 .* without alpha"),
        (encoded(Image.fromarray(GRAY).convert("P"), transparency=int(GRAY[0, 0])), "alpha down to 0"),
        (encoded(Image.fromarray(COLOURED), transparency=tuple(COLOURED[0, 0].tolist())), "alpha down to 0"),
        (
            encoded(GRAY, "GIF", save_all=True, append_images=[Image.fromarray(255 - GRAY)]),
            "holds 2 frames; a stimulus is one image",
        ),
        (encoded(COLOURED, icc_profile=profile_with_red_and_green_swapped()), "a colour profile other than sRGB"),
        (encoded(COLOURED, icc_profile=b"no profile"), "a colour profile other than sRGB"),
        (encoded(COLOURED)[:-40], "cannot be decoded .* get the file again"),
        (encoded(np.tile(COLOURED, (20, 20, 1)), "JPEG")[:-2000], "cannot be decoded .*truncated"),
        (b"", "cannot be decoded"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "none of PNG, JPEG, BMP, TIFF, WEBP, GIF"),
        (huge_png(8000, 8000), r"8000 x 8000 px is more than the 50,000,000 px"),
        (huge_png(12_800, 12_800), "more than the 50,000,000 px"),
        (huge_png(60_000, 60_000), "more than the 50,000,000 px"),
    ],
)
def test_kinds_that_have_none_are_refused_by_name(content, says):
    with pytest.raises(RecordingError, match=r"(?s)im\.png.*"):
        decode(content, "im.png")
    with pytest.raises(RecordingError, match=f"(?s){says}"):
        decode(content, "im.png")


@given(position=st.integers(0, 10_000), flip=st.integers(1, 255), kind=st.sampled_from(["PNG", "JPEG", "GIF", "TIFF"]))
def test_a_damaged_file_gives_an_image_or_our_error(position, flip, kind):
    content = bytearray(encoded(np.tile(GRAY, (4, 4)), kind))
    content[position % len(content)] ^= flip
    try:
        pixels = decode(bytes(content), "image")
    except RecordingError as error:
        says = str(error)
    else:
        says = f"image: {pixels.dtype}"
    assert says.startswith("image: ")
