import numpy as np
import pytest
import xarray as xr

from dashboard.figures import validation_stimuli


def found(n_maps: int = 3, regions: tuple[str, ...] = ("V4",), n: int = 2) -> xr.Dataset:
    rng = np.random.default_rng(0)
    z = np.stack([rng.uniform(2, 5, (n_maps, n)), np.full((n_maps, n), -0.5)], axis=1)
    z[:, 0] = -np.sort(-z[:, 0], axis=1)
    shown = np.array([[[f"{end}{i}-{k}" for k in range(n)] for end in "hl"] for i in range(n_maps)]).reshape(z.shape)
    names = np.resize(np.array(regions), n_maps)
    return xr.Dataset(
        {
            "shown": (("feature_map", "extreme", "place"), shown),
            "z": (("feature_map", "extreme", "place"), z),
            "n_least": ("feature_map", np.full(n_maps, 40)),
            "y": ("feature_map", np.full(n_maps, 1)),
            "x": ("feature_map", np.full(n_maps, 2)),
            "best": ("feature_map", np.linspace(0.1, 0.2, n_maps)),
            "best_site": ("feature_map", np.full(n_maps, "site3")),
            "threshold": ("feature_map", np.full(n_maps, 0.25)),
        },
        {
            "extreme": ["favourite", "least"],
            "map_region": ("feature_map", names),
            "map_layer": ("feature_map", np.full(n_maps, "fire3")),
            "channel": ("feature_map", np.arange(n_maps) * 7),
        },
        {"n_stimuli": 640},
    )


@pytest.fixture
def data():
    return validation_stimuli.data(found())


def test_the_table_is_what_an_experimenter_needs(data):
    assert len(data) == 3 * 4
    assert list(data.columns) == [
        *("region", "layer", "feature_map", "y", "x", "best_r", "best_site", "threshold"),
        *("kind", "place", "stimulus", "z", "n_least"),
    ]
    first = data.iloc[0]
    assert (first["feature_map"], first["kind"], first["place"], first["stimulus"]) == (14, "favourite", 1, "h2-0")


def test_favourites_and_least_are_drawn_in_the_row_of_their_map(data):
    drawing = validation_stimuli.describe(data)
    favourites, least = (drawing.marks_of(role).columns for role in ("Site", "Units"))
    assert favourites["y"].tolist() == [3, 3, 2, 2, 1, 1]
    assert (favourites["x"] > 0).all()
    assert least["y"].tolist() == [3, 2, 1]  # equal ones of a map are one dot
    assert drawing.marks_of("PointName").columns["text"].tolist() == ["h2-0", "h1-0", "h0-0"]
    assert [name for _, name in drawing.axes.yticks] == ["14", "7", "0"]


def test_a_row_tells_where_its_unit_is(data):
    hit = validation_stimuli.describe(data).marks_of("Hit").columns
    assert hit["key"].tolist() == [14, 7, 0]
    assert hit["told"][0] == "fire3, (1, 2), best r 0.20 with site3; lowest activation on 40 images"


def test_regions_are_named_where_there_are_two_and_one_can_be_chosen():
    both = validation_stimuli.data(found(4, ("IT", "V4")))
    assert [name for _, name in validation_stimuli.describe(both).axes.yticks] == ["V4 21", "IT 14", "V4 7", "IT 0"]
    assert set(validation_stimuli.data(found(4, ("IT", "V4")), "IT")["region"]) == {"IT"}


def test_the_caption_says_how_many_of_many_maps_are_drawn(data):
    many = validation_stimuli.data(found(50))
    assert len(many) == 200
    assert len(validation_stimuli.describe(many).axes.yticks) == 12
    told = "50 unvalidated maps of fire3, the first 12 drawn; 2 most and 2 least driving of 640 images"
    assert validation_stimuli.caption(many) == told
    assert validation_stimuli.caption(data).startswith("3 unvalidated maps of fire3; 2 most")


def test_where_every_map_is_validated_it_says_so():
    none = validation_stimuli.data(found().isel(feature_map=slice(0)))
    assert validation_stimuli.caption(none) == "every feature map of the layer is validated"
    assert validation_stimuli.describe(none).marks_of("Hit").is_empty
    assert len(validation_stimuli.keys(none)) == 2
