"""What are the pixels of one image? Exactly those of its file, as 8-bit sRGB, (height, width, 3), upright.

What cannot become that without a choice that changes its pixels (16 bits, transparency, another colour space, a film)
is refused: Pillow would saturate, drop or ignore silently.
"""

import io
import os
import threading
import zipfile
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

import numpy as np
from PIL import Image, ImageCms, ImageOps

from engine.errors import RecordingError

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif"})
MAX_PIXELS: Final = 50_000_000
"""Larger images are refused before they are decoded: a file of some kB can claim gigabytes."""

MAX_FILE_BYTES: Final = 256 * 2**20
MAX_IMAGES: Final = 200_000
"""A folder or zip with more entries is refused before they are looked at one by one."""

_DIRECTORY_BYTES_EACH: Final = 160
_END_OF_DIRECTORY: Final = b"PK\x05\x06"
_END_OF_DIRECTORY_64: Final = b"PK\x06\x06"

_FORMATS: Final = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF")
_EIGHT_BIT_MODES: Final = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})
_OPAQUE: Final = 255
_SAME_COLOUR_WITHIN: Final = 2


class Picture(Protocol):
    """Something that gives the pixels of one stimulus."""

    def pixels(self) -> np.ndarray:
        """Return uint8 (height, width, 3), a new array that the caller may change."""


def decode(content: bytes, where: str) -> np.ndarray:
    """Return the pixels of an encoded image: uint8 (height, width, 3), sRGB, upright.

    Gray and palette images get three channels, EXIF orientation is applied, an alpha channel that is opaque everywhere
    is dropped, CMYK without a profile becomes 255 - ink (Pillow's conversion).

    Parameters
    ----------
    content
        A PNG, JPEG, BMP, TIFF, WebP or GIF file.
    where
        Its name, for messages.

    Raises
    ------
    RecordingError
        If it is damaged, none of these formats, larger than ``MAX_PIXELS``, a film, has more than 8 bits, is
        transparent anywhere, or carries a colour profile other than sRGB.
    """
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            _require_one_small_frame(image, where)
            _require_eight_bits(image, where)
            _require_srgb(image, where)
            return np.array(_opaque(ImageOps.exif_transpose(image), where).convert("RGB"))
    except RecordingError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RecordingError(f"{where}: {_too_large(str(error))}") from error
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, zlib.error, ...
        raise RecordingError(
            f"{where}: cannot be decoded ({error}). It is damaged or none of {', '.join(_FORMATS)}; "
            "get the file again, or convert it to PNG."
        ) from error


def is_image(name: str) -> bool:
    """Return whether a file of this name holds an image that somebody put there on purpose."""
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and "__MACOSX" not in path.parts


@dataclass(frozen=True, eq=False)
class HeldPicture:
    """An image in memory: uint8 (height, width[, 3])."""

    image: np.ndarray

    def pixels(self) -> np.ndarray:
        """Return uint8 (height, width, 3)."""
        return np.array(self.image) if self.image.ndim == 3 else np.repeat(self.image[..., None], 3, axis=2)


@dataclass(frozen=True)
class ImageFile:
    """An image in a file of its own."""

    path: Path

    def pixels(self) -> np.ndarray:
        """Return uint8 (height, width, 3)."""
        try:
            _require_small_file(self.path.stat().st_size, str(self.path))
            content = self.path.read_bytes()
        except OSError as error:
            raise RecordingError(f"{self.path}: cannot be read ({error.strerror}). Is it still there?") from error
        return decode(content, str(self.path))


class Archive:
    """A zip file that is opened once per process, also after it was sent to another one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._opened: tuple[int, zipfile.ZipFile] | None = None

    def __reduce__(self) -> tuple[type["Archive"], tuple[Path]]:
        return Archive, (self.path,)

    def members(self) -> list[str]:
        """Return the names of the files inside, as stored."""
        names = [entry.filename for entry in self._zip().infolist() if not entry.is_dir()]
        outside = [name for name in names if _leaves(name)]
        if outside:
            raise RecordingError(
                f"{self.path}: {len(outside)} members point out of the archive, first {outside[0]!r}. "
                "Nothing was read; make the zip again from within its folder."
            )
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise RecordingError(
                f"{self.path}: {len(twice)} members are there twice, first {twice[0]!r}. Make the zip again."
            )
        return names

    def read(self, member: str) -> bytes:
        """Return the bytes of one member; the zip's own checksum (CRC-32) is verified."""
        archive, where = self._zip(), f"{self.path}: {member}"
        _require_small_file(archive.getinfo(member).file_size, where)
        try:
            return archive.read(member)
        except Exception as error:  # BadZipFile, RuntimeError if encrypted, whatever its compression raises
            raise RecordingError(
                f"{where}: cannot be read ({error}). Get the zip again, without a password."
            ) from error

    def _zip(self) -> zipfile.ZipFile:
        with self._lock:
            if self._opened is None or self._opened[0] != os.getpid():  # a forked process must not share the position
                self._opened = (os.getpid(), _opened_zip(self.path))
            return self._opened[1]


