"""Which layers form a group, so that several workers end together? Each group is matched in one pass over the stimuli.

A group repeats the forward pass up to its deepest layer, so there are as few groups as memory and workers allow.
"""

from collections.abc import Callable, Sequence
from heapq import heapreplace

from engine.planning import Plan

PlanOf = Callable[[Sequence[str]], Plan]
"""Plans the match of some consecutive layers on one worker."""

_HALVINGS = 10
"""Of the interval in which the longest group's time is searched."""


def share_out(layers: Sequence[str], plan_of: PlanOf, workers: int) -> list[Plan]:
    """Group consecutive layers, one pass each, so that ``workers`` of equal speed end earliest.

    Parameters
    ----------
    layers
        Names in execution order.
    plan_of
        What a group costs on one worker; its memory bounds the groups.
    workers
        That share this match.
    """
    fewest = _filled(layers, plan_of, float("inf"))
    if workers == 1:
        return fewest
    even = -(-len(fewest) // workers) * workers
    tried = [fewest, *(_at_most(n, layers, plan_of) for n in (even, even + workers))]
    return min(tried, key=lambda plans: makespan([plan.seconds for plan in plans], workers))


def makespan(seconds: Sequence[float], workers: int) -> float:
    """Time until the last of the workers ends, if the longest task always goes to the next free one."""
    busy = [0.0] * workers
    for one in sorted(seconds, reverse=True):
        heapreplace(busy, busy[0] + one)
    return max(busy)


def _at_most(n: int, layers: Sequence[str], plan_of: PlanOf) -> list[Plan]:
    """About ``n`` groups whose longest takes as little time as can be."""
    low, high = 0.0, plan_of(layers).seconds
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if len(_filled(layers, plan_of, middle)) <= n else (middle, high)
    return _filled(layers, plan_of, high)


def _filled(layers: Sequence[str], plan_of: PlanOf, longest: float) -> list[Plan]:
    """Fill groups from the first layer on, each as far as one pass and the ``longest`` time allow."""
    plans: list[Plan] = []
    group: list[str] = []
    for layer in layers:
        grown = plan_of([*group, layer])
        if group and (len(grown.passes) > 1 or grown.seconds > longest):
            group, grown = [layer], plan_of([layer])
            plans.append(grown)
        else:
            group.append(layer)
            plans[-1:] = [grown]
    return plans
