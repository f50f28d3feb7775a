"""How do all open pages learn that something changed, from whichever thread it comes?"""

import logging
import threading
from typing import Protocol
from weakref import WeakSet

log = logging.getLogger(__name__)


class Listener(Protocol):
    """Whoever wants to know; called in any thread, so it only notes that it was called."""

    def rung(self, *, is_news: bool) -> None:
        """Take note: something is new, or something that is under way got further."""


class Bell:
    """Rings at every listener that is still there; it keeps none of them alive."""

    def __init__(self) -> None:
        self._listeners: WeakSet[Listener] = WeakSet()
        self._lock = threading.Lock()

    def listen(self, listener: Listener) -> None:
        """Ring at ``listener`` from now on."""
        with self._lock:
            self._listeners.add(listener)

    def forget(self, listener: Listener) -> None:
        """Ring at ``listener`` no more: it is closed."""
        with self._lock:
            self._listeners.discard(listener)

    def ring(self, *, is_news: bool = True) -> None:
        """Tell every listener; ``is_news`` where a page may have to be drawn anew."""
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            try:
                listener.rung(is_news=is_news)
            except Exception:  # its page was closed meanwhile: whoever rings goes on
                log.debug("a page that is gone was not told", exc_info=True)
                self.forget(listener)
