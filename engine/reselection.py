"""Which unit would other stimuli have chosen, or other responses? The best unit of each column, chosen again.

Stimuli are cut into parts (folds); a choice is made on a union of parts and scored on other unions. Parts are sums of
the same matrix product, so that nested samples, left-out categories and folds cost hardly more than one match.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr
from numba import njit

from engine.blocks import Block, UnitOrder
from engine.errors import SettingsError
from engine.exact import correlate_pairs
from engine.footprints import ranking_bytes
from engine.holding import Held, hold_layers
from engine.kernels import arrays
from engine.kernels.tiles import TILE, summarise_held
from engine.matching import AT_ONCE, choose_device
from engine.moments import PairMoments, TargetSums, product_dtype, require_in_range
from engine.schema import MARGIN, MIN_STIMULI, N_R_BINS, ROUNDING, SITE, STIMULUS
from engine.summaries import CHUNK, maps_at_once
from engine.targets import Targets, make_targets
from engine.tiling import NEVER, Columns, tile_threads, whole_tiles

if TYPE_CHECKING:
    from engine.sources import Source

SPAN = 8 * TILE
"""Units whose stimuli are brought into a selection's order at a time, by one thread."""


@dataclass(frozen=True)
class Selection:
    """Columns to find the best units for, the parts that choose, and the parts that score.

    Parameters
    ----------
    targets
        Columns over the stimuli of this selection, in parts; shuffled columns count as columns.
    selected
        (split, fold) bool: which parts choose. It is quickest if the first split has all parts.
    scored
        Name -> (split, fold) bool: on which parts the chosen unit's r is taken as well.
    keeps_activation
        Whether the activations of the chosen units are wanted.
    """

    targets: Targets
    selected: np.ndarray
    scored: Mapping[str, np.ndarray] = field(default_factory=dict)
    keeps_activation: bool = False

    def __post_init__(self) -> None:
        for name, members in {"selected": self.selected, **self.scored}.items():
            expected = (len(self.selected), self.targets.n_folds)
            if members.shape != expected or members.dtype != bool:
                raise SettingsError(
                    f"{name}: expected bool (split, fold) {expected}, got {members.dtype} {members.shape}."
                )
        if not self.selected.any(axis=1).all():
            raise SettingsError("selected: every split needs at least one part to choose on.")


def selection_of(
    responses: xr.Dataset,
    fold: xr.DataArray,
    selected: np.ndarray,
    scored: Mapping[str, np.ndarray] | None = None,
    *,
    keeps_activation: bool = False,
) -> Selection:
    """Make a selection of responses.

    Parameters
    ----------
    responses
        ``response`` (stimulus, site), NaN = missing, and ``region`` (site), such as a run's ``recording``; sites may
        be shuffled or otherwise made up.
    fold
        (stimulus) int, 0 .. n-1 without a gap: the part of each stimulus; of some of the stimuli, if it is to choose
        and score on these alone.
    selected, scored, keeps_activation
        See ``Selection``.
    """
    chosen = responses[["response"]].sel({STIMULUS: fold[STIMULUS].values})
    return Selection(make_targets(chosen, fold, shuffles=0, seed=0), selected, scored or {}, keeps_activation)


def reselect(source: "Source", selections: Sequence[Selection]) -> list[xr.Dataset]:
    """Choose the best unit of the network for every split and column of every selection, passing the stimuli once.

    Once, that is, for as many layers as ``source.memory`` holds.

    Returns
    -------
    list of xr.Dataset
        For each selection ``correlation`` (split, site), Pearson's r of the best unit on the parts that chose it, in
        float64; ``layer``, ``unit`` (split, site), its layer and its index there; every name of ``scored`` (split,
        site), r of the same unit there; where wanted ``activation`` (split, site, stimulus) float32. NaN, "" and -1
        where nothing can be chosen: the column or all units are constant, or fewer than three stimuli are common. Of
        units that tie within 2e-6 any may be chosen.
    """
    ids = sorted(set().union(*(selection.targets.stimuli.tolist() for selection in selections)))
    device = choose_device(str(source.device))
    choices = [Choice(selection, ids) for selection in selections]
    reserve = sum(choice.n_bytes for choice in choices) + max(choice.workspace(source, device) for choice in choices)
    for held in hold_layers(source, ids, reserve=reserve):
        for choice in choices:
            choice.add(held)
    names = source.network.layers["name"].to_numpy(str)
    return [choice.dataset(names) for choice in choices]


