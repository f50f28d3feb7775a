// What belongs to the browser and not to a page: keys, the address, Back, the colours of the document, downloads.

const STEPS = {
  ArrowUp: ["site", -1], ArrowDown: ["site", 1], ArrowLeft: ["rank", -1], ArrowRight: ["rank", 1],
  "[": ["layer", -1], "]": ["layer", 1], j: ["stimulus", 1], k: ["stimulus", -1],
};
const PAGES = {
  o: "overview", s: "site", r: "runner-ups", l: "layers", f: "feature-maps", p: "population", c: "selection", j: "runs",
  v: "provenance",
};

export function render({ model }) {
  const listening = new AbortController();
  const options = { signal: listening.signal };
  let goes = 0;
  let waiting = false;
  let pending = null;

  // A held key asks faster than figures are painted: steps that come meanwhile are added up.
  const step = (name, by, held) => {
    if (waiting) {
      pending = { name, by: (pending?.name === name ? pending.by : 0) + by };
      return;
    }
    waiting = true;
    setTimeout(ready, 400);
    model.send_msg({ do: "step", name, by, held });
  };
  const ready = () => {
    if (!waiting) return;
    waiting = false;
    if (!pending) return;
    const { name, by } = pending;
    pending = null;
    if (by) step(name, by, true);
  };

  const pressed = (event) => {
    const inside = event.composedPath().filter((e) => e instanceof Element);
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (inside.some((e) => e.matches("input, textarea, select, [popover]:popover-open, [contenteditable]"))) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (Date.now() - goes < 1500 && PAGES[key]) {
      goes = 0;
      model.send_msg({ do: "select", page: PAGES[key] });
    } else if (key === "g") {
      goes = Date.now();
    } else if (STEPS[key]) {
      step(...STEPS[key], event.repeat);
    } else if (key === "v") {
      model.send_msg({ do: "view" });
    } else if (key === "d") {
      model.send_msg({ do: "theme" });
    } else if (key === "?") {
      for (const menu of everywhere(document, "[data-menu=keys]")) menu.togglePopover();
    } else if (key === "Escape") {
      if (everywhere(document, "[popover]:popover-open").next().done) model.send_msg({ do: "clear" });
      return; // the browser itself closes what is open
    } else {
      return;
    }
    event.preventDefault();
  };
  document.addEventListener("keydown", pressed, options);

  addEventListener("popstate", () => model.send_msg({ do: "address", query: location.search }), options);
  const address = () => {
    const { query, push } = model.address;
    if (query && query !== location.search) history[push ? "pushState" : "replaceState"]({}, "", query + location.hash);
    requestAnimationFrame(() => requestAnimationFrame(ready));
  };
  const theme = () => (document.documentElement.dataset.theme = model.theme);
  const title = () => (document.title = model.title);
  for (const [name, apply] of Object.entries({ address, theme, title })) {
    apply();
    model.on(name, apply);
  }

  let told = 0;
  const fit = () => {
    clearTimeout(told);
    told = setTimeout(() => model.send_msg({ do: "window", width: innerWidth }), 150);
  };
  addEventListener("resize", fit, options);
  model.send_msg({ do: "window", width: innerWidth });

  model.on("msg:custom", ({ name, kind, content }) => {
    const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
    const link = Object.assign(document.createElement("a"), {
      href: URL.createObjectURL(new Blob([bytes], { type: kind })), download: name,
    });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  });
  model.on("remove", () => listening.abort());
  const marker = document.createElement("span");
  marker.hidden = true;
  return marker;
}

function* everywhere(node, selector) {
  for (const element of node.querySelectorAll("*")) {
    if (element.matches(selector)) yield element;
    if (element.shadowRoot) yield* everywhere(element.shadowRoot, selector);
  }
}
