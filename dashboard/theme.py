"""What things look like: every colour and face of the page and its figures, in light and in dark.

The interface is ink on paper; colour means data only. Nothing else in the dashboard names a colour: figures and panels
name tokens, which are looked up here for the mode that is shown. The contrasts and the distances under colour-blind
sight that the palette was chosen for are checked by ``tests/dashboard/test_theme.py``.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, Literal

import numpy as np

Mode = Literal["light", "dark"]
MODES: Final[tuple[Mode, ...]] = ("light", "dark")

FONT: Final = "Roboto, system-ui, sans-serif"
"""Bundled with panel-material-ui in weights 400 and 700 only; browsers fake every other weight."""

TOKENS: Final[Mapping[str, Mapping[str, str]]] = {
    "light": {
        "bg": "#F7F8F9",
        "paper": "#FFFFFF",
        "ink": "#1A1F26",
        "text2": "#56606C",
        "text3": "#78828E",
        "line": "#E3E7EB",
        "grid": "#EDF0F2",
        "axis": "#AEB6BF",
        "band": "#EFF1F4",
        "band2": "#DDE1E7",
        "fill": "#F1F3F5",
        "hover": "#EDF0F3",
        "warn": "#9A6700",
        "err": "#B42318",
        "V4": "#B44109",
        "IT": "#184180",
        "network1": "#1C7554",
        "network2": "#8C52B1",
        "network3": "#B57C14",
        "control": "#7A838E",
    },
    "dark": {
        "bg": "#111417",
        "paper": "#181C20",
        "ink": "#E8EBEE",
        "text2": "#A6AFB9",
        "text3": "#7F8994",
        "line": "#2A3036",
        "grid": "#23282E",
        "axis": "#4C555F",
        "band": "#23292F",
        "band2": "#333B43",
        "fill": "#20252A",
        "hover": "#242A30",
        "warn": "#E0B04A",
        "err": "#F28B82",
        "V4": "#F47E4D",
        "IT": "#6289E1",
        "network1": "#78CCA5",
        "network2": "#C6AAF9",
        "network3": "#FBCD5D",
        "control": "#929BA5",
    },
}

REGION_TOKENS: Final = ("V4", "IT")
NETWORK_TOKENS: Final = ("network1", "network2", "network3")
CONTROL: Final = "control"

RAMP_STEPS: Final = 256
THRESHOLD_STEPS: Final = (50, 105, 160, 235)
"""Positions in a ramp of 256 that four thresholds take."""
_RAMP_ENDS: Final = {"light": 0.27, "dark": 0.94}
"""OKLab lightness of the deep tone: dark runs towards light."""


def region_token(region: str, regions: Sequence[str] = ()) -> str:
    """Return the name of the colour of a region and of everything measured in it.

    V4 and IT have their own. Any other region takes, in the order of ``regions`` (all regions of the recording), the
    first colour that neither V4, IT nor an earlier one has; alone it is coloured like V4.
    """
    if region in REGION_TOKENS:
        return region
    others = [name for name in dict.fromkeys(regions) if name not in REGION_TOKENS]
    free = [token for token in REGION_TOKENS if token not in regions] or [CONTROL]
    position = others.index(region) if region in others else 0
    return free[position] if position < len(free) else CONTROL


def network_token(position: int, *, is_control: bool = False) -> str:
    """Return the name of the colour of the network at ``position`` in the list; grey for a control and beyond three."""
    return CONTROL if is_control or position >= len(NETWORK_TOKENS) else NETWORK_TOKENS[position]


@lru_cache(maxsize=64)
def ramp(token: str, mode: Mode, steps: int = RAMP_STEPS) -> tuple[str, ...]:
    """Return the one-hue map of counts: from the paper over ``token`` to its deep tone.

    Lightness falls (in dark: rises) linearly in OKLab; the hue is the token's. Zero is not a colour of the ramp: a
    figure leaves it transparent, so that nothing looks like nothing.

    References
    ----------
    Ottosson (2020), "A perceptual color space for image processing" (OKLab).
    """
    paper, colour = (oklab(TOKENS[mode][name]) for name in ("paper", token))
    end = _RAMP_ENDS[mode]
    lightness = np.linspace(paper[0], end, steps)
    at_colour = (colour[0] - paper[0]) / (end - paper[0])
    share = np.interp(np.linspace(0, 1, steps), [0, at_colour, 1], [0, 1, 0.55])
    toward = np.interp(np.linspace(0, 1, steps), [0, at_colour, 1], [1, 0, 0])
    return tuple(
        _hex_within_gamut(level, *(toward_paper * paper[1:] + amount * colour[1:]))
        for level, amount, toward_paper in zip(lightness, share, toward, strict=True)
    )


def bokeh_theme(mode: Mode) -> dict:
    """Return the JSON of a Bokeh theme (``bokeh.themes.Theme(json=...)``) for the document and its panes.

    It names every model that panel-material-ui would otherwise repaint in the browser. Set it on the document before
    the page is built, and again after a HoloViews rendering.
    """
    t = TOKENS[mode]
    text = {"text_font": FONT, "text_font_style": "normal"}
    return {
        "attrs": {
            "Axis": {
                "axis_line_color": None,
                "major_tick_line_color": t["axis"],
                "major_tick_out": 4,
                "major_tick_in": 0,
                "minor_tick_line_color": None,
                "major_label_standoff": 6,
                "major_label_text_color": t["text2"],
                "major_label_text_font": FONT,
                "major_label_text_font_size": "11px",
                "axis_label_text_color": t["ink"],
                "axis_label_text_font": FONT,
                "axis_label_text_font_size": "12px",
                "axis_label_text_font_style": "normal",
                "axis_label_standoff": 8,
            },
            "Grid": {"grid_line_color": t["grid"], "grid_line_width": 1, "minor_grid_line_color": None},
            "Legend": {"background_fill_color": t["paper"], "border_line_color": None, "label_text_color": t["ink"]},
            "Title": {"text_color": t["ink"], **text, "text_font_size": "13px"},
            "BaseColorBar": {
                "background_fill_color": None,
                "border_line_color": None,
                "bar_line_color": None,
                "major_tick_line_color": None,
                "minor_tick_line_color": None,
                "major_label_text_color": t["text2"],
                "major_label_text_font": FONT,
                "major_label_text_font_size": "11px",
                "title_text_color": t["text2"],
            },
            "Label": {"text_color": t["text2"], **text, "text_font_size": "11px"},
            "Plot": _transparent(),
            "Figure": _transparent(),
        }
    }


def css_variables(mode: Mode) -> str:
    """Return the tokens as CSS custom properties, ``--us-ink: #1A1F26; ...``, for HTML panes and tooltips."""
    names = "".join(f"--us-{name}:{value};" for name, value in TOKENS[mode].items())
    return f"{names}--us-shadow:rgba(0,0,0,{'.12' if mode == 'light' else '.45'});--us-font:{FONT};"


