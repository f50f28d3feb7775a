"""Which layers form a group, so that several workers end together? Each group is matched in one pass over the stimuli.

A group repeats the forward pass up to its deepest layer, so there are as few groups as memory and workers allow.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from heapq import heapreplace

from engine.planning import Plan

PlanOf = Callable[[Sequence[str]], Plan]
"""Plans the match of some consecutive layers on one worker."""

_HALVINGS = 8
"""Of the interval in which the longest group's time is searched."""


def share_out(layers: Sequence[str], plan_of: PlanOf, workers: int) -> list[Plan]:
    """Group consecutive layers, one pass each, so that ``workers`` of equal speed end earliest.

    Parameters
    ----------
    layers
        Names in execution order.
    plan_of
        What layers cost on one worker, in its memory.
    workers
        That share this match.
    """
    tried = [_by_pass(layers, plan_of)]
    if workers > 1:
        tried += [_at_most(n, layers, plan_of) for n in (workers, 2 * workers)]
    return min(tried, key=lambda plans: makespan([plan.seconds for plan in plans], workers))


def makespan(seconds: Sequence[float], workers: int) -> float:
    """Time until the last of the workers ends, if the longest task always goes to the next free one."""
    busy = [0.0] * workers
    for one in sorted(seconds, reverse=True):
        heapreplace(busy, busy[0] + one)
    return max(busy)


def _at_most(n: int, layers: Sequence[str], plan_of: PlanOf) -> list[Plan]:
    """About ``n`` stretches of layers whose longest takes as little time as can be, by their passes."""

    @cache
    def seconds(start: int, stop: int) -> float:
        return plan_of(layers[start:stop]).seconds

    low, high = 0.0, seconds(0, len(layers))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if len(_filled(len(layers), seconds, middle)) <= n else (middle, high)
    stretches = [layers[stretch] for stretch in _filled(len(layers), seconds, high)]
    return [plan for stretch in stretches for plan in _by_pass(stretch, plan_of)]


def _filled(n_layers: int, seconds: Callable[[int, int], float], longest: float) -> list[slice]:
    """Fill stretches from the first layer on, each with a layer at least, as far as the ``longest`` time allows."""
    stretches, start = [], 0
    while start < n_layers:
        beyond = bisect_right(range(n_layers + 1), longest, lo=start + 1, key=partial(seconds, start))
        stretches.append(slice(start, max(start + 1, beyond - 1)))
        start = stretches[-1].stop
    return stretches


def _by_pass(layers: Sequence[str], plan_of: PlanOf) -> list[Plan]:
    """The passes of one plan, each a plan of its own; what one leaves in its process, no other finds there."""
    whole = plan_of(layers)
    return [
        replace(whole, passes=(group,), keeps_inputs=False, seconds=plan_of(group).seconds) for group in whole.passes
    ]
