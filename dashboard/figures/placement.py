"""Where do names go, so that none lies on another and as many as fit are read?"""

from collections.abc import Sequence

import numpy as np

from dashboard.figures.wording import elided

_PX_PER_LETTER = 6.2
_ROUNDS = 8


def apart(y: np.ndarray, least: float) -> np.ndarray:
    """Return heights for names at ``y``, at least ``least`` from each other, each as near as may be to its point."""
    order = np.argsort(y, kind="stable")
    placed = y[order].astype(float)
    for _ in range(_ROUNDS * len(placed)):
        short = least - np.diff(placed)
        close = np.flatnonzero(short > 1e-9)
        if not close.size:
            break
        placed[close] -= short[close] / 2
        placed[close + 1] += short[close] / 2
    out = np.empty_like(placed)
    out[order] = placed
    return out


def name_ticks(names: Sequence[str] | np.ndarray, width_px: float, *, most: int = 10) -> list[tuple[float, str]]:
    """Return ticks at 0, 1, 2 ... with as many names, of ``most`` letters, as fit side by side."""
    written = [elided(str(name), most) for name in names]
    if not written:
        return []
    fitting = max(int(width_px // (max(map(len, written)) * _PX_PER_LETTER + 18)), 2)
    step = max(int(np.ceil(len(written) / fitting)), 1)
    return [(float(i), written[i]) for i in range(0, len(written), step)]
