"""Which figures are there, what does each read of a run, and how is it made from one?

A figure is a line in ``FIGURES``: its name, which is that of its module in ``dashboard.figures``, and the groups of the
run that its ``data`` takes, in that order; "?" behind one that may be missing. Whatever else ``data`` and ``describe``
take by these names they get: ``region``, ``site``, ``regions`` (of the recording), ``network`` (token of its colour),
``n_units``, ``width``, ``height``. One that compares runs says how it is made of them.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import xarray as xr

from dashboard.runs import OpenRun
from dashboard.theme import CONTROL, network_token
from dashboard.views.frame import titles
from engine.analyses import networks, published
from engine.errors import RunNotFoundError, SettingsError
from engine.store import Run

if TYPE_CHECKING:
    from dashboard.figures.marks import Drawing


@dataclass(frozen=True)
class Asked:
    """What a figure is asked to show: a run, one of its regions and sites, and runs of other networks beside it."""

    run: OpenRun
    region: str
    site: str
    others: Sequence[OpenRun] = ()

    @property
    def runs(self) -> dict[str, OpenRun]:
        """All runs by a title of their own."""
        return titles([self.run, *self.others])

    @property
    def controls(self) -> list[str]:
        """Titles of the runs of untrained networks."""
        return [title for title, run in self.runs.items() if run.is_control]

    @property
    def tokens(self) -> dict[str, str]:
        """Colour of each run by its title: trained networks in order, grey for untrained ones."""
        trained = [title for title in self.runs if title not in self.controls]
        return {title: network_token(trained.index(title)) if title in trained else CONTROL for title in self.runs}

    def group(self, name: str) -> xr.Dataset | None:
        """Return a group of the run; chance as empty where nothing was shuffled; None for one that may be missing."""
        if name == "null":
            return self.run.null
        plain = name.removesuffix("?")
        return None if plain != name and not self.run.has(plain) else self.run.dataset(plain)


@dataclass(frozen=True)
class Figure:
    """One figure: its name, what it reads, its size in px, and what it needs besides."""

    name: str
    reads: tuple[str, ...]
    number: str = ""
    """In Arend et al. (2018)."""
    width: int = 540
    height: int = 300
    of_runs: Callable[[ModuleType, Asked], Any] | None = None
    """Makes the data where they come from several runs."""
    look: Callable[[Asked], Mapping[str, Any]] | None = None
    """More arguments for ``describe``."""
    n_others: int = 0
    """Least number of runs beside the first one."""
    n_regions: int = 1
    """Least number of regions that it shows at once."""
    drawn_by: str = ""
    """Its module, where that draws several figures."""

    @property
    def module(self) -> ModuleType:
        """Its module; loads the drawing libraries."""
        return import_module(f"dashboard.figures.{self.drawn_by or self.name}")

    @property
    def takes(self) -> set[str]:
        """Which of ``region`` and ``site`` it is about."""
        if self.of_runs is not None:
            return {"region"} if self.n_regions == 1 else set()
        return {"region", "site"} & set(inspect.signature(self.module.data).parameters)

    def data(self, asked: Asked) -> Any:
        """Return the figure's data."""
        if self.of_runs is not None:
            return self.of_runs(self.module, asked)
        chosen = {name: getattr(asked, name) for name in self.takes}
        return self.module.data(*map(asked.group, self.reads), **chosen)

    def describe(self, data: Any, asked: Asked) -> "Drawing":
        """Return the drawing of the figure's data."""
        run = asked.run
        told = {
            "regions": tuple(run.regions),
            "network": next(iter(asked.tokens.values())),
            "n_units": run.n_units,
            "width": self.width,
            "height": self.height,
            **(self.look(asked) if self.look else {}),
        }
        known = inspect.signature(self.module.describe).parameters
        return self.module.describe(data, **{name: value for name, value in told.items() if name in known})


def ask(
    run: Run, figure: Figure, *, region: str | None = None, site: str | None = None, others: Sequence[Run] = ()
) -> Asked:
    """Return what a figure is to show, once it is clear.

    Raises
    ------
    SettingsError
        If a region, site or other run must be named, or there is none of that name.
    RunNotFoundError
        If another run is of another recording.
    """
    _require_same_recording(run, figure, others)
    opened = OpenRun(run)
    return Asked(opened, _region(opened, figure, region, site), _site(opened, figure, site), [*map(OpenRun, others)])


