"""Do the sites together carry what the units do? Decoding, correlations among sites, rotations, linear metrics."""

from collections.abc import Mapping

import numpy as np

from dashboard.figures import linear_metric
from dashboard.figures.wording import fixed, plural, signed, thousands
from dashboard.results import Chosen
from dashboard.views.card import Card, Look
from dashboard.views.figure_card import FigureCard
from dashboard.views.headers import folds_note, stat, title_line
from dashboard.views.markup import Markup, tag
from dashboard.views.page import Page, page_of, panel, section

NOT_COMPUTED = "not computed yet"
CONDITIONS = {"within": "within", "to_neural": "learned on units, tested on sites", "from_neural": "the reverse"}
POPULATIONS = {"neural": "sites", "matched": "matched units"}


class PopulationPage(Page):
    """The page of figures 5, S5, S6, S12, 9 and S4."""

    name = "population"
    layout = page_of(
        "population",
        tag("div", panel("decoding"), panel("rotation"), class_="row halves"),
        tag("div", panel("linear_metric_layer"), panel("assignment"), class_="row halves"),
        section("What is confused with what"),
        tag("div", panel("decoding_confusions"), panel("decoding_similarity"), class_="row pop-1"),
        section("Sites among themselves, and units combined linearly"),
        tag("div", panel("site_correlations_clustered"), panel("linear_metric_networks"), class_="row square-half"),
    )

    def make_cards(self) -> list[Card]:
        """Decoding, bases, metrics and one-to-one matches; then confusions, and correlations among sites."""
        to_site, to_network = self.chooser("site"), self.choose_network
        return [
            FigureCard("decoding", self.results),
            FigureCard("rotation", self.results),
            FigureCard("linear_metric_layer", self.results, on_tap=to_site),
            FigureCard("assignment", self.results, on_tap=to_site, width=660),
            FigureCard("decoding_confusions", self.results, width=860),
            FigureCard("decoding_similarity", self.results, on_tap=to_network, width=480),
            FigureCard("site_correlations_clustered", self.results, on_tap=to_site),
            FigureCard("linear_metric_networks", self.results, on_tap=to_network),
        ]

    def areas(self, chosen: Chosen, look: Look) -> Mapping[str, object]:
        """Header line."""
        return {"header": header(chosen)}


def header(chosen: Chosen) -> Markup:
    """Return the header line: the neural correlation, and beside it what populations reach."""
    run, region = chosen.run, chosen.region
    whole = run.neural_correlation.sel(region=region, layer="")
    return tag(
        "header",
        title_line("Population", chosen),
        stat("r, median of single units", fixed(float(whole["correlation"])), "all images", kind="strong"),
        stat("held-out r", fixed(float(whole["held_out"])), folds_note(run), kind="strong"),
        decoded(chosen),
        rotated(chosen),
        combined(chosen),
        class_="header",
    )


def decoded(chosen: Chosen) -> Markup:
    """Return the best share of images decoded, with units and classifier chosen on other images than are tested."""
    label = "best decoding, disjoint images"
    if not chosen.run.has("decoding"):
        return stat(label, "n/a", NOT_COMPUTED)
    found = chosen.run.dataset("decoding")
    one = found.sel(region=chosen.region, images="disjoint", population=list(POPULATIONS))
    values = one["mean_accuracy"].transpose("condition", "population")
    if not np.isfinite(values.values).any():
        status = str(one["region_status"].values)
        return stat(label, "n/a", status if status != "ok" else "not known")
    condition, population = np.unravel_index(int(np.nanargmax(values.values)), values.shape)
    who = POPULATIONS[str(values["population"].values[population])]
    how = CONDITIONS[str(values["condition"].values[condition])]
    told = [f"chance {fixed(float(found.attrs['chance']), 3)}", f"{who} {how}" if how == "within" else how]
    note = f"{'; '.join(told)}, n = {thousands(int(one['n_stimuli']))}"
    return stat(label, fixed(float(values.values[condition, population])), note)


def rotated(chosen: Chosen) -> Markup:
    """Return how much of the held-out r is left once the channels of the layer are mixed at random."""
    label = "rotated / natural, held-out"
    if not chosen.run.has("rotation"):
        return stat(label, "n/a", NOT_COMPUTED)
    one = chosen.run.dataset("rotation").sel(region=chosen.region)
    natural = float(one["median_natural_held_out"])
    mixed = float(one["mean_held_out"].sel(scaling="raw"))
    if not natural > 0:
        return stat(label, "n/a", f"natural {fixed(natural)}")
    return stat(label, fixed(mixed / natural), f"{fixed(mixed)} of {fixed(natural)}, {one['layer'].item()}")


def combined(chosen: Chosen) -> Markup:
    """Return by how much single units stay above or below all units of the layer, combined linearly, held out."""
    label = "single less linear, held-out"
    if not chosen.run.has("linear_metric"):
        return stat(label, "n/a", NOT_COMPUTED)
    table = linear_metric.data(chosen.run.dataset("linear_metric"), chosen.region, comparison="layer")
    if not len(table):
        return stat(label, "n/a", table.attrs["status"])
    sites = plural(len(table), "site")
    return stat(
        label, signed(float(table["difference"].median()), 2), f"higher at {table.attrs['n_single_higher']} of {sites}"
    )
