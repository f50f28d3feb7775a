"""Draw every figure of two runs of the built-in world into assets/figures, and list them in assets/figures.md.

python assets/figures.py [STORE]; both runs with ``unitscope analyse RUN --all``, and the comparison of the two.
"""

import json
import sys
from pathlib import Path

import engine
from dashboard.figure_files import export_figure
from dashboard.registry import FIGURES, Figure, plain_name
from engine.errors import EngineError

HERE = Path(__file__).parent
FOLDER = HERE / "figures"
NETWORKS = ("squeezenet1_1", "efficientnet_lite0")
REGION = "IT"

MOST_BYTES = 200_000
"""A larger svg is kept as png."""

INTRODUCTION = """# Every figure

Drawn by `python assets/figures.py` from `unitscope match` and `unitscope analyse --all` of SqueezeNet 1.1 (and, where
scores are compared, EfficientNet-Lite0) against the built-in world: **SIMULATED** sites, mixtures of known units of
SqueezeNet, and rendered images. They show what each figure looks like and that planted answers are found; they say
nothing of any brain. What real recordings gave stands in [results.md](results.md).
"""


def draw(figure: Figure, runs: list[engine.Run]) -> str:
    """Export one figure and return its section of the page."""
    run, other = runs
    compared = {plain_name(name) for name in figure.reads if name.endswith("*")}
    chosen = {
        "region": REGION if "region" in figure.takes else None,
        "site": best_site(run) if "site" in figure.takes else None,
        "others": [other] if figure.n_others or (compared and compared <= set(other.names)) else [],
    }
    picture, data, about = export_figure(run, figure.name, FOLDER / f"{figure.name}.svg", **chosen)
    if picture.stat().st_size > MOST_BYTES:
        picture.unlink()
        picture, data, about = export_figure(run, figure.name, FOLDER / f"{figure.name}.png", **chosen)
    told = json.loads(about.read_text())
    data.unlink()
    about.unlink()
    title, caption = told["title"], f"{told['caption']}." if told["caption"] else ""
    number = f", {figure_number(figure)}" if figure.number else ""
    shows = figure.module.HELP.split("\n\n")[0].removeprefix("**What it shows.** ")
    return f"## {title}\n\n`{figure.name}`{number}: {caption}\n{shows}\n\n![{title}](figures/{picture.name})\n"


def figure_number(figure: Figure) -> str:
    """Say which figure of the paper it is."""
    return figure.number if figure.number.startswith("Table") else f"figure {figure.number} of the paper"


def best_site(run: engine.Run) -> str:
    """Return the site of the region with the highest r."""
    matches = run.dataset("matches").isel(rank=0)
    region = run.dataset("recording")["region"].sel(site=matches["site"])
    return str(matches["correlation"].where(region == REGION).idxmax("site").values)


def main() -> None:
    """Draw all; a figure that cannot be drawn is named, with the reason."""
    store = sys.argv[1] if len(sys.argv) > 1 else None
    runs = [engine.open_run(f"{network}@builtin", store) for network in NETWORKS]
    FOLDER.mkdir(exist_ok=True)
    sections = []
    for name, figure in FIGURES.items():
        try:
            sections.append(draw(figure, runs))
        except EngineError as error:
            print(f"{name}: {error}", file=sys.stderr)
    (HERE / "figures.md").write_text("\n".join([INTRODUCTION, *sections]))


if __name__ == "__main__":
    main()
