"""Which face do figures on paper have? The page's Roboto where its files are at hand, else matplotlib's own sans.

panel-material-ui bundles Roboto for browsers (woff); matplotlib reads ttf. fontTools, which matplotlib depends on,
repacks one as the other in memory; the result is kept for the life of the process. An svg keeps its text as text and
carries the letters that it needs: with another face every line would be of another length, and run into its neighbour.
"""

import html
import re
import tempfile
from base64 import b64encode
from functools import lru_cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont
from matplotlib import font_manager

FALLBACK = "DejaVu Sans"
_WEIGHTS = (400, 700)
_FAMILIES = "'Roboto', 'DejaVu Sans'"
_SIMILAR = "'Roboto', 'Helvetica Neue', 'Arial', sans-serif"
"""Faces of about the same width, for programs that do not read a face inside an svg."""


@lru_cache(maxsize=1)
def paper_font() -> str:
    """Return the name of the face of figures on paper, registered with matplotlib."""
    files = [found for weight in _WEIGHTS if (found := _bundled(weight)) is not None]
    if not files:
        return FALLBACK
    folder = Path(_folder().name)
    for file in files:
        face = TTFont(file, recalcTimestamp=False)  # else a pdf would be another one in each process
        face.flavor = None
        face.save(folder / f"{file.stem}.ttf")
        font_manager.fontManager.addfont(folder / f"{file.stem}.ttf")
    return "Roboto"


def with_face(svg: str) -> str:
    """Return an svg that carries the letters of its text in the face of paper; as it is where there is no such face."""
    letters = "".join(sorted(set(html.unescape("".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg))))))
    faces = [_face(file, weight, letters) for weight in _WEIGHTS if (file := _bundled(weight)) is not None]
    if not faces or not letters:
        return svg
    style = f'<defs>\n  <style type="text/css">{"".join(faces)}</style>\n </defs>\n '
    return svg.replace("<defs>", f"{style}<defs>", 1).replace(_FAMILIES, _SIMILAR)


def _face(file: Path, weight: int, letters: str) -> str:
    """Return the css of a face that holds these letters alone."""
    options = subset.Options(flavor="woff", hinting=False, layout_features=["kern"], notdef_outline=True)
    subsetter, written = subset.Subsetter(options), BytesIO()
    subsetter.populate(text=letters)
    with subset.load_font(str(file), options) as face:
        subsetter.subset(face)
        subset.save_font(face, written, options)
    source = f"data:font/woff;base64,{b64encode(written.getvalue()).decode()}"
    return f"@font-face{{font-family:'Roboto';font-weight:{weight};src:url({source})}}"


@lru_cache(maxsize=1)
def _folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="unitscope-face-")  # goes when the process ends


def _bundled(weight: int) -> Path | None:
    package = find_spec("panel_material_ui")
    if package is None or package.origin is None:
        return None
    return next(iter(sorted(Path(package.origin).parent.glob(f"dist/roboto-latin-{weight}-normal-*.woff"))), None)
