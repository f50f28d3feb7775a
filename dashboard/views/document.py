"""What HTML document carries the page? A plain one: three roots, our colours, our face, nothing from outside.

Why not ``panel_material_ui.Page``: it loads React and Material UI (2.9 MB) for a bar that is a few lines of HTML, keeps
every closed session alive, and repaints figures with its own theme. Here address, keys and colours are ours.
"""

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import panel as pn
from bokeh.core.property.wrappers import PropertyValueContainer
from bokeh.document import Document
from tornado.ioloop import IOLoop

from dashboard.theme import css_sheet
from dashboard.troubles import told_on_page
from dashboard.turns import own_turn

TEMPLATE = """{% from macros import embed %}<!DOCTYPE html>
<html lang="en" data-theme="{{ us_theme }}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title | e }}</title>
<link rel="icon" href="{{ us_icon }}">
<style>{{ us_css }}</style>
<script nonce="{{ us_nonce }}">const usFaces=["400","700"].map((w)=>document.fonts.load(`${w} 12px Roboto`))</script>
{{ bokeh_css }}
</head>
<body>
<noscript>unitscope draws its figures in the browser: allow JavaScript for this address and reload.</noscript>
<div id="us-bar">{{ embed(roots.bar) }}</div>
<div id="us-pages">{{ embed(roots.pages) }}</div>
<div hidden>{{ embed(roots.browser) }}</div>
<template id="us-scripts">{{ bokeh_js }}{{ plot_script }}</template>
<script nonce="{{ us_nonce }}">{{ us_start }}</script>
</body>
</html>"""

_START = """(async()=>{
const {nonce}=document.currentScript,later=(ms)=>new Promise((done)=>setTimeout(done,ms));
const frame=Promise.allSettled(usFaces).then(()=>new Promise(requestAnimationFrame)).then(()=>later(0));
await Promise.race([frame,later(300)]);
const held=document.getElementById("us-scripts").content.querySelectorAll("script");
const scripts=[...held].map((one)=>Object.assign(document.importNode(one,true),{nonce}));
for(const {src} of scripts)
if(src)document.head.append(Object.assign(document.createElement("link"),{rel:"preload",as:"script",href:src,nonce}));
for(const one of scripts){
const done=one.src&&new Promise((done)=>{one.onload=one.onerror=done});
document.body.append(one);await done}})()"""
"""Asks for the page's scripts and runs them, one after the other, once the browser has painted that the page opens:
they keep it busy for half a second, and what it has asked for earlier runs before it paints. A page that is not shown
is not painted, so that it waits no longer than a moment."""

_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='6' "
    "fill='none' stroke='%23B44109' stroke-width='2'/%3E%3Ccircle cx='8' cy='8' r='2.5' fill='%23B44109'/%3E%3C/svg%3E"
)
_BODY = """html,body{margin:0;height:100%;overflow:hidden}
body{background:var(--us-bg);color:var(--us-ink);font:12px/16px var(--us-font)}
:root{--us-focus:transparent}:root[data-by=keys]{--us-focus:var(--us-ink)}
:root{color-scheme:light}:root[data-theme=dark]{color-scheme:dark}
#us-bar{min-height:48px;background:var(--us-paper)}
#us-pages>:empty{color:var(--us-text2)}#us-pages>:empty::before,#us-pages>:empty::after{position:absolute;left:24px}
#us-pages>:empty::before{top:72px;content:"Opening…"}
#us-pages>:empty::after{top:92px;content:"That takes long. If nothing comes, reload the page.";
opacity:0;animation:us-long 0s 15s forwards}@keyframes us-long{to{opacity:1}}"""


def variables(theme: str, document: Document | None = None) -> dict[str, str]:
    """Return what the template needs beside the roots; every script of it carries the nonce of its request."""
    nonce = getattr(getattr(request_of(document), "unitscope_pass", None), "nonce", "")
    return {
        "us_nonce": nonce,
        "us_start": _START,
        "us_theme": theme,
        "us_icon": _ICON,
        "us_css": _sheet(),
    }


@cache
def _sheet() -> str:
    """Return the style of the document, one for all sessions."""
    return f"{faces()}\n{css_sheet()}\n{_BODY}"


def request_of(document: Document | None) -> Any:
    """Return the request that a document was made for; None outside a server."""
    context = document.session_context if document is not None else None
    return getattr(context, "request", None)


def query_of(document: Document | None) -> dict[str, str]:
    """Return the arguments of the address that a document was opened under."""
    request = request_of(document)
    if request is None:
        return {}
    return {name: values[-1].decode("utf-8", "replace") for name, values in request.arguments.items() if values}


@contextmanager
def models_come() -> Iterator[None]:
    """Send what changes on a page, models that come included, as one; Bokeh then looks through all models once.

    A figure that comes has it do so several times otherwise, 30 ms each on a page of nine.
    """
    document = pn.state.curdoc
    with pn.io.hold():  # Panel's messages and Bokeh's do not keep to one order
        if document is None:
            yield
            return
        failed = None
        with document.models.freeze():  # which an error would leave frozen for good
            try:
                yield
            except Exception as error:
                failed = error
        if failed is not None:
            raise failed


def forget_empty_defaults(document: Document) -> None:
    """Free the empty lists that Bokeh has made of defaults as it looked through the models: half of what a page holds.

    Bokeh makes them again when it looks the next time. What anybody has put something into is kept elsewhere.
    """
    for model in document.models:
        made = getattr(model, "_unstable_default_values", {})  # Bokeh's own: without it nothing is freed
        empty = [name for name, value in made.items() if isinstance(value, PropertyValueContainer) and not value]
        for name in empty:
            del made[name]


def is_watched(document: Document) -> bool:
    """Say whether a browser is connected to a document; True outside a server."""
    session = getattr(document.session_context, "session", None)
    return session is None or session.connection_count > 0


def change_soon(document: Document, loop: IOLoop, change: Callable[[], None]) -> None:
    """Have the page of ``document`` changed in a turn of its own, from whichever thread; not if it is closed by then.

    A page closes on its loop, so there it is open or gone; another thread would meet it half closed, and the error
    would leave it as the current document of everything that comes after.
    """

    async def unless_closed() -> None:
        await own_turn()
        context = document.session_context
        if context is not None and not context.destroyed:
            document.add_next_tick_callback(told_on_page(document, change))

    loop.add_callback(unless_closed)


@cache
def faces() -> str:
    """Return Roboto as panel-material-ui bundles it, in the document itself, so that figures measure the right face."""
    package = find_spec("panel_material_ui")
    if package is None or package.origin is None:
        return ""
    dist = Path(package.origin).parent / "dist"
    return "".join(
        _face(weight, file) for weight in (400, 700) for file in dist.glob(f"roboto-latin-{weight}-normal-*.woff2")
    )


def _face(weight: int, file: Path) -> str:
    content = base64.b64encode(file.read_bytes()).decode("ascii")
    source = f"url(data:font/woff2;base64,{content}) format('woff2')"
    return f"@font-face{{font-family:Roboto;font-weight:{weight};src:{source}}}"
