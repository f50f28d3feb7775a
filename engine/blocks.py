"""Where the activations of whole layers are held, all stimuli of them, while their pass runs."""

import weakref
from concurrent.futures import ThreadPoolExecutor
from math import prod

import numpy as np
import torch

from engine.allocation import give_back, pages
from engine.kernels.gathering import gather

_ALIGNMENT = 4096


class UnitOrder:
    """In which order the units of a layer's output lie in memory; fixed by the first batch.

    Position by position for outputs whose channels come last, else channel by channel.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.channels = shape[0]
        self.area = shape[1] * shape[2]
        self.is_position_major = False
        self._is_known = False

    def rows(self, activation: torch.Tensor) -> torch.Tensor:
        """Lay a batch, (stimulus, channel, position), out as (stimulus, unit); no copy unless its order changed."""
        if not self._is_known:
            self._is_known = True
            self.is_position_major = min(self.channels, self.area) > 1 and activation.stride(1) == 1
        ordered = activation.transpose(1, 2) if self.is_position_major else activation
        return ordered.reshape(len(activation), -1)

    def place(self, units: np.ndarray) -> np.ndarray:
        """Where units, by their index in C order of (channel, position), lie in a row."""
        channel, position = np.divmod(units, self.area)
        return position * self.channels + channel if self.is_position_major else units

    def at(self, first: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Channel and position, (unit,) int32, of ``width`` units that lie side by side."""
        unit = np.arange(first, first + width, dtype=np.int32)
        if self.is_position_major:
            position, channel = np.divmod(unit, np.int32(self.channels))
        else:
            channel, position = np.divmod(unit, np.int32(self.area))
        return channel, position


class Block:
    """Activations of one layer, (stimulus, unit) float32, in the order in which its output lies in memory."""

    def __init__(self, values: torch.Tensor, shape: tuple[int, int, int]) -> None:
        self.values = values
        self.order = UnitOrder(shape)

    def put(self, start: int, activation: torch.Tensor) -> None:
        """Copy a batch, (stimulus, channel, position), into the rows from ``start`` on."""
        self.values[start : start + len(activation)].copy_(self.order.rows(activation))

    def maps(self, channels: slice) -> torch.Tensor:
        """Activations of whole feature maps, (stimulus, unit) in C order of (channel, position)."""
        area = self.order.area
        if self.order.is_position_major:
            by_position = self.values.view(-1, area, self.order.channels)[:, :, channels]
            return by_position.transpose(1, 2).reshape(len(self.values), -1)
        return self.values[:, channels.start * area : channels.stop * area]

    def of_units(self, units: np.ndarray, n_threads: int = 1) -> np.ndarray:
        """Activations of chosen units, by their index in C order of (channel, position): (unit, stimulus) float32."""
        index = self.order.place(units)
        if self.values.device.type != "cpu":
            return self.values[:, torch.from_numpy(index).to(self.values.device)].T.contiguous().cpu().numpy()
        values, found = self.values.numpy(), np.empty((len(units), len(self.values)), np.float32)
        edges = np.linspace(0, len(units), n_threads + 1).astype(int).tolist()
        with ThreadPoolExecutor(n_threads) as threads:
            list(threads.map(lambda a, b: gather(values, index[a:b], found[a:b]), edges[:-1], edges[1:]))
        return found


class Arena:
    """Memory for the blocks of one pass after another, taken once: pages are faulted in only the first time.

    No block may be used once its arena is gone: the next match may get the same pages.

    Parameters
    ----------
    n_bytes
        As many as the largest pass needs, see ``bytes_for``.
    device
        Where the blocks lie.
    """

    def __init__(self, n_bytes: int, device: torch.device) -> None:
        if device.type == "cpu":
            memory = pages(n_bytes)
            self._memory = torch.frombuffer(memory, dtype=torch.float32)
            weakref.finalize(self, give_back, memory)
        else:
            self._memory = torch.empty(n_bytes // 4, dtype=torch.float32, device=device)

    @staticmethod
    def bytes_for(n_stimuli: int, n_units: int) -> int:
        """Bytes of a layer's block."""
        return -(-4 * n_stimuli * n_units // _ALIGNMENT) * _ALIGNMENT

    def blocks(
        self,
        n_stimuli: int,
        shapes: dict[str, tuple[int, int, int]],
        *,
        kept: Block | None = None,
        outlasting: str | None = None,
    ) -> dict[str, Block]:
        """Lay out empty blocks for layers of the given (channels, height, width); earlier ones are overwritten.

        Parameters
        ----------
        kept
            The earlier block that is not; it was ``outlasting`` when it was laid out.
        outlasting
            The layer whose block can be ``kept`` when others are laid out; it lies at the end of the memory that
            ``kept`` does not take.
        """
        is_at_start = kept is not None and kept.values.storage_offset() == 0
        start = self.bytes_for(n_stimuli, kept.values.shape[1]) if kept is not None and is_at_start else 0
        blocks = {}
        for name in sorted(shapes, key=lambda name: name != outlasting):
            n_units = prod(shapes[name])
            n_bytes = self.bytes_for(n_stimuli, n_units)
            first = start
            if name == outlasting and is_at_start:
                first = self._memory.nbytes // _ALIGNMENT * _ALIGNMENT - n_bytes
            else:
                start += n_bytes
            values = self._memory[first // 4 : first // 4 + n_stimuli * n_units].view(n_stimuli, n_units)
            blocks[name] = Block(values, shapes[name])
        return blocks
