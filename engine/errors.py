"""What can go wrong, named: every error that a user can meet derives from EngineError.

A message says what was expected, what came, where, and what to do next.
"""


class EngineError(Exception):
    """Base of all errors that unitscope raises on purpose."""


class RecordingError(EngineError):
    """A recording is missing, unreadable or contradicts itself."""


class StimulusMismatchError(RecordingError):
    """Stimuli and responses do not name the same images."""


class NetworkError(EngineError):
    """A network, its weights or its preprocessing cannot be used."""


class LayerError(NetworkError):
    """A layer that was asked for does not exist or gives no usable activations."""


class CutError(NetworkError):
    """A pass that goes on at a cut asked for a value from before it; whoever tried starts at the images instead."""


class SettingsError(EngineError):
    """A setting has a value that makes no sense for this network and recording."""


class NotAvailableError(EngineError):
    """A run lacks what an analysis needs: trials, categories, maps, its network or its images."""


class MemoryBudgetError(EngineError):
    """The memory budget is below what the smallest plan needs."""


class FetchError(EngineError):
    """A download failed, or a file does not have the published checksum."""


class StoreError(EngineError):
    """A stored result is missing, damaged, in use or from another version."""


class RunNotFoundError(StoreError):
    """No run, or more than one, fits what the user named."""


class ClusterError(EngineError):
    """Workers of a cluster cannot be started or reached, or die."""
