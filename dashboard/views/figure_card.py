"""A figure of the registry as a panel of a page: what it reads, marks and lacks follows from what the figure says."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dashboard.figures.marks import TOKEN, Drawing
from dashboard.registry import FIGURES, Asked
from dashboard.results import Chosen, Results
from dashboard.runs import OpenRun
from dashboard.views.card import Card, Look
from dashboard.views.frame import tokens_of
from engine.analyses import TITLES

_CHOICE = {"layer": "shown_layer", "channel": "shown_map", "stimulus": "shown_stimulus"}
"""What a figure calls a part of the choice -> the attribute of ``Chosen``, where that is another word."""


class FigureCard(Card):
    """One figure of the registry.

    Parameters
    ----------
    name
        Of the figure in ``dashboard.registry.FIGURES``.
    results
        Where runs of other networks are found, for a figure that compares.
    on_tap
        Called with the key of the mark that was tapped.
    marks
        More parts of the choice that the figure depends on besides those that its functions name.
    width, height
        In px, in place of the registry's.
    least_runs
        Runs that it must compare to be worth its place on the page.
    """

    def __init__(
        self,
        name: str,
        results: Results,
        *,
        on_tap: Callable[[Any], None] | None = None,
        marks: Sequence[str] = (),
        width: int = 0,
        height: int = 0,
        least_runs: int = 1,
    ) -> None:
        self.figure, self._results, self._least_runs = FIGURES[name], results, least_runs
        super().__init__(
            name,
            self.figure.module,
            lambda chosen, _: self.figure.data(self.asked(chosen)),
            self._describe_chosen,
            depends=sorted({"region", *self.figure.takes}),
            marks=[*(_CHOICE.get(mark, mark) for mark in sorted(self.figure.marks - {"selected"})), *marks],
            on_tap=on_tap,
            missing=lambda chosen: [name for name in self.figure.groups if not chosen.run.has(name)],
            unfit=self._why_not,
            width=width or self.figure.width,
            height=height or self.figure.height,
        )
        self._versions: tuple = ()

    def asked(self, chosen: Chosen) -> Asked:
        """Return what the figure is asked to show."""
        runs = self.runs(chosen)
        others = [run for run in runs if run is not chosen.run]
        stored, colours = [run.stored for run in runs], tokens_of(chosen, self._results)
        return Asked(chosen.run, chosen.region, chosen.site, others, chosen.region, stored, runs, colours)

    def runs(self, chosen: Chosen) -> list[OpenRun]:
        """Return the runs on the recording that hold what the figure compares, the chosen one among them."""
        if not self.figure.compares:
            return [chosen.run]
        runs = self._results.runs(chosen.run.recording)
        return [run for run in runs if run is chosen.run or all(map(run.has, self.figure.groups))]

    def _why_not(self, chosen: Chosen) -> str:
        if len(self.runs(chosen)) >= self._least_runs:
            return self.asked(chosen).lacks(self.figure)
        others = [run for run in self._results.runs(chosen.run.recording) if run is not chosen.run]
        lacks = [name for name in self.figure.groups if others and not others[0].has(name)]
        if not lacks:
            return f"It compares networks: match another one against {chosen.run.recording}."
        told = " and ".join(TITLES.get(name, name) for name in lacks)
        command = f"unitscope analyse {others[0].digest[:12]} {' '.join(lacks)}"
        return f"It compares networks, and {chosen.run.network_title} alone has “{told}”. Next: {command}."

    def refresh(self, chosen: Chosen, look: Look) -> bool:
        """Bring the figure to the choice, drawn anew where a run that it compares with came, went or changed."""
        versions = tuple(run.version for run in self.runs(chosen))
        if versions != self._versions:
            self.forget()
        self._versions = versions
        return super().refresh(chosen, look)

    def _describe_chosen(self, data: Any, chosen: Chosen, look: Look) -> Drawing:
        asked = self.asked(chosen)
        selected = {
            "site": chosen.site,
            "layer": chosen.shown_layer,
            "rank": chosen.rank,
            "channel": int(chosen.shown_map) if chosen.shown_map else None,
            "stimulus": chosen.shown_stimulus,
            "selected": asked.title,
        }
        drawing = self.figure.describe(data, asked, selected)
        return recoloured(drawing, {asked.in_order[title]: token for title, token in asked.tokens.items()})


def recoloured(drawing: Drawing, tokens: Mapping[str, str]) -> Drawing:
    """Return a drawing whose networks have the colours of the page, not those of their order in the figure."""
    if all(old == new for old, new in tokens.items()):
        return drawing
    marks = [
        replace(mark, token=tokens.get(mark.token or "", mark.token), columns=_recoloured(mark.columns, tokens))
        for mark in drawing.marks
    ]
    return replace(drawing, marks=marks)


def _recoloured(columns: Mapping[str, np.ndarray], tokens: Mapping[str, str]) -> Mapping[str, np.ndarray]:
    if TOKEN not in columns:
        return columns
    return {**columns, TOKEN: np.array([tokens.get(token, token) for token in columns[TOKEN]], dtype=object)}
