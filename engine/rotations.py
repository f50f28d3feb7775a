"""Do sites agree with the very units of a layer, or as well with random mixtures of its channels?

One pass over the stimuli, truncated at the layer, whose activations are held: as many positions as the memory takes,
and a further pass for the next ones. Every rotation is then matched from what is held.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import xarray as xr

from engine.activations import input_batches, recorded
from engine.allocation import freed_memory_kept
from engine.analyses.rotation import SCALINGS, random_rotation
from engine.bases import WORKSPACE, Bases, BestUnits, SiteColumns, block_size
from engine.errors import MemoryBudgetError, SettingsError, StimulusMismatchError
from engine.layers import require_known
from engine.matching import Progress, choose_device, exact_float32
from engine.networks import Network
from engine.passes import on_device
from engine.planning import format_bytes, parse_memory
from engine.recordings import Recording
from engine.schema import LOW_VARIATION, SITE, STIMULUS

BATCH, CUDA_BATCH = 8, 64
"""Stimuli at a time: as quick as more, and fixed, since float32 activations differ by rounding between batch sizes."""

LIVE_OUTPUTS = 4
"""Outputs of the size of the largest that a forward pass holds at once."""

LIVE_BLOCKS = 8
"""Arrays of ``WORKSPACE`` bytes that live at once."""

SMALL_THINGS = 2**25
"""Bytes of all that is small."""


def compute_rotations(
    network: Network,
    recording: Recording,
    layer: str,
    *,
    rotations: int = 10,
    folds: xr.DataArray | None = None,
    seed: int = 0,
    device: str = "auto",
    memory: str | int = "4GiB",
    progress: Progress | None = None,
) -> xr.Dataset:
    """Match every site with the units of a layer in random bases of its channels, and in the natural one.

    The channels at every position and for every stimulus are multiplied by the same Q, drawn from the Haar measure on
    SO(N). Twice for each Q: of the activations as they are, and of channels that are first divided by their SD over
    stimuli and positions (``standardised``), since a rotation of unequal variances mixes scale with basis.

    Parameters
    ----------
    network
        Whose ``layers`` table has the layer.
    recording
        NaN responses are left out, site by site.
    layer
        Its name.
    rotations
        Random bases, at least 1.
    folds
        ``fold`` (stimulus) as ``assign_folds`` gives it, for held-out values: the unit is selected on all parts but one
        and scored on that one, mean over parts. None, or one part: no held-out values.
    seed
        Of the rotations.
    device
        ``"cpu"``, ``"cuda"``, ``"cuda:N"``, or ``"auto"``: a GPU where there is one.
    memory
        Bound of the peak above the process with the network loaded and used once, such as ``"4GiB"``. It decides how
        many positions are held at a time, and so the number of passes; no result depends on it beyond rounding.
    progress
        Told ``"rotating"``, and how many of how many stimuli have been passed through the network.

    Returns
    -------
    xr.Dataset
        ``correlation``, ``held_out`` (scaling, rotation, site), Pearson's r of the site's best unit in each basis;
        ``unit`` (scaling, rotation, site), its index in the rotated layer's (channel, y, x);
        ``natural``, ``natural_held_out``, ``natural_unit`` (site), the same without a rotation.
        NaN, and -1, where a site or every unit is constant. A rotated unit is ranked if it varies by more than the
        rounding of the float32 activations that it is made of. Attributes: ``layer``, ``n_channels``,
        ``n_positions``, ``n_nonfinite`` (positions with a NaN or infinite activation, where no rotated unit exists),
        ``passes``, ``rotations``, ``seed``.

    Raises
    ------
    SettingsError, LayerError, StimulusMismatchError, MemoryBudgetError
        Before the first forward pass.

    References
    ----------
    Arend et al. (2018), CBMM Memo 93, figure 9.
    """
    if not isinstance(rotations, int | np.integer) or isinstance(rotations, bool) or rotations < 1:
        raise SettingsError(f"rotations={rotations!r}: a whole number of at least 1 is needed.")
    require_known(list(network.layers["name"]), [layer])
    row = network.layers.set_index("name").loc[layer]
    job = _Job(
        network, recording, layer, int(row["channels"]), int(row["height"] * row["width"]), choose_device(device)
    )
    response = recording.data["response"].transpose(STIMULUS, SITE).values.astype(np.float64)
    columns = SiteColumns.of(response, _fold_of(recording, folds), job.device)
    spans = job.spans(columns, rotations, parse_memory(memory))
    rng = np.random.default_rng(seed)
    drawn = np.stack([random_rotation(job.n_channels, rng) for _ in range(rotations)])
    best: BestUnits | None = None
    with on_device(network, job.device), exact_float32(), freed_memory_kept(), torch.inference_mode():
        for done, span in enumerate(spans):
            activation, scale = job.hold(span, _told(progress, done, len(spans), len(response)))
            best = best or BestUnits(Bases(torch.from_numpy(drawn).to(scale), scale), columns, job.n_positions)
            best.add(activation, span.start)
            del activation
    assert best is not None
    about = {"layer": layer, "n_channels": job.n_channels, "n_positions": job.n_positions, "passes": len(spans)}
    about |= {"n_nonfinite": best.n_nonfinite, "rotations": int(rotations), "seed": seed}
    return _dataset(best, recording, about)


def _told(progress: Progress | None, done: int, passes: int, n: int) -> Callable[[int], None]:
    return lambda stop: progress("rotating", done * n + stop, passes * n) if progress else None


def _fold_of(recording: Recording, folds: xr.DataArray | None) -> np.ndarray:
    ids = recording.data[STIMULUS].values.astype(str)
    if folds is None:
        return np.zeros(len(ids), np.int64)
    missing = sorted(set(ids.tolist()) - set(folds[STIMULUS].values.astype(str).tolist()))
    if missing:
        raise StimulusMismatchError(
            f"folds cover {folds.sizes[STIMULUS]} stimuli, {recording.name} has {len(ids)}; {len(missing)} of these "
            f"have no fold, first {missing[0]!r}. Assign them: engine.folds.assign_folds(recording.data, 2, seed)."
        )
    return folds.sel({STIMULUS: ids}).values.astype(np.int64)


@dataclass(frozen=True)
class _Job:
    """One layer of a network, to be passed the stimuli of a recording."""

    network: Network
    recording: Recording
    layer: str
    n_channels: int
    n_positions: int
    device: torch.device

    @property
    def ids(self) -> np.ndarray:
        return self.recording.data[STIMULUS].values.astype(str)

    @property
    def batch(self) -> int:
        return BATCH if self.device.type == "cpu" else CUDA_BATCH

    def spans(self, columns: SiteColumns, rotations: int, memory: int) -> list[slice]:
        """Positions that each pass holds, as even as can be."""
        n_stimuli, network = columns.z.shape[2], self.network
        largest = max(network.largest_output, int(network.layers["units"].max()))
        height, width = network.image_size
        forward = self.batch * 4 * (LIVE_OUTPUTS * largest + 2 * 3 * height * width)
        block = LIVE_BLOCKS * max(WORKSPACE, 8 * block_size(n_stimuli, self.n_channels, columns))
        bases = 8 * self.n_channels**2 * (rotations + 4)
        fixed = max(forward, block) + bases + 9 * columns.z.nbytes // 4 + columns.cells.nbytes + SMALL_THINGS
        per_position = 4 * n_stimuli * self.n_channels
        if fixed + per_position > memory:
            raise MemoryBudgetError(
                f"memory={format_bytes(memory)} is too little to rotate layer {self.layer!r} of {self.n_channels} "
                f"channels over {n_stimuli} stimuli: at least {format_bytes(fixed + per_position)} is needed. "
                f"Give memory={-(-(fixed + per_position) // 2**20)}MiB or more."
            )
        passes = -(-self.n_positions // ((memory - fixed) // per_position))
        edges = np.linspace(0, self.n_positions, passes + 1).round().astype(int).tolist()
        return [slice(start, stop) for start, stop in pairwise(edges)]

    def hold(self, span: slice, told: Callable[[int], None]) -> tuple[torch.Tensor, torch.Tensor]:
        """Pass all stimuli: activations (position, stimulus, channel) float32 at a span, scale of every channel."""
        n = len(self.ids)
        held = torch.empty(span.stop - span.start, n, self.n_channels, device=self.device)
        spread = _Spread(self.n_channels, self.device)
        batch = slice(0, 0)

        def keep(_: str, activation: torch.Tensor) -> None:
            by_channel = activation.view(len(activation), self.n_channels, -1)
            held[:, batch] = by_channel[:, :, span].permute(2, 0, 1)
            spread.add(by_channel)

        with recorded(self.network, [self.layer], keep) as run_forward:
            batches = [slice(first, min(first + self.batch, n)) for first in range(0, n, self.batch)]
            for batch, inputs in input_batches(self.network, self.recording.stimuli, self.ids, batches):
                run_forward(inputs.to(self.device))
                told(batch.stop)
        return held, spread.scale()


class _Spread:
    """Spread of each channel over stimuli and positions, around the mean of the first batch."""

    def __init__(self, n_channels: int, device: torch.device) -> None:
        self.shift: torch.Tensor | None = None
        self.n, self.sum, self.squares, self.largest = torch.zeros(4, n_channels, dtype=torch.float64, device=device)

    def add(self, activation: torch.Tensor) -> None:
        """Add a batch, (stimulus, channel, position) float32; NaN and infinite values do not count."""
        x = activation.double()
        is_finite = torch.isfinite(x)
        x = torch.where(is_finite, x, 0.0)
        n = is_finite.sum(dim=(0, 2))
        self.largest = torch.maximum(self.largest, x.abs().amax(dim=(0, 2)))
        if self.shift is None:
            self.shift = x.sum(dim=(0, 2)) / n.clamp_min(1)
        x = torch.where(is_finite, x - self.shift[:, None], 0.0)
        self.n += n
        self.sum += x.sum(dim=(0, 2))
        self.squares += x.square_().sum(dim=(0, 2))

    def scale(self) -> torch.Tensor:
        """1 / SD of each channel, (channel,) float64; 0 where it varies by no more than rounding."""
        n = self.n.clamp_min(1)
        sd = ((self.squares - self.sum**2 / n) / n).clamp_min(0).sqrt()
        return torch.where(sd > LOW_VARIATION * self.largest, 1 / sd, 0.0)


def _dataset(best: BestUnits, recording: Recording, attributes: dict[str, object]) -> xr.Dataset:
    is_ranked = np.isfinite(best.r[:, 0])
    held_out = np.full(is_ranked.shape, np.nan)
    if best.left_out.shape[1]:
        held_out = best.left_out.mean(axis=1)
    values = {
        "correlation": np.where(is_ranked, best.r[:, 0], np.nan),
        "held_out": held_out,
        "unit": np.where(is_ranked, best.unit[:, 0], -1),
    }
    dims = ("scaling", "rotation", SITE)
    rotated = {name: (dims, value[1:].reshape(len(SCALINGS), -1, value.shape[1])) for name, value in values.items()}
    names = {"correlation": "natural", "held_out": "natural_held_out", "unit": "natural_unit"}
    natural = {names[name]: (SITE, value[0]) for name, value in values.items()}
    coords = {"scaling": list(SCALINGS), SITE: recording.data[SITE].values}
    return xr.Dataset({**rotated, **natural}, coords, attributes)
