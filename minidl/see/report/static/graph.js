// The graph of the run, folded by module: one box for each module that is closed, one for each operation of an open one.

class Graph {
  constructor(run, onSelect, onUnfold) {
    this.run = run;
    this.onSelect = onSelect;
    this.onUnfold = onUnfold;
    this.open = new Set([""]);
    this.modules = new Map(run.modules.map((m) => [m.path, m]));
    this.container = new Set();
    for (const { path } of run.modules) if (path) this.container.add(path.split(".").slice(0, -1).join("."));
    this.unfoldUpTo(48);
    this.element = h("div", { class: "graph", role: "group", "aria-label": "graph of the network", tabindex: -1 });
    this.draw();
  }

  /** Open modules level by level as long as the picture stays small; a module with operations only stays closed. */
  unfoldUpTo(limit) {
    for (;;) {
      const boxes = this.boxes();
      const closed = boxes.filter((b) => b.path !== null && this.container.has(b.path));
      if (!closed.length) return;
      const level = Math.min(...closed.map((b) => b.path.split(".").length));
      const before = new Set(this.open);
      for (const b of closed) if (b.path.split(".").length === level) this.open.add(b.path);
      if (this.boxes().length > limit) {
        this.open = before;
        return;
      }
    }
  }

  /** The path of the outermost closed module that ran `record`, or null where all of them are open. */
  closedOver(record) {
    const parts = record.path ? record.path.split(".") : [];
    for (let n = 1; n <= parts.length; n++) {
      const path = parts.slice(0, n).join(".");
      if (!this.open.has(path)) return path;
    }
    return null;
  }

  boxes() {
    const boxes = new Map();
    for (const record of this.run.records) {
      const path = record.phase === "loss" && !this.open.has("loss") ? "loss" : this.closedOver(record);
      const key = path ?? `#${record.number}`;
      if (!boxes.has(key)) boxes.set(key, { key, path, records: [] });
      boxes.get(key).records.push(record);
    }
    return [...boxes.values()];
  }

  draw() {
    const layout = new dagre.graphlib.Graph();
    layout.setGraph({ rankdir: "TB", nodesep: 14, ranksep: 26, marginx: 8, marginy: 8 });
    layout.setDefaultEdgeLabel(() => ({}));
    this.shown = this.boxes();
    const boxOf = new Map();
    for (const box of this.shown) {
      for (const record of box.records) boxOf.set(record.number, box);
      box.title = box.path ?? box.records[0].op;
      box.kind = box.path === null ? "" : box.path === "loss" ? this.run.loss_name : (this.modules.get(box.path)?.kind ?? "");
      const output = box.records[box.records.length - 1].outputs[0];
      box.output = this.run.value(output);
      box.shape = box.output.shape.join("\u00d7") || "one number";
      box.width = Math.max(96, 7.4 * Math.max(box.title.length, box.kind.length + box.shape.length + 3) + 20);
      layout.setNode(box.key, { width: box.width, height: 44 });
    }
    for (const box of this.shown) {
      for (const record of box.records) {
        for (const arg of record.args) {
          const maker = arg.value === undefined ? null : this.run.maker(this.run.value(arg.value));
          const from = maker && boxOf.get(maker.number);
          if (from && from !== box) layout.setEdge(from.key, box.key);
        }
      }
    }
    dagre.layout(layout);
    const { width, height } = layout.graph();
    const edges = layout.edges().map((edge) => {
      const points = layout.edge(edge).points.map((p) => `${p.x.toFixed(1)},${p.y.toFixed(1)}`);
      return svg("polyline", { points: points.join(" "), class: "edge" });
    });
    const nodes = this.shown.map((box) => this.box(box, layout.node(box.key)));
    const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}` }, edges, nodes);
    redraw(this.element, picture);
    this.mark(this.selected);
  }

  box(box, { x, y }) {
    const time = box.records.reduce((s, r) => s + r.forward_ms + r.backward_ms, 0);
    const label = `${box.title} ${box.kind}, output ${box.shape}, ${milliseconds(time)}`;
    const element = svg("g", {
      class: `box ${box.records[0].phase}`, transform: `translate(${x - box.width / 2},${y - 22})`, tabindex: 0, role: "button",
      "aria-label": label, "data-key": box.key, onclick: () => this.onSelect(box),
      onkeydown: (event) => this.key(event, box), ondblclick: () => box.path !== null && this.onUnfold(box.path),
    },
      svg("rect", { width: box.width, height: 44, rx: 6 }),
      svg("text", { x: box.width / 2, y: 18, class: "title" }, box.title),
      svg("text", { x: box.width / 2, y: 34, class: "shape" }, [box.kind, box.shape].filter(Boolean).join("  ")));
    element.append(svg("title", {}, label));
    box.element = element;
    return element;
  }

  key(event, box) {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.onSelect(box);
    }
  }

  /** Open the module `path`, or close it with all in it. */
  toggle(path, open) {
    if (open) this.open.add(path);
    else for (const other of [...this.open]) if (other === path || other.startsWith(path + ".")) this.open.delete(other);
    this.draw();
  }

  boxOf(record) {
    return this.shown.find((box) => box.records.includes(record));
  }

  mark(key) {
    this.selected = key;
    for (const box of this.shown) {
      const chosen = box.key === key;
      box.element.classList.toggle("chosen", chosen);
      box.element.setAttribute("aria-pressed", chosen);
      if (chosen) this.bring(box.element);
    }
  }

  /** Scroll the graph, and nothing around it, until `element` is in sight. */
  bring(element) {
    const side = this.element.parentElement;
    if (!side) return;
    const [inner, outer] = [element.getBoundingClientRect(), side.getBoundingClientRect()];
    side.scrollTop += Math.max(0, inner.bottom - outer.bottom) + Math.min(0, inner.top - outer.top);
    side.scrollLeft += Math.max(0, inner.right - outer.right) + Math.min(0, inner.left - outer.left);
  }
}
