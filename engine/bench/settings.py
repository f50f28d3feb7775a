"""What is benchmarked: a network, images and sites (simulated, or those of a recording), repeats and peers."""

from dataclasses import dataclass
from functools import lru_cache
from numbers import Integral
from typing import Any

import numpy as np
from scipy import fft

from engine.errors import SettingsError
from engine.known_recordings import open_recording
from engine.networks import Network, load_network
from engine.planning import parse_memory
from engine.recordings import Recording

PEERS = ("numpy", "hooks", "faiss", "thingsvision")
"""Peers by name, see ``engine.bench.peers``."""

N_IMAGES, N_SITES = 640, 50
FEWEST_IMAGES = 8
CONTRAST = 48
"""SD of a simulated picture, of 255."""


@dataclass(frozen=True)
class BenchSettings:
    """One benchmark, by names only, so that a process of its own can repeat it."""

    network: str
    weights: str = "pretrained"
    weights_seed: int = 0
    recording: str | None = None
    """Name of a recording; None: simulated pictures and responses, ``images`` x ``sites``."""
    images: int | None = None
    sites: int | None = None
    folds: int = 1
    shuffles: int = 0
    memory: str = "8GiB"
    batch: int | None = None
    """Stimuli at a time in the match; None: the planner's choice."""
    repeats: int = 3
    peers: tuple[str, ...] = PEERS
    seed: int = 0

    def __post_init__(self) -> None:
        if self.recording is None:
            object.__setattr__(self, "images", N_IMAGES if self.images is None else self.images)
            object.__setattr__(self, "sites", N_SITES if self.sites is None else self.sites)
            _require_least("images", self.images, FEWEST_IMAGES)
            _require_least("sites", self.sites, 1)
        elif (self.images, self.sites) != (None, None):
            raise SettingsError(
                f"recording={self.recording!r} decides how many images and sites there are. Leave out images and "
                "sites, or leave out the recording to simulate as many as you like."
            )
        _require_least("repeats", self.repeats, 1)
        parse_memory(self.memory)
        unknown = [name for name in self.peers if name not in PEERS]
        if unknown:
            raise SettingsError(f"peer {unknown[0]!r} is unknown. Choose from {', '.join(PEERS)}, or none of them.")

    def load_network(self) -> Network:
        """Load the network by its name."""
        return load_network(self.network, weights=self.weights, seed=self.weights_seed)

    def open_recording(self, network: Network, *, warm_up: int | None = None) -> Recording:
        """Open the recording afresh, so that nothing it remembers makes a later repeat cheaper.

        Parameters
        ----------
        network
            Decides the size of simulated pictures.
        warm_up
            So many simulated images instead, of the same size as the recording's.
        """
        size = network.image_size
        if self.recording is not None:
            recording = open_recording(self.recording)
            if warm_up is None:
                return recording
            size = recording.stimuli.pixels(recording.stimuli.ids[0]).shape[:2]
        return simulated_recording(warm_up or self.images or N_IMAGES, self.sites or N_SITES, size, seed=self.seed)

    def match_options(self) -> dict[str, Any]:
        """Arguments of ``engine.match``; always on the processor, where the floor is measured."""
        return {
            "device": "cpu",
            "memory": self.memory,
            "folds": self.folds,
            "shuffles": self.shuffles,
            "seed": self.seed,
            "batch": self.batch,
        }


def simulated_recording(n_images: int, n_sites: int, size: tuple[int, int], *, seed: int = 0) -> Recording:
    """Return pictures of 1/f noise, as natural scenes have, and gamma-distributed responses that know nothing of them.

    Parameters
    ----------
    size
        (height, width) of a picture, in pixels.
    """
    return Recording.from_arrays(
        np.random.default_rng(seed).gamma(2, 5, (n_images, n_sites)),
        _pictures(n_images, *size, seed),
        stimulus_ids=[f"image{i:04d}" for i in range(n_images)],
        name=f"simulated {n_images} x {n_sites}",
        attrs={"simulated": 1},
    )


@lru_cache(maxsize=2)
def _pictures(n: int, height: int, width: int, seed: int) -> np.ndarray:
    """uint8 (stimulus, height, width, 3), read-only."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(fft.fftfreq(height)[:, None], fft.rfftfreq(width)).astype(np.float32)
    frequency[0, 0] = np.inf
    found = np.empty((n, height, width, 3), np.uint8)
    for picture in found:
        spectrum = rng.standard_normal((2, 3, *frequency.shape), np.float32) / frequency
        noise = fft.irfft2(spectrum[0] + 1j * spectrum[1], s=(height, width))
        noise /= noise.std((1, 2), keepdims=True)
        colours = noise[:1] + 0.3 * noise  # mostly luminance
        picture[:] = np.clip(128 + CONTRAST * colours, 0, 255).transpose(1, 2, 0)
    found.setflags(write=False)
    return found


def _require_least(name: str, value: object, least: int) -> None:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise SettingsError(f"{name}={value!r}: a whole number of at least {least} is needed.")
