"""Serves one figure of ours, a map of 256 x 200 values; a tap shows other values."""

import numpy as np
import panel as pn
from bokeh.events import Tap

from dashboard.figures.drawing import Shown
from dashboard.figures.marks import Axes, Drawing, image

MAPS = np.random.default_rng(0).uniform(size=(8, 256, 200))


def described(k: int) -> Drawing:
    counts = image("Counts", MAPS[k % len(MAPS)], (0, 0, 200, 256), (0, 1))
    return Drawing([counts], Axes((0, 200), (0, 256)), {"region": "V4"})


def page() -> pn.pane.Bokeh:
    shown, n_taps = Shown(described(0), width=640, height=480), 0

    def tapped(_: Tap) -> None:
        nonlocal n_taps
        n_taps += 1
        with pn.io.hold():
            shown.swap(described(n_taps))

    shown.figure.on_event(Tap, tapped)
    shown.figure.output_backend = "canvas"
    return pn.pane.Bokeh(shown.figure)


if __name__ == "__main__":
    server = pn.serve(page, port=0, show=False, start=False)
    print(server.port, flush=True)
    server.io_loop.start()
