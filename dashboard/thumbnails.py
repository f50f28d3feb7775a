"""What does a stimulus look like? Small pictures of a run under an address each, ``img/<digest>/<stimulus>.jpg``.

The browser asks for what it shows and keeps it: an address never changes its content. Names are looked up in tables,
never turned into paths.
"""

import gc
import io
from urllib.parse import quote

from bokeh.server.tornado import BokehTornado
from PIL import Image
from tornado.web import HTTPError, RequestHandler

from dashboard.results import Results
from dashboard.runs import OpenRun
from engine.errors import EngineError

ROUTE = r"(?:/.*)?/img/([0-9a-f]{8,64})/([^/]{1,900})\.jpg"
_QUALITY = 88


def address(run: OpenRun, stimulus: str) -> str:
    """Return the address of a stimulus' picture, relative to the page; safe in an attribute as it is."""
    return f"img/{run.digest}/{quote(stimulus, safe='')}.jpg"


def jpeg(run: OpenRun, stimulus: str) -> bytes:
    """Return the picture of a stimulus as JPEG, encoded once a run.

    Raises
    ------
    KeyError
        If the run has no such stimulus.
    """
    if stimulus not in run.jpegs:
        pixels = run.dataset("thumbnails")["pixels"].sel(stimulus=stimulus).values
        written = io.BytesIO()
        Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(written, "JPEG", quality=_QUALITY)
        run.jpegs[stimulus] = written.getvalue()
    return run.jpegs[stimulus]


def patterns(results: Results) -> list[tuple[str, type[RequestHandler], dict]]:
    """Return the rules that a Tornado application needs to serve the pictures of a store."""
    return [(ROUTE, ThumbnailHandler, {"results": results})]


def serve_beside_page(results: Results) -> None:
    """Add the pictures to the server that runs this session; ``panel serve`` leaves no earlier moment for it.

    Under a server that is not Bokeh's own the images of the page stay blank.
    """
    for server in [o for o in gc.get_objects() if issubclass(type(o), BokehTornado)]:
        if not getattr(server, "serves_unitscope_pictures", False):
            server.add_handlers(r".*", patterns(results))
            server.serves_unitscope_pictures = True


class ThumbnailHandler(RequestHandler):
    """Answers GET for one picture."""

    def initialize(self, results: Results) -> None:
        """Take the store whose pictures are served."""
        self.results = results

    def get(self, digest: str, stimulus: str) -> None:
        """Write the picture, or 404 where the store has no such run or the run no such stimulus."""
        try:
            picture = jpeg(self._run(digest), stimulus)
        except (KeyError, EngineError):
            raise HTTPError(404) from None
        self.set_header("Content-Type", "image/jpeg")
        self.set_header("Cache-Control", "private, max-age=31536000, immutable")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.write(picture)

    def _run(self, digest: str) -> OpenRun:
        if digest not in set(self.results.table()["digest"]):
            raise KeyError(digest)
        return self.results.open(digest)
