"""A figure of the registry as a panel of a page: what it reads, marks and lacks follows from what the figure says."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from dashboard.figure_files import command_for
from dashboard.figures.marks import TOKEN, Drawing
from dashboard.registry import FIGURES, Asked
from dashboard.results import Chosen, Results
from dashboard.runs import OpenRun
from dashboard.theme import CONTROL
from dashboard.views.card import Card, Look
from dashboard.views.colours import tokens_of
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
    is_scrolled
        Whether it gets the height that it asks for, and is scrolled.
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
        is_scrolled: bool = False,
    ) -> None:
        self.figure, self._results, self._least_runs = FIGURES[name], results, least_runs
        super().__init__(
            name,
            self.figure.module,
            lambda chosen, _: self._data_chosen(chosen),
            self._describe_chosen,
            depends=sorted({"region", *self.figure.takes}),
            marks=[*(_CHOICE.get(mark, mark) for mark in sorted(self.figure.marks - {"selected"})), *marks],
            on_tap=on_tap,
            missing=lambda chosen: [name for name in self.figure.groups if not chosen.run.has(name)],
            unfit=self._why_not,
            width=width or self.figure.width,
            height=height or self.figure.height,
            is_scrolled=is_scrolled,
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
        command = command_for(others[0].stored, lacks)
        return f"It compares networks, and {chosen.run.network_title} alone has “{told}”. Next: {command}."

    def refresh(self, chosen: Chosen, look: Look) -> bool:
        """Bring the figure to the choice, drawn anew where a run that it compares with came, went or changed."""
        versions = tuple(run.version for run in self.runs(chosen))
        if versions != self._versions:
            self.forget()
        self._versions = versions
        return super().refresh(chosen, look)

    def _data_chosen(self, chosen: Chosen) -> Any:
        asked = self.asked(chosen)
        return coloured(self.figure.data(asked), asked.tokens)

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
        if is_coloured(data):
            return drawing
        tokens = {asked.in_order[title]: token for title, token in asked.tokens.items()}
        return recoloured(drawing, {old: new for old, new in tokens.items() if old != CONTROL})


def is_coloured(data: Any) -> bool:
    """Say whether a figure's data hold a network and its colour in each row."""
    return isinstance(data, pd.DataFrame) and {"network", "token"} <= set(data.columns)


def coloured(data: Any, tokens: Mapping[str, str]) -> Any:
    """Return the data of a figure with the colours that its networks, named by their titles, have on the page."""
    if not is_coloured(data):
        return data
    rows = zip(data["network"], data["token"], strict=True)
    return data.assign(token=np.array([tokens.get(title, old) for title, old in rows], dtype=object))


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
