// A value drawn: each map of an image, each filter of a weight, a vector as one row. Click or move to pick a number.

class Maps {
  /** `marks` are windows to draw over the maps: [{index, kind}] of single elements, by map. */
  constructor(run, value, which, { onPick = null, picked = null, marks = [], onlyMarked = false, limit = 64, zoom = 0, label = "" } = {}) {
    Object.assign(this, { run, value, which, onPick, picked, marks });
    this.numbers = run.numbers(value, which);
    this.statistics = value[which] ?? value.own;
    this.signed = which !== "own" || this.statistics.min < 0 || this.statistics.max === 0; // around white, else from black
    const shape = value.shape;
    this.rows = shape.length >= 2 && shape.length !== 2 ? shape[shape.length - 2] : 1;
    this.columns = shape.length ? shape[shape.length - 1] : 1;
    const planes = size(shape) / (this.rows * this.columns);
    this.zoom = zoom || Math.max(1, Math.min(18, Math.floor(this.rows === 1 ? 640 / this.columns : 150 / Math.max(this.rows, this.columns)) || 1));
    this.element = h("div", { class: "maps", role: "group", "aria-label": `${label || value.name}: ${planes} maps of ${this.rows} by ${this.columns}` });
    this.marked = this.byMap(marks);
    const drawn = onlyMarked ? [...this.marked.keys()].sort((a, b) => a - b) : [...Array(planes).keys()];
    if (this.numbers) for (const m of drawn.slice(0, limit)) this.element.append(this.map(m));
    else if (this.statistics.picture) this.preview();
    else this.element.append(h("p", { class: "note" }, "The numbers of this value did not fit into the page."));
    if (this.numbers && drawn.length > limit) this.element.append(h("p", { class: "note" }, `${drawn.length - limit} more maps are not drawn.`));
  }

  /** Marks by map: {row, column, kind} each. */
  byMap(marks) {
    const found = new Map();
    for (const { index, kind } of marks) {
      const at = flat(this.value.shape, index);
      const m = Math.floor(at / (this.rows * this.columns));
      const within = at % (this.rows * this.columns);
      if (!found.has(m)) found.set(m, []);
      found.get(m).push({ row: Math.floor(within / this.columns), column: within % this.columns, kind });
    }
    return found;
  }

  prefix(m) {
    return unflat(this.value.shape.slice(0, -2), m);
  }

  indexAt(m, row, column) {
    if (this.value.shape.length === 0) return [];
    if (this.value.shape.length === 1) return [column];
    if (this.value.shape.length === 2) return [m, column];
    return [...this.prefix(m), row, column];
  }

  map(m) {
    const { min, max } = this.statistics;
    const canvas = h("canvas", { role: "img", "aria-label": `${this.value.name}, map ${m}`, style: `width:${this.columns * this.zoom}px;height:${this.rows * this.zoom}px` });
    paint(canvas, this.numbers, m * this.rows * this.columns, this.rows, this.columns, min, max, this.signed);
    const overlay = svg("svg", { class: "overlay", viewBox: `0 0 ${this.columns} ${this.rows}`, width: this.columns * this.zoom, height: this.rows * this.zoom, "aria-hidden": "true" });
    const name = bracket("", this.value.shape.length > 2 ? this.prefix(m) : this.value.shape.length === 2 ? [m] : []);
    const box = h("div", { class: "map" }, h("div", { class: "frame" }, canvas, overlay), h("span", { class: "index" }, name));
    this.outline(overlay, this.marked.get(m) ?? []);
    if (this.onPick) {
      canvas.tabIndex = 0;
      const at = this.picked && this.matches(m, this.picked) ? this.picked.slice(-2) : [0, 0];
      this.cursor(canvas, overlay, m, this.rows === 1 ? 0 : at[0], at[at.length - 1] ?? 0, Boolean(this.picked && this.matches(m, this.picked)));
      canvas.addEventListener("click", (event) => {
        const place = canvas.getBoundingClientRect();
        const row = Math.min(this.rows - 1, Math.floor(((event.clientY - place.top) / place.height) * this.rows));
        const column = Math.min(this.columns - 1, Math.floor(((event.clientX - place.left) / place.width) * this.columns));
        this.pick(canvas, overlay, m, row, column);
      });
      canvas.addEventListener("keydown", (event) => {
        const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
        if (step) {
          event.preventDefault();
          event.stopPropagation();
          const row = Math.max(0, Math.min(this.rows - 1, canvas.row + step[0]));
          const column = Math.max(0, Math.min(this.columns - 1, canvas.column + step[1]));
          this.pick(canvas, overlay, m, row, column);
        } else if (event.key === "Enter") this.pick(canvas, overlay, m, canvas.row, canvas.column);
      });
    }
    return box;
  }

  matches(m, index) {
    return flat(this.value.shape, index) >= m * this.rows * this.columns && flat(this.value.shape, index) < (m + 1) * this.rows * this.columns;
  }

  cursor(canvas, overlay, m, row, column, shown) {
    Object.assign(canvas, { row, column });
    const index = this.indexAt(m, row, column);
    const x = this.numbers[flat(this.value.shape, index)];
    canvas.setAttribute("aria-label", `${bracket(this.value.name, index)} is ${digits(x)}; arrow keys move`);
    overlay.querySelector(".cursor")?.remove();
    if (shown) overlay.append(svg("rect", { class: "cursor", x: column, y: row, width: 1, height: 1 }));
  }

  pick(canvas, overlay, m, row, column) {
    for (const other of this.element.querySelectorAll(".cursor")) other.remove();
    this.cursor(canvas, overlay, m, row, column, true);
    this.onPick(this.value, this.indexAt(m, row, column), this.which);
  }

  /** The marks of one map: a window without gaps as one frame, others cell by cell. */
  outline(overlay, marks) {
    if (!marks.length) return;
    const rows = marks.map((mark) => mark.row);
    const columns = marks.map((mark) => mark.column);
    const [top, left] = [Math.min(...rows), Math.min(...columns)];
    const [height, width] = [Math.max(...rows) - top + 1, Math.max(...columns) - left + 1];
    const frame = (x, y, w, h, kind) => overlay.append(svg("rect", { class: `mark ${kind}`, x, y, width: w, height: h }));
    const same = marks.every((mark) => mark.kind === marks[0].kind);
    if (same && new Set(marks.map((mark) => `${mark.row},${mark.column}`)).size === height * width) frame(left, top, width, height, marks[0].kind);
    else for (const mark of marks) frame(mark.column, mark.row, 1, 1, mark.kind);
  }

  preview() {
    const { shape, every, data, min, max } = this.statistics.picture;
    const levels = this.run.array(data);
    const [planes, rows, columns] = shape;
    for (let m = 0; m < planes; m++) {
      const canvas = h("canvas", { role: "img", "aria-label": `map ${m}`, style: `width:${columns * 2}px;height:${rows * 2}px` });
      const numbers = Float64Array.from(levels.subarray(m * rows * columns, (m + 1) * rows * columns), (l) => min + (l / 255) * (max - min));
      paint(canvas, numbers, 0, rows, columns, min, max, this.signed);
      this.element.append(h("div", { class: "map" }, h("div", { class: "frame" }, canvas), h("span", { class: "index" }, `[${m}]`)));
    }
    const sparse = every > 1 ? `, every ${ordinal(every)} pixel` : "";
    this.element.append(h("p", { class: "note" }, `A picture of ${planes} maps${sparse}: the numbers did not fit into the page. minidl explain answers for each of them.`));
  }
}
