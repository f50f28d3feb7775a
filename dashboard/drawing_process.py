"""How is a figure drawn for a file while the server's loop goes on? In one process beside it, which stays.

matplotlib takes seconds to load and a good part of one for a figure, and it is not made for several threads. Requests
and answers are pickled; both ends are ours.
"""

import os
import pickle
import signal
import subprocess
import sys
import threading
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from dashboard.figures.marks import Drawing

_MODULE: Final = "dashboard.drawing_process"


class DrawingProcess:
    """Draws one figure after the other, as ``exporting.as_picture`` does; the process starts with the first one."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="unitscope-drawing")
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ready = threading.Event()
        self._end: weakref.finalize | None = None

    @property
    def is_ready(self) -> bool:
        """Whether a figure is drawn at once, without waiting for the libraries."""
        return self._is_ready.is_set()

    def warm(self) -> None:
        """Have the process started and its libraries loaded, if it is not there yet."""
        self._thread.submit(self._started)

    def draw(self, drawing: "Drawing", kind: str, **how: Any) -> Future[bytes]:
        """Have a figure drawn; arguments, answer and errors are those of ``exporting.as_picture``."""
        return self._thread.submit(self._drawn, drawing, kind, how)

    def close(self) -> None:
        """End the process, whatever it draws."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._stop()
        self._thread.shutdown()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._stop()
            command = [sys.executable, "-m", _MODULE]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self._end = weakref.finalize(self, _ended, self._process)
            self._answer(self._process)
            self._is_ready.set()
        return self._process

    def _drawn(self, drawing: "Drawing", kind: str, how: dict[str, Any]) -> bytes:
        process = self._started()
        assert process.stdin is not None
        try:
            pickle.dump((drawing, kind, how), process.stdin)
            process.stdin.flush()
        except OSError as error:
            raise self._died(process) from error
        is_drawn, given = self._answer(process)
        if not is_drawn:
            raise given
        return given

    def _answer(self, process: "subprocess.Popen[bytes]") -> Any:
        assert process.stdout is not None
        try:
            return pickle.load(process.stdout)
        except (EOFError, pickle.UnpicklingError) as error:
            raise self._died(process) from error

    def _died(self, process: "subprocess.Popen[bytes]") -> RuntimeError:
        self._stop()
        return RuntimeError(f"the process that draws figures ended with {process.returncode}")

    def _stop(self) -> None:
        self._is_ready.clear()
        if self._end is not None:
            self._end()


def _ended(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):  # what it has not read any more
                stream.close()
    process.wait()


def _main() -> None:
    """Answer that the libraries are loaded, then draw until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the server, whose end closes the input
    asked, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints goes where errors go
    from dashboard.exporting import as_picture  # loads the drawing libraries
    from dashboard.figures.marks import Axes, Drawing, line

    as_picture(Drawing([line("Zero", [0, 1], [0, 1])], Axes((0, 1), (0, 1))), "png", width=200, height=200, footer="")
    answer: Any = "ready"
    with suppress(EOFError):
        while True:
            pickle.dump(answer, answers)
            answers.flush()
            drawing, kind, how = pickle.load(asked)
            try:
                answer = True, as_picture(drawing, kind, **how)
            except Exception as error:
                answer = False, error


if __name__ == "__main__":
    _main()
