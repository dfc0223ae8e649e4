// The page: graph on the left, a layer in the middle, one number on the right.

class App {
  constructor(run, element) {
    this.run = run;
    this.explainer = new Explainer(run);
    this.which = "own";
    this.picked = null;
    this.history = [];
    this.ask = this.ask.bind(this);
    this.graph = new Graph(run, (box) => this.select(box), (path) => this.fold(path, true));
    this.graphSide = h("nav", { class: "side", "aria-label": "graph" }, this.graph.element);
    this.middle = h("div", { class: "middle", tabindex: -1 });
    this.right = h("aside", { class: "right", "aria-label": "one number", tabindex: -1 });
    this.live = h("p", { class: "hidden", "aria-live": "polite" });
    this.element = element;
    element.classList.add("minidl-report");
    element.replaceChildren(this.header(), h("main", {}, this.graphSide, this.middle, this.right), this.live);
    element.addEventListener("keydown", (event) => this.key(event));
    this.order = this.steps();
    this.at = 0;
    this.select(this.graph.shown[0]);
    const last = run.value(run.outputs[0]);
    if (run.numbers(last)) this.ask(last, largest(last.shape, run.numbers(last)), "own", false);
    else this.right.append(h("p", { class: "note" }, "Click a pixel or a weight: here stands where it comes from."));
    element.dataset.ready = "";
  }

  header() {
    const { run } = this;
    const loss = run.loss === null ? null : run.numbers(run.value(run.loss));
    const total = run.records.reduce((s, r) => s + r.macs, 0);
    const time = (key) => milliseconds(run.records.reduce((s, r) => s + r[key], 0));
    const facts = [
      `${count(run.modules[0].parameters)} parameters`, `${count(total)} multiply-adds`, `${time("forward_ms")} forward, ${time("backward_ms")} backward`,
      loss && `${run.loss_name} ${digits(loss[0], 5)}`,
    ].filter(Boolean);
    const button = (text, label, action) => h("button", { onclick: action, "aria-label": label, title: label }, text);
    const other = () => this.show(this.which === "own" ? "grad" : "own");
    this.gradients = run.loss === null ? null : h("button", { class: "gradients", "aria-pressed": false, title: "key g", onclick: other }, "gradients");
    this.goto = h("input", { class: "goto", placeholder: this.example(), onchange: (event) => this.find(event.target) });
    this.position = h("output", { "aria-live": "off" });
    return h("header", {},
      h("h1", {}, run.title, h("small", {}, ` ${facts.join(" \u00b7 ")}`)),
      h("div", { class: "buttons" },
        button("|\u25c0", "first step", () => this.step(-this.order.length)), button("\u25c0", "one step back (key p)", () => this.step(-1)), this.position,
        button("\u25b6", "one step on (key n)", () => this.step(1)),
        this.gradients,
        h("button", { onclick: () => this.panel(tablePanel(this)) }, "table"), h("button", { onclick: () => this.panel(memoryPanel(this)) }, "memory"),
        h("label", {}, "go to ", this.goto),
        h("button", { title: "key t", onclick: () => this.theme() }, "light/dark")));
  }

  /** How a number is named, with a name of this run. */
  example() {
    const value = this.run.value((this.run.records.find((r) => r.path) ?? this.run.records[0]).outputs[0]);
    return bracket(value.name, value.shape.map((n) => Math.floor(n / 2)));
  }

  /** Forward through the operations, then backward through their gradients. */
  steps() {
    const forward = this.run.records.map((record) => ({ record, which: "own" }));
    const backward = this.run.records.filter((r) => this.run.value(r.outputs[0]).grad).reverse().map((record) => ({ record, which: "grad" }));
    return [...forward, ...backward];
  }

  step(by) {
    this.at = Math.max(0, Math.min(this.order.length - 1, this.at + by));
    const { record, which } = this.order[this.at];
    this.setWhich(which);
    this.select(this.graph.boxOf(record), false);
    this.say(`step ${this.at + 1} of ${this.order.length}: ${which === "grad" ? "gradient of" : ""} ${record.label}`);
  }

  setWhich(which) {
    this.which = which;
    this.gradients?.setAttribute("aria-pressed", which === "grad");
  }

  show(which) {
    this.setWhich(which);
    if (this.box) this.select(this.box, false);
  }

  say(text) {
    this.live.textContent = text;
  }

  select(box, move = true) {
    if (!box) return;
    this.box = box;
    this.graph.mark(box.key);
    redraw(this.middle, layerPanel(this, box));
    if (move) {
      const place = this.order.findIndex((s) => s.record === box.records[0] && s.which === this.which);
      if (place >= 0) this.at = place;
      this.say(`${box.title}, ${box.kind}, output ${box.shape}`);
    }
    this.position.textContent = `${this.at + 1}/${this.order.length}`;
  }

