"""What depends on a tensor whose values nobody has? All that is computed from it, which then has no values either.

Functions of such tensors give shapes and types alone, in microseconds. Whatever asks for a value, or would write
without one into a tensor that has values, raises.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch.utils._pytree import tree_map_only

from engine.errors import CutError


@dataclass
class Walk:
    """One or more passes without values: what was read when, counted in layers that had ended by then."""

    n_layers: int = 0
    crossed: set[int] = field(default_factory=set)
    """Layers, by number, after which something was read that had been made before they ended."""

    def read(self, made: int) -> None:
        """Note that something was read that was made when so many layers had ended."""
        self.crossed.update(range(made, self.n_layers))


class Valueless(torch.Tensor):
    """A tensor with a shape, a type and a device, and no values; ``without_values`` makes one."""

    shape_only: torch.Tensor
    """Of the same shape, strides and type, on the meta device."""
    walk: Walk
    """That it is part of."""
    made: int
    """Layers that had ended when it was made, or last written to."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        kwargs = kwargs or {}
        found: list[Valueless] = []
        described = _described(args, found), _described(tuple(kwargs.items()), found)
        walk, device = found[0].walk, found[0].device
        walk.read(min(tensor.made for tensor in found))
        if func._schema.is_mutable:
            return _written(func, args, kwargs)
        return tree_map_only(torch.Tensor, lambda shape: without_values(shape, device, walk), _shapes(func, *described))


def without_values(shape: torch.Tensor, device: torch.device, walk: Walk) -> Valueless:
    """Return a tensor of the shape, strides and type of one on the meta device, which pretends to be on ``device``."""
    made = torch.Tensor._make_wrapper_subclass(
        Valueless, shape.shape, strides=shape.stride(), dtype=shape.dtype, device=device
    )
    made.shape_only, made.walk, made.made = shape, walk, walk.n_layers
    return made


@dataclass(frozen=True)
class _Shape:
    """What a tensor's shapes, strides and type tell of it."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype

    def on_meta(self) -> torch.Tensor:
        return torch.empty_strided(self.shape, self.strides, dtype=self.dtype, device="meta")


def _described(value: Any, found: list[Valueless]) -> Any:
    """What a function's shapes depend on; the tensors without values are added to the list."""
    if isinstance(value, torch.Tensor):
        if isinstance(value, Valueless):
            found.append(value)
        return _Shape(value.shape, value.stride(), value.dtype)
    if isinstance(value, list | tuple):
        return tuple([_described(one, found) for one in value])
    return type(value), value  # 1, 1.0 and True would be found as one


def _given(described: Any) -> Any:
    if isinstance(described, _Shape):
        return described.on_meta()
    if len(described) == 2 and isinstance(described[0], type):
        return torch.device("meta") if described[0] is torch.device else described[1]
    return tuple(map(_given, described))


@lru_cache(maxsize=4096)
def _shapes(func: Any, args: Any, kwargs: Any) -> Any:
    """What a function of such arguments gives, on the meta device."""
    try:
        return func(*_given(args), **dict(_given(kwargs)))
    except Exception as error:  # functions without such a form, and all that ask for values
        raise CutError(f"{func} cannot do without the values from before the cut ({error}).") from error


def _written(func: Any, args: Any, kwargs: Any) -> Valueless:
    """Return what a function that works in place has written to."""
    specs = func._schema.arguments
    named = {spec.name: value for spec, value in zip(specs, args, strict=False)} | kwargs
    written = [named[s.name] for s in specs if s.alias_info and s.alias_info.is_write and s.name in named]
    if len(written) != 1 or not isinstance(written[0], Valueless) or torch.Tag.inplace_view in func.tags:
        raise CutError(f"{func} would write what has no values.")
    written[0].made = written[0].walk.n_layers
    return written[0]