def css_sheet() -> str:
    """Return one sheet with both modes: light on ``:root``, dark where the page, or a part of it, says so.

    panel-material-ui marks a dark page by ``data-theme="dark"``; the class ``us-dark`` does the same by hand.
    """
    dark = ':root[data-theme="dark"],[data-theme="dark"],.us-dark'
    return f":root,.us-light{{{css_variables('light')}}}\n{dark}{{{css_variables('dark')}}}\n{_TOOLTIP}"


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of two ``#rrggbb`` colours, 1 to 21 (WCAG 2.1, relative luminance)."""
    luminance = sorted(float(_linear(_rgb(colour)) @ [0.2126, 0.7152, 0.0722]) for colour in (first, second))
    return (luminance[1] + 0.05) / (luminance[0] + 0.05)


def oklab(colour: str) -> np.ndarray:
    """Return lightness (0 to 1), a and b of an ``#rrggbb`` colour."""
    return np.cbrt(_linear(_rgb(colour)) @ _RGB_TO_LMS.T) @ _LMS_TO_LAB.T


_RGB_TO_LMS: Final = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LMS_TO_LAB: Final = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
_LAB_TO_LMS: Final = np.linalg.inv(_LMS_TO_LAB)
_LMS_TO_RGB: Final = np.linalg.inv(_RGB_TO_LMS)

_TOOLTIP: Final = (
    ".bk-Tooltip{--tooltip-color:var(--us-paper)!important;--tooltip-text:var(--us-ink)!important;"
    "--tooltip-border:var(--us-line)!important;--tooltip-arrow-color:var(--us-paper)!important;"
    "--tooltip-arrow-inner-color:var(--us-paper)!important;opacity:1!important;border-radius:8px!important;"
    "padding:8px!important;font-family:var(--us-font)!important;font-size:12px!important;"
    "box-shadow:0 6px 20px var(--us-shadow)!important}"
)


def _transparent() -> dict:
    return {"background_fill_color": None, "border_fill_color": None, "outline_line_color": None}


def _rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def _linear(rgb: np.ndarray) -> np.ndarray:
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def _hex_within_gamut(lightness: float, a: float, b: float) -> str:
    """Keep lightness and hue, and give up as much chroma as sRGB asks for."""
    for chroma in np.linspace(1, 0, 101):
        linear = ((np.array([lightness, a * chroma, b * chroma]) @ _LAB_TO_LMS.T) ** 3) @ _LMS_TO_RGB.T
        if (linear >= -1e-4).all() and (linear <= 1 + 1e-4).all():
            break
    linear = linear.clip(0, 1)
    rgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return "#{:02X}{:02X}{:02X}".format(*np.rint(rgb * 255).astype(int))
