"""Draw every figure of two runs of the built-in world into assets/figures, and list them in assets/figures.md.

python assets/figures.py [STORE]; both runs with ``unitscope analyse RUN --all``, and the comparison of the two.
"""

import json
import sys
from pathlib import Path

import engine
from dashboard.figure_files import export_figure
from dashboard.registry import FIGURES, Figure
from engine.errors import EngineError

HERE = Path(__file__).parent
FOLDER = HERE / "figures"
NETWORKS = ("squeezenet1_1", "efficientnet_lite0")
REGION = "IT"

INTRODUCTION = """# Every figure

Drawn by `python assets/figures.py` from `unitscope match` and `unitscope analyse --all` of SqueezeNet 1.1 (and, where
networks are compared, EfficientNet-Lite0) against the built-in world: **SIMULATED** sites, each a mixture of known
of SqueezeNet, and rendered images. They show what each figure looks like and that planted answers are found; they say
nothing of any brain. What real recordings gave stands in [results.md](results.md).
"""


def draw(figure: Figure, runs: list[engine.Run]) -> str:
    """Export one figure and return its section of the page."""
    run, other = runs
    chosen = {
        "region": REGION if "region" in figure.takes else None,
        "site": best_site(run) if "site" in figure.takes else None,
        "others": [other] if figure.n_others else [],
    }
    file = FOLDER / f"{figure.name}.svg"
    written = export_figure(run, figure.name, file, **chosen)
    told = json.loads(next(path for path in written if path.suffix == ".json").read_text())
    for path in written:
        if path != file:
            path.unlink()
    number = f", figure {figure.number} of the paper" if figure.number and figure.number != "Table 1" else ""
    title = told["title"]
    return f"## {title}\n\n`{figure.name}`{number}: {told['caption']}\n\n![{title}](figures/{file.name})\n"


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
