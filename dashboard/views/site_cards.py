"""Which figures does the page of a site hold? Each as a card, for one site or for two side by side."""

from collections.abc import Callable
from typing import Any

from dashboard.figures import layer_profile, responses, site_rail, unit_distribution
from dashboard.results import Chosen
from dashboard.views.card import Card, Look

Choose = Callable[..., None]
_SMALL_NOTE_WIDTH = 0.5
"""Room for the note on the slope where two scatters share a window, a share of the frame."""


def rail(choose: Choose) -> Card:
    """Return the rail of all sites."""
    return Card(
        "rail",
        site_rail,
        lambda c, _: site_rail.data(
            c.run.dataset("matches"),
            c.run.dataset("recording"),
            c.run.null,
            c.run.dataset("reliability") if c.run.has("reliability") else None,
            region=c.region,
        ),
        lambda d, c, _: site_rail.describe(d, site=c.site, beside=c.beside_site, regions=c.run.regions),
        depends=("region",),
        marks=("site", "beside_site"),
        on_tap=lambda site: choose(site=str(site)),
        width=site_rail.WIDTH_PX,
        is_stretched=False,
    )


def scatter(choose: Choose) -> Card:
    """Return the scatter of responses."""
    return Card(
        "responses",
        responses,
        scatter_data,
        scatter_drawing,
        depends=("site", "rank"),
        marks=("shown_stimulus",),
        on_tap=lambda stimulus: choose(stimulus=str(stimulus)),
        width=432,
        height=416,
    )


def scatter_data(chosen: Chosen, look: Look) -> Any:
    """Return the data of the scatter."""
    run = chosen.run
    return responses.data(
        run.dataset("recording"),
        run.dataset("matches"),
        run.dataset("match_responses"),
        chosen.site,
        rank=chosen.rank,
        n_favourites=look.n_favourites,
    )


def scatter_drawing(data: Any, chosen: Chosen, look: Look, limits: tuple[float, float] | None = None) -> Any:
    """Return the drawing of the scatter; with ``limits`` it is a small one of two."""
    width = responses.NOTE_WIDTH if limits is None else _SMALL_NOTE_WIDTH
    return responses.describe(
        data,
        stimulus=chosen.shown_stimulus,
        thumb_base=f"img/{chosen.run.digest}",
        network=look.colours["network"],
        regions=chosen.run.regions,
        limits=limits,
        note_width=width,
    )


def layers(choose: Choose) -> Card:
    """Return the profile over layers."""
    return Card(
        "layers",
        layer_profile,
        profile_data,
        lambda d, c, _: layer_profile.describe(d, layer=c.shown_layer, regions=c.run.regions),
        depends=("site",),
        marks=("shown_layer",),
        on_tap=lambda layer: choose(layer=str(layer)),
        height=190,
    )


def profile_data(chosen: Chosen, look: Look) -> Any:
    """Return the data of the profile."""
    run = chosen.run
    return layer_profile.data(run.dataset("layer_profile"), run.null, run.dataset("recording"), chosen.site)


def units() -> Card:
    """Return the histogram of all units."""
    return Card(
        "units",
        unit_distribution,
        lambda c, _: unit_distribution.data(
            c.run.dataset("unit_counts"),
            c.run.dataset("matches"),
            c.run.null,
            c.run.dataset("recording"),
            c.run.dataset("layers"),
            c.site,
            rank=c.rank,
        ),
        lambda d, c, look: unit_distribution.describe(d, network=look.colours["network"], regions=c.run.regions),
        depends=("site", "rank"),
        height=190,
    )
