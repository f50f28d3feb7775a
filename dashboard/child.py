"""How is a process of the engine started, heard and ended? Nothing of it is left behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from engine.errors import EngineError

_KILLED_AFTER_S: Final = 1.0
_MODULE: Final = "engine.jobs"


class JobError(EngineError):
    """Work that was asked for was not done; the message says why, and what to do next."""


class EndedError(JobError):
    """Work was given up because somebody asked for that."""


class Child:
    """One process that does one thing: ``python -m engine.jobs`` with one request.

    Parameters
    ----------
    request
        What to do, JSON-like, as ``engine.jobs`` says.
    hear
        Called with every line that tells progress, in the thread of ``result``.
    """

    def __init__(
        self, request: Mapping[str, Any], hear: Callable[[Mapping[str, Any]], None] = lambda line: None
    ) -> None:
        self._request, self._hear = request, hear
        self._lock, self._is_ended = threading.Lock(), False
        self._process: subprocess.Popen[str] | None = None

    def result(self) -> dict[str, Any]:
        """Start the process and wait for what it finds.

        Raises
        ------
        JobError
            With the message of the engine, or what is known of a process that died.
        EndedError
            If ``end`` was called.
        """
        process = self._started()
        try:
            return self._read(process)
        finally:
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
            if self._is_ended:
                _end(process)
            process.wait()

    def end(self) -> None:
        """End the process and all that it started; returns when they are gone."""
        with self._lock:
            self._is_ended, process = True, self._process
        if process is not None:
            _end(process)

    def _started(self) -> subprocess.Popen[str]:
        with self._lock:
            if self._is_ended:
                raise EndedError("It was cancelled before it began.")
            self._process = subprocess.Popen(
                [sys.executable, "-m", _MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                start_new_session=True,  # so that what it starts ends with it, and Ctrl+C comes to us alone
            )
            return self._process

    def _read(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(OSError):  # it died already: its status says so below
            process.stdin.write(json.dumps(dict(self._request)) + "\n")
            process.stdin.flush()
        for text in process.stdout:
            line = json.loads(text)
            if "result" in line:
                return dict(line["result"])
            if "error" in line:
                raise JobError(line["error"])
            self._hear(line)
        raise self._died(process.wait())

    def _died(self, status: int) -> JobError:
        if self._is_ended:
            return EndedError("It was cancelled. Finished layers are kept: the same match goes on where it stopped.")
        kept = "Finished layers are kept: the same match goes on where it stopped."
        if status == -getattr(signal, "SIGKILL", 9):
            return JobError(
                f"The system ended it (signal 9), as it does when memory runs out. Choose less memory. {kept}"
            )
        return JobError(f"Its process ended early (status {status}); the log of the server says more. {kept}")


def _end(process: subprocess.Popen[str]) -> None:
    _signal(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_KILLED_AFTER_S)
    _signal(process, getattr(signal, "SIGKILL", signal.SIGTERM))  # also what it started, should it be left
    process.wait()


def _signal(process: subprocess.Popen[str], number: int) -> None:
    try:
        if os.name == "nt":
            process.kill()
        else:
            os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        pass
