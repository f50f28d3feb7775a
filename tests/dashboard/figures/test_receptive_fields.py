import numpy as np
import pytest
import xarray as xr

from dashboard.figures import receptive_fields, receptive_fields_alignment

N_SITES, CELLS, SIZE = 16, 20, 8.0
NAMES = [f"site{k:02d}" for k in range(N_SITES)]
REGION = np.array(["V4"] * 15 + ["IT"])


def analysis(alignment=""):
    """What the analysis ``receptive_fields`` stores: 16 sites on a diagonal, the first without a match."""
    y, x = (0.5 - (np.arange(CELLS) + 0.5) / CELLS) * SIZE, ((np.arange(CELLS) + 0.5) / CELLS - 0.5) * SIZE
    at = np.linspace(-2, 2, N_SITES)
    far = (y[:, None] - at[:, None, None]) ** 2 + (x - at[:, None, None]) ** 2
    rms = np.stack([np.exp(-far / 2)] * 2)
    rms[:, 0] = np.nan
    starts = ("start", "site")
    variables = dict.fromkeys(("rms", "gradient"), ((*starts, "field_y", "field_x"), rms))
    centre = np.stack([np.where(np.arange(N_SITES) == 0, np.nan, at)] * 2)
    variables |= dict.fromkeys(("centroid_y", "centroid_x"), (starts, centre))
    variables |= {name: (starts, np.full((2, N_SITES), sd)) for name, sd in (("sd_major", 1.0), ("sd_minor", 0.5))}
    variables |= {"angle": (starts, np.full((2, N_SITES), 0.3)), "live": (starts, np.full((2, N_SITES), 9))}
    box = {"top": at + 2, "bottom": at - 2, "left": at - 2, "right": at + 2}
    variables |= {f"box_{side}": ("site", value) for side, value in box.items()}
    variables |= {"layer": ("site", ["conv1"] * N_SITES), "n_starts": ("start", [64, 16])}
    coords = {"start": ["noise", "driving images"], "site": NAMES, "field_y": y, "field_x": x, "region": ["IT", "V4"]}
    if not alignment:
        variables |= {"density": (("site", "field_y", "field_x"), np.exp(-far / 2 / 1.5**2))}
        own = {"distance": 0.3, "energy_inside": 0.8, "distance_p": 0.1, "energy_p": 0.1}
        variables |= {name: (starts, np.where(np.isnan(centre), np.nan, value)) for name, value in own.items()}
        of_region = {"mean_distance": 0.3, "random_distance": 1.9, "mean_distance_p": 0.0005, "mean_energy": 0.8}
        of_region |= {"random_energy": 0.25, "mean_energy_p": 0.0005, "n_aligned": 14}
        variables |= {name: (("start", "region"), np.full((2, 2), value)) for name, value in of_region.items()}
    found = xr.Dataset(variables, coords, {"unit_of_length": "degrees", "alignment": alignment})
    recording = xr.Dataset(coords={"site": NAMES, "region": ("site", REGION)})
    r = np.linspace(0.2, 0.8, N_SITES)
    r[0] = np.nan
    matches = xr.Dataset({"correlation": (("site", "rank"), r[:, None])}, {"site": NAMES})
    return found, matches, recording


@pytest.fixture(scope="module")
def data():
    return receptive_fields.data(*analysis(), "V4")


def test_rows_are_cells_of_the_best_sites(data):
    assert data.attrs["sites"][0]["site"] == "site14"
    assert len(data) == 13 * CELLS**2
    assert data.attrs["n_sites"] == 14
    assert (data.attrs["height"], data.attrs["width"]) == (pytest.approx(8), pytest.approx(8))
    row = data[(data["site"] == "site05") & np.isclose(data["y"], 0.2) & np.isclose(data["x"], -1.0)]
    found = analysis()[0]["rms"].sel(start="noise", site="site05")
    found = found.sel(field_y=0.2, field_x=-1.0, method="nearest")
    assert row["rms"].item() == pytest.approx(float(found))


