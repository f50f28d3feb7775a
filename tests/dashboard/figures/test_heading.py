"""Title, caption and keys above a figure on paper: literal, inside the figure, and the frame stays as it was."""

import pytest

from dashboard.figures.heading import with_heading
from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, line
from dashboard.figures.paper import paper, write_paper
from dashboard.theme import TOKENS

KEYS = [
    Key(shape, f"the meaning of {shape}", "region")
    for shape in ("dot", "open", "ring", "line", "dash", "box", "tick", "interval", "bar")
]


def drawn(width=400, height=300):
    drawing = Drawing([line("MatchLine", [0, 1], [0, 1])], Axes((0, 1), (0, 1), [(0.5, "half")], (), "r"))
    return paper(drawing, width=width, height=height, footer="planted")


def extent(figure):
    figure.draw_without_rendering()
    return figure.axes[0].get_window_extent()


def test_the_frame_keeps_its_size_and_its_place_above_the_lower_edge():
    plain, headed = drawn(), with_heading(drawn(), "Layers", "20 layers", KEYS)
    assert headed.get_figheight() > plain.get_figheight()
    assert extent(headed).bounds == pytest.approx(extent(plain).bounds, abs=0.5)
    footer = next(text for text in headed.texts if text.get_text() == "planted")
    assert footer.get_window_extent().y0 < extent(headed).y0


def test_all_of_it_is_inside_the_figure_above_the_frame_and_nothing_overlaps():
    figure = with_heading(drawn(), "Best match in each layer", "a caption that says much, over 50 sites", KEYS)
    figure.set_dpi(300)  # where letters are not fitted to a grid of px
    top = extent(figure).y1
    told = [text.get_window_extent() for text in figure.texts if text.get_text() != "planted"]
    assert len(told) == 2 + len(KEYS)
    for box in told:
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
        assert box.y0 >= top
    pairs = [(a, b) for i, a in enumerate(told) for b in told[i + 1 :]]
    assert not [pair for pair in pairs if pair[0].overlaps(pair[1])]


def test_a_long_caption_takes_as_many_lines_as_it_needs():
    caption = "as in the paper, not like for like; PLS-25 of a layer, held out: mean of 10 splits; 640 images; 40 sites"
    figure = with_heading(drawn(), "Single unit against linear combination", caption)
    figure.set_dpi(300)
    lines = [text for text in figure.texts if text.get_text() != "planted"][1:]
    assert len(lines) > 1
    assert " ".join(text.get_text() for text in lines) == caption
    assert all(text.get_window_extent().x1 <= figure.bbox.x1 for text in lines)


def test_names_are_written_literally_and_colours_are_those_of_the_drawing(tmp_path):
    name = "$\\frac{x}{y}$ & <b>"
    figure = with_heading(drawn(), name, name, [Key("box", name, "region")], {"region": "IT"})
    text = write_paper(figure, tmp_path / "figure.svg").read_text()
    assert text.count("$\\frac{x}{y}$ &amp; &lt;b&gt;") == 3
    assert TOKENS["light"]["IT"].lower() in text


def test_the_same_figure_gives_the_same_bytes_and_carries_what_it_is_told(tmp_path):
    told = {"Title": "Layers", "Description": "unitscope export 5eed layers -o layers.svg"}
    for suffix in ("svg", "pdf", "png"):
        files = [
            write_paper(with_heading(drawn(), "Layers"), tmp_path / f"{name}.{suffix}", metadata=told).read_bytes()
            for name in "ab"
        ]
        assert files[0] == files[1]
        assert b"unitscope export 5eed layers -o layers.svg" in files[0]
