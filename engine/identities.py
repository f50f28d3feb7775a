"""What must hold of our numbers on any machine, whatever the data? Identities, each against an independent way.

Every one is measured here and now, on data drawn from a fixed seed, as one number that must stay within a bound: the
largest difference between what the engine says and what a formula, SciPy or a plain computation says.
"""

import atexit
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

import numpy as np
import torch
import xarray as xr
from scipy import signal, special, stats
from scipy.spatial.distance import pdist
from torch import nn

from engine import checks, gradients, moments, pipeline
from engine.analyses import (
    classifiers,
    decoding,
    physiological_fields,
    random_control,
    reliability,
    rotation,
    site_correlations,
)
from engine.durable import remove
from engine.folds import assign_folds
from engine.networks import Network
from engine.preprocessing import Preprocessing
from engine.recordings import Recording
from engine.schema import REGION, SITE, STIMULUS
from engine.starts import Starts
from engine.targets import make_targets

N, UNITS, SITES = 200, 24, 4
SIDE = 16
PLANTED: Final = (("0", 77), ("1", 30), ("2", 2))
"""Layer and unit whose copies are the first sites of the small match."""

KS_BOUND: Final = 2.23
"""Times 1 / sqrt(n): the Kolmogorov-Smirnov distance that chance passes once in ten thousand times."""


@dataclass(frozen=True)
class Identity:
    """A claim, the bound of what is measured, and what measures it: None where this machine cannot tell."""

    claim: str
    bound: float
    measure: Callable[[], float | None]


def null_median() -> float:
    """Half of the maxima of N null r lie below the median: (1 + r) / 2 is Beta((n - 2) / 2, (n - 2) / 2)."""
    pairs = [(2560, 1e4), (2560, 1e5), (2560, 1e6), (2560, 1e7), (1200, 1e6), (600, 1e6)]
    return max(abs(float(_below(random_control.best_r(n, units), n, units)) - 0.5) for n, units in pairs)


def null_simulated() -> float:
    """Maxima over 3,000 noise units for 200 noise sites, as the engine correlates them, against the closed form."""
    rng = np.random.default_rng(1)
    r = streamed(rng.normal(size=(128, 3000)), rng.normal(size=(128, 200)))
    return float(stats.kstest(_below(r.max(axis=1), 128, 3000), "uniform").statistic)


def units_of_measurement() -> float:
    """Scale and offset of units or responses change the sign of r at most."""
    units, responses = _drawn(2)
    r = streamed(units, responses)
    turned = [(1, 3.0 * units + 70, responses), (1, units, 0.01 * responses - 5), (-1, units, -7 * responses)]
    return _most([streamed(x, y) - sign * r for sign, x, y in [*turned, (-1, -2 * units + 9, responses)]])


def order_of_stimuli() -> float:
    """A joint permutation of the stimuli changes no r."""
    units, responses = _drawn(3)
    order = np.random.default_rng(3).permutation(N)
    return _most([streamed(units[order], responses[order]) - streamed(units, responses)])


def planted_units() -> float:
    """1 - r of sites that copy a unit of a small network; infinite if another unit was matched."""
    best = _match(None).dataset("matches").isel(rank=0)
    found = list(zip(best["layer"].values.tolist(), best["unit"].values.tolist(), strict=True))[: len(PLANTED)]
    is_found = found == list(PLANTED)
    return float(np.abs(1 - best["correlation"].values[: len(PLANTED)]).max()) if is_found else np.inf


def noisy_copies() -> float:
    """Mean r of 400 sites that are sqrt(q) of a unit and sqrt(1 - q) noise, less sqrt(q)."""
    rng, q = np.random.default_rng(4), 0.36
    units = rng.normal(size=(400, 400))
    sites = np.sqrt(q) * units + np.sqrt(1 - q) * rng.normal(size=units.shape)
    return abs(float(np.diag(streamed(units, sites)).mean()) - np.sqrt(q))


def attenuation() -> float:
    """Mean r with noisy responses, less r with noiseless ones times the noise ceiling measured from the trials."""
    rng, n_sites = np.random.default_rng(5), 150
    rates = rng.normal(size=(300, n_sites))
    unit = 0.8 * rates + 0.6 * rng.normal(size=rates.shape)
    trials = rates[..., None] + 2 * rng.normal(size=(*rates.shape, 8))
    halves = reliability.split_half(trials, n_splits=10, rng=rng)
    ceiling = np.sqrt(reliability.spearman_brown(halves))
    noisy, clean = (np.diag(streamed(unit, sites)) for sites in (trials.mean(axis=2), rates))
    return abs(float(noisy.mean() - (clean * ceiling).mean()))


