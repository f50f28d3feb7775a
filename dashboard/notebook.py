"""How does a figure get into a notebook? ``show(run, name)`` as the last line of a cell."""

from collections.abc import Sequence
from pathlib import Path

import panel as pn
from bokeh.themes import Theme

from dashboard.exporting import heading_of
from dashboard.figure_files import find_figure, require_analyses
from dashboard.figures.drawing import Shown
from dashboard.figures.keys import keys_html
from dashboard.figures.pictures import without_addresses
from dashboard.registry import ask
from dashboard.theme import TOKENS, Mode, bokeh_theme, css_variables
from dashboard.views.markup import Markup, tag
from engine.store import Run, open_run


def show(
    run: Run | str,
    name: str,
    *,
    region: str | None = None,
    site: str | None = None,
    others: Sequence[Run | str] = (),
    store: Path | str | None = None,
    mode: Mode = "light",
) -> pn.Column:
    """Return a figure as the dashboard shows it; a notebook renders it, with hover.

    Parameters
    ----------
    run
        A run, its path, ``network@recording``, or the beginning of its digest.
    name
        Of the figure: ``unitscope export RUN`` lists them.
    region, site
        Which one to show, where the figure shows one of several.
    others
        Runs of other networks on the same recording, for figures that compare.
    store
        Where runs are looked up by name.
    mode
        "light" or "dark".

    Raises
    ------
    SettingsError
        If there is no such figure, region or site, or one must be named.
    NotAvailableError
        If the run does not hold an analysis that the figure shows; names the command that computes it.
    """
    _load_in_notebook()
    figure = find_figure(name)
    opened, *compared = (one if isinstance(one, Run) else open_run(one, store) for one in (run, *others))
    require_analyses(opened, figure)
    for other in compared:
        require_analyses(other, figure, is_other=True)
    asked = ask(opened, figure, region=region, site=site, others=compared)
    data = figure.data(asked)
    drawing = without_addresses(figure.describe(data, asked), {})
    heading = heading_of(figure.module, data)
    shown = Shown(drawing, mode, width=figure.width, height=figure.height)
    keys = Markup(keys_html(heading.keys, drawing.colours)) if heading.keys else None
    simulated = " · SIMULATED" if asked.run.is_simulated else ""
    head = tag(
        "div",
        tag("b", heading.title),
        tag("span", f" {heading.caption}{simulated}", style="color:var(--us-text2)"),
        keys,
        style=f"{css_variables(mode)}font:13px/20px var(--us-font);color:var(--us-ink)",
    )
    ground = {"background": TOKENS[mode]["paper"]}
    pane = pn.pane.Bokeh(shown.figure, theme=Theme(json=bokeh_theme(mode)))
    return pn.Column(pn.pane.HTML(str(head), width=figure.width), pane, styles=ground)


def _load_in_notebook() -> None:
    """Let the notebook load what renders panes; elsewhere there is nothing to load."""
    try:
        from IPython import get_ipython
    except ImportError:
        return
    if get_ipython() is not None:
        pn.extension()
