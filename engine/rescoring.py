"""What exactly is r of the candidates: their activations, once more, and correlations in float64.

The pass uses one fixed batch size and stops at the deepest layer that holds a candidate, so that neither the batch size
of the match nor the order of its sums decides between close units.
"""

from collections.abc import Mapping

import numpy as np
import torch

from engine.activations import input_batches, recorded
from engine.matching import Progress
from engine.moments import MIN_STIMULI, ROUNDING
from engine.networks import Network
from engine.stimuli import Stimuli

SCORING_BATCH = 8
"""Fixed: float32 activations differ by rounding between batch sizes."""


def collect_responses(
    network: Network,
    stimuli: Stimuli,
    ids: np.ndarray,
    units: Mapping[str, np.ndarray],
    *,
    device: torch.device,
    progress: Progress,
) -> dict[str, np.ndarray]:
    """Record the activations of chosen units.

    Parameters
    ----------
    ids
        Stimuli, in the order of the result's columns.
    units
        For each layer the indices of its units.

    Returns
    -------
    dict of str to np.ndarray
        For each layer (unit, stimulus) float32.
    """
    if not units:
        return {}
    responses = {layer: np.empty((len(index), len(ids)), np.float32) for layer, index in units.items()}
    wanted = {layer: torch.from_numpy(np.asarray(index, np.int64)).to(device) for layer, index in units.items()}

    def keep(layer: str, activation: torch.Tensor) -> None:
        chosen = activation[:, wanted[layer]].float().T.cpu().numpy()
        responses[layer][:, start : start + chosen.shape[1]] = chosen

    spans = [slice(first, min(first + SCORING_BATCH, len(ids))) for first in range(0, len(ids), SCORING_BATCH)]
    with recorded(network, list(units), keep) as run_forward:
        for span, inputs in input_batches(network, stimuli, ids, spans):
            start = span.start
            run_forward(inputs.to(device))
            progress("scoring", span.stop, len(ids))
    return responses


def correlate_exactly(activation: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Correlate units with one site in float64, two passes.

    Parameters
    ----------
    activation
        (unit, stimulus).
    response
        (stimulus,); NaN = missing.

    Returns
    -------
    np.ndarray
        (unit,) Pearson's r; NaN where unit or site vary by rounding only, or under three stimuli are common.
        Equal rows give equal r to the last bit.
    """
    seen = np.isfinite(response)
    if seen.sum() < MIN_STIMULI or np.ptp(response[seen]) == 0:
        return np.full(len(activation), np.nan)
    x = np.ascontiguousarray(activation[:, seen], np.float64)
    largest = np.abs(x).max(axis=1)
    scale = np.where(largest > 0, largest, 1.0)[:, None]
    x /= scale  # squares of 1e-200 and 1e200 would leave float64
    x -= x.mean(axis=1, keepdims=True)
    y = response[seen] - response[seen].mean()
    y /= np.sqrt((y * y).sum())
    norm = np.sqrt((x * x).sum(axis=1))
    varies = np.isfinite(norm) & (norm > ROUNDING * np.sqrt(len(y)))
    r = np.divide((x * y).sum(axis=1), norm, out=np.full(len(x), np.nan), where=varies)
    return np.clip(r, -1.0, 1.0)


def is_sparse(activation: np.ndarray, below: int) -> np.ndarray:
    """Tell which rows of (unit, stimulus) leave their usual value on fewer than ``below`` stimuli: (unit,) bool."""
    if activation.shape[1] <= 2 * below:
        return np.zeros(len(activation), bool)
    resting = np.median(activation, axis=1, keepdims=True)
    return (activation != resting).sum(axis=1) < below