  panel(section) {
    this.middle.replaceChildren(section);
    this.middle.scrollTop = 0;
    this.middle.focus({ preventScroll: true });
  }

  fold(path, open, record = null) {
    this.graph.toggle(path, open);
    const box = record ? this.graph.boxOf(record) : this.graph.shown.find((b) => b.records[0].path.startsWith(path) || (path === "loss" && b.records[0].phase === "loss"));
    this.select(box);
  }

  pickedIn(value, which) {
    return this.picked && this.picked.value === value && this.picked.which === which ? this.picked.index : null;
  }

  /** Explain one number at the right, and show where it lives. */
  ask(value, index, which, focus = true) {
    this.picked = { value, index, which };
    redraw(this.right, explainPanel(this, value, index, which));
    this.right.scrollTop = 0;
    if (!focus) return;
    const maker = this.run.maker(value) ?? this.run.consumers.get(value.number)?.[0].record;
    const box = maker && this.graph.boxOf(maker);
    if (box && (box !== this.box || which === "grad" !== (this.which === "grad"))) {
      this.setWhich(which === "grad" ? "grad" : "own");
      this.select(box);
    }
    this.say(this.right.querySelector("h2").textContent);
    if (this.element.clientWidth < 900) this.right.scrollIntoView({ behavior: "smooth" });
  }

  find(input) {
    const match = /^\s*([^[\]]+?)(\.grad)?\s*(?:\[([^\]]*)\])?\s*$/.exec(input.value);
    const value = match && Object.values(this.run.values).find((v) => v.name === match[1]);
    const index = match && match[3] ? match[3].split(",").map(Number) : value ? value.shape.map(() => 0) : [];
    const good = value && index.length === value.shape.length && index.every((i, a) => Number.isInteger(i) && i >= 0 && i < value.shape[a]);
    input.setAttribute("aria-invalid", !good);
    const names = Object.values(this.run.values).map((v) => v.name).filter((n) => match && n.startsWith(match[1].slice(0, 3)));
    input.setCustomValidity(good ? "" : value ? `${value.name} has shape ${value.shape.join("\u00d7")}` : `no such name; there are ${[...new Set(names)].slice(0, 6).join(", ") || "others"}`);
    if (good) this.ask(value, index, match[2] ? "grad" : "own");
    else input.reportValidity();
  }

  theme() {
    const { dataset } = this.element;
    const dark = (dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
    dataset.theme = dark ? "light" : "dark";
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    // a notebook around it has keys of its own (x cuts the cell): letters, arrows and Enter stay here, the rest is theirs
    if (event.key.length === 1 || event.key.startsWith("Arrow") || (event.key === "Enter" && !event.shiftKey)) event.stopPropagation();
    if (event.target.matches("input, select")) return;
    const action = { n: () => this.step(1), p: () => this.step(-1), g: () => this.run.loss !== null && this.show(this.which === "own" ? "grad" : "own"), t: () => this.theme(),
      "/": () => this.goto.focus(), f: () => this.box?.path && this.box.path !== "loss" && this.fold(this.box.path, true) }[event.key];
    if (action) {
      event.preventDefault();
      action();
    }
  }
}

function largest(shape, numbers) {
  let best = 0;
  for (let i = 1; i < numbers.length; i++) if (numbers[i] > numbers[best]) best = i;
  return unflat(shape, best);
}

// ---- in a notebook -------------------------------------------------------------------------------------------------

/** "dark" or "light" by what lies behind `element`, null where nothing opaque does. */
function themeBehind(element) {
  for (let e = element.parentElement; e; e = e.parentElement) {
    const [r, g, b, opaque = 1] = getComputedStyle(e).backgroundColor.match(/[\d.]+/g)?.map(Number) ?? [0, 0, 0, 0];
    if (opaque > 0.5) return 0.299 * r + 0.587 * g + 0.114 * b < 128 ? "dark" : "light";
  }
  return null;
}

/** Entry for anywidget: draws the run that model.get("data") packs into `el`, and returns what takes it away again. */
async function render({ model, el }) {
  const root = h("div");
  el.append(root);
  const drawn = new ResizeObserver(() => { // once it has a place on the page: el may come to it after this
    const theme = root.isConnected && themeBehind(root);
    if (theme) root.dataset.theme = theme;
    if (root.isConnected) drawn.disconnect();
  });
  drawn.observe(root);
  new App(await unpack(model.get("data")), root);
  return () => {
    drawn.disconnect();
    root.remove();
  };
}

export default { render };
