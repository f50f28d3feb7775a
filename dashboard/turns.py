"""How does the server's loop stay in reach of all? It makes or changes one page in a turn, however many are asked for.

asyncio runs everything that is ready before it looks at its sockets and clocks again. While many act, a moment's delay
makes the steps of several visitors ready at once, and the loop would stand still for their sum.
"""

import asyncio

_QUEUE = "unitscope_queue"
"""Kept at the loop itself: a lock holds on to its loop, so kept anywhere else the two would stay for good."""


async def own_turn() -> None:
    """Return in a turn of the running loop in which nobody else returns from here; who came first goes first."""
    async with vars(asyncio.get_running_loop()).setdefault(_QUEUE, asyncio.Lock()):
        await asyncio.sleep(0)  # nobody holds the queue up: what is done in the turn comes after it is left