def spearman_brown() -> float:
    """Reliability of k times as many repeats, against the variances of signal and noise."""
    share = np.linspace(0.05, 0.95, 19)
    return _most([reliability.spearman_brown(share, k) - share / (share + (1 - share) / k) for k in (0.5, 1, 2, 10)])


def claims_of_a_run() -> float:
    """Claims of the self-check of a run that are not true of a small match made now."""
    return float(sum(check.is_passed is False for check in checks.check_run(_match(None))))


def site_matrix() -> float:
    """Correlations of sites against numpy's: symmetric, ones on the diagonal, no negative eigenvalue."""
    responses = _drawn(6)[1] @ np.random.default_rng(6).normal(size=(SITES, 12))
    found = site_correlations.correlations(responses)[0]
    least = float(np.linalg.eigvalsh(found).min())
    return max(_most([found - np.corrcoef(responses.T), found - found.T, np.diag(found) - 1]), -least)


def streaming() -> float:
    """Streamed r on data that breaks naive sums, in three batch sizes, from one sum and merged from three."""
    units, responses = _drawn(7)
    late = units + 1e3
    late[:64] = 0
    families = (
        np.maximum(units, 0),
        np.where(units > 2, units, 0),
        1 + 1e-6 * units,
        late,
        units * 1e-30,
        units * 1e25,
    )
    found = []
    for family in families:
        x = family.astype(np.float32)
        expected = _by_scipy(x, responses)
        found += [streamed(x, responses, batch, parts) - expected for batch in (20, 64, N) for parts in (1, 3)]
    return _most(found)


def ways_of_matching() -> float:
    """A match that holds activations and one that sums in batches of 7: r; infinite if they match other units."""
    held, summed = (_match(batch).dataset("matches") for batch in (None, 7))
    same = all((held[name].values == summed[name].values).all() for name in ("layer", "unit"))
    return _most([held["correlation"].values - summed["correlation"].values]) if same else np.inf


def gpu() -> float | None:
    """The best r of every layer on a GPU and on the processor."""
    if not torch.cuda.is_available():
        return None
    profiles = [_match(None, device).dataset("layer_profile")["correlation"].values for device in ("cpu", "cuda")]
    return _most([profiles[0] - profiles[1]])


def rotations() -> float:
    """Random rotations are orthogonal with determinant 1, and a rotation by the identity is none."""
    rng = np.random.default_rng(8)
    drawn = [rotation.random_rotation(n, rng) for n in (1, 2, 17, 64)]
    x = rng.normal(size=(5, 17, 3)).astype(np.float32)
    return _most(
        [q.T @ q - np.eye(len(q)) for q in drawn]
        + [np.array([np.linalg.det(q) - 1]) for q in drawn]
        + [rotation.rotate(x, np.eye(17)) - x]
    )


def haar_measure() -> float:
    """The square of an entry of a rotation in 8 dimensions is Beta(1/2, 7/2), of mean 1/8."""
    rng = np.random.default_rng(9)
    entries = [rotation.random_rotation(8, rng)[2, 5] ** 2 for _ in range(400)]
    return float(stats.kstest(entries, stats.beta(0.5, 3.5).cdf).statistic)


def geometry() -> float:
    """Distances between stimuli are the same in every basis."""
    rng = np.random.default_rng(10)
    x = rng.normal(size=(30, 16)).astype(np.float32)
    turned = rotation.rotate(x, rotation.random_rotation(16, rng))
    return _most([pdist(turned) - pdist(x.astype(np.float64))])


def linear_fields() -> float:
    """The gradient of a unit behind two convolutions is their kernels' convolution, and 0 outside of its field."""
    first, second = (_conv(*shape, seed) for shape, seed in (((3, 4, 3), 11), ((4, 2, 5), 12)))
    network = _network(nn.Sequential(first, second))
    noise = torch.randn((2, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(13))
    y = x = 4
    unit = int(np.ravel_multi_index((1, y, x), (2, SIDE - 6, SIDE - 6)))
    found = gradients.receptive_fields(network, [("1", unit)], starts=Starts(noise, False, "noise"))
    expected = np.zeros((3, SIDE, SIDE))
    kernels = second.weight[1].detach().double().numpy(), first.weight.detach().double().numpy()
    for colour in range(3):
        parts = [signal.convolve2d(kernels[0][k], kernels[1][k, colour]) for k in range(4)]
        expected[colour, y : y + 7, x : x + 7] = np.sum(parts, axis=0)
    return _most([found["gradient"].values[0] - expected]) / float(np.abs(expected).max())


def contours() -> float:
    """Contour of a Gaussian of SD 1.5 degrees smoothed by 1 degree: its radius, and the mass inside."""
    at = np.arange(-8, 8.001, 0.05)
    weights = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 1.5**2))[None]
    spread = physiological_fields.density(weights, (at, at), (at, at))[0]
    inside = physiological_fields.is_inside(spread)
    radius = np.sqrt(inside.sum() * 0.05**2 / np.pi)
    mass = (spread * inside).sum() / spread.sum()
    return max(abs(float(radius) - np.sqrt(1.5**2 + 1)), abs(float(mass) - (1 - np.exp(-0.5))))


