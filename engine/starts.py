"""At which images are gradients taken? Noise like the stimuli, or the stimuli themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from engine.errors import SettingsError
from engine.preprocessing import Preprocessing

if TYPE_CHECKING:
    from engine.networks import Network
    from engine.stimuli import Stimuli

N_STARTS = 64
"""Starts that a gradient is averaged over (Arend et al. 2018)."""


@dataclass(frozen=True, eq=False)
class Starts:
    """Images at which gradients are taken, and what they are.

    Parameters
    ----------
    images
        float32 (start, 3, height, width): RGB pixels of stimuli, 0 to 255, or network input.
    in_pixels
        Whether they are pixels, which ``Preprocessing.from_pixels`` takes to the network; else they are network input.
    kind
        What they are, in words, for who reads the result.
    """

    images: torch.Tensor
    in_pixels: bool
    kind: str

    def __post_init__(self) -> None:
        shape = tuple(self.images.shape)
        if len(shape) != 4 or shape[1] != 3 or 0 in shape or not self.images.is_floating_point():
            raise SettingsError(f"starts: expected float (start, 3, height, width), got {self.images.dtype} {shape}.")
        if not self.images.isfinite().all():
            raise SettingsError("starts: expected finite values, got NaN or infinity.")

    def __len__(self) -> int:
        return len(self.images)

    def inputs(self, network: "Network") -> torch.Tensor:
        """Network input, (start, 3, h, w), on the processor.

        Raises
        ------
        SettingsError
            If the starts are pixels and the network's preprocessing is an arbitrary callable.
        """
        if not self.in_pixels:
            return self.images
        if not isinstance(network.preprocess, Preprocessing):
            raise SettingsError(
                f"starts are pixels, but the preprocessing of {network.name} is no engine.Preprocessing, through which "
                "gradients can pass. Give network input: Starts(network.inputs(stimuli, ids), False, 'stimuli')."
            )
        return network.preprocess.from_pixels(self.images)


def noise_starts(network: "Network", stimuli: "Stimuli", *, n: int = N_STARTS, seed: int) -> Starts:
    """Gaussian noise, independent for each pixel, with the mean and SD of the stimuli's pixels in each colour.

    For stimuli that are all gray the noise is gray. Values may leave 0 to 255: cut there, the noise would have another
    mean and SD. Of a network whose preprocessing is an arbitrary callable, the noise is network input, likewise.

    Parameters
    ----------
    network
        Whose preprocessing decides what a start is.
    stimuli
        The set whose mean and SD are taken, and whose first image gives the size.
    n
        Number of starts.
    seed
        Of the noise.
    """
    if n < 1:
        raise SettingsError(f"starts: expected at least 1, got n={n}.")
    in_pixels = isinstance(network.preprocess, Preprocessing)
    count, total, squares, is_gray, size = 0, np.zeros(3), np.zeros(3), True, (0, 0)
    for name in stimuli.ids:
        image = _pixels(stimuli, name) if in_pixels else network.inputs(stimuli, [name])[0].double().numpy()
        size = size if count else image.shape[1:]
        is_gray = is_gray and bool((image == image[:1]).all())
        count += image[0].size
        total += image.sum((1, 2))
        squares += (image**2).sum((1, 2))
    mean = total / count
    sd = np.sqrt(np.maximum(squares / count - mean**2, 0))
    noise = np.random.default_rng(seed).standard_normal((n, 1 if is_gray else 3, *size))
    images = mean[:, None, None] + sd[:, None, None] * noise
    return Starts(torch.from_numpy(images.astype(np.float32)), in_pixels, f"{n} noise images, seed {seed}")


def stimulus_starts(network: "Network", stimuli: "Stimuli", ids: Sequence[str]) -> Starts:
    """Stimuli as starts, in the order of ``ids``; they must be of one size.

    Raises
    ------
    SettingsError
        If they are not of one size.
    """
    kind = f"{len(ids)} stimuli"
    if not isinstance(network.preprocess, Preprocessing):
        return Starts(network.inputs(stimuli, ids), False, kind)
    images = [_pixels(stimuli, name) for name in ids]
    for name, image in zip(ids, images, strict=True):
        if image.shape != images[0].shape:
            raise SettingsError(
                f"starts must be of one size: stimulus {ids[0]!r} has {images[0].shape[1:]} pixels, {name!r} "
                f"{image.shape[1:]}. Choose stimuli of one size, or give network input."
            )
    return Starts(torch.from_numpy(np.stack(images).astype(np.float32)), True, kind)


def _pixels(stimuli: "Stimuli", name: str) -> np.ndarray:
    return stimuli.pixels(name).astype(np.float64).transpose(2, 0, 1)
