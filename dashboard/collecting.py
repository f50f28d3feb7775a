"""When are closed pages cleared away? While nobody waits: looking through all objects of fifty pages takes two seconds.

A page is a net of objects that hold each other, which only Python's cyclic collector frees. By itself it looks at all
objects whenever enough are new, and the server's loop stands still meanwhile.
"""

import gc
import time
from collections.abc import Callable
from typing import Final

from tornado.ioloop import PeriodicCallback

_LOOK_EVERY_MS: Final = 1000
_QUIET_S: Final = 2.0
_MOST_CLOSED: Final = 20
"""So many closed pages are cleared away even if somebody works."""
_OFTEN_ENOUGH_S, _AT_LEAST_S = 600.0, 3600.0
_NEVER: Final = 1_000_000


class Collector:
    """Clears away what closed pages left, in a moment in which nobody does anything.

    Parameters
    ----------
    n_pages
        How many pages are open.
    used_at
        When somebody last opened or did something, in s of ``clock``.
    collect, clock
        Of a test.
    """

    def __init__(
        self,
        n_pages: Callable[[], int],
        used_at: Callable[[], float],
        *,
        collect: Callable[[], object] = gc.collect,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._n_pages, self._used_at, self._collect, self._clock = n_pages, used_at, collect, clock
        self._n_open, self._n_closed, self._last = 0, 0, clock()

    def start(self) -> None:
        """Take over from Python in this process, on the loop of this thread; what is loaded stays for good."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(*gc.get_threshold()[:2], _NEVER)
        PeriodicCallback(self.look, _LOOK_EVERY_MS).start()

    def look(self) -> None:
        """Collect if it is time to."""
        now, n_open = self._clock(), self._n_pages()
        self._n_closed += max(self._n_open - n_open, 0)
        self._n_open, since = n_open, now - self._last
        is_due = self._n_closed > 0 or since > _OFTEN_ENOUGH_S
        is_quiet = now - self._used_at() > _QUIET_S
        if (is_due and is_quiet) or self._n_closed >= _MOST_CLOSED or since > _AT_LEAST_S:
            self._n_closed, self._last = 0, now
            self._collect()
