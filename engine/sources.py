"""What does an analysis need beside its run? The network and the recording that were matched, and they must be those.

They are opened when they are first asked for: as the caller gave them, or by the names that the run recorded. Nothing
here loads torch before a network is asked for.
"""

import os
import re
import shlex
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.digests import network_digest, responses_digest, stimuli_digest
from engine.errors import NotAvailableError, RecordingError, SettingsError
from engine.known_recordings import BUILTIN, data_root, list_recordings, open_recording
from engine.recording_files import MANIFEST
from engine.recordings import Recording
from engine.schema import LAYER, SITE, STIMULUS
from engine.store import Run

if TYPE_CHECKING:
    from engine.matching import Progress
    from engine.networks import Network

_UNREADABLE = ("not fetched", "damaged")


class Source:
    """Network and recording of a run, opened when they are first asked for and compared with the run's digests.

    Parameters
    ----------
    run
        The run that is analysed.
    network
        The network that was matched, or its name as for ``load_network``; None: the one that the run recorded.
    recording
        The recording that was matched, or its name or path; None: by the name that the run recorded.
    device, memory
        As for ``match``.
    progress
        Told the step, and how many of how many stimuli are done.
    """

    def __init__(
        self,
        run: Run,
        *,
        network: "Network | str | None" = None,
        recording: Recording | str | os.PathLike[str] | None = None,
        device: str = "auto",
        memory: str | int = "4GiB",
        progress: "Progress | None" = None,
    ) -> None:
        self.run, self.device, self.memory, self.progress = run, device, memory, progress
        self._network, self._recording = network, recording

    @cached_property
    def network(self) -> "Network":
        """The network that was matched, with the run's layers.

        Raises
        ------
        NotAvailableError
            If none was given and the run does not tell how it was made.
        SettingsError
            If it is another network than the run's.
        """
        network = self._opened_network()
        self._require_own({"network": network_digest(network)}, network.name, is_given=self._network is not None)
        layers = self.run.dataset("layers")[LAYER].values.tolist()
        return network if network.layers["name"].tolist() == layers else network.with_layers(layers)

    @cached_property
    def recording(self) -> Recording:
        """The recording that was matched, stimuli and sites in the order of the run.

        Raises
        ------
        NotAvailableError
            If none was given and there is none of its name on this machine.
        SettingsError
            If its stimuli or responses are others than the run's.
        """
        recording = self._opened_recording()
        digests = {"stimuli": stimuli_digest(recording.stimuli), "responses": responses_digest(recording)}
        self._require_own(digests, f"those of {recording.name}", is_given=self._recording is not None)
        own = self.run.dataset("recording")
        stimuli, sites = (own[dim].values.astype(str).tolist() for dim in (STIMULUS, SITE))
        if (recording.data[STIMULUS].values.tolist(), recording.data[SITE].values.tolist()) == (stimuli, sites):
            return recording
        return recording.select(stimuli, sites, name=recording.name)

    def missing(self) -> str | None:
        """Say in a sentence what must be given before network and recording can be opened; None if nothing. Quick."""
        if self._network is None and recorded_network(self.run) is None:
            return _give_network(self.run)
        if self._recording is None and not _is_on_this_machine(self.run.recording):
            return _give_recording(self.run)
        return None

    def _opened_network(self) -> "Network":
        if self._network is not None and not isinstance(self._network, str):
            return self._network
        from engine.networks import load_network

        if self._network is not None:
            return load_network(self._network)
        recorded = recorded_network(self.run)
        if recorded is None:
            raise NotAvailableError(_give_network(self.run))
        name, options = recorded
        return load_network(name, **options)

    def _opened_recording(self) -> Recording:
        if isinstance(self._recording, Recording):
            return self._recording
        if self._recording is not None:
            return open_recording(self._recording)
        try:
            return open_recording(_where(self.run.recording))
        except RecordingError as error:
            raise NotAvailableError(f"{_give_recording(self.run)} ({error})") from error

    def _require_own(self, digests: dict[str, str], name: str, *, is_given: bool) -> None:
        run = self.run
        for what, digest in digests.items():
            if digest == run.manifest["digests"].get(what):
                continue
            if is_given:
                raise SettingsError(
                    f"run {run.digest[:12]} is {run.network} against {run.recording}; the {what} given here ({name}) "
                    "are others. Give the network and the recording that were matched, with what was said of its file "
                    "then (--region, --images and so on), or match these first."
                )
            again = match_command(run) or shlex.join(["unitscope", "match", run.network, run.recording])
            raise SettingsError(
                f"run {run.digest[:12]} is {run.network} against {run.recording}, but the {what} that this name opens "
                f"now are others than those that were matched: files or code changed since. Match again: {again}"
            )


def recorded_network(run: Run) -> tuple[str, dict[str, Any]] | None:
    """Return the name and the options that ``load_network`` made a run's network with; None if the run cannot tell."""
    weights, name = str(run.manifest["network"].get("weights", "")), run.network.split(" (")[0]
    if not _names_no_code(name):
        return None
    if weights.startswith("pretrained, "):
        return name, {"weights": "pretrained"}
    seed = re.fullmatch(r"random, seed (\d+)", weights)
    return (name, {"weights": "random", "seed": int(seed[1])}) if seed else None


def _names_no_code(name: str) -> bool:
    """Whether loading that name runs no code that the run chose: a run may come from anywhere."""
    library, colon, _ = name.partition(":")
    return not colon or library in ("torchvision", "timm")


def match_command(run: Run) -> str:
    """Return the command that makes a run again, "" if the run cannot tell which network it was.

    It names no layers: a run of chosen layers needs them in addition.
    """
    recorded = recorded_network(run)
    if recorded is None:
        return ""
    name, options = recorded
    random = ["--weights=random", f"--weights-seed={options['seed']}"] if "seed" in options else []
    settings = {**run.settings, "seed": run.manifest.get("seed", 0)}
    told = [f"--{key}={settings[key]}" for key in ("top", "folds", "shuffles", "seed") if key in settings]
    return shlex.join(["unitscope", "match", name, run.recording, *random, *told])


def _where(name: str) -> str:
    """Return what opens a recording of that name: its folder among this machine's recordings, or the name itself."""
    saved = data_root() / name
    return str(saved) if name != BUILTIN and (saved / MANIFEST).is_file() else name


def _is_on_this_machine(name: str) -> bool:
    if name == BUILTIN or (Path(_where(name)).expanduser() / MANIFEST).is_file():
        return True
    table = list_recordings().set_index("name")["status"]
    return name in table.index and not str(table[name]).startswith(_UNREADABLE)


def _give_network(run: Run) -> str:
    weights = str(run.manifest["network"].get("weights", ""))
    if weights.startswith("file "):
        name, file = run.network.split(" (")[0], weights.removeprefix("file ")
        return (
            f"the weights of {run.network}, which the run does not hold: give network=engine.load_network({name!r}, "
            f"weights=PATH_OF_{file!r}) in Python, --network {name} --weights {file} on the command line."
        )
    return (
        f"the network {run.network!r}, which the run does not hold: give network= in Python, "
        "--network MODULE:CALLABLE on the command line."
    )


def _give_recording(run: Run) -> str:
    is_public = run.recording.partition("/")[0] in ("cowley-v4", "majajhong2015")
    fetch = f" Or fetch it: unitscope fetch {run.recording.replace('/', ' ')}." if is_public else ""
    return (
        f"the images of recording {run.recording!r}, which is not on this machine under that name: give recording= in "
        f"Python, --recording NAME_OR_PATH on the command line.{fetch}"
    )
