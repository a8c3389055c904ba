// A closer look at what happened over time: the curves of a figure, large, and any stretch of them.
(() => {
  const root = document.documentElement;
  const make = (tag, words, more = {}) => Object.assign(document.createElement(tag), { textContent: words }, more);
  const look = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const font = "12px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif";
  const mark = (v) => {
    const [by, letter] = [[1e9, "G"], [1e6, "M"], [1e3, "k"]].find(([most]) => Math.abs(v) >= most) ?? [1, ""];
    return `${Number((v / by).toPrecision(6))}${letter}`;
  };

  // The points of a curve in the units of its axes, with a null where a gap is: from the table if that has them.
  const pointsOf = ({ runs, step }, toX, toY, rows, column, end) => {
    if (rows?.length > 1) {
      const middle = step ? 0 : (rows[1][0] - rows[0][0]) / 2;
      const points = rows.map((row) => [row[0] + middle, row[column]]);
      return step ? [...points, [end, points.at(-1)[1]]] : points;
    }
    const found = runs.map((run) => run.map(([x, y]) => [toX(x), toY(y)]));
    return found.flatMap((run, n) => (n ? [[(found[n - 1].at(-1)[0] + run[0][0]) / 2, null], ...run] : run));
  };
  // A band goes along its upper edge and back along the lower one.
  const edgesOf = (line, toX, toY) => {
    const band = line.path.previousElementSibling;
    if (!band?.matches(".band")) return [];
    const runs = curves.runs(band);
    const half = (upper) => runs.map((run) => (upper ? run.slice(0, run.length / 2) : run.slice(run.length / 2).reverse()));
    return [true, false].map((upper) => pointsOf({ runs: half(upper) }, toX, toY));
  };
  const panelsOf = (figure) => {
    const cells = (row) => [...row.cells].map((cell) => Number(cell.textContent));
    const rows = "rows" in figure.dataset && [...figure.querySelector("tbody").rows].map(cells).sort((a, b) => a[0] - b[0]);
    let column = 0;
    return [...figure.querySelectorAll("svg.plot")].map((plot) => {
      const [x, y] = [curves.axis(plot, "tx"), curves.axis(plot, "ty")], [toX, toY] = [curves.scale(x), curves.scale(y)];
      const [, , low, high] = curves.ends(x);
      const lines = curves.of(plot).map((line) => ({
        ...line, points: pointsOf(line, toX, toY, rows, ++column, high), edges: edgesOf(line, toX, toY) }));
      const marks = [...plot.querySelectorAll(".limit")].map((path) => (
        { at: toX(Number(/^M([\d.]+)/.exec(path.getAttribute("d"))[1])), words: path.nextSibling.textContent }));
      const name = plot.previousElementSibling.textContent;
      const units = [x, y].map((axis) => axis.lastElementChild.textContent);
      return { name, label: plot.getAttribute("aria-label"), units, lines, marks, whole: [low, high] };
    });
  };

  // Which point is shown at a time: the last before it, for a step; the nearer one, for a line; none within a gap.
  const known = (xs, values, at, n, step) => {
    let before = xs[n] > at ? n - 1 : n;
    while (before >= 0 && values[before] === undefined) before -= 1;
    let after = before + 1;
    while (after < values.length && values[after] === undefined) after += 1;
    if (before < 0) return Math.min(after, values.length - 1);
    if (step || after === values.length || values[before] === null) return before;
    return values[after] === null || xs[after] - at < at - xs[before] ? after : before;
  };
  // The least and the most in sight, with what a line leads to on either side.
  const reach = (data, [low, high]) => {
    const from = data[0].findLastIndex((x) => x <= low), to = data[0].findIndex((x) => x >= high);
    const seen = data.slice(1).flatMap((values) => {
      let first = Math.max(0, from), last = to < 0 ? values.length - 1 : to;
      while (first > 0 && values[first] === undefined) first -= 1;
      while (last < values.length - 1 && values[last] === undefined) last += 1;
      return values.slice(first, last + 1).filter((v) => v != null);
    });
    return seen.length ? uPlot.rangeNum(Math.min(...seen), Math.max(...seen), 0.1, true) : [0, 1];
  };

  const drawn = (panel, into, size, view) => {
    const styles = panel.lines.map(({ path }) => getComputedStyle(path));
    const series = [{ label: "at", value: (u, v) => (v == null ? "–" : `${Number(u.posToVal(u.cursor.left, "x").toPrecision(4))} s`) }], bands = [], tables = [];
    panel.lines.forEach((line, n) => {
      const { stroke, strokeDasharray } = styles[n];
      for (const edge of line.edges) {
        series.push({ label: "", class: "edge", width: 0, points: { show: false } });
        tables.push(edge);
      }
      const here = series.length;
      if (line.edges.length) bands.push({ series: [here - 2, here - 1], fill: stroke.replace("rgb(", "rgba(").replace(")", ", .18)") });
      const value = (u, v, _, at) => {
        if (v == null) return "–";
        const around = line.edges.map((_, k) => u.data[here - 1 - k][at]);
        return curves.short(v) + (around.some((w) => w == null) || !around.length ? "" : ` (${around.map((w) => curves.short(w)).join(" to ")})`);
      };
      const dash = strokeDasharray === "none" ? undefined : strokeDasharray.split(",").map(parseFloat);
      series.push({ label: line.name, stroke, width: 2, dash, value, ...(line.step ? { paths: uPlot.paths.stepped({ align: 1 }) } : {}) });
      tables.push(line.points);
    });
    const data = uPlot.join(tables.map((points) => [points.map((p) => p[0]), points.map((p) => p[1])]));
    const steps = [false, ...panel.lines.flatMap((line) => [...line.edges.map(() => false), line.step])];
    const flags = (u) => {
      const { ctx, bbox } = u, r = uPlot.pxRatio;
      ctx.save();
      ctx.strokeStyle = ctx.fillStyle = look("--bad");
      ctx.lineWidth = 1.5 * r;
      ctx.setLineDash([6 * r, 4 * r]);
      ctx.font = `${12 * r}px sans-serif`;
      ctx.textAlign = "center";
      ctx.textBaseline = "alphabetic";
      for (const { at, words } of panel.marks.filter((m) => m.at >= view.range[0] && m.at <= view.range[1])) {
        const x = u.valToPos(at, "x", true);
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
        ctx.fillText(words, x, bbox.top - 4 * r);
      }
      ctx.restore();
    };
    const axis = { stroke: look("--soft"), font, labelFont: font, labelSize: 20, grid: { stroke: look("--line"), width: 1 }, ticks: { show: false }, gap: 6 };
    const made = new uPlot({
      ...size, series, bands,
      padding: [18, 16, 0, 0],
      scales: { x: { time: false }, y: { range: (u) => reach(u.data, view.range) } },
      axes: [{ ...axis, label: panel.units[0], size: 30 }, { ...axis, label: panel.units[1], size: 54, space: 24, values: (u, all) => all.map(mark) }],
      cursor: {
        y: false,
        drag: { x: true, y: false, setScale: false },
        dataIdx: (u, n, at, x) => (n ? known(u.data[0], u.data[n], x, at, steps[n]) : at),
        bind: { dblclick: () => () => { view.show(...panel.whole); } },
        sync: { key: "zoom", filters: { pub: (what) => what === "mousemove" || what === "mouseleave" } },
      },
      hooks: {
        draw: [flags],
        setSelect: [(u) => {
          const { left, width } = u.select;
          if (!width) return;
          u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
          view.show(u.posToVal(left, "x"), u.posToVal(left + width, "x"));
        }],
      },
    }, data, into);
    made.root.querySelector(".u-wrap").setAttribute("role", "img");
    made.root.querySelector(".u-wrap").setAttribute("aria-label", panel.label);
    return made;
  };

  const open = (figure, name) => {
    const panels = panelsOf(figure), [low, high] = panels[0].whole;
    const box = make("dialog", ""), head = make("div", "", { className: "head" }), into = make("div", "", { className: "closer" });
    const title = make("h2", name, { id: "zoom" }), said = make("output", "");
    let plots = [];
    const view = {
      range: [low, high],
      show(from, to) {
        // No stretch is so short that nothing could be told apart in it.
        const width = Math.min(high - low, Math.max(to - from, (high - low) / 1e4));
        const start = Math.min(Math.max(low, from), high - width);
        view.range = [start, start + width];
        for (const plot of plots) plot.setScale("x", { min: start, max: start + width });
        said.value = `${[start, start + width].map((v) => Number(v.toPrecision(4))).join(" to ")} s`;
      },
    };
    const move = (zoom, by) => () => {
      const [from, to] = view.range, width = (to - from) * zoom, middle = (from + to) / 2 + (to - from) * by;
      view.show(middle - width / 2, middle + width / 2);
    };
    const button = (words, told, run) => {
      const made = make("button", words, { type: "button", className: "tool", title: told, ariaLabel: told });
      made.addEventListener("click", run);
      return made;
    };
    const size = () => {
      const most = into.clientHeight / panels.length - 90;
      return { width: into.clientWidth - 4, height: Math.round(Math.max(210, panels.length > 3 ? 0 : most)) };
    };
    const draw = () => {
      for (const plot of plots) plot.destroy();
      into.textContent = "";
      plots = panels.map((panel) => {
        into.append(make("p", panel.name));
        return drawn(panel, into, size(), view);
      });
      view.show(...view.range);
    };
    const fit = () => { for (const plot of plots) plot.setSize(size()); };
    const dark = matchMedia("(prefers-color-scheme: dark)");
    head.append(
      title, said, button("+", "Closer", move(0.5, 0)), button("−", "Wider", move(2, 0)), button("←", "Earlier", move(1, -0.25)),
      button("→", "Later", move(1, 0.25)), button("Reset", "Reset: all of it", () => view.show(low, high)),
      button("Close", "Close", () => box.close()),
    );
    const hint = make("p", "Drag over a stretch to look at it closely; a double click shows all of it again.", { className: "soft hint" });
    box.append(head, hint, into);
    box.setAttribute("aria-labelledby", "zoom");
    box.addEventListener("close", () => {
      removeEventListener("resize", fit);
      dark.removeEventListener("change", draw);
      for (const plot of plots) plot.destroy();
      box.remove();
    });
    document.body.append(box);
    box.showModal();
    draw();
    addEventListener("resize", fit);
    dark.addEventListener("change", draw);
  };

  for (const figure of document.querySelectorAll("figure.time")) {
    const caption = figure.querySelector("figcaption");
    const whose = figure.closest("section")?.querySelector("h2")?.textContent;
    const name = [whose, caption.textContent].filter(Boolean).join(": ");
    const button = make("button", "Zoom", { type: "button", className: "tool", ariaLabel: `Zoom: ${name}` });
    button.addEventListener("click", () => open(figure, name));
    caption.after(button);
  }
})();