def _require_same_recording(run: Run, figure: Figure, others: Sequence[Run]) -> None:
    if len(others) < figure.n_others:
        raise SettingsError(
            f"figure {figure.name!r} compares networks: name another run on {run.recording}, --with RUN."
        )
    if others and figure.of_runs is None:
        raise SettingsError(f"figure {figure.name!r} shows one run; leave out --with.")
    for other in others:
        if any(
            other.manifest["digests"].get(name) != run.manifest["digests"].get(name)
            for name in ("responses", "stimuli")
        ):
            raise RunNotFoundError(
                f"run {other.digest[:12]} is of recording {other.recording}, run {run.digest[:12]} of {run.recording}: "
                "networks are compared on one recording."
            )


def _data(run: Run) -> list[str | None]:
    return [run.manifest["digests"].get(name) for name in ("responses", "stimuli")]


def _region(run: OpenRun, figure: Figure, region: str | None, site: str | None) -> str:
    if len(run.regions) < figure.n_regions:
        raise SettingsError(f"figure {figure.name!r} compares two regions, and {run.recording} has one.")
    if region is not None and region not in run.regions:
        raise SettingsError(f"{run.recording} has no region {region!r}; it has {', '.join(run.regions)}.")
    if region is not None or len(run.regions) == 1 or "region" not in figure.takes:
        of_site = {name: one for one in run.regions for name in run.sites(one).index}
        return region or of_site.get(site or "", run.regions[0])
    raise SettingsError(
        f"figure {figure.name!r} shows one region, and {run.recording} has {', '.join(run.regions)}: "
        f"name it, --region {run.regions[0]}."
    )


def _site(run: OpenRun, figure: Figure, site: str | None) -> str:
    by_region = [list(run.sites(region).index) for region in run.regions]
    best = next(iter(by_region[0]), "")
    if "site" not in figure.takes:
        return best
    if site is None:
        raise SettingsError(f"figure {figure.name!r} shows one site: name it, --site {best} (the best match).")
    if not any(site in sites for sites in by_region):
        count = sum(map(len, by_region))
        raise SettingsError(f"{run.recording} has no site {site!r}; it has {count}, the best match is {best}.")
    return site


def _networks(module: ModuleType, asked: Asked) -> Any:
    correlations = {title: run.neural_correlation for title, run in asked.runs.items()}
    n_sites = len(asked.run.sites(asked.region))
    return module.data(correlations, asked.region, controls=asked.controls, n_sites=n_sites)


def _two_regions(module: ModuleType, asked: Asked) -> Any:
    first, second = asked.run.regions[:2]
    correlations = {title: run.neural_correlation for title, run in asked.runs.items()}
    return module.data(correlations, (first, second), controls=asked.controls)


def _site_by_site(module: ModuleType, asked: Asked) -> Any:
    first, second = list(asked.runs.items())[:2]
    matches = (run.dataset("matches") for _, run in (first, second))
    return module.data(*matches, asked.run.dataset("recording"), asked.region, names=(first[0], second[0]))


def _of_each(group: str) -> Callable[[ModuleType, Asked], Any]:
    """Make the data from one group of every run."""
    return lambda module, asked: module.data(_groups(asked, group), asked.region)


def _groups(asked: Asked, group: str) -> dict[str, xr.Dataset]:
    return {title: run.dataset(group) for title, run in asked.runs.items()}


def _layers_best(module: ModuleType, asked: Asked) -> Any:
    correlations = {title: run.neural_correlation for title, run in asked.runs.items()}
    return module.data(_groups(asked, "layer_summary"), correlations)


def _layers_depth(module: ModuleType, asked: Asked) -> Any:
    return module.data(_groups(asked, "layer_summary"), asked.run.dataset("recording"))


def _pool_size(module: ModuleType, asked: Asked) -> Any:
    return module.data(_groups(asked, "pool_size"), asked.region, controls=asked.controls)


def _comparison(module: ModuleType, asked: Asked) -> Any:
    (first, run), (second, other) = list(asked.runs.items())[:2]
    compared = run.dataset("comparison")
    if list(compared.attrs["runs"]) != [run.digest, other.digest]:
        raise SettingsError(
            f"run {run.digest[:12]} holds a comparison with {compared['network'].values[1]}, not with run "
            f"{other.digest[:12]}. Compute that one: unitscope analyse {run.digest[:12]} comparison --set "
            f"other={other.digest[:12]}"
        )
    return module.data(compared, asked.region, titles=(first, second), nulls=(run.null, other.null))


def _against(quantity: str) -> Callable[[ModuleType, Asked], Any]:
    """Make the data of a figure that draws networks against what is known of them."""
    return lambda module, asked: module.data(networks.gather(_stored(asked)), asked.region, against=quantity)


def _networks_table(module: ModuleType, asked: Asked) -> Any:
    runs = _stored(asked)
    return module.data(published.table_1(runs), networks.gather(runs))


def _stored(asked: Asked) -> list[Run]:
    return [run.stored for run in asked.runs.values()]


