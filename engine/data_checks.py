"""Is a recording what its owner thinks it is, and what can be done with it? Said before anything runs."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from engine.alignment import LEAST_STIMULI, Canary, alignment_canary, luminance_and_contrast
from engine.analyses.reliability import NOT_AVAILABLE, site_reliability
from engine.identifiers import first_three
from engine.schema import REPEAT, SITE, STIMULUS

if TYPE_CHECKING:
    from engine.recordings import Recording
    from engine.stimuli import Stimuli

_RELIABLE: Final = 0.5


@dataclass(frozen=True)
class Findings:
    """What was found in a recording: sentences, by subject, and warnings."""

    name: str
    lines: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]

    def describe(self) -> str:
        """Return everything as text, a line for each subject, warnings last."""
        width = max(len(subject) for subject, _ in self.lines) + 2
        rows = [f"{subject:<{width}}{text}" for subject, text in self.lines]
        return "\n".join([self.name, *rows, *(f"WARNING: {warning}" for warning in self.warnings)])


def check_data(recording: "Recording", *, seed: int = 0) -> Findings:
    """Look at responses, labels and images of a recording; every image is decoded once.

    Parameters
    ----------
    recording
        Opened already: what cannot be aligned or read was refused then.
    seed
        Of the splits of the repeats and the shuffled orders.

    Raises
    ------
    RecordingError
        If an image cannot be decoded.
    """
    data = recording.data
    looks = _looks(recording.stimuli)
    response = data["response"].transpose(STIMULUS, SITE).values
    canary = alignment_canary(response, np.array([look.luminance_and_contrast for look in looks]), seed=seed)
    lines = [
        ("sites", _sites(recording)),
        ("stimuli", _stimuli(recording, looks)),
        ("repeats", _repeats(recording)),
        ("missing", _missing(recording)),
        ("reliability", _reliability(recording, seed)),
        ("size", _size(recording)),
        ("window", f"{data.attrs['window_ms']} ms" if _is_said(data.attrs["window_ms"]) else "unknown: --window-ms"),
        ("source", f"{data.attrs['source']}; licence {data.attrs['licence']}"),
        *((key, str(data.attrs[key])) for key in ("order", "subset", "holds") if key in data.attrs),
        ("alignment", _alignment(canary)),
        *(("possible" if is_possible else "not possible", text) for is_possible, text in what_can_be_done(recording)),
    ]
    return Findings(repr(recording)[1:-1], tuple(lines), tuple(_warnings(recording, looks, canary)))


class _Look(NamedTuple):
    """One image as it looks."""

    width: int
    height: int
    is_gray: bool
    luminance_and_contrast: tuple[float, float]
    digest: bytes


def what_can_be_done(recording: "Recording") -> list[tuple[bool, str]]:
    """Say what the recording allows, and for the rest what is missing: (is possible, a sentence)."""
    data = recording.data
    n_stimuli, n_regions = data.sizes[STIMULUS], len(set(data["region"].values.tolist()))
    has_reliability = site_reliability(data).attrs["method"] != NOT_AVAILABLE
    categories = _categories(recording)
    asked = [
        (True, "match, runner-ups, layers, feature maps, chance, redundancy, assignment", ""),
        (has_reliability, "reliability and noise ceilings", "single trials, or spike counts with n_repeats"),
        (len(categories) > 1, "decoding of categories, stability", "a category for each stimulus (stimulus set csv)"),
        ("rf_map" in data, "receptive fields of sites beside those of units", "response maps (rf_map)"),
        (bool(np.isfinite(data.attrs["size_deg"])), "positions in degrees", "the width of a stimulus: --size-deg"),
        (n_regions > 1, "comparison of regions", "sites of a second region"),
        (n_stimuli >= 40, "selection curve", "40 stimuli"),
    ]
    return [(bool(there), what if there else f"{what}: needs {needs}") for there, what, needs in asked]


def _is_said(value: object) -> bool:
    return value not in ("unknown", "", None)


def _looks(stimuli: "Stimuli") -> list[_Look]:
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda name: _look(stimuli.pixels(name)), stimuli.ids))


def _look(pixels: np.ndarray) -> _Look:
    height, width = pixels.shape[:2]
    is_gray = bool((pixels == pixels[..., :1]).all())
    digest = hashlib.sha256(f"{pixels.shape}".encode() + np.ascontiguousarray(pixels).tobytes()).digest()
    return _Look(width, height, is_gray, luminance_and_contrast(pixels), digest)


def _sites(recording: "Recording") -> str:
    regions, counts = np.unique(recording.data["region"].values, return_counts=True)
    told = ", ".join(f"{count} in {name}" for name, count in zip(regions.tolist(), counts.tolist(), strict=True))
    others = [str(n) for n, c in recording.data.coords.items() if c.dims == (SITE,) and n not in (SITE, "region")]
    known = f"; known of each: {', '.join(others)}" if others else ""
    return f"{recording.data.sizes[SITE]}: {told}; first {first_three(recording.data[SITE].values.tolist())}{known}"


def _stimuli(recording: "Recording", looks: Sequence[_Look]) -> str:
    sizes = sorted({(look.width, look.height) for look in looks})
    told = ", ".join(f"{width} x {height}" for width, height in sizes[:3]) + (" ..." if len(sizes) > 3 else "")
    n_gray = sum(look.is_gray for look in looks)
    colour = "gray" if n_gray == len(looks) else "colour" if not n_gray else f"{n_gray} gray, the others colour"
    others = [str(n) for n, c in recording.data.coords.items() if c.dims == (STIMULUS,) and n != STIMULUS]
    known = f"; known of each: {', '.join(others)}" if others else ""
    return f"{len(looks)}, {told} px, {colour}; first {first_three(recording.stimuli.ids)}{known}"


def _repeats(recording: "Recording") -> str:
    data = recording.data
    if "trials" not in data:
        known = data.attrs.get("n_repeats")
        return f"averages of {known}; no single trials" if known else "no single trials"
    shown = np.isfinite(data["trials"].transpose(STIMULUS, SITE, REPEAT).values).any(axis=1).sum(axis=1)
    least, most = int(shown.min()), int(shown.max())
    told = f"{least}" if least == most else f"{least} to {most} (median {np.median(shown):g})"
    return f"{told} of each stimulus; single trials are there"


def _missing(recording: "Recording") -> str:
    response = recording.data["response"].transpose(STIMULUS, SITE).values
    absent = np.isnan(response)
    constant = int((np.nanmax(response, axis=0) == np.nanmin(response, axis=0)).sum())
    never = f"; {constant} sites never vary and have no match" if constant else ""
    if not absent.any():
        return f"none: every site has a response to every stimulus{never}"
    return (
        f"{absent.mean():.1%} of responses, at {int(absent.any(axis=0).sum())} of {absent.shape[1]} sites and "
        f"{int(absent.any(axis=1).sum())} of {absent.shape[0]} stimuli{never}"
    )


def _reliability(recording: "Recording", seed: int) -> str:
    found = site_reliability(recording.data, seed=seed)
    method = found.attrs["method"]
    if method == NOT_AVAILABLE:
        return f"{NOT_AVAILABLE}, nor counts with known repeats"
    reliability, ceiling = found["reliability"].values, found["noise_ceiling"].values
    n_good = int((reliability >= _RELIABLE).sum())
    return (
        f"median {np.nanmedian(reliability):.2f} ({method}), so no r above the noise ceiling, median "
        f"{np.nanmedian(ceiling):.2f}, is to be expected; {n_good} of {len(reliability)} sites at {_RELIABLE} or more"
    )


def _size(recording: "Recording") -> str:
    size = float(recording.data.attrs["size_deg"])
    return f"{size:g} degrees wide" if np.isfinite(size) else "unknown in degrees: --size-deg"


def _categories(recording: "Recording") -> set[str]:
    return set(recording.data["category"].values.astype(str)) - {""} if "category" in recording.data else set()


def _alignment(canary: Canary | None) -> str:
    if canary is None:
        return f"not tried: it needs {LEAST_STIMULI} stimuli whose luminance or contrast differ"
    verdict = "above all" if canary.is_above else "NOT above all"
    return (
        f"luminance and contrast explain {canary.given:.2%} of the responses' variance in the given order, {verdict} "
        f"of {len(canary.shuffled)} shuffled ones (largest {canary.shuffled.max():.2%})"
    )


def _warnings(recording: "Recording", looks: Sequence[_Look], canary: Canary | None) -> list[str]:
    found = []
    if canary is not None and not canary.is_above:
        found.append(
            "responses follow luminance and contrast of the images no better than in shuffled orders. Responses and "
            "images may not belong together: check which id each row has. (Sites that ignore both look the same.)"
        )
    if "order" in recording.data.attrs:
        found.append("the file has no stimulus ids; every result rests on the order that you stated, and says so.")
    n_twins = len(looks) - len({look.digest for look in looks})
    if n_twins:
        found.append(f"{n_twins} of {len(looks)} stimuli have the pixels of another one under another id.")
    return found
