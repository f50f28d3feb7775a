import numpy as np
import pytest

from dashboard.figures import gallery
from dashboard.figures.drawing import Shown, paper


@pytest.fixture
def named(run_datasets):
    stimuli = run_datasets["recording"]["stimulus"].values
    category = np.array([("cars", "faces", "boats")[i % 3] for i in range(len(stimuli))], dtype=object)
    return run_datasets["recording"].assign_coords(category=("stimulus", category)), run_datasets["thumbnails"]


def test_every_category_has_one_of_its_own_images_drawn_with_the_seed(named):
    data = gallery.data(*named)
    assert list(data["category"]) == ["boats", "cars", "faces"]
    category = named[0]["category"].to_series()
    assert [category[name] for name in data["stimulus"]] == ["boats", "cars", "faces"]
    turned = named[0].isel(stimulus=slice(None, None, -1))
    assert list(gallery.data(turned, named[1])["stimulus"]) == list(data["stimulus"])
    assert any(list(gallery.data(*named, seed=s)["stimulus"]) != list(data["stimulus"]) for s in (1, 2))
    assert gallery.caption(data) == "3 categories, 120 images, drawn with seed 0, shown in grey"


def test_pictures_keep_their_order_of_lightness_and_stand_upright(named):
    data = gallery.data(*named)
    pixels = data.attrs["pixels"][1]
    expected = named[1]["pixels"].sel(stimulus=data["stimulus"][1]).values[..., 0]
    np.testing.assert_array_equal(pixels, expected)
    strip = gallery.describe(data).marks_of("Counts").columns["image"]
    height, width = pixels.shape
    shown = strip[::-1][:, width + 1 : 2 * width + 1]
    order = np.argsort(pixels.ravel(), kind="stable")
    assert (np.diff(shown.ravel()[order]) <= 1e-12).all()
    assert strip.shape[0] == height


def test_colours_become_grey(named):
    colour = np.zeros((1, 2, 2, 3), np.uint8)
    colour[..., 1] = 100
    assert gallery._gray(colour)[0, 0, 0] == 72


def test_a_tap_gives_the_image_and_the_selected_one_is_framed(named):
    data = gallery.data(*named)
    drawing = gallery.describe(data, stimulus=data["stimulus"][2])
    assert Shown(drawing, width=600).key_at(1.5, 0.5) == data["stimulus"][1]
    assert len(drawing.marks_of("RowFrame").columns["left"]) == 1
    assert paper(drawing, width=940).axes


def test_without_categories_it_says_so(run_datasets):
    data = gallery.data(run_datasets["recording"], run_datasets["thumbnails"])
    assert data.empty
    assert gallery.caption(data) == "this recording names no categories of its images"
    assert paper(gallery.describe(data)).axes
