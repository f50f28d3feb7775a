"""Take the README's pictures of the built-in world: python assets/screenshots.py [STORE].

After ``unitscope demo`` and ``unitscope analyse squeezenet1_1@builtin --all``.
"""

import shutil
import sys
import threading
from pathlib import Path

from playwright.sync_api import sync_playwright

from dashboard.access import Access
from dashboard.server import make_server

HERE = Path(__file__).parent
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
CHOSEN = "network=squeezenet1_1&recording=builtin&region=V4&site=v4-22"
PICTURES = {
    "site": f"page=site&{CHOSEN}",
    "feature-maps": f"page=feature-maps&{CHOSEN}",
}


def main() -> None:
    """Serve the store on a free port of this machine and write a png for each picture."""
    access = Access()
    server = make_server(sys.argv[1] if len(sys.argv) > 1 else None, access=access, port=0)
    loop = threading.Thread(target=server.io_loop.start, daemon=True)
    loop.start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for name, query in PICTURES.items():
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(f"http://127.0.0.1:{server.port}/?token={access.token}&{query}")
            page.locator("canvas").first.wait_for()
            page.wait_for_timeout(5000)
            page.screenshot(path=HERE / f"{name}.png")
        browser.close()
    server.io_loop.add_callback(server.io_loop.stop)
    loop.join(timeout=10)


if __name__ == "__main__":
    main()