def permuted_labels() -> float:
    """Accuracy on shuffled categories less 1/8, in standard deviations of the binomial distribution."""
    rng, n_correct, n_tested = np.random.default_rng(14), 0, 0
    for _ in range(3):
        labels = np.repeat(np.arange(8), 25)
        values = rng.normal(size=(200, 6)) + 3 * rng.normal(size=(8, 6))[labels]
        shuffled = rng.permutation(labels)
        train, test = np.split(rng.permutation(200), [100])
        learned = classifiers.learn(values[train], shuffled[train], rng)
        predicted = learned.machine.predict(classifiers.z_score(values[test], values[train]))
        n_correct, n_tested = n_correct + int((predicted == shuffled[test]).sum()), n_tested + len(test)
    return abs(n_correct / n_tested - 1 / 8) / float(np.sqrt(1 / 8 * 7 / 8 / n_tested))


def equal_populations() -> float:
    """Two populations that are the same decode each other as well as themselves, on their training stimuli."""
    rng, labels = np.random.default_rng(15), np.repeat(np.arange(4), 15)
    values = rng.normal(size=(60, 5)) + rng.normal(size=(4, 5))[labels]
    everything, both = np.arange(60), {"neural": values, "matched": values}
    accuracy = [float(np.mean(_trained(values, labels).predict(classifiers.z_score(values, values)) == labels))]
    for own, tests in (("matched", [("to_neural", "matched")]), ("neural", [("from_neural", "matched")])):
        job = decoding.Job("shared", 0, own, tests, everything, everything, both, [16])
        accuracy += [share for share, _ in decoding.do(job, labels, 4).tests.values()]
    return max(accuracy) - min(accuracy)


def streamed(units: np.ndarray, responses: np.ndarray, batch: int = 64, parts: int = 1) -> np.ndarray:
    """Correlate as a match does, float32 batch by batch: units and responses (stimulus, ...), r (site, unit)."""
    names = [f"{k:05d}" for k in range(len(units))]
    coords = {STIMULUS: names, SITE: [str(k) for k in range(responses.shape[1])]}
    data = xr.Dataset({"response": ((STIMULUS, SITE), responses)}, coords)
    data = data.assign_coords({REGION: (SITE, ["V4"] * responses.shape[1])})
    targets = make_targets(data, assign_folds(data, parts, 0), shuffles=0, seed=0)
    x = torch.from_numpy(units.astype(np.float32)[targets.stimuli.astype(int)])
    sums = moments.PairMoments(units.shape[1], moments.TargetSums(targets, torch.device("cpu")))
    for fold in range(parts):
        for chosen in torch.from_numpy(np.flatnonzero(targets.fold == fold)).split(batch):
            sums.add(x[chosen], int(chosen[0]), fold)
    return sums.correlation(range(parts), slice(0, units.shape[1])).numpy()


def _drawn(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(N, UNITS)), rng.gamma(2, 5, size=(N, SITES))


def _below(r: float | np.ndarray, n_stimuli: int, n_units: float) -> np.ndarray:
    """Share of maxima of null r that lie below ``r``."""
    half = (n_stimuli - 2) / 2
    return np.exp(n_units * np.log1p(-special.betainc(half, half, (1 - np.asarray(r)) / 2)))


def _by_scipy(x: np.ndarray, responses: np.ndarray) -> np.ndarray:
    scaled = x.astype(np.float64) / np.abs(x).max(axis=0)
    return np.stack([stats.pearsonr(scaled, y[:, None], axis=0).statistic for y in responses.T])


def _most(differences: list[np.ndarray]) -> float:
    """The largest absolute difference; NaN if any is."""
    return float(np.max([np.abs(difference).max() for difference in differences]))


