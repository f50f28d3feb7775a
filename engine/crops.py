"""Which part of the image is enough to compute a unit and its gradient? The smallest crop that gives the same answer.

A crop is cut so that it cannot be told from the whole image at the unit: it holds the unit's field, begins at a
multiple of the network's stride, has the image's size modulo that stride, and ends at the image's border where the
field does. Whether this is enough depends on the network (an adaptive pool or a position code sees the crop's own
size), so every crop is compared with the full image, values and gradients, before it is used; where it fails, the full
image is used.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from engine.allocation import freed_memory_kept
from engine.fields import Field, find_fields
from engine.matching import exact_float32
from engine.passes import probe_inputs, truncated

if TYPE_CHECKING:
    from engine.networks import Network

WORTHWHILE = 0.5
"""A crop of a larger part of the image is not used: all units of a full image share one forward pass, crops do not."""

TOLERANCE = 1e-5
"""How far values and gradients on a crop may be from those on the full image, relative to the largest one."""

N_PROBES = 3
_PROBE_SEED = 20182
_MULTIPLES = (1, 2, 4, 8)


@dataclass(frozen=True, eq=False)
class Cut:
    """Along one axis: where the crop of each row (or column) of a layer begins, and where the row lies in its crop."""

    length: int
    """Of every crop of the layer, in pixels of the network's input."""
    origin: np.ndarray
    local: np.ndarray


@dataclass(frozen=True, eq=False)
class Crop:
    """How the units of a layer are computed: on which part of the network's input, and what of it they can see."""

    field: Field
    y: Cut
    x: Cut

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of every crop of the layer, in pixels of the network's input."""
        return self.y.length, self.x.length

    @property
    def is_whole(self) -> bool:
        """Whether the units are computed on the full image."""
        return self.size == self.field.input_size

    @property
    def share(self) -> float:
        """Part of the image's area."""
        height, width = self.field.input_size
        return self.y.length * self.x.length / (height * width)


def find_crops(network: "Network", layers: Collection[str]) -> dict[str, Crop]:
    """Find for each layer the smallest crop on which its units and their gradients are what they are on the full image.

    Parameters
    ----------
    network
        Whose ``layers`` table has the layers.
    layers
        Their names, in any order.

    Returns
    -------
    dict
        A ``Crop`` for each layer; the full image where no smaller crop is worthwhile or gives the same answer.

    Raises
    ------
    LayerError
        If a layer is unknown.
    """
    with freed_memory_kept(), exact_float32():
        fields = find_fields(network, layers)
        probes = probe_inputs(network, N_PROBES, _PROBE_SEED)
        return {name: _crop(network, name, field, probes) for name, field in fields.items()}


def whole_crop(field: Field) -> Crop:
    """Return the full image as a crop."""
    height, width = field.input_size
    return Crop(field, _uncut(len(field.top), height), _uncut(len(field.left), width))


def _crop(network: "Network", layer: str, field: Field, probes: torch.Tensor) -> Crop:
    for multiple in _MULTIPLES:
        crop = _planned(field, multiple)
        if crop.share > WORTHWHILE:
            break
        if agrees(network, layer, crop, probes):
            return crop
    if field.is_whole or agrees(network, layer, whole_crop(field), probes):
        return whole_crop(field)
    return whole_crop(Field.whole((len(field.top), len(field.left)), field.input_size))


def _planned(field: Field, multiple: int) -> Crop:
    height, width = field.input_size
    return Crop(
        field,
        _cut(field.top, field.bottom, height, multiple) or _uncut(len(field.top), height),
        _cut(field.left, field.right, width, multiple) or _uncut(len(field.left), width),
    )


def _uncut(n_places: int, n_pixels: int) -> Cut:
    return Cut(n_pixels, np.zeros(n_places, int), np.arange(n_places))