class Choice:
    """The best units of one selection among the layers seen so far.

    Parameters
    ----------
    selection
        What is chosen for, and on which stimuli.
    ids
        All stimuli, in the order of the blocks that will be added.
    """

    def __init__(self, selection: Selection, ids: Sequence[str]) -> None:
        targets = selection.targets
        place = {name: k for k, name in enumerate(ids)}
        self.selection = selection
        self.rows = np.array([place[name] for name in targets.stimuli.tolist()])
        self.response = targets.column_response()
        self.in_tiles = targets.n_patterns == 1
        shape = (len(selection.selected), targets.n_columns)
        self.r, self.layer, self.unit = np.full(shape, -np.inf), np.full(shape, -1), np.full(shape, -1)
        self.scores = {name: np.full(shape, np.nan) for name in selection.scored}
        n_kept = len(targets.stimuli) if selection.keeps_activation else 0
        self.activation = np.full((*shape, n_kept), np.nan, np.float32)
        self._columns = _columns(selection) if self.in_tiles else None

    @property
    def n_bytes(self) -> int:
        """Memory of the columns and of what was found."""
        return 3 * self.response.nbytes + (len(self.scores) + 4) * self.r.nbytes + self.activation.nbytes

    def workspace(self, source: "Source", device: torch.device) -> int:
        """Bytes that ``add`` takes for a moment."""
        targets, (n_splits, n_columns) = self.selection.targets, self.r.shape
        exact = 2 * 4 * len(targets.stimuli) * n_splits * n_columns
        if self.in_tiles and device.type == "cpu":
            tile = TILE * (4 * len(targets.stimuli) + 4 * targets.n_folds * n_columns)
            return exact + torch.get_num_threads() * (4 * SPAN * len(targets.stimuli) + tile)
        area = int((source.network.layers["height"] * source.network.layers["width"]).max())
        chunk = max(CHUNK // n_columns, area)
        sums = chunk * targets.n_folds * 8 * (n_columns + 2 * targets.n_patterns)
        return exact + ranking_bytes(targets, area) + chunk * 8 * len(targets.stimuli) + sums

    def add(self, held: Held) -> None:
        """Compare the units that are held with the best so far."""
        r, unit = best_of(held.block, self)
        unit += held.first_unit
        rises = np.isfinite(r) & (r >= self.r - MARGIN)
        if not rises.any():
            return
        units, row = np.unique(unit[rises], return_inverse=True)
        activation = held.activation(units)[:, self.rows]
        rows = np.zeros(r.shape, np.int64)
        rows[rises] = row
        selected = self.selection.selected
        exact = self._scored(selected, rises, rows, activation)
        better = rises & (exact > self.r)
        self.r[better], self.unit[better], self.layer[better] = exact[better], unit[better], held.index
        if self.selection.keeps_activation:
            self.activation[better] = activation[rows[better]]
        for name, members in self.selection.scored.items():
            self.scores[name][better] = self._scored(members, better, rows, activation)[better]

    def _scored(self, members: np.ndarray, wanted: np.ndarray, rows: np.ndarray, activation: np.ndarray) -> np.ndarray:
        """Correlate the wanted pairs, (split, column), over the parts that are members: float64."""
        fold, r = self.selection.targets.fold, np.full(wanted.shape, np.nan)
        for split, column in enumerate(map(np.flatnonzero, wanted)):
            chosen = members[split][fold]
            if len(column) and chosen.sum() >= MIN_STIMULI:
                own, row = np.unique(rows[split, column], return_inverse=True)
                response, each = self.response[np.ix_(chosen, column)], np.arange(len(column))
                r[split, column] = correlate_pairs(activation[np.ix_(own, chosen)], row, each, response)
        return r

    def dataset(self, layers: np.ndarray) -> xr.Dataset:
        """Return what was found; ``layers`` are the names of all layers."""
        is_chosen = self.unit >= 0
        values = {"correlation": np.where(is_chosen, self.r, np.nan), **self.scores, "unit": self.unit}
        named = np.where(is_chosen, layers[self.layer], "")
        found = xr.Dataset({name: (("split", SITE), value) for name, value in (*values.items(), ("layer", named))})
        if self.selection.keeps_activation:
            found["activation"] = (("split", SITE, STIMULUS), self.activation)
            found = found.assign_coords({STIMULUS: self.selection.targets.stimuli})
        return found


def best_of(block: Block, choice: Choice) -> tuple[np.ndarray, np.ndarray]:
    """Find the best unit of a block for every split and column.

    Returns
    -------
    tuple of np.ndarray
        r (split, column), -inf where no unit has one, exact to 1e-6; and the unit, an index in C order of the block's
        (channel, position).
    """
    if choice._columns is not None and block.values.device.type == "cpu":
        r, unit = _in_tiles(block, choice.rows, choice._columns)
        return r[-len(choice.r) :], unit[-len(choice.r) :]
    return _in_chunks(block, choice)


def _columns(selection: Selection) -> arrays.Columns:
    """The columns of the compiled loops, all of them without ranks, with the selection's splits."""
    targets, members = selection.targets, selection.selected
    if not members[0].all():  # of split 0 the loops ask whether a unit varies at all
        members = np.concatenate([np.ones_like(members[:1]), members])
    sum_z, sum_zz = members @ targets.sum_z(), members @ targets.sum_zz()
    present = members @ targets.n_present()[:, :1]
    centred = sum_zz - sum_z**2 / present
    varies = (centred > ROUNDING**2) & (present >= MIN_STIMULI)
    return Columns(targets).arrays._replace(
        n_sites=0,
        members=members,
        mean_z=sum_z / present,
        inverse_z=np.where(varies, 1 / np.sqrt(np.where(varies, centred, 1.0)), np.nan),
    )


def _in_tiles(block: Block, rows: np.ndarray, columns: arrays.Columns) -> tuple[np.ndarray, np.ndarray]:
    values, order = block.values.numpy(), block.order
    spans, turn = list(_spans(order)), count()
    shape = (len(columns.members), columns.sum_z.shape[1])

    def work(_: int) -> tuple[np.ndarray, np.ndarray]:
        r, unit = np.full(shape, -np.inf), np.full(shape, NEVER)
        scratch = np.empty((len(rows), SPAN), np.float32)
        while (k := next(turn)) < len(spans):
            first, stop, own = spans[k]
            held = scratch if stop - first == SPAN else np.empty((len(rows), stop - first), np.float32)
            _gather(values, rows, first, held)
            found = _nothing_found(r)
            for begin, end in whole_tiles(stop - first, SPAN, TILE):
                require_in_range(summarise_held(held, begin, end, own, columns, 1, found))
            _take_better(r, unit, found, _index(order, first, own))
        return r, unit

    with tile_threads(torch.get_num_threads()) as in_threads:
        r, unit = map(np.stack, zip(*in_threads(work), strict=True))
    highest = r.max(axis=0)
    return highest, np.where(r == highest, unit, NEVER).min(axis=0)


def _spans(order: UnitOrder) -> Iterator[tuple[int, int, arrays.Order]]:
    """Stretches of a row of a block, and how their units lie: whole positions where channels lie side by side."""
    whole = order.channels if order.is_position_major else 1
    step = max(SPAN // whole, 1) * whole
    n_units = order.channels * order.area
    for first in range(0, n_units, step):
        stop = min(first + step, n_units)
        channels = order.channels if order.is_position_major else 1
        yield first, stop, arrays.Order(channels, (stop - first) // channels, order.is_position_major)


def _index(order: UnitOrder, first: int, own: arrays.Order) -> Callable[[np.ndarray], np.ndarray]:
    """What a unit's index in a span is in C order of the block's (channel, position)."""
    if not order.is_position_major:
        return lambda unit: unit + first
    return lambda unit: unit // own.area * order.area + unit % own.area + first // order.channels


@njit(nogil=True, cache=True)
def _gather(values: np.ndarray, rows: np.ndarray, first: int, out: np.ndarray) -> None:
    for k in range(len(rows)):
        out[k] = values[rows[k], first : first + out.shape[1]]


def _nothing_found(floor: np.ndarray) -> arrays.Found:
    """Room for the best unit of each column, which must reach the best r so far."""
    n_splits = len(floor)
    return arrays.Found(
        counts=np.zeros((0, N_R_BINS), np.int64),
        map_r=np.empty((0, 1)),
        map_position=np.empty((0, 1), np.int32),
        kept_r=np.empty((n_splits, 0, 1)),
        kept_unit=np.empty((n_splits, 0, 1), np.int64),
        n_kept=np.zeros((n_splits, 0), np.int64),
        floor=np.empty((n_splits, 0)),
        null_r=floor.copy(),
        null_unit=np.full(floor.shape, NEVER),
        statuses=np.zeros(4, np.int64),
        first_nonfinite=np.full(1, NEVER),
    )


def _take_better(
    r: np.ndarray, unit: np.ndarray, found: arrays.Found, index: Callable[[np.ndarray], np.ndarray]
) -> None:
    reached = found.null_unit < NEVER
    own_r, own = found.null_r[reached], index(found.null_unit[reached])
    better = (own_r > r[reached]) | (own < unit[reached])
    at = tuple(axis[better] for axis in np.nonzero(reached))
    r[at], unit[at] = own_r[better], own[better]


def _in_chunks(block: Block, choice: Choice) -> tuple[np.ndarray, np.ndarray]:
    targets, device, area = choice.selection.targets, block.values.device, block.order.area
    splits = [np.flatnonzero(members).tolist() for members in choice.selection.selected]
    edges = np.append(np.flatnonzero(np.diff(targets.fold, prepend=-1)), len(targets.fold)).tolist()
    rows, sums = torch.from_numpy(choice.rows).to(device), TargetSums(targets, device)
    r, unit = np.full(choice.r.shape, -np.inf), np.zeros(choice.r.shape, np.int64)
    step = maps_at_once(targets, area)
    for first in range(0, block.order.channels, step):
        activation = block.maps(slice(first, min(first + step, block.order.channels)))[rows]
        moments = PairMoments(activation.shape[1], sums, product_dtype(targets, AT_ONCE))
        for fold, (begin, end) in enumerate(pairwise(edges)):
            for start in range(begin, end, AT_ONCE):
                moments.add(activation[start : min(start + AT_ONCE, end)], start, fold)
        for split, folds in enumerate(splits):
            found = moments.correlation(folds, slice(0, moments.n_units)).nan_to_num_(nan=-torch.inf).max(dim=1)
            own_r, own = found.values.cpu().numpy(), found.indices.cpu().numpy() + first * area
            better = own_r > r[split]
            r[split, better], unit[split, better] = own_r[better], own[better]
    return r, unit
