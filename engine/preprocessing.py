"""What does a network see of a stimulus? Pixels to network input, and back to degrees of visual angle."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from engine.errors import SettingsError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_SD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """Resize, crop the centre, order the colours, scale and standardise: all in torch, so gradients reach the pixels.

    With the default a square stimulus is seen whole; of another one, the central square. Calling it turns a stimulus,
    uint8 (height, width, 3) sRGB, into network input, float32 (3, h, w).

    Parameters
    ----------
    resize
        Length of the shorter side in pixels (the aspect stays), or ``(height, width)``, or None.
    crop
        ``(height, width)`` of the centre that is kept, or None. Needed unless ``resize`` is ``(height, width)``.
    interpolation
        ``"bilinear"`` or ``"bicubic"``; bicubic overshoot is cut to 0..255, as image libraries do.
    antialias
        Low-pass before sampling down, as image libraries do.
    channels
        ``"RGB"`` or ``"BGR"``, the order in the network's input.
    scale
        Factor on pixels 0..255, usually 1/255 or 1.
    mean, sd
        Subtracted from, then divided into the scaled pixels; in the order of ``channels``.
    rounding
        Where the crop begins if the margin is odd: ``"down"``, the pixel above or left of the middle; ``"even"``, the
        even one, as torchvision's ``center_crop``.

    Raises
    ------
    SettingsError
        When made, if a setting makes no sense; when called, if a stimulus is smaller than the crop.
    """

    resize: int | tuple[int, int] | None = 224
    crop: tuple[int, int] | None = (224, 224)
    interpolation: str = "bilinear"
    antialias: bool = True
    channels: str = "RGB"
    scale: float = 1 / 255
    mean: tuple[float, float, float] = IMAGENET_MEAN
    sd: tuple[float, float, float] = IMAGENET_SD
    rounding: str = "down"

    def __post_init__(self) -> None:
        _require(self.interpolation in ("bilinear", "bicubic"), "interpolation", "'bilinear' or 'bicubic'", self)
        _require(self.channels in ("RGB", "BGR"), "channels", "'RGB' or 'BGR'", self)
        _require(self.resize is None or _is_length(self.resize) or _is_size(self.resize), "resize", "pixels > 0", self)
        _require(self.crop is None or _is_size(self.crop), "crop", "(height, width) > 0 or None", self)
        _require(self.crop is not None or _is_size(self.resize), "crop", "(height, width), as resize is not", self)
        _require(np.isfinite(self.scale) and self.scale > 0, "scale", "a positive number", self)
        _require(self.rounding in ("down", "even"), "rounding", "'down' or 'even'", self)
        _require(len(self.mean) == 3 and np.isfinite(self.mean).all(), "mean", "three numbers", self)
        _require(len(self.sd) == 3 and min(self.sd) > 0, "sd", "three positive numbers", self)
        if self.crop is not None and self.resize is not None:
            smallest = (self.resize, self.resize) if isinstance(self.resize, int) else self.resize
            fits = self.crop[0] <= smallest[0] and self.crop[1] <= smallest[1]
            _require(fits, "crop", f"no larger than resize, {self.resize}", self)

    @property
    def image_size(self) -> tuple[int, int]:
        """``(height, width)`` of the network's input, in pixels."""
        size = self.crop or self.resize
        assert isinstance(size, tuple)
        return size

    def settings(self) -> dict[str, Any]:
        """Every setting, as plain values that go into a digest or a manifest."""
        settings = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        if self.rounding == "down":  # runs that are older than this setting keep their digests
            del settings["rounding"]
        return settings

    def __call__(self, stimulus: np.ndarray) -> torch.Tensor:
        """Network input, float32 (3, h, w), of one stimulus, uint8 (height, width, 3)."""
        if stimulus.dtype != np.uint8 or stimulus.ndim != 3 or stimulus.shape[2] != 3:
            raise SettingsError(
                f"preprocessing expects a stimulus of uint8 (height, width, 3), got {stimulus.dtype} {stimulus.shape}."
            )
        return self.from_pixels(torch.tensor(stimulus, dtype=torch.float32).permute(2, 0, 1))

    def from_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """Network input of RGB pixels, float (..., 3, height, width) in 0..255; differentiable in the pixels."""
        images = pixels.reshape(-1, *pixels.shape[-3:])
        images = self._cropped(self._resized(images))
        if self.channels == "BGR":
            images = images.flip(1)
        mean, sd = (
            torch.tensor(v, dtype=images.dtype, device=images.device).view(3, 1, 1) for v in (self.mean, self.sd)
        )
        images = (images * self.scale - mean) / sd
        return images.reshape(*pixels.shape[:-3], *images.shape[1:])

    def to_stimulus(
        self, y: np.ndarray | float, x: np.ndarray | float, *, stimulus_size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Position in the stimulus of network-input positions.

        Parameters
        ----------
        y, x
            Row and column in the network's input, in pixels; 0 is the centre of the first pixel.
        stimulus_size
            ``(height, width)`` of the stimulus in pixels.

        Returns
        -------
        tuple of numpy.ndarray
            Fractions of the stimulus's height and width: 0 its upper or left edge, 1 its lower or right edge.
            Exact for what is seen of it; beyond [0, 1] outside the stimulus.
        """
        resized = self._resized_size(stimulus_size)
        return tuple(  # type: ignore[return-value]
            (np.asarray(position, dtype=float) + 0.5 + self._margin(length, kept)) / length
            for position, length, kept in zip((y, x), resized, self.image_size, strict=True)
        )

    def to_degrees(
        self, y: np.ndarray | float, x: np.ndarray | float, *, stimulus_size: tuple[int, int], size_deg: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Visual angle of network-input positions, in degrees from the stimulus's centre: y up, x to the right.

        Parameters
        ----------
        y, x
            Row and column in the network's input, in pixels; 0 is the centre of the first pixel.
        stimulus_size
            ``(height, width)`` of the stimulus in pixels.
        size_deg
            Width of the stimulus in degrees; its pixels are square.
        """
        from_top, from_left = self.to_stimulus(y, x, stimulus_size=stimulus_size)
        height_deg = size_deg * stimulus_size[0] / stimulus_size[1]
        return (0.5 - from_top) * height_deg, (from_left - 0.5) * size_deg

    def _resized_size(self, size: tuple[int, int]) -> tuple[int, int]:
        if self.resize is None:
            return size
        if not isinstance(self.resize, int):
            return self.resize
        shorter = min(size)
        # Truncated like torchvision's Resize, in integers: 224 * 300 / 300 must not become 223.
        return self.resize * size[0] // shorter, self.resize * size[1] // shorter

    def _resized(self, images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[-2:]
        size = self._resized_size((height, width))
        if size == (height, width):
            return images
        resized = functional.interpolate(
            images, size=size, mode=self.interpolation, align_corners=False, antialias=self.antialias
        )
        return resized.clamp(0, 255) if self.interpolation == "bicubic" else resized

    def _cropped(self, images: torch.Tensor) -> torch.Tensor:
        height, width = self.image_size
        top, left = self._margin(images.shape[-2], height), self._margin(images.shape[-1], width)
        if top < 0 or left < 0:
            raise SettingsError(
                f"crop {self.image_size} does not fit into a stimulus of {tuple(images.shape[-2:])} pixels; "
                f"set resize, e.g. Preprocessing(resize={max(height, width)}, crop={self.crop})."
            )
        return images[..., top : top + height, left : left + width]

    def _margin(self, length: int, kept: int) -> int:
        """Pixels cut off above or left of what is kept; below 0 if there are too few."""
        return round((length - kept) / 2) if self.rounding == "even" and length >= kept else (length - kept) // 2


def _is_length(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_size(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(_is_length(v) for v in value)


def _require(claim: bool | np.bool_, setting: str, expected: str, found: Preprocessing) -> None:
    if not claim:
        raise SettingsError(f"Preprocessing.{setting}: expected {expected}, got {getattr(found, setting)!r}.")