def _trained(values: np.ndarray, labels: np.ndarray) -> classifiers.LinearSVC:
    return classifiers.learn(values, labels, np.random.default_rng([16])).machine


def _conv(n_in: int, n_out: int, kernel: int, seed: int) -> nn.Conv2d:
    conv = nn.Conv2d(n_in, n_out, kernel, bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.randn(conv.weight.shape, generator=torch.Generator().manual_seed(seed)))
    return conv


def _network(module: nn.Module) -> Network:
    preprocess = Preprocessing(resize=(SIDE, SIDE), crop=None, scale=1 / 64, mean=(2.0,) * 3, sd=(1.0,) * 3)
    return Network.from_module(module, preprocess, name="linear", image_size=(SIDE, SIDE))


@cache
def _folder() -> Path:
    folder = Path(mkdtemp(prefix="unitscope-"))
    atexit.register(remove, folder)
    return folder


@cache
def _match(batch: int | None, device: str = "cpu") -> "pipeline.Run":
    """Match a small linear network against copies of its units and noise, in a store that goes with this process."""
    network = _network(nn.Sequential(_conv(3, 4, 3, 17), _conv(4, 4, 3, 18), _conv(4, 3, 3, 19)))
    rng = np.random.default_rng(20)
    images = rng.integers(0, 256, (60, SIDE, SIDE, 3), dtype=np.uint8)
    with torch.inference_mode():
        x, outputs = torch.stack([network.preprocess(image) for image in images]), {}
        for name, layer in network.module.named_children():
            outputs[name] = x = layer(x)
    copies = [outputs[layer].flatten(1)[:, unit].double().numpy() for layer, unit in PLANTED]
    responses = np.stack([*copies, *rng.normal(size=(2, 60))], axis=1)
    recording = Recording.from_arrays(responses, images, stimulus_ids=[f"{k:02d}" for k in range(60)], name="planted")
    how = {"batch": batch, "device": device, "store": mkdtemp(dir=_folder())}
    return pipeline.match(network, recording, top=5, shuffles=2, progress=False, **how)  # type: ignore[arg-type]


IDENTITIES: Final[Mapping[str, Identity]] = {
    "median of the best null r": Identity("half of the best of N random units lie below it", 1e-6, null_median),
    "best null r, simulated": Identity(
        "200 noise sites and 3,000 noise units give its distribution (KS distance)",
        KS_BOUND / np.sqrt(200),
        null_simulated,
    ),
    "units of measurement": Identity("a x + b changes the sign of r at most", 1e-6, units_of_measurement),
    "order of the stimuli": Identity("a joint permutation changes no r", 1e-6, order_of_stimuli),
    "planted units": Identity("a site that copies a unit matches that unit, with r = 1", 1e-6, planted_units),
    "noisy copies": Identity("a site with a share q of a unit's variance has r = sqrt(q)", 0.01, noisy_copies),
    "attenuation": Identity("r = r of noiseless responses x noise ceiling", 0.01, attenuation),
    "Spearman-Brown": Identity("reliability of k-fold repeats = k r / (1 + (k - 1) r)", 1e-12, spearman_brown),
    "a run hangs together": Identity("claims of a small run that are not true", 0, claims_of_a_run),
    "correlations of sites": Identity("numpy's; symmetric, diagonal 1, no negative eigenvalue", 1e-9, site_matrix),
    "streaming": Identity("r of 6 kinds of data in any batches and parts is SciPy's in float64", 1e-6, streaming),
    "held or summed": Identity("both ways of matching give the same units and r", 1e-6, ways_of_matching),
    "GPU": Identity("r is that of the processor", 2e-6, gpu),
    "rotations": Identity("orthogonal, determinant 1, and the identity turns nothing", 1e-10, rotations),
    "Haar measure": Identity(
        "entries squared are Beta(1/2, (N - 1)/2) (KS distance)", KS_BOUND / np.sqrt(400), haar_measure
    ),
    "geometry": Identity("distances between stimuli are the same in every basis", 1e-9, geometry),
    "linear fields": Identity("the gradient is the effective filter, 0 outside of it", 1e-5, linear_fields),
    "contours": Identity("radius sqrt(s^2 + 1), mass inside 1 - exp(-1/2)", 0.01, contours),
    "permuted categories": Identity("are decoded at 1/8 (standard deviations)", 4.0, permuted_labels),
    "equal populations": Identity("decode each other as they decode themselves", 0, equal_populations),
}
"""Name -> what is claimed, the bound, and what measures it."""
