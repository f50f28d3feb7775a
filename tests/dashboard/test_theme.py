import re

import numpy as np
import pytest
from bokeh.themes import Theme

from dashboard.theme import (
    MODES,
    RAMP_STEPS,
    TOKENS,
    bokeh_theme,
    contrast,
    css_sheet,
    css_variables,
    network_token,
    oklab,
    ramp,
    region_token,
)

DATA = ("V4", "IT", "network1", "network2", "network3")

# Machado, Oliveira & Fernandes (2009), severity 1, on linear RGB.
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def seen(colour: str, sight: str) -> np.ndarray:
    """OKLab of a colour as somebody with this sight sees it."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = (BLINDNESS[sight] @ linear).clip(0, 1)
    rgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return oklab("#{:02X}{:02X}{:02X}".format(*np.rint(rgb * 255).astype(int)))


def test_both_modes_have_the_same_tokens():
    assert list(TOKENS["light"]) == list(TOKENS["dark"])
    assert all(re.fullmatch("#[0-9A-F]{6}", value) for mode in MODES for value in TOKENS[mode].values())


def test_contrast_is_that_of_wcag():
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ground", ["paper", "bg", "fill", "hover"])
@pytest.mark.parametrize("text", ["ink", "text2", "warn", "err"])
def test_text_reads_on_every_ground(mode, ground, text):
    least = 4.5 if ground in ("paper", "bg") or text in ("ink", "text2") else 4.2
    assert contrast(TOKENS[mode][text], TOKENS[mode][ground]) >= least


@pytest.mark.parametrize("mode", MODES)
def test_region_and_network_colours_have_five_to_one_on_paper_and_network3_enough_for_marks(mode):
    against_paper = {name: contrast(TOKENS[mode][name], TOKENS[mode]["paper"]) for name in DATA}
    least = {"network3": 3.5} if mode == "light" else {}
    assert {name: value for name, value in against_paper.items() if value < least.get(name, 5)} == {}


def test_icons_in_light_have_the_contrast_of_graphics():
    assert contrast(TOKENS["light"]["text3"], TOKENS["light"]["paper"]) == pytest.approx(3.9, abs=0.05)


@pytest.mark.parametrize(("mode", "least"), [("light", 0.095), ("dark", 0.104)])
@pytest.mark.parametrize("sight", BLINDNESS)
def test_six_data_colours_lie_apart_under_every_sight(mode, least, sight):
    lab = [seen(TOKENS[mode][name], sight) for name in (*DATA, "control")]
    distances = [np.linalg.norm(a - b) for i, a in enumerate(lab) for b in lab[:i]]
    assert min(distances) >= least - 0.002


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("token", [*DATA, "control"])
def test_lightness_of_the_ramp_is_linear_in_oklab_and_starts_at_the_paper(mode, token):
    colours = ramp(token, mode)
    lightness = np.array([oklab(colour)[0] for colour in colours])
    assert len(colours) == RAMP_STEPS
    assert colours[0] == TOKENS[mode]["paper"]
    np.testing.assert_allclose(lightness, np.linspace(lightness[0], lightness[-1], RAMP_STEPS), atol=4e-3)
    assert (lightness[-1] < lightness[0]) == (mode == "light")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("token", DATA)
def test_the_ramp_passes_through_its_colour(mode, token):
    nearest = min(np.linalg.norm(oklab(colour) - oklab(TOKENS[mode][token])) for colour in ramp(token, mode))
    assert nearest < 0.01


def test_regions_keep_their_colours_and_others_take_what_is_free():
    assert region_token("V4") == "V4"
    assert region_token("IT") == "IT"
    assert region_token("unknown") == "V4"
    assert region_token("V1", ["V4", "V1"]) == "IT"
    assert [region_token(name, ["A", "B", "C"]) for name in "ABC"] == ["V4", "IT", "control"]


def test_networks_take_colours_in_order_and_controls_are_grey():
    assert [network_token(i) for i in range(5)] == ["network1", "network2", "network3", "control", "control"]
    assert network_token(0, is_control=True) == "control"


@pytest.mark.parametrize("mode", MODES)
def test_bokeh_takes_the_theme(mode):
    Theme(json=bokeh_theme(mode))
    assert {"Axis", "Grid", "Legend", "Title", "BaseColorBar", "Figure", "Plot", "Label"} == set(
        bokeh_theme(mode)["attrs"]
    )


def test_css_names_every_token_in_both_modes():
    assert "--us-ink:#1A1F26;" in css_variables("light")
    assert all(f"--us-{name}:{value};" in css_sheet() for mode in MODES for name, value in TOKENS[mode].items())
