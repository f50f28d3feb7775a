"""How long will it take to choose units again? From the sizes of a run, and rates measured on two cores."""

from engine.schema import SITE, STIMULUS
from engine.store import Run

PASS_S = 1.0e-8
"""Decode, pass, hold: seconds for each activation."""
CENTRE_S = 1.0e-9
"""Bring an activation into a selection's order and centre it."""
MULTIPLY_S = 1.2e-11
"""Multiply an activation and a column."""
RANK_S = 3.0e-9
"""Correlate a unit and a column on one split, and compare."""


def reselection_seconds(run: Run, *, columns: int | None = None, splits: int = 1, draws: int = 1) -> float:
    """Expect so many seconds for one more pass of a run's network, with units chosen again.

    Parameters
    ----------
    columns
        Sites, or shuffled ones, of each draw; None: the run's sites.
    splits
        Choices on different stimuli in each draw.
    draws
        Orders of the stimuli.
    """
    sizes, n_units = run.dataset("recording").sizes, int(run.dataset("layers")["units"].sum())
    n_columns, n_stimuli = sizes[SITE] if columns is None else columns, sizes[STIMULUS]
    of_draw = n_stimuli * (CENTRE_S + n_columns * MULTIPLY_S) + n_columns * splits * RANK_S
    return n_units * (n_stimuli * PASS_S + draws * of_draw)
