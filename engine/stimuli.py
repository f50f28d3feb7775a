"""What was shown: the pixels of every stimulus, by its id.

Images are decoded on demand, from a folder, a zip, a list of files or an array, always as 8-bit sRGB.
"""

import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from engine.errors import RecordingError, StimulusMismatchError
from engine.identifiers import first_three, natural_order, require_ids, require_same_ids
from engine.pictures import MAX_IMAGES, SUFFIXES, Archive, HeldPicture, ImageFile, Picture, ZippedImage, is_image

KEEP_SHARED: Final = "Keep what both sides have, under the same ids."
BACKGROUND: Final = 128
"""Gray around a thumbnail whose image is not square."""

_SAMPLE: Final = 16
"""Of so many rows and columns one is looked at first, where a colour tells at once that a picture is not gray."""


class Stimuli:
    """Ids in the recording's order, and the pixels behind them, decoded each time they are asked for.

    Parameters
    ----------
    pictures
        What gives the pixels, by id. Most users start from ``from_folder``, ``from_zip``, ``from_paths`` or
        ``from_array``.

    Raises
    ------
    RecordingError
        If the ids are not text, not unique or not clean (see ``engine.identifiers.require_ids``).
    """

    def __init__(self, pictures: Mapping[str, Picture]) -> None:
        self.ids: tuple[str, ...] = require_ids(list(pictures), "stimulus", "stimuli")
        self._pictures = dict(pictures)
        self._digests: dict[str, str] = {}

    @classmethod
    def from_array(cls, array: Any, ids: Sequence[str]) -> "Stimuli":
        """Return stimuli held in memory.

        Parameters
        ----------
        array
            uint8 (stimulus, height, width) gray, or (stimulus, height, width, 3) sRGB. A writable array is copied, so
            that nothing can change under a result; a read-only one (``numpy.load(file, mmap_mode="r")``) is not.
        ids
            One per image, in the order of the array.

        Raises
        ------
        RecordingError
            If the array has another dtype or shape.
        StimulusMismatchError
            If there are not as many ids as images.
        """
        images = _require_uint8_images(array)
        names = require_ids(ids, "stimulus", "images")
        if len(images) != len(names):
            raise StimulusMismatchError(
                f"images holds {len(images)} images for {len(names)} stimulus ids; give one id per image."
            )
        held = images.copy() if images.flags.writeable else images
        return cls({name: HeldPicture(held[index]) for index, name in enumerate(names)})

    @classmethod
    def from_folder(cls, path: str | os.PathLike[str], ids: Sequence[str] | None = None) -> "Stimuli":
        """Return the images that lie in a folder; an id is a file's name without its ending.

        Parameters
        ----------
        path
            The folder; hidden files, files that are no images and folders in it are left aside.
        ids
            Their order. They must name exactly the images of the folder. None: natural order (``im2`` before ``im10``).

        Raises
        ------
        RecordingError
            If there is no such folder, it holds no image or too many files, one is a link that leaves it, or two files
            have the same name but for their ending.
        StimulusMismatchError
            If ``ids`` and the files do not name the same stimuli.
        """
        folder = Path(path)
        if not folder.is_dir():
            raise RecordingError(f"There is no folder of images at {folder}. Check the path.")
        files = _images_in(folder)
        return cls._named_by_stem({str(file): ImageFile(file) for file in files}, str(folder), ids)

    @classmethod
    def from_zip(cls, path: str | os.PathLike[str], ids: Sequence[str] | None = None) -> "Stimuli":
        """Return the images in a zip, folders inside it included; ids and errors as in ``from_folder``.

        An archive with a member outside of itself (``../x.png``, ``/x.png``) is refused as a whole.
        """
        archive = Archive(Path(path))
        members = [name for name in archive.members() if is_image(name)]
        return cls._named_by_stem({name: ZippedImage(archive, name) for name in members}, str(path), ids)

    @classmethod
    def from_paths(cls, paths: Sequence[str | os.PathLike[str]], ids: Sequence[str] | None = None) -> "Stimuli":
        """Return the images of listed files, in that order.

        Parameters
        ----------
        paths
            One file per stimulus.
        ids
            ``ids[i]`` names ``paths[i]``, whatever the file is called. None: files' names without their ending.

        Raises
        ------
        RecordingError
            If a file is missing.
        StimulusMismatchError
            If there are not as many ids as files.
        """
        files = [Path(path) for path in paths]
        missing = [str(file) for file in files if not file.is_file()]
        if missing:
            raise RecordingError(
                f"{len(missing)} of {len(files)} image files are missing, first {first_three(missing)}."
            )
        names = require_ids([file.stem for file in files] if ids is None else ids, "stimulus", "image files")
        if len(names) != len(files):
            raise StimulusMismatchError(
                f"{len(files)} image files for {len(names)} stimulus ids; give one id per file."
            )
        return cls({name: ImageFile(file) for name, file in zip(names, files, strict=True)})

    @classmethod
    def _named_by_stem(cls, pictures: Mapping[str, Picture], where: str, ids: Sequence[str] | None) -> "Stimuli":
        if not pictures:
            raise RecordingError(f"{where} holds no images ({', '.join(sorted(SUFFIXES))}). Check the path.")
        stems = {place: Path(place).stem for place in pictures}
        twice = [stem for stem, count in Counter(stems.values()).items() if count > 1]
        if twice:
            places = [place for place, stem in stems.items() if stem == twice[0]]
            raise RecordingError(
                f"{where}: {len(twice)} stimulus ids name more than one image, first {first_three(places)}. "
                "An id is a file's name without its ending: rename the files."
            )
        found = sorted(stems.values(), key=natural_order)
        names = require_ids(found if ids is None else ids, "stimulus", where)
        require_same_ids(names, found, expected_in="stimulus_ids", found_in=where, fix=KEEP_SHARED)
        by_stem = {stems[place]: picture for place, picture in pictures.items()}
        return cls({name: by_stem[name] for name in names})

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"<Stimuli: {len(self)}, {first_three(self.ids)}{', ...' if len(self) > 3 else ''}>"

    def pixels(self, stimulus_id: str) -> np.ndarray:
        """Return uint8 (height, width, 3), sRGB, upright; gray images have three equal channels.

        Raises
        ------
        RecordingError
            If there is no such stimulus, or its file is missing, damaged or of a kind that has no exact 8-bit RGB form.
        """
        if stimulus_id not in self._pictures:
            raise RecordingError(
                f"There is no stimulus {stimulus_id!r}; there are {len(self)}, {first_three(self.ids)}, ..."
            )
        return self._pictures[stimulus_id].pixels()

    def thumbnails(self, size: int = 112) -> np.ndarray:
        """Return small pictures of all stimuli.

        Parameters
        ----------
        size
            Largest edge in pixels.

        Returns
        -------
        np.ndarray
            uint8 (stimulus, edge, edge, 3), or (..., 1) if every stimulus is gray; ``edge`` is ``size``, or the longest
            edge of any stimulus if that is smaller: nothing is enlarged. Proportions are kept, reduction is antialiased
            (Lanczos), and what does not fill the square is centred on mid-gray.
        """
        with ThreadPoolExecutor() as pool:
            small = list(pool.map(lambda name: _reduced(self.pixels(name), size), self.ids))
        edge = max(max(picture.shape[:2]) for picture in small)
        n_colours = max(picture.shape[2] for picture in small)
        thumbnails = np.full((len(small), edge, edge, n_colours), BACKGROUND, np.uint8)
        for thumbnail, picture in zip(thumbnails, small, strict=True):
            height, width = picture.shape[:2]
            top, left = (edge - height) // 2, (edge - width) // 2
            thumbnail[top : top + height, left : left + width] = picture
        return thumbnails

    def pixel_digests(self) -> dict[str, str]:
        """Return the sha256 of every stimulus's shape and pixels, by id; every image is decoded once."""
        for name in self.ids:
            if name not in self._digests:
                self._digests[name] = _digest(self.pixels(name))
        return {name: self._digests[name] for name in self.ids}

    def select(self, ids: Sequence[str]) -> "Stimuli":
        """Return the stimuli that ``ids`` name, in that order.

        Raises
        ------
        RecordingError
            If an id is unknown or named twice.
        """
        names = require_ids(ids, "stimulus", "selection")
        unknown = [name for name in names if name not in self._pictures]
        if unknown:
            raise RecordingError(
                f"{len(unknown)} of {len(names)} selected stimuli do not exist, first {first_three(unknown)}; "
                f"there are {len(self)}, {first_three(self.ids)}, ..."
            )
        selected = Stimuli({name: self._pictures[name] for name in names})
        selected._digests = {name: self._digests[name] for name in names if name in self._digests}
        return selected


