"""How does a figure leave the page? As svg, pdf or png from its drawing, under a name that is safe everywhere."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from dashboard.figures.heading import with_heading
from dashboard.figures.keys import Key
from dashboard.figures.marks import Drawing
from dashboard.figures.paper import PAPER_FORMATS, paper, write_paper

KINDS = {"svg": "image/svg+xml", "pdf": "application/pdf", "png": "image/png", "csv": "text/csv"}
_DEVICES = frozenset({"CON", "PRN", "AUX", "NUL", *(f"{port}{k}" for port in ("COM", "LPT") for k in range(10))})
"""Names that Windows keeps for itself, with any ending."""


@dataclass(frozen=True)
class Heading:
    """What stands above a figure: title, caption, and the keys of its marks."""

    title: str
    caption: str = ""
    keys: Sequence[Key] = field(default=())


def heading_of(module: ModuleType, data: Any, *, is_selected: bool = False) -> Heading:
    """Return what a figure's module says above it: ``TITLE`` or ``title(data)``, ``caption(data)``, keys.

    What is only for the page, where a mark can be tapped, is left out, and what is selected unless the drawing has it.
    """
    title = module.title(data) if hasattr(module, "title") else module.TITLE
    keys = module.keys(data) if hasattr(module, "keys") else getattr(module, "KEYS", ())
    caption = module.caption(data) if hasattr(module, "caption") else ""
    told = "; ".join(part for part in caption.split("; ") if not part.startswith("tap "))
    return Heading(str(title), told, tuple(key for key in keys if is_selected or not key.label.startswith("selected")))


def file_name(*parts: str, kind: str, is_simulated: bool = False) -> str:
    """Return a name that is a plain file everywhere: letters, digits, ``_``, ``-`` and ``.`` of at most 120.

    Of a simulated recording it begins with SIMULATED, where no length of the other parts cuts it off.
    """
    told = ("SIMULATED", *parts) if is_simulated else parts
    words = [re.sub(r"[^A-Za-z0-9.]+", "-", part).strip("-.") for part in told]
    name = "_".join(word for word in words if word)[:120].strip("-.") or "figure"
    return ("_" if name.partition(".")[0].upper() in _DEVICES else "") + f"{name}.{kind}"


def as_picture(
    drawing: Drawing,
    kind: str,
    *,
    width: int,
    height: int,
    footer: str,
    heading: Heading | None = None,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """Return a figure as svg, pdf or png, in light colours, with its provenance in a line below.

    ``heading`` is written above it; ``metadata`` is kept inside the file, see ``write_paper``.
    """
    if kind not in PAPER_FORMATS:
        raise ValueError(f"expected one of {', '.join(PAPER_FORMATS)}, got {kind!r}.")
    figure = paper(drawing, "light", width=width, height=height, footer=footer)
    if heading is not None:
        figure = with_heading(figure, heading.title, heading.caption, heading.keys, drawing.colours)
    with tempfile.TemporaryDirectory() as folder:
        return write_paper(figure, Path(folder) / f"figure.{kind}", metadata=metadata).read_bytes()
