"""How does a figure leave the page? As svg, pdf or png from its drawing, or as the csv of its data."""

import io
import re
import tempfile
from pathlib import Path

import pandas as pd

from dashboard.figures.marks import Drawing
from dashboard.figures.paper import PAPER_FORMATS, paper, write_paper

KINDS = {"svg": "image/svg+xml", "pdf": "application/pdf", "png": "image/png", "csv": "text/csv"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def file_name(*parts: str, kind: str, is_simulated: bool = False) -> str:
    """Return a name that is a plain file everywhere: letters, digits, ``_``, ``-`` and ``.`` of at most 120.

    Of a simulated recording it begins with SIMULATED, where no length of the other parts cuts it off.
    """
    told = ("SIMULATED", *parts) if is_simulated else parts
    words = [re.sub(r"[^A-Za-z0-9.]+", "-", part).strip("-.") for part in told]
    return ("_".join(word for word in words if word)[:120].strip("-.") or "figure") + f".{kind}"


def as_picture(drawing: Drawing, kind: str, *, width: int, height: int, footer: str) -> bytes:
    """Return a figure as svg, pdf or png, in light colours, with its provenance in a line below."""
    if kind not in PAPER_FORMATS:
        raise ValueError(f"expected one of {', '.join(PAPER_FORMATS)}, got {kind!r}.")
    figure = paper(drawing, "light", width=width, height=height, footer=footer)
    with tempfile.TemporaryDirectory() as folder:
        return write_paper(figure, Path(folder) / f"figure.{kind}").read_bytes()


def as_csv(table: pd.DataFrame) -> bytes:
    """Return a table as CSV in UTF-8; text that a spreadsheet would run as a formula gets an apostrophe before it."""
    safe = table.copy()
    for name in safe.columns[[not pd.api.types.is_numeric_dtype(kind) for kind in safe.dtypes]]:
        safe[name] = [_inert(value) for value in safe[name]]
    safe.columns = [_inert(name) for name in safe.columns]
    written = io.StringIO()
    safe.to_csv(written, index=False)
    return written.getvalue().encode("utf-8")


def _inert(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