def _images_in(folder: Path) -> list[Path]:
    """Return the images that lie in a folder; a link that leaves it could show any file of this machine."""
    with os.scandir(folder) as entries:
        found = list(itertools.islice(entries, MAX_IMAGES + 1))
    if len(found) > MAX_IMAGES:
        raise RecordingError(
            f"{folder} has more than the {MAX_IMAGES:,} files that a set of stimuli may have. "
            "Give a folder of the images that were shown."
        )
    root, images = folder.resolve(), [entry for entry in found if is_image(entry.name) and entry.is_file()]
    for entry in images:
        if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root):
            raise RecordingError(
                f"{entry.path} is a link to a file outside of its folder. Nothing of it was read: copy the images "
                "there, or list their paths in Python: Stimuli.from_paths([...], ids)."
            )
    return [Path(entry.path) for entry in images]


def _require_uint8_images(array: Any) -> np.ndarray:
    images = np.asarray(array)
    if images.dtype != np.uint8:
        raise RecordingError(
            f"images must be uint8 sRGB, 0 to 255, got {images.dtype} of shape {images.shape}. "
            "Say yourself how they become that, e.g. (255 * images).round().astype('uint8') if they run from 0 to 1."
        )
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3) or 0 in images.shape:
        channels_first = images.ndim == 4 and images.shape[1] == 3
        fix = "use images.transpose(0, 2, 3, 1)." if channels_first else "one image needs a first axis: images[None]."
        raise RecordingError(
            f"images must be (stimulus, height, width) or (stimulus, height, width, 3), got shape {images.shape}; {fix}"
        )
    return images


def _reduced(pixels: np.ndarray, size: int) -> np.ndarray:
    """Return ``pixels`` in a square of ``size``, (height, width, 3), or (height, width, 1) if they are gray."""
    is_gray = _is_gray(pixels[::_SAMPLE, ::_SAMPLE]) and _is_gray(pixels)
    image = Image.fromarray(pixels[..., 0] if is_gray else pixels)
    scale = min(1.0, size / max(image.size))
    if scale < 1:
        width, height = (max(1, round(edge * scale)) for edge in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return np.atleast_3d(np.asarray(image))


def _is_gray(pixels: np.ndarray) -> bool:
    return all(np.array_equal(pixels[..., 0], pixels[..., colour]) for colour in range(1, pixels.shape[-1]))


def _digest(pixels: np.ndarray) -> str:
    return hashlib.sha256(f"{pixels.shape}".encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()
