"use strict";
// What a drawing shows, read back from the drawing itself.
const curves = (() => {
  // An axis, which many drawings may share, has its scale.
  const axis = (plot, kind) => [...plot.children]
    .map((part) => (part.localName === "use" ? document.querySelector(part.getAttribute("href")) : part))
    .find((part) => part.matches(`g.${kind}`));
  const ends = (axis) => axis.dataset.at.split(" ").map(Number);
  const scale = (axis) => {
    const [start, end, low, high, log] = ends(axis);
    const f = log ? Math.log10 : (v) => v;
    return (at) => { const v = f(low) + ((at - start) / (end - start)) * (f(high) - f(low)); return log ? 10 ** v : v; };
  };
  const short = (v) => (Math.abs(v) >= 1000 ? Math.round(v).toLocaleString("en") : String(Number(v.toPrecision(3))));
  // The drawing tells each point from the one before; a step has its value from its point on; a gap begins a new run.
  // Points are rounded, so that what a sum of moves adds does not keep those of two curves at one time apart.
  const at = (x, y) => [Math.round(x * 100) / 100, Math.round(y * 100) / 100];
  const runs = (path) => {
    const found = [];
    let x = 0, y = 0;
    for (const [, kind, numbers] of path.getAttribute("d").matchAll(/([Mlhv])([^Mlhvz]*)/g)) {
      const by = (numbers.match(/-?(?:\d+(?:\.\d+)?|\.\d+)/g) ?? []).map(Number);
      if (kind === "M") { [x, y] = by; found.push([[x, y]]); }
      const run = found.at(-1);
      if (kind === "h") x += by[0];
      if (kind === "v") { y += by[0]; run.push(at(x, y)); }
      if (kind === "l") for (let n = 0; n < by.length; n += 2) { x += by[n]; y += by[n + 1]; run.push(at(x, y)); }
    }
    return found;
  };
  const of = (plot) => [...plot.querySelectorAll("path[data-name]")].map((path) => (
    { name: path.dataset.name, path, runs: runs(path), step: path.getAttribute("d").includes("h") }));
  return { axis, ends, scale, short, runs, of };
})();
// The values under the pointer.
(() => {
  const under = (points, step, at) => {
    if (!step) return points.reduce((best, p) => (Math.abs(p[0] - at) < Math.abs(best[0] - at) ? p : best), points[0]);
    const last = points.findLast((p) => p[0] <= at);
    return last ? [at, last[1]] : points[0];
  };
  for (const plot of document.querySelectorAll("svg.plot")) {
    if (!plot.querySelector("path[data-name]")) continue;
    let shown;
    const show = () => {
      const [x, y] = [curves.axis(plot, "tx"), curves.axis(plot, "ty")];
      const tip = document.createElement("div");
      tip.className = "tip";
      tip.setAttribute("aria-hidden", "true");
      const cross = document.createElementNS("http://www.w3.org/2000/svg", "path");
      cross.setAttribute("class", "cross");
      plot.append(cross);
      plot.closest("figure").append(tip);
      const lines = curves.of(plot).map((line) => ({ ...line, points: line.runs.flat() }));
      return { tip, cross, lines, x: curves.ends(x), y: curves.ends(y), toX: curves.scale(x), toY: curves.scale(y) };
    };
    const hide = () => { if (shown) { shown.tip.hidden = true; shown.cross.setAttribute("d", ""); } };
    plot.addEventListener("pointerleave", hide);
    plot.addEventListener("pointermove", (event) => {
      shown ??= show();
      const { tip, cross, lines, toX, toY } = shown, [start, end] = shown.x, [bottom, top] = shown.y;
      const box = plot.getBoundingClientRect();
      const at = ((event.clientX - box.left) / box.width) * plot.viewBox.baseVal.width;
      if (at < start || at > end) { hide(); return; }
      const rows = lines.map((line) => {
        const near = under(line.points, line.step, at);
        return `${line.name}: ${curves.short(toY(near[1]))} at ${curves.short(toX(near[0]))}`;
      });
      cross.setAttribute("d", `M${at.toFixed(1)},${bottom}V${top}`);
      tip.textContent = rows.join("\n");
      tip.hidden = false;
      const outer = plot.closest("figure").getBoundingClientRect();
      const left = event.clientX - outer.left + 14;
      tip.style.left = `${left + tip.offsetWidth > outer.width ? left - tip.offsetWidth - 28 : left}px`;
      tip.style.top = `${event.clientY - outer.top + 14}px`;
    });
  }
})();
