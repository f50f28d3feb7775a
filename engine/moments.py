"""How every unit of a layer correlates with every column: sums that grow batch by batch, exact to 1e-6 in r.

Shifted data, one float32 product for each batch, float64 sums (Chan, Golub & LeVeque 1983, The American Statistician
37, 242-247). Only the products of units and columns, nearly all of the memory, are summed in float32 where a fold has
few batches: each addition costs at most 6e-8 of norm, and the shift bounds the norm. The shift is a unit's mean over
the first batch of a fold; it is subtracted before the product, since subtracting it afterwards cancels digits that
float32 no longer has. Each fold has its own shift, so that r over any union of folds is as exact as r over all; the
sums are moved to a common shift in float64.
"""

from collections.abc import Sequence
from math import ceil

import numpy as np
import torch

from engine.errors import NetworkError
from engine.schema import LOW_VARIATION, MIN_STIMULI, ROUNDING
from engine.targets import Targets

TILE = 4096
"""Units multiplied at a time on a processor: the shifted copy and the product stay in its cache."""

CUDA_TILE = 2**16
"""The same on a GPU, where fewer and larger products pay."""

SMALL, LARGE = 1e-17, 1e17
"""Outside this range squares leave float32; such units are summed in float64."""

FEW_BATCHES = 16
"""Up to so many batches in a fold, float32 sums of products keep r exact to 1e-6; more are summed in float64."""


def product_dtype(targets: Targets, batch: int) -> torch.dtype:
    """Precision of the sums of products: float64 where batches are many or responses are missing."""
    batches_in_a_fold = ceil(ceil(len(targets.stimuli) / targets.n_folds) / batch)
    return torch.float32 if batches_in_a_fold <= FEW_BATCHES and targets.n_patterns == 1 else torch.float64


class TargetSums:
    """The columns on the device of the run, and the sums of theirs that every layer shares."""

    def __init__(self, targets: Targets, device: torch.device) -> None:
        def on_device(values: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(values)).to(device)

        self.device = device
        self.n_sites = targets.n_sites
        self.z = on_device(targets.z.T)
        self.present = on_device(targets.present.T)
        self.pattern = on_device(targets.pattern)
        self.n = on_device(targets.n_present())
        self.sum_z = on_device(targets.sum_z())
        self.sum_zz = on_device(targets.sum_zz())

    @property
    def n_folds(self) -> int:
        """Number of parts."""
        return len(self.n)


