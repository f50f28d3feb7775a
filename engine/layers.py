"""Which outputs of a network are its layers? All but what only repeats another one, each with its reason.

A layer is the output of a module, leaf or block, that is a float tensor, once, in the order in which outputs are
produced. Copies are left out, since they would flood the runner-ups. Three dimensions are (batch, token, channel): the
tokens of a transformer are positions, y = token and x = 0, in the network's own order (where it has a class token, that
is usually the first).
"""

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

import pandas as pd
import torch
from torch import nn
from torch.nn.modules import padding
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd

from engine.errors import LayerError
from engine.tracing import WHOLE_NETWORK, Output, by_unit, value_hash

_INPUT = "the input"
_WILD = frozenset("*?[")
_PADDINGS = (padding._ConstantPadNd, padding._ReflectionPadNd, padding._ReplicationPadNd, padding._CircularPadNd)
_HANDS_ON = (nn.Identity, nn.Flatten, nn.Unflatten, _DropoutNd, *_PADDINGS)


def left_out(outputs: Sequence[Output], probe: torch.Tensor) -> dict[str, str]:
    """Reason for every output that is not a layer of its own.

    Left out are what is not one float tensor with the batch first; what only hands on, reorders or pads the input or
    another output, as flatten, dropout and most containers do; and a convolution that nothing but a batch norm reads.
    Where a block merely concatenates listed outputs, one of the two stays: the block, if all its parts were made inside
    it (an Inception or Fire module); the parts, if it hands on what it was given (a growing DenseNet block).
    """
    reasons: dict[str, str] = {}
    position = {output.name: i for i, output in enumerate(outputs)}
    sources = {value_hash(by_unit(probe, False)): _INPUT}
    listed: dict[int, Output] = {}
    for output in outputs:
        source = sources.setdefault(output.values.whole, output.name)
        if not output.values.channels and position.get(source, -1) < output.n_before:
            source = output.name  # constant on the probe images, which says nothing about others
        reason = output.problem or _handed_on(output, source, position) or _normalised(output)
        parts = {listed.get(channel) for channel in output.values.channels}
        if reason is None and parts and None not in parts:
            whole = [part for part in parts if part is not None]
            if _is_made_of_own_parts(output, whole, position):
                reasons |= {part.name: f"part of {output.name!r}, which concatenates it" for part in whole}
                listed |= dict.fromkeys(output.values.channels, output)
            else:
                names = ", ".join(repr(part.name) for part in sorted(whole, key=lambda part: position[part.name]))
                reason = f"concatenates or selects channels of {names}"
        if reason is not None:
            reasons[output.name] = reason
        else:
            listed |= dict.fromkeys(output.values.channels, output)
    return reasons


