"""Which figures are there, what does each read of a run, and how is it made from one?

A figure is a line in ``FIGURES``: its name, which is that of its module in ``dashboard.figures``, and the groups of the
run that its ``data`` takes, in that order: "x?" for one that may be missing, "x*" for those of all runs that are
compared, by their titles, "x@" for an analysis of single sites, that of the site that is shown. Whatever else ``data``
and ``describe`` take by these names they get: ``region``, ``only_region`` (the one that was named, or None), ``site``;
``regions`` of the recording, ``n_sites`` of the region, ``n_units``; ``network``, ``tokens`` (colours) and ``controls``
(titles of untrained networks) of the runs; ``width``, ``height``.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from dashboard.runs import OpenRun
from dashboard.theme import CONTROL, network_token
from dashboard.views.footer import titles
from engine.analyses import networks, published
from engine.errors import RunNotFoundError, SettingsError
from engine.store import Run

if TYPE_CHECKING:
    from dashboard.figures.marks import Drawing

SELECTED: Final = frozenset({"site", "layer", "rank", "channel", "stimulus", "selected"})
"""What a figure may mark as selected; ``selected`` is the title of a network."""


@dataclass(frozen=True)
class Asked:
    """What a figure is asked to show: a run, one of its regions and sites, and runs of other networks beside it."""

    run: OpenRun
    region: str
    site: str
    others: Sequence[OpenRun] = ()
    only_region: str | None = None
    """The region that was named, if one was."""
    stored: Sequence[Run] = ()
    """The same runs as the store gives them, for what the engine puts together from several."""
    order: Sequence[OpenRun] = ()
    """The same runs in the order of the page, where that is not the first one before the others."""
    colours: Mapping[str, str] = field(default_factory=dict)
    """Colours of the runs by digest, where they have some already."""

    @property
    def runs(self) -> dict[str, OpenRun]:
        """All runs by a title of their own."""
        return titles(self.order or [self.run, *self.others])

    @property
    def title(self) -> str:
        """Title of the run that was asked for."""
        return next(title for title, run in self.runs.items() if run is self.run)

    @property
    def controls(self) -> list[str]:
        """Titles of the runs of untrained networks."""
        return [title for title, run in self.runs.items() if run.is_control]

    @property
    def tokens(self) -> dict[str, str]:
        """Colour of each run by its title: trained networks in order, grey for untrained ones."""
        return {title: self.colours.get(run.digest, self.in_order[title]) for title, run in self.runs.items()}

    @property
    def in_order(self) -> dict[str, str]:
        """The colours that figures of several networks give them by themselves: trained ones in order."""
        trained = [title for title in self.runs if title not in self.controls]
        return {title: network_token(trained.index(title)) if title in trained else CONTROL for title in self.runs}

    def lacks(self, figure: "Figure") -> str:
        """Say what the figure needs that no analysis of the run would give; empty where it needs nothing."""
        if len(self.others) < figure.n_others:
            return f"It compares networks: match another one against {self.run.recording}."
        if len(self.run.regions) < figure.n_regions:
            return f"It compares two regions: {self.run.recording} has {self.region} alone."
        return ""

    def group(self, name: str) -> Any:
        """Return a group as ``Figure.reads`` names it: a dataset, None, or datasets by title."""
        plain = plain_name(name)
        if name.endswith("*"):
            return {title: run.dataset(plain) for title, run in self.runs.items()}
        if plain == "null":
            return self.run.null
        if name.endswith("@"):
            return self.run.dataset(self.run.group_of(plain, self.site))
        return None if name.endswith("?") and not self.run.has(plain) else self.run.dataset(plain)

    @property
    def told(self) -> dict[str, Any]:
        """What figures may ask for by name, see above."""
        tokens = self.tokens
        return {
            "region": self.region,
            "only_region": self.only_region,
            "site": self.site,
            "regions": tuple(self.run.regions),
            "n_sites": len(self.run.sites(self.region)),
            "n_units": self.run.n_units,
            "network": tokens[self.title],
            "tokens": (*tokens.values(), network_token(1))[:2],
            "controls": self.controls,
        }


@dataclass(frozen=True)
class Figure:
    """One figure: its name, what it reads, its size in px, and what it needs besides."""

    name: str
    reads: tuple[str, ...]
    number: str = ""
    """In Arend et al. (2018)."""
    width: int = 540
    height: int = 300
    options: Mapping[str, Any] = field(default_factory=dict)
    """More arguments, fixed ones, for ``data`` or ``describe``."""
    of: str = ""
    """Name of its module, where that is another one."""
    make: Callable[[ModuleType, Asked], Any] | None = None
    """Makes the data where they are no plain groups."""
    n_others: int = 0
    """Least number of runs beside the first one."""
    n_regions: int = 1
    """Least number of regions that it shows at once."""

    @property
    def module(self) -> ModuleType:
        """Its module; loads the drawing libraries."""
        return import_module(f"dashboard.figures.{self.of or self.name}")

    @property
    def takes(self) -> set[str]:
        """Which of ``region`` and ``site`` it is about."""
        if self.make is not None:
            return {"region"} if self.n_regions == 1 else set()
        return {"region", "site"} & set(inspect.signature(self.module.data).parameters)

    @property
    def compares(self) -> bool:
        """Whether it shows several runs."""
        return self.make is not None or any(name.endswith("*") for name in self.reads)

    def data(self, asked: Asked) -> Any:
        """Return the figure's data."""
        if self.make is not None:
            return self.make(self.module, asked)
        return self.module.data(*map(asked.group, self.reads), **self._known(self.module.data, asked))

    def describe(self, data: Any, asked: Asked, selected: Mapping[str, Any] = MappingProxyType({})) -> "Drawing":
        """Return the drawing of the figure's data; ``selected`` are its marks: nothing is selected on paper."""
        told = {name: value for name, value in self._known(self.module.describe, asked).items() if name != "site"}
        return self.module.describe(data, **told | {k: v for k, v in selected.items() if k in self.marks})

    @property
    def marks(self) -> frozenset[str]:
        """Which of the selection it marks: ``site``, ``layer``, ``rank``, ``channel``, ``stimulus``, ``selected``."""
        return SELECTED & set(inspect.signature(self.module.describe).parameters)

    @property
    def groups(self) -> list[str]:
        """The groups that a run must hold for it."""
        return [plain_name(name) for name in self.reads if not name.endswith("?") and plain_name(name) != "null"]

    def _known(self, function: Callable, asked: Asked) -> dict[str, Any]:
        told = {**asked.told, "width": self.width, "height": self.height, **self.options}
        return {name: told[name] for name in inspect.signature(function).parameters if name in told}