def _cut(first: np.ndarray, last: np.ndarray, n_pixels: int, multiple: int) -> Cut | None:
    """Shortest crop, in steps of a multiple of the stride, that holds the field of every place."""
    period = _period(first, last)
    if period is None:
        return None
    places, pixels = period[0] * multiple, period[1] * multiple
    for length in range(n_pixels % pixels or pixels, n_pixels, pixels):
        steps = np.minimum(first // pixels, (n_pixels - length) // pixels)
        if (steps * pixels + length >= last).all():
            return Cut(length, steps * pixels, np.arange(len(first)) - steps * places)
    return None


def _period(first: np.ndarray, last: np.ndarray) -> tuple[int, int] | None:
    """After how many places a field repeats, and how many pixels further: (1, stride), but for upsampled layers."""
    seen = first.min(), last.max()  # a stride may leave out the last pixels
    for places in range(1, len(first)):
        starts = (first[places:] - first[:-places])[first[:-places] > seen[0]]
        ends = (last[places:] - last[:-places])[last[places:] < seen[1]]
        steps = np.unique(np.concatenate([starts, ends]))
        if len(steps) == 1 and steps[0] > 0:
            return places, int(steps[0])
        if len(steps) == 0:
            return None
    return None


def agrees(network: "Network", layer: str, crop: Crop, probes: torch.Tensor) -> bool:
    """Whether the layer on crops is what it is on full images: its values everywhere, its gradients at some places.

    A place is a crop along both axes; those looked at hold every row and every column of the layer. Rounding may open a
    rectifier on one side only, so that the gradients of a pair differ although the crop is right; therefore they need
    to agree on one of the probes. Gradients also show whether the field, outside which they are set to 0, is too small.
    """
    places = _places(crop)
    try:
        if not _same_values(network, layer, crop, probes[0], places):
            return False
        few = [places[0], places[len(places) // 2], places[-1]]
        return any(_same_gradients(network, layer, crop, probe, few) for probe in probes)
    except Exception:  # a network that insists on its input size says so in any way it likes
        if crop.is_whole:
            raise
        return False


def _places(crop: Crop) -> list[tuple[int, int]]:
    """Origins of crops, (y, x) in pixels: a diagonal with every y and every x, and the other two corners."""
    tops, lefts = np.unique(crop.y.origin), np.unique(crop.x.origin)
    longest = max(len(tops), len(lefts))
    ys, xs = (np.linspace(0, len(axis) - 1, longest).round().astype(int) for axis in (tops, lefts))
    corners = [(tops[-1], lefts[0]), (tops[0], lefts[-1])]
    diagonal = zip(tops[ys], lefts[xs], strict=True)
    return list(dict.fromkeys((int(y), int(x)) for y, x in [*corners, *diagonal]))


def _same_values(
    network: "Network", layer: str, crop: Crop, probe: torch.Tensor, places: list[tuple[int, int]]
) -> bool:
    full = _maps(network, layer, probe[None])[0]
    cropped = _maps(network, layer, torch.stack([_cropped(probe, crop, place) for place in places]))
    scale = float(full.abs().max())
    for (top, left), maps in zip(places, cropped, strict=True):
        rows, columns = (np.flatnonzero(cut.origin == o) for cut, o in ((crop.y, top), (crop.x, left)))
        expected = full[:, rows][:, :, columns]
        found = maps[:, crop.y.local[rows]][:, :, crop.x.local[columns]]
        if not float((found - expected).abs().max()) <= TOLERANCE * scale:
            return False
    return True


def _same_gradients(
    network: "Network", layer: str, crop: Crop, probe: torch.Tensor, places: list[tuple[int, int]]
) -> bool:
    """Compare gradients of one random mixture of channels for each place, which cannot be silent as a unit can."""
    for top, left in places:
        y, x = (int(np.flatnonzero(cut.origin == o).mean()) for cut, o in ((crop.y, top), (crop.x, left)))
        expected = _mixed_gradient(network, layer, probe, y, x)
        part = _mixed_gradient(
            network, layer, _cropped(probe, crop, (top, left)), int(crop.y.local[y]), int(crop.x.local[x])
        )
        found = torch.zeros_like(expected)
        found[:, top : top + crop.y.length, left : left + crop.x.length] = part
        found = found * field_mask(crop.field, np.array([y]), np.array([x]), (0, 0), expected.shape[1:])[0].to(found)
        if not float((found - expected).abs().max()) <= TOLERANCE * float(expected.abs().max()):
            return False
    return True


def field_mask(
    field: Field, y: np.ndarray, x: np.ndarray, origin: tuple[int, int] | np.ndarray, size: Collection[int]
) -> torch.Tensor:
    """What of crops of a size (height, width), at their origins (..., 2), lies in the fields: bool (unit, 1, h, w)."""
    tops, lefts = np.broadcast_to(np.asarray(origin), (len(y), 2)).T[:, :, None]
    height, width = size
    rows, columns = np.arange(height) + tops, np.arange(width) + lefts
    in_y = (rows >= field.top[y][:, None]) & (rows < field.bottom[y][:, None])
    in_x = (columns >= field.left[x][:, None]) & (columns < field.right[x][:, None])
    return torch.from_numpy(in_y[:, None, :, None] & in_x[:, None, None, :])


def _maps(network: "Network", layer: str, batch: torch.Tensor) -> torch.Tensor:
    found: list[torch.Tensor] = []
    with truncated(network, [layer], lambda _, maps: found.append(maps)) as run:
        run(batch)
    return found[0]


def _mixed_gradient(network: "Network", layer: str, image: torch.Tensor, y: int, x: int) -> torch.Tensor:
    found: list[torch.Tensor] = []
    batch = image[None].clone().requires_grad_(True)
    with truncated(network, [layer], lambda _, maps: found.append(maps), differentiable=True) as run:
        run(batch)
        maps = found[0]
        if not maps.requires_grad:
            return torch.zeros_like(image)
        cotangent = torch.zeros_like(maps)
        generator = torch.Generator().manual_seed(_PROBE_SEED)
        cotangent[0, :, y, x] = torch.randn(maps.shape[1], generator=generator).to(maps)
        (gradient,) = torch.autograd.grad(maps, batch, cotangent, allow_unused=True)
    return torch.zeros_like(image) if gradient is None else gradient[0]


def _cropped(image: torch.Tensor, crop: Crop, place: tuple[int, int]) -> torch.Tensor:
    top, left = place
    return image[:, top : top + crop.y.length, left : left + crop.x.length]
