// Runs before the page's own scripts: remembers when a figure was first drawn, when the last input came, and when
// something was drawn or written after it.
(() => {
  const probe = (window.probe = { input: NaN, first: NaN, last: NaN, draws: 0, firstPlot: NaN });
  const changed = () => {
    const now = performance.now();
    if (Number.isNaN(probe.first)) probe.first = now;
    probe.last = now;
    probe.draws += 1;
  };
  for (const name of ["fill", "stroke", "fillText", "drawImage", "putImageData"]) {
    const draw = CanvasRenderingContext2D.prototype[name];
    CanvasRenderingContext2D.prototype[name] = function (...given) {
      if (Number.isNaN(probe.firstPlot)) probe.firstPlot = performance.now();
      changed();
      return draw.apply(this, given);
    };
  }
  const html = Object.getOwnPropertyDescriptor(Element.prototype, "innerHTML");
  Object.defineProperty(Element.prototype, "innerHTML", {
    ...html,
    set(value) {
      if (this.dataset?.area) changed();
      html.set.call(this, value);
    },
  });
  const input = () => {
    probe.input = performance.now();
    probe.first = probe.last = NaN;
  };
  for (const kind of ["keydown", "pointerdown"]) addEventListener(kind, input, { capture: true });
})();
