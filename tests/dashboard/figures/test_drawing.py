import time

import holoviews as hv
import numpy as np
import pytest
from bokeh.core.serialization import Serializer
from bokeh.document import Document
from bokeh.embed import file_html
from bokeh.models import GlyphRenderer, PlainText
from bokeh.resources import CDN
from bokeh.themes import Theme

from dashboard.figures.drawing import Shown, page_style, to_holoviews
from dashboard.figures.marks import (
    ROLES,
    Axes,
    Drawing,
    Hit,
    area,
    boxes,
    image,
    labels,
    line,
    nothing,
    points,
    segments,
)
from dashboard.theme import MODES, TOKENS, bokeh_theme, ramp


def drawing(r=(0.1, 0.2, 0.3), region="V4", **axes):
    x = np.arange(len(r), dtype=float)
    return Drawing(
        [
            area("Chance", x, 0, np.full(len(r), 0.1)),
            line("MatchLine", x, r),
            points("Match", x, r, key=np.array([f"site{i}" for i in range(len(r))], dtype=object)),
            segments("HeldOutInterval", x, 0, x, r, token=np.array(["network1"] * len(r), dtype=object)),
            labels("Note", 0, 0.3, "note"),
            image("Counts", np.array([[np.nan, 1.0], [2.0, 3.0]]), (0, 0, 1, 1), (0, 3)),
            nothing("points", "Selection"),
            boxes("SelectedRow", 0, 0, 1, 1),
        ],
        Axes(**{"xlim": (-0.5, 2.5), "ylim": (0, 0.5), "yticks": [(0, "0"), (0.5, "0.5")], "ylabel": "r"} | axes),
        {"region": region},
        Hit("Match", "<b>@key</b>"),
    )


def glyphs(shown):
    return [r for r in shown.figure.renderers if isinstance(r, GlyphRenderer)]


def test_marks_become_sources_with_our_columns():
    shown = Shown(drawing(), width=300)
    assert list(glyphs(shown)[2].data_source.data["key"]) == ["site0", "site1", "site2"]
    np.testing.assert_allclose(glyphs(shown)[0].data_source.data["y"], [0, 0, 0, 0.1, 0.1, 0.1])


def test_a_swap_changes_data_limits_ticks_and_labels_and_builds_nothing():
    shown = Shown(drawing(), width=300)
    Document().add_root(shown.figure)
    models = set(shown.figure.references())
    shown.swap(drawing((0.5, 0.6), ylim=(0, 1), yticks=[(0, "0"), (1, "1")], ylabel="held-out r"))
    np.testing.assert_allclose(glyphs(shown)[2].data_source.data["y"], [0.5, 0.6])
    assert (shown.figure.y_range.start, shown.figure.y_range.end) == (0, 1)
    assert shown.figure.yaxis[0].ticker.ticks == [0, 1]
    assert shown.figure.yaxis[0].major_label_overrides == {0: "0", 1: "1"}
    assert shown.figure.yaxis[0].axis_label == "held-out r"
    assert set(shown.figure.references()) == models


def test_a_swap_leaves_sources_alone_that_did_not_change():
    shown = Shown(drawing(), width=300)
    changed = []
    for renderer in glyphs(shown)[:8]:
        renderer.data_source.on_change("data", lambda attr, old, new: changed.append(attr))
    shown.swap(drawing())
    assert changed == []


def test_a_swap_to_another_region_recolours():
    shown = Shown(drawing(), width=300)
    shown.swap(drawing(region="IT"))
    assert glyphs(shown)[2].glyph.fill_color == TOKENS["light"]["IT"]


def test_a_swap_to_other_marks_is_refused():
    shown = Shown(drawing(), width=300)
    other = drawing()
    with pytest.raises(ValueError, match="a swap keeps the kinds of marks: Chance was to become Zero"):
        shown.swap(Drawing([line("Zero", [0], [0]), *other.marks[1:]], other.axes))


def test_dark_recolours_the_same_models():
    shown = Shown(drawing(), width=300)
    models = set(shown.figure.references())
    shown.retheme("dark")
    assert glyphs(shown)[2].glyph.fill_color == TOKENS["dark"]["V4"]
    assert glyphs(shown)[3].data_source.data["colour"] == [TOKENS["dark"]["network1"]] * 3
    assert tuple(glyphs(shown)[5].glyph.color_mapper.palette) == ramp("V4", "dark")
    assert glyphs(shown)[5].glyph.color_mapper.nan_color == "#00000000"
    assert set(shown.figure.references()) == models


def test_axes_and_grid_are_left_to_the_theme_of_the_document():
    shown = Shown(drawing(), width=300)
    document = Document(theme=Theme(json=bokeh_theme("dark")))
    document.add_root(shown.figure)
    assert shown.figure.yaxis[0].major_label_text_color == TOKENS["dark"]["text2"]
    assert shown.figure.ygrid[0].grid_line_color == TOKENS["dark"]["grid"]
    assert shown.figure.yaxis[0].axis_line_color is None
    assert shown.figure.background_fill_color is None


