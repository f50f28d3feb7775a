"""What are vehicles made of? Paint, glass, rubber and chrome."""

from typing import Final

import numpy as np

from engine.scenery.meshes import Material

GLASS: Final = Material(0.08, 1.0)
RUBBER: Final = Material(0.06, 0.1)
CHROME: Final = Material(0.6, 1.0)


def paint_of(rng: np.random.Generator, low: float = 0.15, high: float = 0.9) -> Material:
    """Draw a glossy paint with an albedo between ``low`` and ``high``."""
    return Material(rng.uniform(low, high), rng.uniform(0.5, 0.9))
