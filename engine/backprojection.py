"""What is a gradient at the network's input in pixels of the stimulus? The preprocessing's adjoint, applied to crops.

Resizing is linear and acts on rows and columns apart, so its adjoint on a crop is two small matrix products, where
autograd would go through the full image for each gradient. The matrices are read off the preprocessing itself, and the
outcome is compared with autograd before it is used; should it differ, autograd is used.
"""

from dataclasses import replace

import numpy as np
import torch

from engine.preprocessing import Preprocessing

TOLERANCE = 1e-5
"""How far the products may be from autograd, relative to the largest value."""

_AT_ONCE = 16
_GRAY, _STEP = 128.0, 64.0


class Backprojection:
    """Takes gradients to crops of network input back to the pixels of the images that gave it.

    Parameters
    ----------
    preprocess
        Between pixels and network input.
    images
        float (start, 3, height, width), RGB 0..255: where the gradients were taken.
    """

    def __init__(self, preprocess: Preprocessing, images: torch.Tensor) -> None:
        self.preprocess = preprocess
        self.images = images.float()
        plain = replace(preprocess, channels="RGB", scale=1.0, mean=(0.0,) * 3, sd=(1.0,) * 3)
        self.rows, self.columns = (_resizing(plain, (images.shape[-2], images.shape[-1]), axis) for axis in (0, 1))
        self.open = self._not_cut() if preprocess.interpolation == "bicubic" else None
        factors = preprocess.scale / torch.tensor(preprocess.sd)
        self.factors = factors.view(3, 1, 1)
        self.is_separable = self._agrees()

    def __call__(self, gradients: torch.Tensor, places: np.ndarray) -> torch.Tensor:
        """Gradients to pixels, (gradient, 3, height, width) float32.

        Parameters
        ----------
        gradients
            (gradient, 3, h, w), to crops of the network's input.
        places
            (gradient, 3): first row and column of the crop, and the start.
        """
        if not self.is_separable:
            return self._autograd(gradients, places)
        height, width = gradients.shape[-2:]
        gradients = gradients.float() * self.factors
        if self.open is not None:
            cut = [self.open[start, :, top : top + height, left : left + width] for top, left, start in places]
            gradients = gradients * torch.stack(cut)
        if self.preprocess.channels == "BGR":
            gradients = gradients.flip(1)
        rows = torch.stack([self.rows[top : top + height] for top in places[:, 0]])
        columns = torch.stack([self.columns[left : left + width] for left in places[:, 1]])
        return rows.mT[:, None] @ (gradients.contiguous() @ columns[:, None])

    def _autograd(self, gradients: torch.Tensor, places: np.ndarray) -> torch.Tensor:
        height, width = gradients.shape[-2:]
        whole = torch.zeros((len(gradients), 3, *self.preprocess.image_size))
        for image, (top, left, _), gradient in zip(whole, places, gradients, strict=True):
            image[:, top : top + height, left : left + width] = gradient
        with torch.inference_mode(False), torch.enable_grad():
            pixels = self.images[places[:, 2]].requires_grad_(True)
            (back,) = torch.autograd.grad(self.preprocess.from_pixels(pixels), pixels, whole)
        return back

    def _not_cut(self) -> torch.Tensor:
        """Where bicubic overshoot stays within 0..255, in the input's order of colours: beyond, no gradient passes."""
        resized = self.rows @ self.images @ self.columns.mT
        is_open = (resized >= 0) & (resized <= 255)
        return is_open.flip(1) if self.preprocess.channels == "BGR" else is_open

    def _agrees(self) -> bool:
        self.is_separable = True
        generator = torch.Generator().manual_seed(0)
        gradient = torch.randn((1, 3, *self.preprocess.image_size), generator=generator)
        place = np.zeros((1, 3), int)
        found, expected = self(gradient, place), self._autograd(gradient, place)
        return bool((found - expected).abs().max() <= TOLERANCE * expected.abs().max())


def _resizing(plain: Preprocessing, size: tuple[int, int], axis: int) -> torch.Tensor:
    """(network input, stimulus) along an axis: how pixels are weighed, seen by stepping one line of a gray image."""
    gray = torch.full((1, *size), _GRAY)
    lines = []
    for first in range(0, size[axis], _AT_ONCE):
        stepped = gray.repeat(min(_AT_ONCE, size[axis] - first), 1, 1)
        for i, image in enumerate(stepped):
            image.select(axis, first + i).add_(_STEP)
        answers = plain.from_pixels(stepped[:, None].expand(-1, 3, -1, -1))[:, 0].mean(2 - axis)
        lines.append((answers - _GRAY) / _STEP)
    return torch.cat(lines).mT.contiguous()