def plain_name(name: str) -> str:
    """Return the group that an entry of ``Figure.reads`` names."""
    return name.rstrip("?*@")


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
    _require_comparable(run, figure, others)
    opened = OpenRun(run)
    shown, best = _region(opened, figure, region, site), _site(opened, figure, site)
    return Asked(opened, shown, best, [*map(OpenRun, others)], region, [run, *others])


def _require_comparable(run: Run, figure: Figure, others: Sequence[Run]) -> None:
    if len(others) < figure.n_others:
        raise SettingsError(
            f"figure {figure.name!r} compares networks: name another run on {run.recording}, --with RUN."
        )
    if others and not figure.compares:
        raise SettingsError(f"figure {figure.name!r} shows one run; leave out --with.")
    require_same_recording(run, others)


def require_same_recording(run: Run, others: Sequence[Run]) -> None:
    """Refuse runs of another recording, and one that is named twice.

    Raises
    ------
    RunNotFoundError
        If another run has other responses or stimuli.
    SettingsError
        If a run comes twice.
    """
    for other in others:
        if any(
            other.manifest["digests"].get(name) != run.manifest["digests"].get(name)
            for name in ("responses", "stimuli")
        ):
            raise RunNotFoundError(
                f"run {other.digest[:12]} is of recording {other.recording}, run {run.digest[:12]} of {run.recording}: "
                "networks are compared on one recording."
            )
    digests = [one.digest for one in (run, *others)]
    twice = next((other for other in others if digests.count(other.digest) > 1), None)
    if twice is not None:
        raise SettingsError(
            f"run {twice.digest[:12]} ({twice.network}@{twice.recording}) comes twice: name each run once, and with "
            "--with only others."
        )


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


def _two_regions(module: ModuleType, asked: Asked) -> Any:
    first, second = asked.run.regions[:2]
    return module.data(asked.group("neural_correlation*"), (first, second), controls=asked.controls)


def _site_by_site(module: ModuleType, asked: Asked) -> Any:
    (first, one), (second, other) = list(asked.group("matches*").items())[:2]
    return module.data(one, other, asked.group("recording"), asked.region, names=(first, second))


def _against(quantity: str) -> Callable[[ModuleType, Asked], Any]:
    """Make the data of a figure that draws networks against what is known of them."""
    return lambda module, asked: module.data(networks.gather(asked.stored), asked.region, against=quantity)


def _networks_table(module: ModuleType, asked: Asked) -> Any:
    return module.data(published.table_1(asked.stored), networks.gather(asked.stored))


