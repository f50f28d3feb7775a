"""Where can a pass go on without the images? At a cut: a layer through which alone later ones depend on earlier ones.

Such a pass runs the network on input without values. All that is computed from it has no values either, which takes
next to no time, until the module of the cut gives what an earlier pass kept; from there on everything is as from the
images, bit by bit. Whatever still asks for something from before the cut raises, so a wrong cut changes no number.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from engine.activations import recorded
from engine.blocks import Block
from engine.errors import CutError
from engine.tracing import forward_only, layer_name, split_name
from engine.valueless import Valueless, Walk, without_values

if TYPE_CHECKING:
    from engine.networks import Network

_AS_FLOAT32 = (torch.float32, torch.float16, torch.bfloat16)
"""Types that a block gives back as they were."""


@dataclass(frozen=True)
class Cuts:
    """Layers at which a pass can go on, as far as shapes tell."""

    layers: frozenset[str]
    walk_s: float
    """Seconds of a pass without values over one batch."""


def find_cuts(network: "Network", inputs: torch.Tensor) -> Cuts:
    """Walk through the network without values and note what is read when.

    Parameters
    ----------
    inputs
        A batch of network input, of which shape, type and device count.

    Returns
    -------
    Cuts
        Layers after which nothing is read that was made before they ended, but for their own output. None, if the
        network cannot be walked through without values.
    """
    names = network.layers["name"].tolist()
    try:
        walk = _walked(network, names, inputs, Walk())
        started = time.perf_counter()
        _walked(network, names, inputs, Walk())
    except Exception:  # whatever the network's code raises where it finds no values
        return Cuts(frozenset(), 0.0)
    found = frozenset(name for number, name in enumerate(names) if number not in walk.crossed)
    return Cuts(found, time.perf_counter() - started)


def confirmed(network: "Network", cuts: Collection[str], inputs: torch.Tensor) -> list[str]:
    """Return those of some cuts from which a pass gives every later layer as from the images, bit by bit.

    Parameters
    ----------
    inputs
        A few stimuli as network input, (batch, 3, h, w) float32, on the network's device. The outputs of the layers
        from the first of the cuts on are held meanwhile.
    """
    names = network.layers["name"].tolist()
    later = names[min(map(names.index, cuts)) :] if cuts else []
    expected: dict[str, torch.Tensor] = {}

    def keep(name: str, activation: torch.Tensor) -> None:
        expected[name] = activation.clone()

    if later:
        with recorded(network, later, keep, channelwise=True) as run_forward:
            run_forward(inputs)
    good: list[str] = []
    for cut in sorted(cuts, key=names.index, reverse=True):
        until = good[-1] if good else names[-1]  # what comes after a good cut depends on that one alone
        if _gives(network, cut, later[later.index(cut) : later.index(until) + 1], expected, inputs):
            good.append(cut)
    return good


@contextmanager
def resumed(
    network: "Network", cut: str, block: Block, inputs: torch.Tensor
) -> Iterator[Callable[[slice], torch.Tensor]]:
    """Have the module of a cut give back what ``block`` keeps of it, inside the ``with``.

    Parameters
    ----------
    block
        Output of the cut for all stimuli.
    inputs
        Any network input, (batch, 3, h, w), whose shape, type and device all others have.

    Yields
    ------
    callable
        Takes some consecutive stimuli and returns the network input, without values, of the pass that goes on there.

    Raises
    ------
    CutError
        From a pass, if something asks for what is before the cut.
    """
    path, call = split_name(cut)
    module = network.module.get_submodule(path)
    usual, own = module.forward, vars(module).get("forward")
    stimuli, n_calls, walk = slice(0), 0, Walk()

    def begin(chosen: slice) -> torch.Tensor:
        nonlocal stimuli, n_calls
        stimuli, n_calls = chosen, 0
        return _like(inputs, chosen.stop - chosen.start, walk)

    def forward(*args: Any, **kwargs: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        is_cut = n_calls == call
        returned = usual(*args, **kwargs)
        return _given_back(block, stimuli, returned, cut in network.channels_last) if is_cut else returned

    module.forward = forward
    try:
        yield begin
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own


def _walked(network: "Network", names: list[str], inputs: torch.Tensor, walk: Walk) -> Walk:
    calls: Counter[str] = Counter()

    def end(path: str, module: nn.Module, args: Any, returned: Any) -> Any:
        calls[path] += 1
        name = layer_name(path, calls[path])
        if name not in names:
            return None
        if names.index(name) != walk.n_layers:
            raise CutError(f"{name!r} came at another place than in the table.")
        return _ended(walk, returned)

    with ExitStack() as stack:
        for path in {split_name(name)[0] for name in names}:
            hook = network.module.get_submodule(path).register_forward_hook(partial(end, path))
            stack.callback(hook.remove)
        stack.enter_context(forward_only(network.module, inputs.device.type))
        network.module(_like(inputs, len(inputs), walk))
    return walk


def _ended(walk: Walk, returned: Any) -> Valueless | None:
    """End a layer; return its output again, as the one thing that may be read later on."""
    for tensor in tree_leaves(returned):
        if isinstance(tensor, Valueless):
            walk.read(tensor.made)
    walk.n_layers += 1
    if isinstance(returned, Valueless) and returned.ndim > 1 and returned.dtype in _AS_FLOAT32:
        return without_values(returned.shape_only, returned.device, walk)
    walk.crossed.add(walk.n_layers - 1)
    return None


def _like(inputs: torch.Tensor, n: int, walk: Walk) -> Valueless:
    return without_values(inputs.new_empty((n, *inputs.shape[1:]), device="meta"), inputs.device, walk)


def _given_back(block: Block, stimuli: slice, instead_of: Any, channels_last: bool) -> torch.Tensor:
    """A copy of what is kept, in shape, type and memory layout as the module gave it."""
    if not isinstance(instead_of, Valueless):
        raise CutError(f"a cut gave {type(instead_of).__name__}, expected one tensor without values.")
    place = -1 if channels_last else 1
    n, channels, *spatial = instead_of.shape_only.movedim(place, 1).shape
    rows = block.values[stimuli].to(instead_of.dtype, copy=True)
    if block.order.is_position_major:
        return rows.view(n, *spatial, channels).movedim(-1, place)
    return rows.view(n, channels, *spatial).movedim(1, place)


def _gives(
    network: "Network", cut: str, layers: list[str], expected: dict[str, torch.Tensor], inputs: torch.Tensor
) -> bool:
    """Whether a pass that goes on at the cut gives the layers as expected."""

    def compare(name: str, activation: torch.Tensor) -> None:
        if not torch.equal(_bits(activation), _bits(expected[name])):
            raise CutError(f"{name!r} is another from {cut!r} on than from the images.")

    n, *shape = expected[cut].shape
    block = Block(expected[cut].new_empty(n, shape[0] * shape[1]), (shape[0], shape[1], 1))
    block.put(0, expected[cut])
    try:
        with (
            resumed(network, cut, block, inputs) as begin,
            recorded(network, layers, compare, channelwise=True) as run_forward,
        ):
            run_forward(begin(slice(0, n)))
    except Exception:  # whatever the network's code raises where it finds no values
        return False
    return True


def _bits(activation: torch.Tensor) -> torch.Tensor:
    return activation.contiguous().view(torch.int32)
