"""Ask a server on this machine so often a second, over connections that stay open; count the answers by status."""

import asyncio
import json
import sys
import time
from urllib.parse import urlsplit

N_CONNECTIONS = 50
_PATIENCE_S = 30


async def flood(address: str, per_s: float, for_s: float, cookie: str) -> dict[str, int]:
    """Return how many answers of each status came; a request that none came to is not counted."""
    parts = urlsplit(address)
    if parts.hostname != "127.0.0.1":
        raise SystemExit("only a server of this machine is flooded")
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    asked = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nCookie: {cookie}\r\n\r\n".encode()
    statuses: dict[str, int] = {}
    end = time.perf_counter() + for_s

    async def keep_asking() -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        due = time.perf_counter()
        while (due := due + N_CONNECTIONS / per_s) < end and time.perf_counter() < end:
            writer.write(asked)
            head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _PATIENCE_S)).decode()
            lengths = [line for line in head.split("\r\n") if line.lower().startswith("content-length")]
            await reader.readexactly(int(lengths[0].split(":")[1]) if lengths else 0)
            statuses[head[9:12]] = statuses.get(head[9:12], 0) + 1
            await asyncio.sleep(max(due - time.perf_counter(), 0))
        writer.close()

    await asyncio.gather(*(keep_asking() for _ in range(N_CONNECTIONS)), return_exceptions=True)
    return statuses


if __name__ == "__main__":
    address, per_s, for_s, cookie = sys.argv[1:]
    print(json.dumps(asyncio.run(flood(address, float(per_s), float(for_s), cookie))))