def _two_tokens(asked: Asked) -> Mapping[str, Any]:
    return {"tokens": tuple(asked.tokens.values())[:2]}


_LIST: Final = (
    # of one site
    Figure("responses", ("recording", "matches", "match_responses"), "2", 432, 416),
    Figure("layer_profile", ("layer_profile", "null", "recording"), "6, right, for one site", 660, 240),
    Figure("unit_distribution", ("unit_counts", "matches", "null", "recording", "layers"), "", 660, 240),
    Figure("runner_up_positions", ("matches", "layers", "recording"), "8, for one site", 320, 320),
    # of a region
    Figure("neural_correlation", ("neural_correlation",), "3, 4, S8", 940, 330, of_runs=_networks),
    Figure("v4_against_it", ("neural_correlation",), "3", 376, 376, of_runs=_two_regions, n_regions=2),
    Figure(
        "site_by_site",
        ("matches", "recording"),
        "",
        376,
        376,
        of_runs=_site_by_site,
        look=_two_tokens,
        n_others=1,
    ),
    Figure("comparison", ("comparison",), "", 376, 376, of_runs=_comparison, look=_two_tokens, n_others=1),
    Figure("layer_by_layer", ("layer_profile", "null", "recording"), "6, right", 660, 250),
    Figure("every_site", ("matches", "recording", "null", "reliability?"), "", 660, 250),
    Figure("site_rail", ("matches", "recording", "null", "reliability?"), "", 320, 300),
    Figure("runner_ups", ("matches", "recording", "null"), "7", 760, 670),
    Figure("intervals", ("intervals", "null"), "", 940, 300),
    Figure("significance", ("significance", "recording"), "", 660, 300),
    Figure("assignment", ("assignment", "null"), "", 940, 300),
    Figure("selection_curve", ("selection_curve",), "S1", 540, 300),
    Figure("selection_curve_stability", ("selection_curve",), "", 540, 240),
    Figure("stability", ("stability", "recording"), "", 660, 300),
    Figure("layers", ("layer_summary", "layers", "null", "recording"), "6, left", 660, 300),
    Figure("layers_median", ("layer_profile", "layer_summary", "recording"), "6, right", 660, 300),
    Figure("redundancy", ("matches", "recording", "null", "redundancy"), "7, S10", 760, 670),
    Figure("feature_maps", ("map_counts",), "8, S11", 660, 300),
    Figure("feature_maps_positions", ("map_counts",), "8, S11", 430, 430),
    Figure("validated_maps", ("validated_maps",), "S13, left", 660, 300),
    Figure("validated_maps_sites", ("validated_maps",), "S13, right", 660, 300),
    Figure("validation_stimuli", ("validation_stimuli",), "", 660, 300),
    Figure("site_correlations", ("site_correlations",), "S12", 520, 520),
    Figure("rotation", ("rotation", "recording", "null"), "9", 660, 320),
    Figure("linear_metric", ("linear_metric",), "S4, right", 540, 300),
    # of a region and one network or several
    Figure("layers_best", ("layer_summary", "neural_correlation"), "S8", 540, 300, of_runs=_layers_best),
    Figure("layers_depth", ("layer_summary", "recording"), "S7", 540, 650, of_runs=_layers_depth, n_others=1),
    Figure("pool_size", ("pool_size",), "", 660, 300, of_runs=_pool_size),
    Figure("linear_metric_networks", ("linear_metric",), "S4, left", 660, 300, of_runs=_of_each("linear_metric")),
    Figure("decoding", ("decoding",), "5", 660, 300, of_runs=_of_each("decoding")),
    Figure("decoding_confusions", ("decoding",), "S5", 940, 420, of_runs=_of_each("decoding")),
    Figure("decoding_similarity", ("decoding",), "S6", 660, 300, of_runs=_of_each("decoding")),
    *(
        Figure(
            name, ("neural_correlation",), number, 540, 330, of_runs=_against(against), n_others=1, drawn_by="networks"
        )
        for name, number, against in (
            ("networks_top1", "4", "top1"),
            ("networks_top5", "4", "top5"),
            ("networks_units", "S3", "units"),
            ("networks_parameters", "S3", "parameters"),
        )
    ),
    Figure("networks_table", ("neural_correlation",), "Table 1", 940, 420, of_runs=_networks_table),
    # of the stimuli
    Figure("gallery", ("recording", "thumbnails"), "1", 940, 150),
    Figure("responses_sites", ("recording", "matches", "match_responses"), "2", 660, 660),
)

FIGURES: Final[Mapping[str, Figure]] = {figure.name: figure for figure in _LIST}
"""Every figure by its name."""
