import re
import time
from base64 import b64decode
from io import BytesIO
from xml.etree import ElementTree

import numpy as np
import pytest
from fontTools.ttLib import TTFont
from PIL import Image

from dashboard.figures import (
    every_site,
    layer_by_layer,
    layer_profile,
    neural_correlation,
    responses,
    runner_up_positions,
    runner_ups,
    site_by_site,
    site_rail,
    unit_distribution,
    v4_against_it,
)
from dashboard.figures.drawing import paper, write_paper
from dashboard.figures.marks import Axes, Drawing, labels, line
from dashboard.theme import TOKENS


def drawings(run):
    recording, matches, null = (run[name] for name in ("recording", "matches", "null"))
    nc = {"SqueezeNet 1.1": run["neural_correlation"], "untrained": run["neural_correlation"]}
    return {
        "responses": responses.describe(responses.data(recording, matches, run["match_responses"], "site00")),
        "layer_profile": layer_profile.describe(layer_profile.data(run["layer_profile"], null, recording, "site00")),
        "unit_distribution": unit_distribution.describe(
            unit_distribution.data(run["unit_counts"], matches, null, recording, run["layers"], "site00")
        ),
        "site_rail": site_rail.describe(site_rail.data(matches, recording, null, region="V4"), site="site00"),
        "neural_correlation": neural_correlation.describe(neural_correlation.data(nc, "V4", controls=["untrained"])),
        "site_by_site": site_by_site.describe(site_by_site.data(matches, matches, recording, "V4"), site="site00"),
        "layer_by_layer": layer_by_layer.describe(
            layer_by_layer.data(run["layer_profile"], null, recording, "V4", control=run["layer_profile"])
        ),
        "every_site": every_site.describe(
            every_site.data(matches, recording, null, run["reliability"], region="V4", control=matches)
        ),
        "v4_against_it": v4_against_it.describe(v4_against_it.data(nc, controls=["untrained"])),
        "runner_ups": runner_ups.describe(runner_ups.data(matches, recording, null, "V4"), site="site00"),
        "runner_up_positions": runner_up_positions.describe(
            runner_up_positions.data(matches, run["layers"], recording, "site00")
        ),
    }


FIGURES = [
    "responses",
    "layer_profile",
    "unit_distribution",
    "site_rail",
    "neural_correlation",
    "site_by_site",
    "layer_by_layer",
    "every_site",
    "v4_against_it",
    "runner_ups",
    "runner_up_positions",
]


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_reaches_svg_pdf_and_png_in_under_two_seconds_each(name, run_datasets, tmp_path):
    drawing = drawings(run_datasets)[name]
    for suffix in ("svg", "pdf", "png"):
        start = time.process_time()
        path = write_paper(paper(drawing, footer="planted · 120 images"), tmp_path / f"figure.{suffix}")
        assert time.process_time() - start < 2
        assert path.stat().st_size > 2000
    with Image.open(tmp_path / "figure.png") as picture:
        assert len(picture.convert("RGB").getcolors(1_000_000)) > 20


def test_sizes_are_those_of_the_page(tmp_path):
    drawing = Drawing([line("MatchLine", [0, 1], [0, 1])], Axes((0, 1), (0, 1)))
    path = write_paper(paper(drawing, width=480, height=240), tmp_path / "figure.png")
    with Image.open(path) as picture:
        assert picture.size == (1500, 750)


def test_names_are_written_literally_and_stay_text(tmp_path):
    name = "$\\frac{x}{y}$ <b> & $$"
    drawing = Drawing([labels("Note", 0.5, 0.5, name)], Axes((0, 1), (0, 1), [(0.5, name)], (), name))
    text = write_paper(paper(drawing, footer=name), tmp_path / "figure.svg").read_text()
    assert text.count("$\\frac{x}{y}$ &lt;b&gt; &amp; $$") >= 4
    assert re.search("<text[^>]*>", text)


def test_an_svg_carries_the_letters_of_its_text_in_both_weights_and_the_same_bytes_each_time(tmp_path):
    drawing = Drawing([labels("Note", 0.5, 0.5, "Ärger − ≤ & <x>")], Axes((0, 1), (0, 1), [(0.5, "0.5")], (), "r"))
    first, again = (write_paper(paper(drawing), tmp_path / f"{name}.svg").read_bytes() for name in "ab")
    assert first == again
    faces = re.findall(rb"font-weight:(\d+);src:url\(data:font/woff;base64,([^)]*)\)", first)
    assert [weight for weight, _ in faces] == [b"400", b"700"]
    for _, encoded in faces:
        with TTFont(BytesIO(b64decode(encoded))) as face:
            known = set(map(chr, face.getBestCmap()))
        assert set("Ärger− &<x>0.5") <= known
        assert "Q" not in known
    ElementTree.fromstring(first)


def test_dark_figures_have_the_dark_ground(tmp_path):
    drawing = Drawing([line("MatchLine", [0, 1], [0, 1])], Axes((0, 1), (0, 1)))
    with Image.open(write_paper(paper(drawing, "dark"), tmp_path / "figure.png")) as picture:
        ground = picture.convert("RGB").getpixel((2, 2))
    assert "#{:02X}{:02X}{:02X}".format(*ground) == TOKENS["dark"]["paper"]


def test_a_square_figure_is_square_on_paper(run_datasets):
    axis = paper(drawings(run_datasets)["responses"], width=500, height=300).axes[0]
    box = axis.get_window_extent()
    assert box.width == pytest.approx(box.height, rel=0.01)


def test_another_suffix_is_refused_with_what_to_do(tmp_path):
    drawing = Drawing([line("MatchLine", [0, 1], [0, 1])], Axes((0, 1), (0, 1)))
    with pytest.raises(ValueError, match=r"ends in \.svg, \.pdf or \.png, got 'figure\.bmp'. Rename it"):
        write_paper(paper(drawing), tmp_path / "figure.bmp")


def test_the_limits_on_paper_are_those_of_the_page(run_datasets):
    drawing = drawings(run_datasets)["layer_profile"]
    axis = paper(drawing).axes[0]
    np.testing.assert_allclose([*axis.get_xlim(), *axis.get_ylim()], [*drawing.axes.xlim, *drawing.axes.ylim])


@pytest.mark.parametrize("width", [376, 428])
def test_a_long_footer_takes_as_many_lines_as_it_needs_below_the_figure(width):
    drawing = Drawing([line("MatchLine", [0, 1], [0, 1])], Axes((0, 1), (0, 1), (), (), "r"))
    told = "planted (SIMULATED) · V4, IT · 12 sites × 120 images · Other Net, trained weights · 2 folds, seed 0"
    figure = paper(drawing, width=width, height=300, footer=told)
    figure.draw_without_rendering()
    (footer,) = figure.texts
    box = footer.get_window_extent()
    assert footer.get_text().replace("\n", " ") == told
    assert footer.get_text().count("\n") >= 1
    assert "\n·" not in footer.get_text()
    assert box.x1 <= figure.bbox.x1
    assert box.y1 <= figure.axes[0].xaxis.label.get_window_extent().y0
    assert figure.get_figheight() * 96 == pytest.approx(300 + 12 * footer.get_text().count("\n"))
