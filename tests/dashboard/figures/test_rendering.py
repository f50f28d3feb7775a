"""Copies of a rendered figure: the same as one that is rendered, and nobody else's."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from bokeh.document import Document
from bokeh.model import Model

from dashboard.figures import rendering
from dashboard.figures.drawing import Shown
from dashboard.figures.look import overlay_of
from dashboard.figures.marks import Axes, Drawing, Hit, area, boxes, image, labels, line, points, segments
from dashboard.figures.rendering import Part, page_options, rendered
from dashboard.views.document import forget_empty_defaults

AXES = Axes((0, 4), (0, 4), [(1, "1")], [(2, "2")], "x", "y")


@pytest.fixture(autouse=True)
def nothing_rendered():
    rendering._renderer.cache_clear()
    rendering._bare_figure.cache_clear()


def drawing(height: float = 1) -> Drawing:
    """One mark of each kind."""
    marks = [
        image("Counts", np.arange(6.0).reshape(2, 3), (0, 0, 3, 2), (0, 5)),
        area("Quartiles", [0, 1, 2], [0, 0, 0], [height, 2, 1]),
        line("MatchLine", [0, 1, 2], [height, 2, 3]),
        segments("CeilingStem", [0], [0], [1], [height]),
        boxes("Basis", [0], [0], [1], [height], key=["a"]),
        labels("Note", [1], [height], ["$$a note$$"]),
        points("Match", [1, 2], [height, 3], key=["one", "two"]),
    ]
    return Drawing(marks, AXES, {"region": "V4"}, Hit("Match", "@key"))


def written(value: Any, seen: dict[Model, int] | None = None) -> Any:
    """All that a figure is made of, its models numbered in the order of their mention but for those without state."""
    seen = {} if seen is None else seen
    if isinstance(value, rendering._STATELESS):
        return type(value).__name__, written(dict(value.properties_with_values(include_defaults=True)))
    if isinstance(value, Model):
        if value in seen:
            return seen[value]
        seen[value] = len(seen)
        return type(value).__name__, written(dict(value.properties_with_values(include_defaults=True)), seen)
    if isinstance(value, dict):
        return {str(key): written(value[key], seen) for key in sorted(value, key=str)}
    if isinstance(value, list | tuple | np.ndarray):
        return [written(item, seen) for item in (value.tolist() if isinstance(value, np.ndarray) else value)]
    return repr(value)


def rendered_anew(drawing: Drawing, width: int | None, height: int) -> tuple[Model, list[Part]]:
    """What HoloViews gives, not copied."""
    plot = rendering._BOKEH.get_plot(overlay_of(drawing).opts(**page_options(width, height), backend="bokeh"))
    renderers = [part.handles["glyph_renderer"] for part in plot.subplots.values()]
    plot.state.tools = []
    for renderer in renderers:
        renderer.update(nonselection_glyph=None, selection_glyph=None, muted_glyph=None, hover_glyph=None)
    return plot.state, [Part(renderer) for renderer in renderers]


def count_renderings(monkeypatch) -> list[int]:
    counted: list[int] = []
    render = rendering._BOKEH.get_plot
    monkeypatch.setattr(rendering._BOKEH, "get_plot", lambda *a, **k: (counted.append(1), render(*a, **k))[1])
    return counted


@pytest.mark.parametrize("order", [1, -1])
def test_a_copy_is_what_would_be_rendered(monkeypatch, order):
    def ordered(height: float) -> Drawing:
        return replace(drawing(height), marks=drawing(height).marks[::order])

    first, copied = Shown(ordered(1)), Shown(ordered(3))
    monkeypatch.setattr("dashboard.figures.drawing.rendered", rendered_anew)
    assert written(copied.figure) == written(Shown(ordered(3)).figure)
    assert written(first.figure) != written(copied.figure)  # the comparison sees other data


def test_one_mark_of_each_kind_and_one_figure_of_each_size_are_rendered(monkeypatch):
    counted = count_renderings(monkeypatch)
    rendering.warm()
    assert len(counted) == 7
    for width, height in ((None, 240), (300, 240), (None, 240)):
        rendered(drawing(), width, height)
        rendered(replace(drawing(), marks=drawing().marks[:3]), width, height)
    assert len(counted) == 9


def test_copies_share_no_model_and_stand_in_one_document():
    one, two = Shown(drawing()), Shown(drawing())
    shared = {model.id for model in one.figure.references()} & {model.id for model in two.figure.references()}
    assert shared == set()
    document = Document()
    document.add_root(one.figure)
    document.add_root(two.figure)
    document.validate()
    two.swap(drawing(height=3))
    assert one.renderer_of("Match").data_source.data["y"] == [1, 3]
    assert two.renderer_of("Match").data_source.data["y"] == [3, 3]


def test_one_filter_and_one_policy_serve_all_marks_of_a_figure():
    renderers = rendered(drawing(), None, 240)[0].renderers
    assert len({renderer.view.filter for renderer in renderers}) == 1
    assert len({renderer.data_source.selection_policy for renderer in renderers}) == 1
    assert len({renderer.view for renderer in renderers}) == len(renderers) == 7  # a view knows the rows of its own


def test_empty_defaults_are_freed_and_nothing_that_was_set():
    shown, document = Shown(drawing()), Document()
    shown.on_tap(lambda _: None)
    document.add_root(shown.figure)
    before, models = document.to_json(deferred=False), {model.id for model in document.models}

    def made() -> int:
        return sum(len(model._unstable_default_values) for model in document.models)

    n_made = made()
    forget_empty_defaults(document)
    assert made() < n_made / 3
    assert {model.id for model in document.models} == models
    assert document.to_json(deferred=False) == before
    shown.figure.tags.append("kept")
    forget_empty_defaults(document)
    assert shown.figure.tags == ["kept"]
    shown.swap(drawing(height=3))
    assert shown.renderer_of("Match").data_source.data["y"] == [3, 3]


def test_marks_and_their_renderers_stay_together():
    shown = Shown(drawing())
    for mark in shown.drawing.marks:
        assert set(shown.renderer_of(mark.role).data_source.data) >= set(mark.columns) - {"low", "high", "bounds"}
    kinds = [type(renderer.glyph).__name__ for renderer in shown.figure.renderers[:7]]
    assert kinds == ["Image", "Patch", "Line", "Segment", "Quad", "Text", "Scatter"]


def test_a_figure_of_a_page_cannot_be_dragged_away():
    assert [type(tool).__name__ for tool in Shown(drawing()).figure.tools] == ["HoverTool"]