def layer_tables(
    outputs: Sequence[Output], reasons: dict[str, str], names: Collection[str] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Table of the layers (name, kind, channels, height, width, units, depth) and of what is left out (and why).

    Parameters
    ----------
    outputs
        From ``trace``.
    reasons
        From ``left_out``; does not bind ``names``.
    names
        Layers in any order: names taken literally, and patterns that choose from the outputs without a reason. None =
        all of these.

    Raises
    ------
    LayerError
        If a name is unknown (with the closest ones) or its output cannot be a layer; if a pattern matches no layer; or
        if no layer is left.
    """
    if names is not None:
        names = _matching(outputs, reasons, names)
        _require_usable(outputs, names)
        reasons = {o.name: reasons.get(o.name, "not among the named layers") for o in outputs if o.name not in names}
    kept = [output for output in outputs if output.name not in reasons]
    if not kept:
        raise LayerError(
            "the network has no layer: no module returned a float tensor with the batch first. "
            f"What it returned: {'; '.join(f'{o.name}: {reasons[o.name]}' for o in outputs[:5])}."
        )
    layers = pd.DataFrame(
        {
            "name": [output.name for output in kept],
            "kind": [output.kind for output in kept],
            "channels": [output.size[0] for output in kept],
            "height": [output.size[1] for output in kept],
            "width": [output.size[2] for output in kept],
        }
    )
    layers["units"] = layers["channels"] * layers["height"] * layers["width"]
    layers["depth"] = layers.index / max(len(layers) - 1, 1)
    others = [(o.name, o.kind, reasons[o.name]) for o in outputs if o.name in reasons]
    return layers, pd.DataFrame(others, columns=["name", "kind", "reason"])


def require_known(known: Collection[str], names: Collection[str]) -> None:
    """Raise LayerError if there are no names, or for the first one that is not known, with the closest ones."""
    if isinstance(names, str) or len(names) == 0:
        raise LayerError(f"layers: expected a collection of names, got {names!r}.")
    for name in names:
        if name not in known:
            close = get_close_matches(str(name), known, n=3, cutoff=0.3) or list(known)[:3]
            raise LayerError(
                f"layer {name!r} is not among the {len(known)} known ones; closest: {', '.join(map(repr, close))}. "
                "A layer is the path of a module that runs on a probe image; 'name@2' is the second call of one."
            )


def _matching(outputs: Sequence[Output], reasons: dict[str, str], names: Collection[str]) -> list[str]:
    """Put in the place of every pattern the listed layers that it matches; names stay as they are."""
    if isinstance(names, str):
        names = [names]
    known, listed = [o.name for o in outputs], [o.name for o in outputs if o.name not in reasons]
    chosen: dict[str, None] = {}
    for name in names:
        is_pattern = isinstance(name, str) and name not in known and not _WILD.isdisjoint(name)
        matching = [one for one in listed if fnmatchcase(one, name)] if is_pattern else [name]
        if not matching:
            raise LayerError(_nothing_matches(name, listed, [one for one in known if fnmatchcase(one, name)], reasons))
        chosen |= dict.fromkeys(matching)
    return list(chosen)


def _nothing_matches(pattern: str, listed: Sequence[str], others: Sequence[str], reasons: dict[str, str]) -> str:
    bare = "".join(letter for letter in pattern if letter not in _WILD)
    close = get_close_matches(bare, listed, n=3, cutoff=0.3) or list(listed)[:3]
    hidden = (
        f" It matches {len(others)} that are left out, first {others[0]!r} ({reasons[others[0]]}); to take one of "
        "these in, name it without a wildcard."
        if others
        else ""
    )
    return (
        f"layers: {pattern!r} matches none of the {len(listed)} layers; closest: {', '.join(map(repr, close))}.{hidden}"
        " * stands for any letters, dots too; ? for one."
    )


def _require_usable(outputs: Sequence[Output], names: Collection[str]) -> None:
    by_name = {output.name: output for output in outputs}
    require_known(by_name, names)
    for name in names:
        if by_name[name].problem is not None:
            raise LayerError(
                f"layer {name!r} ({by_name[name].kind}) {by_name[name].problem}; a layer is one float tensor "
                "with the batch first. Name one of its submodules, or wrap it in a module that returns that tensor."
            )


def _handed_on(output: Output, source: str, position: dict[str, int]) -> str | None:
    if source == output.name:
        return f"{output.kind} hands on its input" if isinstance(output.module, _HANDS_ON) else None
    if source == _INPUT:
        return "equals the input"
    if isinstance(output.module, _HANDS_ON):
        return f"{output.kind} hands on {source!r}"
    is_inside = position[source] >= output.n_before
    return f"hands on the output of {source!r}" if is_inside else f"same values as {source!r} on the probe images"


def _normalised(output: Output) -> str | None:
    is_read_once = isinstance(output.module, _ConvNd) and len(output.readers) == 1
    if is_read_once and isinstance(output.readers[0], _BatchNorm):
        return "convolution that only a batch norm reads"
    return None


def _is_made_of_own_parts(output: Output, parts: Sequence[Output], position: dict[str, int]) -> bool:
    is_inside = all(position[part.name] >= output.n_before for part in parts)
    is_whole = sum(len(part.values.channels) for part in parts) == len(output.values.channels)
    return len(parts) > 1 and is_inside and is_whole and output.name != WHOLE_NETWORK
