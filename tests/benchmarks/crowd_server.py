"""A server that says on its output how it is: run with the folder of a store, and asked line by line on its input."""

import gc
import os
import signal
import sys
import threading
import time
from weakref import WeakSet

import numpy as np
from bokeh.document import Document

from dashboard.access import Access
from dashboard.collecting import Collector
from dashboard.results import Results
from dashboard.server import make_server
from dashboard.views.session import Session
from engine.jobs import NICE

_BEAT_S = 0.01
documents: "WeakSet[Document]" = WeakSet()
sessions: "WeakSet[Session]" = WeakSet()


def work() -> None:
    """Do what a job of one thread does, at the priority of jobs, until it is ended."""
    os.nice(NICE)
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(600, 600)), rng.normal(size=(600, 600))
    while True:
        one @ two


def main(store: str) -> None:
    """Serve, and answer questions."""
    made = Session.serve

    def counted(session: Session, document: Document) -> Document:
        served = made(session, document)
        documents.add(served)
        sessions.add(session)
        return served

    Session.serve = counted  # type: ignore[method-assign]
    access, longest = Access(secret=b"s" * 32), [0.0, 0.0]
    results = Results(store)
    server = make_server(results, access=access, port=0)
    Collector(lambda: len(server.get_sessions()), lambda: results.used_at).start()  # as ``serve`` does

    def beat(expected: float, worked: float) -> None:
        now, works = time.perf_counter(), time.thread_time()
        longest[:] = max(longest[0], now - expected), max(longest[1], works - worked)
        server.io_loop.call_later(_BEAT_S, beat, now + _BEAT_S, works)

    def answer() -> None:
        for line in sys.stdin:
            if line.strip() == "block":
                told, longest[:] = " ".join(f"{1000 * seconds:.0f}" for seconds in longest), (0.0, 0.0)
            else:
                gc.collect()
                told = f"{len(server.get_sessions())} {len(documents)} {len(sessions)}"
            print(told, flush=True)

    signal.signal(signal.SIGTERM, lambda *_: server.io_loop.add_callback_from_signal(server.io_loop.stop))
    server.io_loop.add_callback(beat, time.perf_counter(), time.thread_time())
    print(f"http://127.0.0.1:{server.port}/?token={access.token}", flush=True)
    threading.Thread(target=answer, daemon=True).start()
    server.io_loop.start()


if __name__ == "__main__":
    main(sys.argv[1])
