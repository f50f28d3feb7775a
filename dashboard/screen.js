// One page, or the bar above it: named areas of HTML that Python writes, named slots that hold figures.
// Every action of the user is an element with data-do; it is sent to Python as {do, ...its other data}.

export function render({ model, view }) {
  const root = document.createElement("div");
  root.className = "screen";
  root.innerHTML = model.layout;

  const shown = {};
  const fill = (areas) => {
    for (const [name, html] of Object.entries(areas)) {
      if (shown[name] === html) continue;
      const area = root.querySelector(`[data-area="${name}"]`);
      if (!area) continue;
      const focused = signature(area.getRootNode().activeElement, area);
      area.innerHTML = html;
      shown[name] = html;
      if (focused) {
        const again = [...area.querySelectorAll("[data-do]")].find((e) => signature(e, area) === focused);
        again?.focus({ preventScroll: true });
      }
      follow(area);
    }
  };
  fill(model.areas);
  model.on("areas", () => fill(model.areas));
  model.on("msg:custom", (message) => fill(message.areas));

  const place = () => {
    const figures = model.get_child("figures");
    model.slots.forEach((name, i) => {
      const slot = root.querySelector(`[data-slot="${name}"]`);
      if (slot && figures[i] && figures[i].parentNode !== slot) slot.replaceChildren(figures[i]);
    });
  };
  place();
  view.on_child_render("figures", () => {
    place();
    view.render_children(); // before anything measures the new one
  });

  root.addEventListener("click", (event) => {
    const control = event.target.closest("[data-do]");
    if (!control || control.getAttribute("aria-disabled") === "true") return;
    const action = Object.fromEntries(Object.entries(control.dataset).map(([name, value]) => [snake(name), value]));
    if (action.do === "open") return open(control, root.querySelector(`[data-menu="${action.menu_name}"]`));
    if (action.do === "copy") return copy(control, action.text ?? location.href);
    if (control.matches("select, input")) return;
    control.closest("[popover]")?.hidePopover();
    model.send_msg(action);
  });
  root.addEventListener("change", (event) => {
    const field = event.target.closest("select[data-do], input[data-do]");
    if (field) model.send_msg({ ...field.dataset, value: field.value });
  });
  root.addEventListener("input", (event) => {
    if (event.target.matches("input[data-filter]")) filter(event.target);
  });
  root.addEventListener("keydown", (event) => {
    const menu = event.target.closest?.("[popover]:popover-open"); // a closed one can have the focus for a moment
    if (menu && event.key === "Enter" && event.target.matches("input[data-filter]")) {
      menu.querySelector(".items > button:not([hidden])")?.click();
      return;
    }
    if (!menu || event.target.matches("[role=region]") || !["ArrowDown", "ArrowUp"].includes(event.key)) return;
    const items = [...menu.querySelectorAll("button, input")].filter((item) => !item.hidden);
    const next = items.indexOf(event.target) + (event.key === "ArrowDown" ? 1 : -1);
    items[(next + items.length) % items.length]?.focus();
    event.preventDefault();
    event.stopPropagation();
  });
  requestAnimationFrame(() => requestAnimationFrame(() => model.send_msg({ do: "ready" }))); // the first are painted
  return root;
}

// The browser calls data-beside-site besideSite, Python beside_site.
function snake(name) {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function signature(element, area) {
  return element && area.contains(element) && element.dataset.do ? JSON.stringify({ ...element.dataset }) : null;
}

// Keep what is selected in sight of its own list, without moving the page.
function follow(area) {
  const list = area.closest("[data-scroll]") ?? area.querySelector("[data-scroll]");
  const current = area.querySelector("[aria-selected=true]");
  if (!list || !current) return;
  requestAnimationFrame(() => {
    const head = list.querySelector("thead")?.offsetHeight ?? 0;
    const [frame, row] = [list.getBoundingClientRect(), current.getBoundingClientRect()];
    if (row.top < frame.top + head) list.scrollTop += row.top - frame.top - head;
    else if (row.bottom > frame.bottom) list.scrollTop += row.bottom - frame.bottom;
  });
}

function open(control, menu) {
  if (!menu) return;
  if (menu.matches(":popover-open")) return menu.hidePopover();
  menu.showPopover();
  const [at, size] = [control.getBoundingClientRect(), menu.getBoundingClientRect()];
  const left = Math.min(Math.max(8, at.right - size.width), innerWidth - size.width - 8);
  const below = at.bottom + 6;
  menu.style.left = `${left}px`;
  menu.style.top = `${below + size.height > innerHeight - 8 ? Math.max(8, at.top - size.height - 6) : below}px`;
  control.setAttribute("aria-expanded", "true");
  const closed = (event) => {
    if (event.newState !== "closed") return;
    control.setAttribute("aria-expanded", "false");
    menu.removeEventListener("toggle", closed);
  };
  menu.addEventListener("toggle", closed);
  const field = menu.querySelector("input[data-filter]");
  if (field) {
    field.value = "";
    filter(field);
  }
  (field ?? menu.querySelector("button[aria-current]") ?? menu.querySelector("button"))?.focus();
  menu.querySelector("button[aria-current]")?.scrollIntoView({ block: "nearest" });
}

// Show only those items of a menu that hold every word of the field above them.
function filter(field) {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const item of field.closest("[popover]").querySelectorAll(".items > button")) {
    const text = item.textContent.toLowerCase();
    item.hidden = !words.every((word) => text.includes(word));
  }
}

function copy(control, text) {
  const done = () => {
    control.classList.add("copied");
    setTimeout(() => control.classList.remove("copied"), 1200);
  };
  if (navigator.clipboard) return navigator.clipboard.writeText(text).then(done, () => {});
  const field = Object.assign(document.createElement("textarea"), { value: text });
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
  done();
}
