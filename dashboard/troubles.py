"""What does a visitor learn of an error in the server? A sentence and a name; the log has the text, under that name.

The text of an exception may name files of this machine, and Bokeh would send it to the browser's console.
"""

import logging
import secrets
from collections.abc import Callable
from functools import partial
from typing import Protocol
from weakref import ReferenceType, WeakKeyDictionary, ref

from bokeh.document import Document
from bokeh.io import doc as documents

log = logging.getLogger(__name__)


class Teller(Protocol):
    """Whoever shows a page and can say something on it."""

    def say(self, told: str) -> None:
        """Show a sentence on the page."""


_TELLERS: "WeakKeyDictionary[Document, ReferenceType[Teller]]" = WeakKeyDictionary()


def tell_through(document: Document, teller: Teller) -> None:
    """Have errors of a document told by ``teller``, as long as both are there."""
    _TELLERS[document] = ref(teller)


def sentence(name: str) -> str:
    """Return what the page says of an error of that name."""
    return f"That did not work (error {name}; the server's log says more). The page shows the last state."


def tell_page(document: Document) -> str:
    """Have the page say soon that something did not work; returns the error's name, under which it is logged."""
    name, found = secrets.token_hex(3), _TELLERS.get(document)
    log.error("error %s in a page; what Bokeh logged before it says more", name, exc_info=True)
    getattr(documents, "_PATCHED_CURDOCS", []).clear()  # Bokeh leaves the page of a failed callback as the current one
    teller = found() if found is not None else None
    if teller is not None:
        document.add_next_tick_callback(partial(teller.say, sentence(name)))
    return name


def told_on_page(document: Document, change: Callable[[], None]) -> Callable[[], None]:
    """Return a change of the page whose error is told on it and logged, and goes no further."""

    def change_or_tell() -> None:
        try:
            change()
        except Exception:
            name, found = secrets.token_hex(3), _TELLERS.get(document)
            log.exception("error %s while a page was changed", name)
            teller = found() if found is not None else None
            if teller is not None:
                teller.say(sentence(name))

    return change_or_tell