class PairMoments:
    """Sums over stimuli of one layer's units and of their products with every column, for each fold.

    Memory: ``bytes_per_unit`` for each unit. Not a torch module: it holds state between batches and nothing else.
    """

    def __init__(self, n_units: int, targets: TargetSums, products: torch.dtype = torch.float64) -> None:
        folds, columns, patterns = targets.n_folds, len(targets.z), len(targets.present)
        self.targets = targets
        self.n_units = n_units
        self.sum_x = torch.zeros(folds, patterns, n_units, dtype=torch.float64, device=targets.device)
        self.sum_xx = torch.zeros(folds, patterns, n_units, dtype=torch.float64, device=targets.device)
        self.sum_xz = torch.zeros(folds, columns, n_units, dtype=products, device=targets.device)
        self.low = torch.full((n_units,), torch.inf, device=targets.device)
        self.high = torch.full((n_units,), -torch.inf, device=targets.device)
        self.shift = torch.zeros(folds, n_units, device=targets.device)
        self.n_added = [0] * folds
        self.first_nonfinite = -1

    @staticmethod
    def bytes_per_unit(n_folds: int, n_columns: int, n_patterns: int, products: torch.dtype) -> int:
        """Memory of the sums of one unit."""
        return n_folds * (products.itemsize * n_columns + 16 * n_patterns) + 4 * (n_folds + 2)

    def add(self, activation: torch.Tensor, start: int, fold: int) -> None:
        """Add a batch of stimuli that lie in one fold.

        Parameters
        ----------
        activation
            (stimulus, unit) of any float dtype, unitless.
        start
            Position of the first stimulus among the targets' stimuli.
        fold
            The part that all of them belong to.
        """
        stop = start + len(activation)
        z, present = self.targets.z[:, start:stop], self.targets.present[:, start:stop]
        tile = TILE if activation.device.type == "cpu" else CUDA_TILE
        for first in range(0, self.n_units, tile):
            units = slice(first, min(first + tile, self.n_units))
            self._add_tile(activation[:, units].float(), units, z, present, fold)
        self.n_added[fold] += len(activation)
        if self.first_nonfinite < 0 and bool(self.is_nonfinite().any()):
            is_finite = torch.isfinite(activation).all(dim=1)
            self.first_nonfinite = start + int(torch.argmin(is_finite.int()))

    def _add_tile(self, a: torch.Tensor, units: slice, z: torch.Tensor, present: torch.Tensor, fold: int) -> None:
        if self.n_added[fold] == 0:
            self.shift[fold, units] = torch.nan_to_num(a.mean(dim=0, dtype=torch.float64)).float()
        low, high = a.amin(dim=0), a.amax(dim=0)  # five times faster than aminmax along the first dimension
        torch.minimum(self.low[units], low, out=self.low[units])
        torch.maximum(self.high[units], high, out=self.high[units])
        shift = self.shift[fold, units]
        if len(present) > 1:  # the first batch says nothing of the stimuli that a site saw: float64 throughout
            self._add_sums(a.double() - shift.double(), units, z.double(), present.double(), fold)
            return
        x = a - shift
        reach = torch.maximum((high - shift).abs(), (low - shift).abs())
        is_wide = torch.isfinite(low) & torch.isfinite(high) & (reach > 0) & ((reach < SMALL) | (reach > LARGE))
        if bool(is_wide.any()):
            wide = is_wide.nonzero()[:, 0]
            x[:, wide] = 0
            self._add_sums(
                (a[:, wide].double() - shift[wide].double()), wide + units.start, z.double(), present.double(), fold
            )
        self._add_sums(x, units, z, present, fold)

    def _add_sums(
        self, x: torch.Tensor, units: slice | torch.Tensor, z: torch.Tensor, present: torch.Tensor, fold: int
    ) -> None:
        if isinstance(units, slice) and x.dtype == self.sum_xz.dtype:
            self.sum_xz[fold, :, units].addmm_(z, x)
        else:
            self.sum_xz[fold, :, units] += (z @ x).to(self.sum_xz.dtype)
        if len(present) == 1:
            self.sum_x[fold, 0, units] += x.sum(dim=0)
            self.sum_xx[fold, 0, units] += x.square_().sum(dim=0)
        else:
            self.sum_x[fold, :, units] += present @ x
            self.sum_xx[fold, :, units] += present @ x.square_()

    def statuses(self) -> dict[str, int]:
        """Count the units by status."""
        counts = {
            "n_constant": int(self.is_constant().sum()),
            "n_low_variation": int(self.varies_by_rounding().sum()),
            "n_nonfinite": int(self.is_nonfinite().sum()),
        }
        return {**counts, "n_ok": self.n_units - sum(counts.values())}

    def is_nonfinite(self) -> torch.Tensor:
        """Tell which units had a NaN or infinite activation: (unit,) bool."""
        return ~(torch.isfinite(self.low) & torch.isfinite(self.high))

    def is_constant(self) -> torch.Tensor:
        """Tell which units had the same finite activation for every stimulus: (unit,) bool."""
        return (self.low == self.high) & ~self.is_nonfinite()

    def varies_by_rounding(self, units: slice | torch.Tensor = slice(None)) -> torch.Tensor:
        """Tell which units vary, but by no more than float32 rounding: (unit,) bool."""
        n = self.targets.n[:, 0].sum()
        sum_x, sum_xx = self._unit_sums(range(len(self.shift)), units, slice(0, 1))
        sd = ((sum_xx[0] - sum_x[0] ** 2 / n) / n).clamp_min(0).sqrt()
        return (sd <= LOW_VARIATION * self._largest(units)) & (self.low[units] < self.high[units])

    def _largest(self, units: slice | torch.Tensor) -> torch.Tensor:
        return torch.maximum(self.low[units].abs(), self.high[units].abs()).double()

    def _unit_scale(
        self, folds: Sequence[int], units: slice | torch.Tensor, n: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Sum of each unit over some folds, and 1 / its norm there (NaN: not ranked): (pattern, unit) each."""
        sum_x, sum_xx = self._unit_sums(folds, units)
        scale = _inverse_norm(sum_xx - sum_x**2 / n[:, None], n[:, None], ROUNDING * self._largest(units))
        return sum_x, scale.masked_fill_(self.varies_by_rounding(units), torch.nan)

    def correlation(self, folds: Sequence[int], units: slice) -> torch.Tensor:
        """Correlate a range of units with every column over the stimuli of some folds.

        Returns
        -------
        torch.Tensor
            (column, unit) float64, Pearson's r; NaN where the unit or the column does not vary over these stimuli,
            or fewer than three stimuli are common.
        """
        pattern = self.targets.pattern
        n = self.targets.n[list(folds)].sum(0)
        sum_x, unit_scale = self._unit_scale(folds, units, n)
        sum_z, column_scale = self._column_scale(folds)
        sum_xz = self.sum_xz[folds[0], :, units].double()
        for fold in folds[1:]:
            sum_xz = torch.addr(sum_xz, self.targets.sum_z[fold], self._move(fold, folds[0], units))
            sum_xz += self.sum_xz[fold, :, units]
        if len(unit_scale) == 1:
            r = torch.addr(sum_xz, sum_z / n[0], sum_x[0], alpha=-1).mul_(unit_scale)
        else:
            r = (sum_xz - (sum_z / n[pattern])[:, None] * sum_x[pattern]) * unit_scale[pattern]
        return _clamp(r.mul_(column_scale[:, None]))

    def correlation_at(self, folds: Sequence[int], column: torch.Tensor, unit: torch.Tensor) -> torch.Tensor:
        """Correlate pairs of ``column`` and ``unit`` (pair,) over the stimuli of some folds: r (pair,) float64."""
        pattern = self.targets.pattern[column]
        n = self.targets.n[list(folds)].sum(0)
        sum_x, unit_scale = self._unit_scale(folds, unit, n)
        sum_z, column_scale = self._column_scale(folds)
        sum_xz = sum(
            self.sum_xz[fold, column, unit].double()
            + self.targets.sum_z[fold, column] * self._move(fold, folds[0], unit)
            for fold in folds
        )
        pair = torch.arange(len(unit), device=unit.device)
        covariance = sum_xz - sum_z[column] / n[pattern] * sum_x[pattern, pair]
        return _clamp(covariance * unit_scale[pattern, pair] * column_scale[column])

    def _move(self, fold: int, reference: int, units: slice | torch.Tensor) -> torch.Tensor:
        """How far a fold's shift lies above the reference fold's: (unit,) float64."""
        return self.shift[fold, units].double() - self.shift[reference, units].double()

    def _unit_sums(
        self, folds: Sequence[int], units: slice | torch.Tensor, patterns: slice = slice(None)
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Sums of x and of x squared over some folds, around the first fold's shift: (pattern, unit) each."""
        sum_x, sum_xx = self.sum_x[folds[0], patterns, units], self.sum_xx[folds[0], patterns, units]
        for fold in folds[1:]:
            move, n = self._move(fold, folds[0], units), self.targets.n[fold, patterns, None]
            own = self.sum_x[fold, patterns, units]
            sum_xx = sum_xx + self.sum_xx[fold, patterns, units] + 2 * move * own + n * move**2
            sum_x = sum_x + own + n * move
        return sum_x, sum_xx

    def _column_scale(self, folds: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Sum of each column over some folds, and 1 / its norm there; NaN where it does not vary."""
        n = self.targets.n[list(folds)].sum(0)[self.targets.pattern]
        sum_z, sum_zz = self.targets.sum_z[list(folds)].sum(0), self.targets.sum_zz[list(folds)].sum(0)
        return sum_z, _inverse_norm(sum_zz - sum_z**2 / n, n, ROUNDING / n.sqrt())


def _inverse_norm(sum_of_squares: torch.Tensor, n: torch.Tensor, rounding: torch.Tensor) -> torch.Tensor:
    """1 / sqrt of the centred sum of squares; NaN for fewer than three stimuli or an SD within ``rounding``."""
    varies = (sum_of_squares > n * rounding**2) & (n >= MIN_STIMULI)
    return torch.where(varies, sum_of_squares.clamp_min(0).rsqrt(), torch.nan)


def require_in_range(largest_r: float) -> None:
    """Refuse an r beyond 1 by more than rounding."""
    if largest_r > 1 + 1e-6:
        raise NetworkError(
            f"a correlation of {largest_r:.7f} came out, beyond 1 by more than rounding: the activations leave the "
            "range in which float32 sums are exact. Send us the network and the layer; nothing was stored."
        )


def _clamp(r: torch.Tensor) -> torch.Tensor:
    if bool((r.abs() > 1 + 1e-6).any()):
        require_in_range(float(r.abs().nan_to_num().max()))
    return r.clamp_(-1.0, 1.0)