_SCORES: Final = ("neural_correlation*",)
_POSITIONS: Final = ("map_counts", "layer_matches", "recording")
_LIST: Final = (
    # of one site
    Figure("responses", ("recording", "matches", "match_responses"), "2", 432, 416),
    Figure("layer_profile", ("layer_profile", "null", "recording"), "6, right, for one site", 660, 240),
    Figure("unit_distribution", ("unit_counts", "matches", "null", "recording", "layers"), "", 660, 240),
    Figure("runner_up_positions", ("matches", "layers", "recording"), "8, for one site", 320, 320),
    Figure("unit_correlations", ("unit_correlations@", "layers", "matches", "null", "recording"), "", 940, 320),
    # of a region
    Figure("responses_sites", ("recording", "matches", "match_responses"), "2", 940, 310),
    Figure("neural_correlation", ("neural_correlation*",), "3, 4, S8", 940, 330),
    Figure("v4_against_it", ("neural_correlation*",), "3", 376, 376, make=_two_regions, n_regions=2),
    Figure("site_by_site", ("matches*", "recording"), "", 376, 376, make=_site_by_site, n_others=1),
    Figure("layer_by_layer", ("layer_profile", "null", "recording"), "6, right", 660, 250),
    Figure("every_site", ("matches", "recording", "null", "reliability?"), "", 660, 250),
    Figure("site_rail", ("matches", "recording", "null", "reliability?"), "", 320, 300),
    Figure("runner_ups", ("matches", "recording", "null"), "7", 760, 670),
    Figure("rotation", ("rotation", "recording", "null"), "9", 660, 320),
    Figure("layers", ("layer_summary", "layers", "null", "recording"), "6, left, S9", 660, 320),
    Figure("layers_median", ("layer_profile", "layer_summary", "recording"), "6, right, S9", 660, 320),
    Figure("layers_best", ("layer_summary*", "neural_correlation*"), "S8", 400, 320),
    Figure("layers_depth", ("layer_summary*", "recording"), "S7", 540, 650),
    Figure("redundancy", ("matches", "recording", "null", "redundancy"), "7, S10", 760, 670),
    Figure("feature_maps", ("map_counts",), "8, above", 660, 260, {"is_sorted": True}),
    Figure("feature_maps_runner_ups", ("map_counts",), "S11, above", 660, 260, {"is_sorted": True}),
    Figure("feature_maps_positions", _POSITIONS, "8, below", 430, 430),
    Figure("feature_maps_positions_runner_ups", _POSITIONS, "S11, below", 430, 430),
    Figure("map_correlations", ("feature_maps", "layers", "matches", "null", "recording"), "8, S13", 940, 420),
    Figure("validated_maps", ("validated_maps",), "S13, left", 660, 300),
    Figure("validated_maps_sites", ("validated_maps",), "S13, right", 660, 300),
    Figure("validation_stimuli", ("validation_stimuli",), "", 660, 300),
    Figure("site_correlations", ("site_correlations",), "S12", 560, 520),
    Figure("site_correlations_clustered", ("site_correlations",), "S12", 560, 520),
    Figure("receptive_fields", ("receptive_fields", "matches", "recording"), "S2", 660, 560),
    Figure("receptive_fields_alignment", ("receptive_fields", "recording"), "S2", 540, 320),
    Figure("selection_curve", ("selection_curve",), "S1", 540, 300),
    Figure("selection_curve_stability", ("selection_curve",), "S1", 540, 300),
    Figure("significance", ("significance", "recording"), "", 660, 320),
    Figure("stability", ("stability", "recording"), "", 660, 320),
    Figure("intervals", ("intervals", "null"), "", 940, 320),
    Figure("pool_size", ("pool_size*",), "", 660, 320),
    Figure("assignment", ("assignment", "null"), "", 940, 320),
    Figure("comparison", ("comparison",), "", 420, 420),
    Figure("linear_metric", ("linear_metric",), "S4, right", 540, 320),
    Figure("linear_metric_layer", ("linear_metric",), "", 540, 320, {"comparison": "layer"}, of="linear_metric"),
    Figure("linear_metric_network", ("linear_metric",), "", 540, 320, {"comparison": "network"}, of="linear_metric"),
    Figure("linear_metric_networks", ("linear_metric*",), "S4, left", 660, 320),
    Figure("decoding", ("decoding*",), "5", 660, 320),
    Figure("decoding_confusions", ("decoding*",), "S5", 940, 320),
    Figure("decoding_similarity", ("decoding*",), "S6", 660, 320),
    Figure("gallery", ("recording", "thumbnails"), "1", 940, 200),
    # of several networks
    Figure("networks_top1", _SCORES, "4", of="networks", height=330, make=_against("top1"), n_others=1),
    Figure("networks_top5", _SCORES, "4", of="networks", height=330, make=_against("top5"), n_others=1),
    Figure("networks_units", _SCORES, "S3", of="networks", height=330, make=_against("units"), n_others=1),
    Figure("networks_parameters", _SCORES, "S3", of="networks", height=330, make=_against("parameters"), n_others=1),
    Figure("networks_table", _SCORES, "Table 1", 940, 420, make=_networks_table, n_regions=0),
)

FIGURES: Final[Mapping[str, Figure]] = {figure.name: figure for figure in _LIST}
"""Every figure by its name."""
