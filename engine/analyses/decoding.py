"""Can the categories of the stimuli be read from the sites, from their matched units, and from one with the other?

Arend et al. (2018), figures 5, S5 and S6: a linear classifier is (i) trained and tested within a population on other
stimuli, (ii) trained on the matched units and tested on the sites, (iii) the reverse. In (ii) and (iii) of the paper
training and test share their stimuli, and the match was chosen on them as well; a variant with disjoint stimuli, the
match included, stands beside it. Random units of the same layers and single pixels are the controls.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final
from warnings import catch_warnings, simplefilter

import numpy as np
import xarray as xr
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from engine.analyses.classifiers import COST_SPLITS, COSTS, confusion, learn, splits, z_score
from engine.analyses.confusions import similarity
from engine.analyses.decodable_regions import draw_random, usable_regions
from engine.analyses.populations import POPULATIONS, Populations, gather
from engine.errors import SettingsError
from engine.schema import FOLD, REGION, STIMULUS
from engine.store import Run

VERSION = 1
"""Raised whenever a number that is stored can change."""

IMAGES: Final = ("shared", "disjoint")
"""Whether training, test and match share their stimuli as in the paper, or are tested on stimuli apart from both."""

CONDITIONS: Final = ("within", "to_neural", "from_neural")
"""(i) within a population; (ii) trained on the population, tested on the sites; (iii) the reverse."""

LEAST_OF_CATEGORY: Final = 10
"""Fewer stimuli of a category leave too few for 90-10 splits of halves."""

_FIT_SECONDS, _PRODUCT_SECONDS = 1e-3, 3.5e-8
"""Measured: of a fit, and for each stimulus x feature x category of it."""


def compute(run: Run, source: Any = None, *, seed: int = 0, runs: int = 25, transfer_runs: int = 5) -> xr.Dataset:
    """Decode the categories within and between the sites of a region, their matched units, and the controls.

    The populations of a region have one feature for each site with a match: ``neural`` its responses; ``matched`` the
    activations of its match, a unit that several sites share as often as they do; ``random`` a unit drawn uniformly
    from the layer of its match, anew for every run; ``pixels`` the pixel with the highest r among those of the run's
    small pictures, gray, averaged to 32 x 32. Features are z-scored for each population with the statistics of its own
    training stimuli. Every run chooses C by 10 random 90-10 splits of its training stimuli.

    Parameters
    ----------
    run
        Its recording has a ``category`` for the stimuli; those without one, and those that some site of the region did
        not see, are left out.
    source
        With the run's ``network`` and ``recording``, for the random units. None, or where they cannot be opened: no
        random units, and ``population_status`` says so.
    seed
        Of splits and random units.
    runs
        Of condition (i) on shared images: random 90-10 splits of all stimuli.
    transfer_runs
        Of conditions (ii) and (iii), and for each fold of all three on disjoint images. Nothing but the splits that
        choose C (and the random units) changes between them.

    Returns
    -------
    xr.Dataset
        ``accuracy``, ``cost`` (images, condition, region, population, run), share of test stimuli that are put into
        their category, and the C that was chosen; NaN beyond the runs of that condition;
        ``mean_accuracy``, ``sd_accuracy`` (images, condition, region, population), SD over runs with ddof = 1;
        ``confusion`` (images, condition, region, population, category, predicted), shares of each row, mean of runs;
        ``similarity``, ``similarity_p`` (images, condition, region, population), Pearson's r between the off-diagonal
        cells of that confusion matrix and those of the sites within themselves, and the share of 10,000 joint
        permutations of the categories that reach it; NaN for the sites themselves and below four categories;
        ``n_stimuli``, ``n_sites``, ``n_left_out`` (region), sites without a match; ``n_distinct`` (region), different
        units among the matches; ``share_constant`` (region, population), features that do not vary;
        ``n_unconverged`` (region), fits that stopped at 1,000 steps; ``region_status`` (region) and
        ``population_status`` (region, population, images): "ok", or why there are no values.
        On ``shared`` images the accuracy of the sites from or to themselves is that on their training stimuli. On
        ``disjoint`` images unit, pixel, statistics and classifier come from all folds but one, and that one is the
        test; runs are those of the first fold, then of the next. Attributes: ``chance``, ``costs``, ``runs``,
        ``transfer_runs``.

    Raises
    ------
    SettingsError
        If a number of runs is below 2.

    References
    ----------
    Arend et al. (2018), CBMM Memo 93, figures 5, S5 and S6. Mantel (1967), Cancer Research 27, 209-220 (permutation of
    the categories of a matrix).
    """
    for name, value in (("runs", runs), ("transfer_runs", transfer_runs)):
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 2:
            raise SettingsError(f"{name}={value!r}: a whole number of at least 2 is needed, since the SD is over runs.")
    regions = usable_regions(run, least=LEAST_OF_CATEGORY)
    rng = np.random.default_rng([seed, len(regions)])
    drawn = draw_random(run, regions, runs=runs, transfer_runs=transfer_runs, rng=rng)
    populations = gather(run, source, drawn)
    categories = regions[0].categories
    n_runs = max(runs, transfer_runs * max(_n_folds(run), 1))
    parts = []
    for index, one in enumerate(populations):
        parts.append(_of_region(one, categories, n_runs, runs, transfer_runs, [seed, index], source))
    found = xr.concat(parts, REGION, combine_attrs="drop")
    about = {"chance": 1 / len(categories), "costs": COSTS.tolist(), "runs": runs, "transfer_runs": transfer_runs}
    return found.assign_attrs(about)


def missing(run: Run) -> str | None:
    """Say in a sentence what the recording lacks for decoding; None if nothing."""
    recording = run.dataset("recording")
    if "category" not in recording.coords:
        return (
            f"categories: recording {run.recording!r} has no category for its stimuli; give one for each, "
            "Recording.from_arrays(..., stimulus_coords={'category': [...]}), and match again."
        )
    labels = recording["category"].values.astype(str)
    names, counts = np.unique(labels[labels != ""], return_counts=True)
    if len(names) < 2:
        return f"at least two categories: the stimuli of {run.recording!r} have {', '.join(names) or 'none'}."
    if counts.min() < LEAST_OF_CATEGORY:
        return (
            f"at least {LEAST_OF_CATEGORY} stimuli of each category: {run.recording!r} has {counts.min()} of "
            f"{str(names[counts.argmin()])!r}."
        )
    return None


def expected_seconds(run: Run, *, runs: int = 25, transfer_runs: int = 5) -> float:
    """Estimate the time on this machine: fits, and one pass for the random units."""
    recording = run.dataset("recording")
    n_categories = len(np.unique(recording["category"].values)) if "category" in recording.coords else 0
    n_stimuli, n_folds = recording.sizes[STIMULUS], _n_folds(run)
    learned = {0.81: runs + transfer_runs, 0.81 * (1 - 1 / max(n_folds, 1)): transfer_runs * n_folds}
    fits = (COST_SPLITS * len(COSTS) + 1) * len(POPULATIONS)
    n_sites = np.unique(recording[REGION].values, return_counts=True)[1]
    seconds = 0.0
    for share, times in learned.items():
        products = share * n_stimuli * n_sites * n_categories
        seconds += times * fits * float((_FIT_SECONDS + _PRODUCT_SECONDS * products).sum())
    one_pass = float(run.manifest.get("compute", {}).get("seconds", 0.0)) / 2
    return seconds / _n_threads() + one_pass


@dataclass(frozen=True)
class Job:
    """One classifier: learned from a population at the training stimuli, tested at the test stimuli."""

    images: str
    run: int
    trained_on: str
    tests: Sequence[tuple[str, str]]
    """Condition and population of each test."""
    train: np.ndarray
    test: np.ndarray
    features: Mapping[str, np.ndarray]
    """(stimulus, feature) of each population."""
    seed: Sequence[int]
    """Of the splits that choose C: the same for all populations, so that equal populations give equal numbers."""


@dataclass
class Outcome:
    """What a job found: for each test its accuracy and confusion matrix."""

    cost: float
    n_unconverged: int
    tests: dict[tuple[str, str], tuple[float, np.ndarray]] = field(default_factory=dict)


def jobs_of(populations: Populations, *, runs: int, transfer_runs: int, seed: Sequence[int]) -> Iterator[Job]:
    """Lay out all classifiers of a region: the three conditions on shared images, then fold by fold on disjoint ones.

    A population that could not be had is left out of every condition.
    """
    everything = np.arange(len(populations.labels))
    halves = splits(populations.labels, runs, np.random.default_rng([*seed, 0]))
    for run, (train, test) in enumerate(halves):
        features = populations.shared(run)
        for name in features:
            yield Job("shared", run, name, [("within", name)], train, test, features, [*seed, 1, run])
    for run in range(transfer_runs):
        features = populations.shared(runs + run)
        for name in features:
            tests = _transfers(name, features)
            yield Job("shared", run, name, tests, everything, everything, features, [*seed, 2, run])
    for fold in range(populations.n_folds):
        train, test = (np.flatnonzero(part) for part in (populations.fold != fold, populations.fold == fold))
        for run in range(transfer_runs):
            features, place = populations.disjoint(fold, run), fold * transfer_runs + run
            for name in features:
                tests = [("within", name), *_transfers(name, features)]
                yield Job("disjoint", place, name, tests, train, test, features, [*seed, 3, place])


def do(job: Job, labels: np.ndarray, n_categories: int) -> Outcome:
    """Learn and test one classifier.

    Parameters
    ----------
    labels
        (stimulus,) int.
    """
    own = job.features[job.trained_on]
    learned = learn(own[job.train], labels[job.train], np.random.default_rng(list(job.seed)))
    outcome = Outcome(learned.cost, learned.n_unconverged)
    for condition, name in job.tests:
        values = job.features[own_test(condition, name)]
        predicted = learned.machine.predict(z_score(values[job.test], values[job.train]))
        shares = confusion(predicted, labels[job.test], n_categories)
        outcome.tests[condition, name] = (float(np.mean(predicted == labels[job.test])), shares)
    return outcome


def own_test(condition: str, population: str) -> str:
    """Name the population that a condition of a population is tested on."""
    return "neural" if condition == "to_neural" else population


def _transfers(name: str, others: Mapping[str, np.ndarray]) -> list[tuple[str, str]]:
    to_sites = [("to_neural", name)]
    return to_sites + [("from_neural", other) for other in others] if name == "neural" else to_sites


def _of_region(
    populations: Populations,
    categories: list[str],
    n_runs: int,
    runs: int,
    transfer_runs: int,
    seed: list[int],
    source: Any,
) -> xr.Dataset:
    shape = (len(IMAGES), len(CONDITIONS), len(POPULATIONS), n_runs)
    accuracy, cost = np.full(shape, np.nan), np.full(shape, np.nan)
    shares = np.full((*shape, len(categories), len(categories)), np.nan)
    n_unconverged = 0
    if populations.status == "ok":
        jobs = list(jobs_of(populations, runs=runs, transfer_runs=transfer_runs, seed=seed))
        for job, outcome in zip(jobs, _in_threads(jobs, populations, len(categories), source), strict=True):
            n_unconverged += outcome.n_unconverged
            for (condition, name), (share, counts) in outcome.tests.items():
                at = (IMAGES.index(job.images), CONDITIONS.index(condition), POPULATIONS.index(name), job.run)
                accuracy[at], cost[at], shares[at] = share, outcome.cost, counts
    n = np.isfinite(accuracy).sum(axis=-1)
    confusions = _mean(shares, n, axis=-3)
    rng = np.random.default_rng([*seed, 4])
    alike = similarity(confusions, CONDITIONS.index("within"), POPULATIONS.index("neural"), rng)
    dims = ("images", "condition", REGION, "population")
    values: dict[str, tuple[tuple[str, ...], np.ndarray]] = {
        "accuracy": ((*dims, "run"), accuracy[:, :, None]),
        "cost": ((*dims, "run"), cost[:, :, None]),
        "mean_accuracy": (dims, _mean(accuracy, n, axis=-1)[:, :, None]),
        "sd_accuracy": (dims, _sd(accuracy, n)[:, :, None]),
        "confusion": ((*dims, "category", "predicted"), confusions[:, :, None]),
        "similarity": (dims, alike[0][:, :, None]),
        "similarity_p": (dims, alike[1][:, :, None]),
        "n_unconverged": ((REGION,), np.array([n_unconverged])),
        **populations.described(IMAGES),
    }
    coords = {"images": list(IMAGES), "condition": list(CONDITIONS), "population": list(POPULATIONS)}
    return xr.Dataset(values, {**coords, REGION: [populations.region], "category": categories, "predicted": categories})


def _in_threads(jobs: list[Job], populations: Populations, n_categories: int, source: Any) -> list[Outcome]:
    """Work the jobs off, as many at a time as there are processors: the solver lets go of the interpreter's lock."""
    progress = getattr(source, "progress", None)
    outcomes = []
    with threadpool_limits(1, user_api="blas"), catch_warnings(), ThreadPoolExecutor(_n_threads()) as pool:
        simplefilter("ignore", ConvergenceWarning)  # counted in n_unconverged instead
        for outcome in pool.map(lambda job: do(job, populations.labels, n_categories), jobs):
            outcomes.append(outcome)
            if progress is not None:
                progress(f"decoding {populations.region}", len(outcomes), len(jobs))
    return outcomes


def _n_threads() -> int:
    return os.cpu_count() or 1


def _n_folds(run: Run) -> int:
    return int(run.dataset("fold_matches").sizes[FOLD]) if "fold_matches" in run.names else 0


def _mean(values: np.ndarray, n: np.ndarray, axis: int) -> np.ndarray:
    total = np.nansum(values, axis=axis)
    n = n.reshape(n.shape + (1,) * (total.ndim - n.ndim))
    return np.divide(total, n, out=np.full(total.shape, np.nan), where=n > 0)


def _sd(values: np.ndarray, n: np.ndarray) -> np.ndarray:
    squares = np.nansum((values - _mean(values, n, axis=-1)[..., None]) ** 2, axis=-1)
    return np.sqrt(np.divide(squares, n - 1, out=np.full(squares.shape, np.nan), where=n > 1))