def test_the_selected_site_is_large_and_twelve_others_small(data):
    drawing = receptive_fields.describe(data, site="site10")
    hit = drawing.marks_of("Hit").columns
    sides = hit["right"] - hit["left"]
    assert hit["key"][sides.argmax()] == "site10"
    assert len(hit["key"]) == 13
    assert drawing.marks_of("NoteInk").columns["text"][0].startswith("site10 · conv1, r 0.60\n9 of 16 starts live")


def test_every_tile_shows_its_site_where_the_lines_are(data):
    drawing = receptive_fields.describe(data)
    large = drawing.marks[0].columns
    row, column = np.unravel_index(np.nanargmax(large["image"]), large["image"].shape)
    left, bottom, right, top = large["bounds"]
    peak = left + (column + 0.5) / CELLS * (right - left), bottom + (row + 0.5) / CELLS * (top - bottom)
    ellipse, hit = drawing.marks_of("Slope").columns, drawing.marks_of("Hit").columns
    rings = np.split(np.stack([ellipse["x"], ellipse["y"]]), np.flatnonzero(np.isnan(ellipse["x"])), axis=1)
    middles = [np.nanmean(ring, axis=1) for ring in rings[:-1]]
    number = int((hit["right"] - hit["left"]).argmax())
    assert middles[number] == pytest.approx(peak, abs=0.15)
    for middle, *edges in zip(middles, *(hit[side] for side in ("left", "bottom", "right", "top")), strict=True):
        assert edges[0] < middle[0] < edges[2]
        assert edges[1] < middle[1] < edges[3]
    mosaic = drawing.marks[1].columns
    assert mosaic["image"].shape[1] / mosaic["image"].shape[0] == pytest.approx(
        (mosaic["bounds"][2] - mosaic["bounds"][0]) / (mosaic["bounds"][3] - mosaic["bounds"][1]), rel=0.02
    )


def test_contours_of_the_sites_are_there_only_with_maps(data):
    assert len(receptive_fields.describe(data).marks_of("MatchLine").columns["x0"]) > 100
    why = "not available: no maps"
    without = receptive_fields.data(*analysis(why), "V4")
    assert receptive_fields.describe(without).marks_of("MatchLine").is_empty
    assert "field of the site" not in [key.label for key in receptive_fields.keys(without)]
    assert receptive_fields.caption(without).endswith("; fields of the sites not available")


def test_the_caption_says_how_many_and_at_which_starts(data):
    assert receptive_fields.caption(data) == (
        "13 of 14 V4 sites with a match; gradients over 16 driving images; tiles 8° wide"
    )
    noise = receptive_fields.data(*analysis(), "V4", start="noise")
    assert "over 64 noise images" in receptive_fields.caption(noise)


def test_sites_are_drawn_against_random_pairs():
    found, _, recording = analysis()
    data = receptive_fields_alignment.data(found, recording, "V4")
    assert len(data) == data.attrs["n_aligned"] == 14
    drawing = receptive_fields_alignment.describe(data, site="site05")
    lines = drawing.marks_of("ChanceEdge").columns
    assert (lines["x0"][0], lines["y0"][1]) == (0.25, 1.9)
    assert drawing.marks_of("Selection").columns["y"].tolist() == [0.3]
    assert drawing.marks_of("NoteRight").columns["text"][0] == (
        "distance 0.3°, random pairs 1.9°, p = 0.0005\ninside 80%, random pairs 25%, p = 0.0005"
    )
    assert receptive_fields_alignment.caption(data) == "14 V4 sites with both fields; gradients over 16 driving images"


def test_without_maps_the_alignment_says_what_is_missing():
    found, _, recording = analysis("not available: no maps")
    data = receptive_fields_alignment.data(found, recording, "V4")
    assert receptive_fields_alignment.caption(data) == "alignment not available: no maps"
    drawing = receptive_fields_alignment.describe(data)
    assert drawing.marks_of("Note").columns["text"][0] == "alignment not available: no maps"
    assert drawing.marks_of("Site").is_empty