@dataclass(frozen=True)
class ZippedImage:
    """An image in a zip."""

    archive: Archive
    member: str

    def pixels(self) -> np.ndarray:
        """Return uint8 (height, width, 3)."""
        return decode(self.archive.read(self.member), f"{self.archive.path}: {self.member}")


def _opened_zip(path: Path) -> zipfile.ZipFile:
    try:
        _require_small_directory(path)
        return zipfile.ZipFile(path)
    except FileNotFoundError as error:
        raise RecordingError(f"There is no zip of images at {path}. Check the path.") from error
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise RecordingError(f"{path}: is no readable zip ({error}). Get the file again.") from error


def _require_small_directory(path: Path) -> None:
    """Refuse a zip whose list of members would fill the memory, by the size that its end states."""
    with open(path, "rb") as file:
        n_bytes = file.seek(0, os.SEEK_END)
        file.seek(max(0, n_bytes - 2**16 - 128))
        tail = file.read()
    end, end_64 = tail.rfind(_END_OF_DIRECTORY), tail.rfind(_END_OF_DIRECTORY_64)
    stated = int.from_bytes(tail[end + 12 : end + 16], "little") if end >= 0 else 0
    if end_64 >= 0:
        stated = max(stated if stated < 2**32 - 1 else 0, int.from_bytes(tail[end_64 + 40 : end_64 + 48], "little"))
    if stated > MAX_IMAGES * _DIRECTORY_BYTES_EACH:
        raise RecordingError(
            f"{path}: lists more than the {MAX_IMAGES:,} files that a set of stimuli may have. Pack only its images."
        )


def _leaves(member: str) -> bool:
    return member.startswith("/") or "\\" in member or ":" in member or ".." in PurePosixPath(member).parts


def _require_small_file(n_bytes: int, where: str) -> None:
    if n_bytes > MAX_FILE_BYTES:
        raise RecordingError(f"{where}: {n_bytes:,} bytes is more than an image may have ({MAX_FILE_BYTES:,}).")


def _require_one_small_frame(image: Image.Image, where: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise RecordingError(f"{where}: {_too_large(f'{width} x {height} px')}")
    n_frames = getattr(image, "n_frames", 1)
    if n_frames > 1:
        raise RecordingError(
            f"{where}: holds {n_frames} frames; a stimulus is one image. Save the frame that was shown as PNG."
        )


def _too_large(found: str) -> str:
    return (
        f"{found} is more than the {MAX_PIXELS:,} px that an image may have. Make it smaller: networks see 224 x 224."
    )


def _require_eight_bits(image: Image.Image, where: str) -> None:
    # Pillow opens 48-bit PNG and TIFF as RGB and keeps the high bytes; only the raw mode tells.
    raw_modes = [str(tile.args) for tile in getattr(image, "tile", ())]
    if image.mode not in _EIGHT_BIT_MODES or any(";16" in raw for raw in raw_modes):
        raise RecordingError(
            f"{where}: has more than 8 bits per colour, or another kind of pixel (mode {image.mode}). "
            "Say yourself how it becomes 8 bits: save it as 8-bit PNG."
        )


def _require_srgb(image: Image.Image, where: str) -> None:
    profile = image.info.get("icc_profile")
    if not profile:
        return
    colours = "L" if image.mode in ("1", "L", "LA") else "RGB"
    if image.mode == "CMYK" or not _is_srgb(profile, colours):
        raise RecordingError(
            f"{where}: carries a colour profile other than sRGB, so its numbers mean other colours. "
            "Convert it to sRGB; or, if it was shown without regard to the profile, remove the profile."
        )


@lru_cache(maxsize=64)
def _is_srgb(profile: bytes, colours: str) -> bool:
    """Return whether the profile leaves a grid of colours as they are, whatever it is called."""
    levels = np.linspace(0, 255, 9).astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(27, 27, 3)
    patch = Image.fromarray(grid if colours == "RGB" else grid[..., 0])
    try:
        seen = ImageCms.profileToProfile(
            patch,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return False
    change = np.asarray(seen, np.int16) - np.asarray(patch.convert("RGB"), np.int16)
    return int(np.abs(change).max()) <= _SAME_COLOUR_WITHIN


def _opaque(image: Image.Image, where: str) -> Image.Image:
    if not image.has_transparency_data:
        return image
    with_alpha = image.convert("RGBA")
    least = int(np.asarray(with_alpha.getchannel("A")).min())
    if least < _OPAQUE:
        raise RecordingError(
            f"{where}: is transparent (alpha down to {least} of 255), so its colours depend on what is behind. "
            "Save it on the background that was shown, without alpha."
        )
    return with_alpha
