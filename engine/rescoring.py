"""What did chosen units answer to every stimulus? Their activations, from one more pass.

The pass uses one fixed batch size and stops at the deepest layer that holds a chosen unit, so that neither the batch
size of the match nor the order of its sums decides between close units.
"""

from collections.abc import Mapping

import numpy as np
import torch

from engine.activations import recorded
from engine.matching import Matching, fixed_batch, halving


def collect_responses(matching: Matching, units: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Record the activations of chosen units.

    Parameters
    ----------
    units
        For each layer the indices of its units.

    Returns
    -------
    dict of str to np.ndarray
        For each layer (unit, stimulus) float32, stimuli in the targets' order.
    """
    if not units:
        return {}
    n, device = len(matching.targets.stimuli), matching.device
    responses = {layer: np.empty((len(index), n), np.float32) for layer, index in units.items()}
    wanted = {layer: torch.from_numpy(np.asarray(index, np.int64)).to(device) for layer, index in units.items()}
    area = {layer: matching.shapes[layer][1] * matching.shapes[layer][2] for layer in units}

    def run(batch: int) -> None:
        start = 0

        def keep(layer: str, activation: torch.Tensor) -> None:
            index = wanted[layer]
            chosen = activation[:, index // area[layer], index % area[layer]].T.cpu().numpy()
            responses[layer][:, start : start + chosen.shape[1]] = chosen

        with recorded(matching.network, list(units), keep, channelwise=True) as run_forward:
            for start, inputs in matching.inputs(batch, "scoring"):  # noqa: B007 (read in the hook)
                run_forward(inputs)

    halving(run, fixed_batch(device))
    return responses
