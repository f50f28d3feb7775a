"""unitscope's engine: match single units of deep networks to single recorded sites of visual cortex.

Public names load on first use, so that reading a store never imports torch.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "Network": "engine.networks",
    "Preprocessing": "engine.preprocessing",
    "Recording": "engine.recordings",
    "Run": "engine.store",
    "Stimuli": "engine.stimuli",
    "analyse": "engine.analyses",
    "fetch": "engine.fetching",
    "list_networks": "engine.networks",
    "list_recordings": "engine.known_recordings",
    "list_runs": "engine.store",
    "load_network": "engine.networks",
    "match": "engine.pipeline",
    "open_recording": "engine.known_recordings",
    "open_run": "engine.store",
}

__all__ = sorted(_HOME)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'engine' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
