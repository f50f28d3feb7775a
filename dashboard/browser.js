// What belongs to the browser and not to a page: keys, the address, Back, the colours of the document, downloads.

const STEPS = {
  ArrowUp: ["site", -1], ArrowDown: ["site", 1], ArrowLeft: ["rank", -1], ArrowRight: ["rank", 1],
  "[": ["layer", -1], "]": ["layer", 1], j: ["stimulus", 1], k: ["stimulus", -1],
  n: ["feature_map", -1], m: ["feature_map", 1],
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

  const came = (how) => { document.documentElement.dataset.by = how; };
  document.addEventListener("pointerdown", () => came("pointer"), { ...options, capture: true });
  document.addEventListener("keydown", ({ key }) => key === "Tab" && came("keys"), { ...options, capture: true });

  const pointer = { x: -1, y: -1 };
  document.addEventListener("pointermove", ({ clientX, clientY }) => {
    pointer.x = clientX;
    pointer.y = clientY;
  }, { ...options, passive: true });
  const search = siteSearch(model);

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
    } else if (key === "d") {
      model.send_msg({ do: "theme" });
    } else if (key === "?") {
      for (const menu of everywhere(document, "[data-menu=keys]")) menu.togglePopover();
    } else if (key === "/") {
      search.open();
    } else if (key === "v") {
      model.send_msg({ do: "toggle-view" });
    } else if (key === "e") {
      ofPanel(inside[0], pointer, "[data-menu-name$='-export']");
    } else if (key === "t") {
      ofPanel(inside[0], pointer, "[data-do=table]");
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

  model.on("msg:custom", ({ name, kind, content, sites, key, opened }) => {
    if (sites) return search.take(sites, key);
    if (opened) return openDialog(opened);
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

// The field that finds a site: its list is asked for once a run, and searched here.
function siteSearch(model) {
  const MOST = 60;
  const ABOUT_A_SITE = ["site", "runner-ups", "layers", "feature-maps"];
  let [sites, key, found, at] = [[], "", [], 0];
  let menu = null;
  const part = (selector) => menu.querySelector(selector);

  const draw = () => {
    const words = part("input").value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = sites.filter(([site, region]) => words.every((word) => `${site} ${region}`.toLowerCase().includes(word)));
    const exact = fits.findIndex(([site]) => site.toLowerCase() === words[0]);
    if (exact > 0) fits.unshift(...fits.splice(exact, 1));
    found = fits.slice(0, MOST);
    part(".found").replaceChildren(...found.map(([site, region, r], i) => {
      const row = document.createElement("div");
      Object.assign(row, { id: `found-${i}`, className: "hit" });
      row.setAttribute("role", "option");
      row.append(...[site, region, `r ${r}`].map((text) => Object.assign(document.createElement("span"), { textContent: text })));
      row.addEventListener("click", ({ shiftKey }) => choose(i, shiftKey));
      return row;
    }));
    const more = fits.length > MOST ? `, the first ${MOST} shown` : "";
    part("[role=status]").textContent = sites.length ? `${fits.length.toLocaleString("en")} of ${sites.length.toLocaleString("en")} sites${more}` : "…";
    mark(0);
  };
  const mark = (i) => {
    at = Math.max(0, Math.min(i, found.length - 1));
    [...part(".found").children].forEach((row, k) => row.setAttribute("aria-selected", String(k === at)));
    part("input").setAttribute("aria-activedescendant", found.length ? `found-${at}` : "");
    part(".found").children[at]?.scrollIntoView({ block: "nearest" });
  };
  const choose = (i, isBeside) => {
    const hit = found[i];
    if (!hit) return;
    menu.hidePopover();
    if (isBeside) return model.send_msg({ do: "select", beside_site: hit[0], page: "site" });
    const shown = new URLSearchParams(location.search).get("page");
    const page = ABOUT_A_SITE.includes(shown) ? shown : "site";
    model.send_msg({ do: "select", region: hit[1], site: hit[0], page });
  };
  const pressed = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
    if (step) mark(at + step);
    else if (event.key === "Enter") choose(at, event.shiftKey);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return {
    open() {
      const now = everywhere(document, "[data-menu=search]").next().value;
      if (!now) return;
      if (now !== menu) {
        menu = now;
        part("input").addEventListener("input", draw);
        part("input").addEventListener("keydown", pressed);
        menu.addEventListener("toggle", ({ newState }) => newState === "closed" && menu.querySelector("input").blur());
      }
      part("input").value = "";
      menu.showPopover();
      part("input").focus();
      draw();
      model.send_msg({ do: "sites", key });
    },
    take(list, name) {
      [sites, key] = [list, name];
      if (menu?.matches(":popover-open")) draw();
    },
  };
}

// Open what Python has just written, with the focus where the arrow keys scroll it; closed, the focus goes back.
function openDialog(name) {
  const dialog = everywhere(document, `[data-menu="${name}"]`).next().value;
  dialog?.showPopover();
  dialog?.querySelector("[tabindex]")?.focus();
}

// Press a button of the panel that has the focus, else of the one under the pointer.
function ofPanel(focused, { x, y }, button) {
  const card = panelOf(focused) ?? panelOf(deepest(document, x, y));
  card?.querySelector(button)?.click();
}

function panelOf(element) {
  for (let node = element; node; node = node.parentNode ?? node.host) {
    if (node instanceof Element && node.matches("[data-card]")) return node;
  }
  return null;
}

function deepest(root, x, y) {
  const element = root.elementFromPoint(x, y);
  return element?.shadowRoot && element.shadowRoot !== root ? deepest(element.shadowRoot, x, y) ?? element : element;
}

function* everywhere(node, selector) {
  for (const element of node.querySelectorAll("*")) {
    if (element.matches(selector)) yield element;
    if (element.shadowRoot) yield* everywhere(element.shadowRoot, selector);
  }
}
