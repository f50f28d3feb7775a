"""Figures drawn beside the server's loop: the same bytes, the same errors, and no process that stays."""

import gc
import os
import signal

import pytest

from dashboard.drawing_process import DrawingProcess
from dashboard.exporting import as_picture
from dashboard.figures.marks import Axes, Drawing, labels, line

DRAWING = Drawing([line("MatchLine", [0, 1], [0, 1]), labels("Note", 0.5, 0.5, "r − 0.5")], Axes((0, 1), (0, 1)))
HOW = {"width": 300, "height": 200, "footer": "planted · 120 images"}


@pytest.fixture(scope="module")
def process():
    process = DrawingProcess()
    yield process
    process.close()


@pytest.mark.parametrize("kind", ["svg", "pdf", "png"])
def test_a_figure_is_the_same_as_one_that_is_drawn_here(process, kind):
    assert process.draw(DRAWING, kind, **HOW).result(60) == as_picture(DRAWING, kind, **HOW)


def test_an_error_is_told_and_the_next_figure_is_drawn(process):
    with pytest.raises(ValueError, match="expected one of svg, pdf, png, got 'bmp'"):
        process.draw(DRAWING, "bmp", **HOW).result(60)
    assert process.is_ready
    assert process.draw(DRAWING, "svg", **HOW).result(60).startswith(b"<?xml")


def test_what_was_killed_is_started_again(process):
    process.draw(DRAWING, "svg", **HOW).result(60)
    os.kill(process._process.pid, signal.SIGKILL)
    process._process.wait()
    assert process.draw(DRAWING, "svg", **HOW).result(60).startswith(b"<?xml")


def test_killed_while_it_draws_it_says_so(process):
    process.draw(DRAWING, "svg", **HOW).result(60)
    os.kill(process._process.pid, signal.SIGSTOP)
    waiting = process.draw(DRAWING, "svg", **HOW)
    os.kill(process._process.pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="the process that draws figures ended with -9"):
        waiting.result(60)
    assert not process.is_ready


def test_no_process_is_left_by_whoever_closes_or_forgets_it():
    closed, forgotten = DrawingProcess(), DrawingProcess()
    for one in (closed, forgotten):
        one.warm()
    closed.draw(DRAWING, "svg", **HOW).result(60)
    forgotten.draw(DRAWING, "svg", **HOW).result(60)
    of_closed, of_forgotten = closed._process, forgotten._process
    closed.close()
    del one, forgotten
    gc.collect()
    assert of_closed.poll() is not None
    assert of_forgotten.poll() is not None
