"""Which face do figures on paper have? The page's Roboto where its files are at hand, else matplotlib's own sans.

panel-material-ui bundles Roboto for browsers (woff); matplotlib reads ttf. fontTools, which matplotlib depends on,
repacks one as the other in memory; the result is kept for the life of the process.
"""

import tempfile
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from fontTools.ttLib import TTFont
from matplotlib import font_manager

FALLBACK = "DejaVu Sans"


@lru_cache(maxsize=1)
def paper_font() -> str:
    """Return the name of the face of figures on paper, registered with matplotlib."""
    files = [found for weight in (400, 700) if (found := _bundled(weight)) is not None]
    if not files:
        return FALLBACK
    folder = Path(_folder().name)
    for file in files:
        face = TTFont(file)
        face.flavor = None
        face.save(folder / f"{file.stem}.ttf")
        font_manager.fontManager.addfont(folder / f"{file.stem}.ttf")
    return "Roboto"


@lru_cache(maxsize=1)
def _folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="unitscope-face-")  # goes when the process ends


def _bundled(weight: int) -> Path | None:
    package = find_spec("panel_material_ui")
    if package is None or package.origin is None:
        return None
    return next(iter(sorted(Path(package.origin).parent.glob(f"dist/roboto-latin-{weight}-normal-*.woff"))), None)