def test_chance_lies_behind_the_grid():
    assert glyphs(Shown(drawing(), width=300))[0].level == "image"


def test_what_is_selected_lies_on_the_canvas_above():
    marks = [points("Match", [0, 1], [0, 1]), points("SelectionHalo", 0, 0), points("Selection", 0, 0)]
    shown = Shown(Drawing(marks, Axes((0, 1), (0, 1))), width=300)
    assert [shown.renderer_of(mark.role).level for mark in marks] == ["glyph", "overlay", "overlay"]


def test_a_step_of_short_columns_is_one_message():
    """Each array would be two more, and sixty of them took the browser 40 ms."""
    few, many = points("Match", [0, 1], [0, np.nan]), points("HeldOut", np.zeros(500), np.zeros(500))
    shown = Shown(Drawing([few, many], Axes((0, 1), (0, 1))), width=300)

    def n_buffers(role: str) -> int:
        return len(Serializer(deferred=True).serialize(shown.renderer_of(role).data_source.data).buffers)

    assert (n_buffers("Match"), n_buffers("HeldOut")) == (0, 2)


def test_a_tap_gives_the_key_of_the_nearest_mark_and_beside_all_nothing():
    shown = Shown(drawing(), width=300)
    assert shown.key_at(1.05, 0.21) == "site1"
    assert shown.key_at(0.5, 0.45) is None
    assert shown.key_at(None, None) is None


def test_a_tap_on_a_row_gives_its_key():
    rows = Drawing(
        [boxes("Hit", 0, [0, 1], 1, [1, 2], key=np.array(["low", "high"], dtype=object))],
        Axes((0, 1), (0, 2)),
        {},
        Hit("Hit"),
    )
    shown = Shown(rows, width=300)
    assert [shown.key_at(0.5, 1.5), shown.key_at(0.5, 0.5), shown.key_at(2, 0.5)] == ["high", "low", None]


def test_on_tap_calls_back():
    shown, taps = Shown(drawing(), width=300), []
    shown.on_tap(taps.append)
    event = type("Tap", (), {"x": 2.0, "y": 0.3})
    for callback in shown.figure._event_callbacks["tap"]:
        callback(event)
    assert taps == ["site2"]


def test_one_tooltip_is_rendered_and_not_one_for_each_point_under_the_pointer():
    hover = next(tool for tool in Shown(drawing(), width=300).figure.tools if hasattr(tool, "tooltips"))
    assert hover.limit == 1
    assert "indices.every" in hover.filters["key"].code


@pytest.mark.parametrize("name", ["$$x^2$$", r"\(x\)", r"\[x\]"])
def test_names_are_never_read_as_mathematics(name):
    shown = Shown(drawing(ylabel=name, yticks=[(0, name)]), width=300)
    assert shown.figure.yaxis[0].axis_label.text == name
    assert isinstance(shown.figure.yaxis[0].major_label_overrides[0], PlainText)
    assert shown.figure.yaxis[0].major_label_overrides[0].text == name


def test_markup_in_names_does_not_reach_the_page_as_markup():
    shown = Shown(drawing(ylabel="<script>alert(1)</script>"), width=300)
    assert "<script>alert(1)</script>" not in file_html(shown.figure, CDN, title="x")


def test_a_square_frame_is_square():
    figure = Shown(drawing(is_square=True, left=50, right=10), width=360).figure
    assert figure.frame_width == figure.frame_height == 300


def test_a_fixed_row_height_asks_for_its_height():
    assert Shown(drawing(height=777), width=300).figure.height == 777


@pytest.mark.parametrize("mode", MODES)
def test_every_role_resolves_to_colours_of_the_theme(mode):
    colours = {*TOKENS[mode].values(), None}
    for name in ROLES:
        style = page_style(points(name, [0], [0]), drawing(), mode)
        assert {style["fill_color"], style["line_color"]} <= colours


def test_a_swap_takes_under_15_ms(run_datasets):
    from dashboard.figures import responses

    def state(site):
        data = responses.data(*(run_datasets[n] for n in ("recording", "matches", "match_responses")), site)
        return responses.describe(data, stimulus="image0003")

    shown = Shown(state("site00"), width=400)
    times = []
    for site in ("site01", "site02", "site03", "site04", "site05"):
        start = time.process_time()
        shown.swap(state(site))
        times.append(time.process_time() - start)
    assert min(times) < 0.015


def test_a_notebook_gets_a_holoviews_overlay():
    overlay = to_holoviews(drawing())
    assert isinstance(overlay, hv.Overlay)
    figure = hv.renderer("bokeh").get_plot(overlay).state
    assert figure.renderers[2].glyph.fill_color == TOKENS["light"]["V4"]
