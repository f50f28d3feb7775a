"""How is something found out that takes too long for the server's loop? In one thread beside it, once for all pages."""

import logging
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Generic, TypeVar

from dashboard.bell import Bell
from engine.errors import EngineError

log = logging.getLogger(__name__)

T = TypeVar("T")
_MOST_ANSWERS: Final = 500


class Answer(Generic[T]):
    """What was found; ``value`` is None where finding it failed, and ``problem`` says why."""

    def __init__(self, value: T | None, problem: str = "") -> None:
        self.value, self.problem = value, problem


class Lane:
    """Answers questions one after the other in a thread, and rings the bell when an answer is there."""

    def __init__(self, bell: Bell) -> None:
        self._bell, self._lock = bell, threading.Lock()
        self._answers: OrderedDict[Hashable, Future[Answer]] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="unitscope-lane")
        self._is_closed = False

    def ask(self, key: Hashable, find: Callable[[], T]) -> Answer[T] | None:
        """Return the answer to the question of that key; None as long as it is looked for.

        ``find`` runs in the thread, once for each key; the key names all that the answer depends on.
        """
        with self._lock:
            found = self._answers.get(key)
            if found is None:
                found = self._answers[key] = self._thread.submit(self._answered, find)
                found.add_done_callback(lambda _: self._bell.ring(is_news=False))
                while len(self._answers) > _MOST_ANSWERS:
                    self._answers.popitem(last=False)
            self._answers.move_to_end(key)
        return found.result() if found.done() else None

    def knows(self, key: Hashable) -> bool:
        """Say whether the question was asked already."""
        with self._lock:
            return key in self._answers

    def forget(self, key: Hashable) -> None:
        """Look again when the question is asked next."""
        with self._lock:
            self._answers.pop(key, None)

    def close(self) -> None:
        """Take no more questions; what is looked for now is the last."""
        self._is_closed = True
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _answered(self, find: Callable[[], T]) -> Answer[T]:
        try:
            return Answer(find())
        except EngineError as error:
            return Answer(None, str(error))
        except Exception:  # the page shows a sentence; the log has the rest
            name = secrets.token_hex(3)
            if not self._is_closed:  # of a server that ends nobody waits for it, and what it needs may be gone already
                log.exception("error %s: a question of the page was not answered", name)
            return Answer(None, f"That did not work (error {name}; the server's log says more).")
