"""Where do axes begin and end, and which ticks do they have? Three to six, explicit, and r axes always hold 0."""

from collections.abc import Sequence

import numpy as np

from dashboard.figures.wording import elided, tick

_PX_PER_LETTER = 6.2
_LABEL_GAP_PX = 10
_LONGEST_LABEL = 18
_LONGEST_TURNED_LABEL = 17
_TURNED_HALF_PX, _TURNED_PX = 20, 13
"""Room that a label needs when it is turned by 45 degrees, and by 90."""


def r_limits(*values: object, room: float = 0.04, least: float = 0.2, zero: float = 0.0) -> tuple[float, float]:
    """Return limits of an axis of r that hold 0 and every given value, negative ones too; NaN is passed over."""
    every = np.concatenate([np.ravel(np.asarray(value, dtype=float)) for value in values] or [np.empty(0)])
    every = every[np.isfinite(every)]
    low, high = min(0.0, every.min(initial=0)), max(least, every.max(initial=0))
    span = high - low
    low = zero if low >= 0 else np.floor((low - room * span) / 0.05) * 0.05
    return float(low), float(np.ceil((high + room * span) / 0.05 - 1e-9) * 0.05)


def r_ticks(low: float, high: float, most: int = 5) -> list[tuple[float, str]]:
    """Return ticks of an axis of r: multiples of 0.1, 0.2, 0.25 or 0.5, at most ``most`` of them."""
    for step in (0.05, 0.1, 0.2, 0.25, 0.5, 1.0):
        at = np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1) * step
        if len(at) <= most:
            break
    return [(float(value), tick(value)) for value in at]


def layer_ticks(names: Sequence[str], width_px: float) -> tuple[list[tuple[float, str]], bool]:
    """Return ticks for layers at 0, 1, 2 ...: as many names as fit side by side, and whether that is all of them."""
    written = [elided(str(name), _LONGEST_LABEL) for name in names]
    if not written:
        return [], True
    room = max(len(text) for text in written) * _PX_PER_LETTER + _LABEL_GAP_PX
    fitting = max(int(width_px // room), 2)
    step = max(int(np.ceil(len(written) / fitting)), 1)
    return [(float(i), written[i]) for i in range(0, len(written), step)], step == 1


def turned_layer_ticks(names: Sequence[str], width_px: float) -> tuple[list[tuple[float, str]], int, int]:
    """Return ticks for layers at 0, 1, 2 ... whose names are turned where they do not fit side by side.

    Returns
    -------
    tuple
        Ticks, the angle of their labels in degrees (0, 45 or 90), and the px that they need below the frame.
    """
    ticks, is_all = layer_ticks(names, width_px)
    if is_all:
        return ticks, 0, 30
    written = [elided(str(name), _LONGEST_TURNED_LABEL) for name in names]
    room, length = width_px / len(written), max(map(len, written)) * _PX_PER_LETTER
    if room >= _TURNED_HALF_PX:
        return [(float(i), name) for i, name in enumerate(written)], 45, int(18 + 0.71 * length)
    step = int(np.ceil(_TURNED_PX / room))
    return [(float(i), written[i]) for i in range(0, len(written), step)], 90, int(14 + length)


def degree_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Return ticks of an axis in degrees of visual angle, at 0 and at equal steps to both sides."""
    for step in (0.5, 1, 2, 5, 10, 20, 50):
        at = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
        if len(at) <= 5:
            break
    return [(float(value), f"{tick(value)}°") for value in at]
