"""How is something worked out beside the server's loop, when only the last question of a session still matters?"""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from typing import Any, Generic, TypeVar

import panel as pn
from bokeh.document import Document
from tornado.ioloop import IOLoop

from dashboard.views.document import change_soon

log = logging.getLogger(__name__)

T = TypeVar("T")


class Latest(Generic[T]):
    """Works in a thread, and hands over on the loop what was asked last; answers that were overtaken are dropped.

    Parameters
    ----------
    done
        Called with the answer, or with the exception that came in its place, while no other change of the page runs.
    """

    def __init__(self, done: Callable[[T | Exception], None]) -> None:
        self._done = done
        self._turn = 0
        self.is_waiting = False

    def ask(self, work: Callable[[], T]) -> None:
        """Have ``work`` done in a thread; without a server, as in a test, now and here."""
        self._turn += 1
        document = pn.state.curdoc
        if document is None or document.session_context is None:
            self._done(_answer(work))
            return
        self.is_waiting = True
        pending = threads().submit(self._unless_overtaken, self._turn, work)
        pending.add_done_callback(partial(self._tell, document, IOLoop.current(), self._turn))

    def drop(self) -> None:
        """Want no answer any more."""
        self._turn += 1
        self.is_waiting = False

    def _unless_overtaken(self, turn: int, work: Callable[[], T]) -> T | Exception | None:
        return _answer(work) if turn == self._turn else None

    def _tell(self, document: Document, loop: IOLoop, turn: int, pending: "Future[Any]") -> None:
        if turn == self._turn and not pending.cancelled():
            change_soon(document, loop, partial(self._apply, turn, pending.result()))

    def _apply(self, turn: int, answer: Any) -> None:
        if turn == self._turn:
            self.is_waiting = False
            self._done(answer)


@cache
def threads() -> ThreadPoolExecutor:
    """Return the threads of the process, so few that the loop keeps its turn."""
    return ThreadPoolExecutor(2, thread_name_prefix="unitscope-latest")


def _answer(work: Callable[[], T]) -> T | Exception:
    try:
        return work()
    except Exception as error:  # whoever asked says so on the page
        log.warning("a figure could not be worked out: %s", error)
        return error
