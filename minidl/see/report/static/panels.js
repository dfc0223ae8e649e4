// What stands beside the graph: a layer with its maps, the explanation of a number, the memory ledger, the table.

function outputsOf(run, box) {
  return run.value(box.records[box.records.length - 1].outputs[0]);
}

/** Parameters and other given values that the records of a box read. */
function givenTo(run, box) {
  const found = new Map();
  for (const record of box.records) {
    for (const arg of record.args) {
      const value = arg.value === undefined ? null : run.value(arg.value);
      if (value && value.record === null && value.name !== "constant" && value.shape.length) found.set(value.number, value);
    }
  }
  return [...found.values()];
}

function inputsOf(run, box) {
  const inside = new Set(box.records.flatMap((r) => r.outputs));
  const found = new Map();
  for (const record of box.records) {
    for (const arg of record.args) {
      const value = arg.value === undefined ? null : run.value(arg.value);
      if (value && !inside.has(value.number) && (value.record !== null || value.name.startsWith("input"))) found.set(value.number, value);
    }
  }
  return [...found.values()];
}

function layerPanel(app, box) {
  const { run } = app;
  const output = outputsOf(run, box);
  const module = run.modules.find((m) => m.path === box.path);
  const sum = (key) => box.records.reduce((s, r) => s + r[key], 0);
  const facts = [
    ["output", output.shape.join(" \u00d7 ") || "one number"],
    module && ["parameters", count(module.parameters)],
    sum("macs") && ["multiply-adds", count(sum("macs"))],
    ["time", `${milliseconds(sum("forward_ms"))} forward, ${milliseconds(sum("backward_ms"))} backward`],
    sum("kept") && ["kept for the backward pass", bytes(sum("kept"))],
  ].filter(Boolean);
  const isGrad = app.which === "grad" && output.grad;
  const which = isGrad ? "grad" : "own";
  const panel = h("section", { "aria-label": box.title },
    h("h2", { class: "layer-title" }, box.title, module ? h("small", {}, ` ${module.kind}(${module.text})`) : null),
    h("dl", { class: "facts" }, facts.map(([k, v]) => [h("dt", {}, k), h("dd", {}, v)])),
    foldButtons(app, box),
    h("h3", {}, isGrad ? `Gradient of the loss with respect to ${output.name}` : `Output ${output.name}`),
    health(output, which),
    new Maps(run, output, which, { onPick: app.ask, picked: app.pickedIn(output, which) }).element,
    histogram(output[which], isGrad ? "gradient" : "output"));
  for (const value of givenTo(run, box)) {
    const shown = app.which === "grad" && value.grad ? "grad" : "own";
    panel.append(h("details", { open: size(value.shape) < 5000 },
      h("summary", {}, `${value.name} ${value.shape.join("\u00d7")}${shown === "grad" ? ": its gradient" : ""}`),
      new Maps(run, value, shown, { onPick: app.ask, picked: app.pickedIn(value, shown) }).element,
      histogram(value[shown], run.nameOf(value.number, shown))));
  }
  for (const op of new Set(box.records.map((r) => r.op))) {
    const formula = run.formulas[op];
    if (!formula) continue;
    panel.append(h("details", {}, h("summary", {}, `The operation ${op}: formula, gradient, readable twin`),
      h("pre", {}, formula.text), h("h4", {}, "Its gradient"), h("pre", {}, formula.derivation),
      formula.twin ? [h("h4", {}, "Its readable twin, which the fast kernel is held against"), h("pre", { class: "code" }, formula.twin)] : []));
  }
  return panel;
}

function foldButtons(app, box) {
  const { graph } = app;
  const buttons = [];
  if (box.path && box.path !== "loss" && (box.records.length > 1 || graph.container.has(box.path))) {
    buttons.push(h("button", { onclick: () => app.fold(box.path, true) }, "Unfold this module"));
  } else if (box.path === "loss") buttons.push(h("button", { onclick: () => app.fold("loss", true) }, "Unfold the loss"));
  const record = box.records[0];
  const outer = box.path === null ? (record.phase === "loss" ? "loss" : record.path) : box.path.split(".").slice(0, -1).join(".");
  if (outer) buttons.push(h("button", { onclick: () => app.fold(outer, false, record) }, `Fold ${outer}`));
  return h("p", { class: "buttons" }, buttons);
}

function health(value, which) {
  const s = value[which];
  const notes = [];
  if (s.bad) notes.push(`${count(s.bad)} numbers are NaN or infinite.`);
  if (s.zeros > 0.01) notes.push(`${(100 * s.zeros).toFixed(1)} % are exactly 0.`);
  if (s.dead && value.record !== null) notes.push(`${s.dead} of ${value.shape[1]} maps are 0 everywhere${which === "own" ? ": dead for this input" : ""}.`);
  return notes.length ? h("p", { class: s.bad || (s.dead && value.record !== null) ? "warning" : "note" }, notes.join(" ")) : null;
}

// ---- one number ----------------------------------------------------------------------------------------------------

function explainPanel(app, value, index, which) {
  const { run } = app;
  const name = bracket(run.nameOf(value.number, which), index);
  const panel = h("section", { "aria-label": name, class: "explanation" });
  const tabs = h("p", { class: "buttons", role: "group", "aria-label": "what to explain" },
    h("button", { "aria-pressed": which === "own", onclick: () => app.ask(value, index, "own") }, "the number"),
    value.grad ? h("button", { "aria-pressed": which === "grad", onclick: () => app.ask(value, index, "grad") }, "its gradient") : null,
    value.after ? h("button", { "aria-pressed": which === "after", onclick: () => app.ask(value, index, "after") }, "its change in one step") : null);
  if (which === "after") {
    panel.append(h("h2", { class: "explain-title" }, `One step of ${bracket(value.name, index)}`), tabs, change(app, value, index));
    return panel;
  }
  let answer;
  try {
    answer = app.explainer.explain(value, index, which);
  } catch (error) {
    if (!(error instanceof Unknown)) throw error;
    panel.append(h("h2", { class: "explain-title" }, name), tabs, h("p", { class: "note" }, error.message, ". In the terminal: "),
      h("pre", {}, `${run.command} --at "${name}"`));
    return panel;
  }
  const meaning = which === "grad" ? `the loss would change by ${digits(answer.stored)} for each unit that ${bracket(value.name, index)} grows` : "";
  panel.append(
    h("h2", { class: "explain-title" }, `${name} = ${digits(answer.stored, 8)}`), tabs,
    h("p", {}, [answer.record ? `${answer.record.op}: ` : "", answer.formula, meaning ? `; ${meaning}` : ""].join("")),
    ...answer.lines.slice(0, 12).map((line) => h("p", { class: "note" }, line)),
    fields(app, value, index, which, answer),
    terms(app, answer),
    h("p", { class: "sum", "data-sum": answer.sum, "data-stored": answer.stored },
      `Sum ${digits(answer.sum, 10)}, stored ${digits(answer.stored, 10)}: they differ by ${digits(Math.abs(answer.sum - answer.stored), 2)}, the rounding of ${value.dtype}.`));
  return panel;
}

/** The windows that the number was made from, drawn over the maps they lie in, and its receptive field. */
function fields(app, value, index, which, answer) {
  const { run } = app;
  const read = new Map();
  for (const term of answer.terms) {
    for (const part of term.parts) {
      const key = `${part.value.number}/${part.which}`;
      if (!read.has(key)) read.set(key, { value: part.value, which: part.which, marks: [] });
      read.get(key).marks.push({ index: part.index, kind: term.lost ? "lost" : "read" });
    }
  }
  const out = [...read.values()].filter((r) => r.value.shape.length > 2 && run.numbers(r.value, r.which) && r.marks.length < 3000).map((r) =>
    h("figure", { class: "field" },
      new Maps(run, r.value, r.which, { marks: r.marks, onlyMarked: true, limit: 16, onPick: app.ask }).element,
      h("figcaption", {}, `What it reads of ${run.nameOf(r.value.number, r.which)}, outlined. Click a pixel to go on from there.`)));
  const input = Object.values(run.values).find((v) => v.record === null && v.name.startsWith("input"));
  if (which === "own" && input && input !== value && input.shape.length === 4 && value.record !== null) {
    const box = receptiveField(run, value, index, input);
    if (box) {
      const [[top, bottom], [left, right]] = box.slice(2);
      const drawing = new Maps(run, input, "own", { limit: 3 }).element;
      for (const overlay of drawing.querySelectorAll(".overlay")) {
        overlay.append(svg("rect", { class: "mark field", x: left, y: top, width: right - left + 1, height: bottom - top + 1 }));
      }
      out.push(h("figure", { class: "field" }, drawing,
        h("figcaption", {}, `Receptive field: rows ${top} to ${bottom}, columns ${left} to ${right} of the input can have an influence.`)));
    }
  }
  return h("div", { class: "fields" }, out);
}

const SHOWN_TERMS = 400;

function terms(app, answer) {
  if (!answer.terms.length) return h("p", { class: "note" }, "No terms: it is what it is.");
  const order = h("select", { "aria-label": "order of the terms", onchange: () => show() },
    h("option", { value: "size" }, "largest first"), h("option", { value: "place" }, "in order"));
  const body = h("div", { class: "terms", tabindex: 0, role: "region", "aria-label": "terms" });
  const show = () => {
    const list = answer.terms.slice();
    if (order.value === "size") list.sort((a, b) => Math.abs(b.product) - Math.abs(a.product));
    let running = 0;
    const rows = list.slice(0, SHOWN_TERMS).map((term) => {
      running += term.lost ? 0 : term.product;
      return h("tr", { class: term.padding ? "padding" : term.lost ? "lost" : "" },
        h("td", {}, term.padding ? "padding 0 \u00d7 " : "", term.parts.map((part, i) => [i ? " \u00d7 " : "", reference(app, part)]),
          term.factor !== 1 && term.parts.length && !term.padding ? ` \u00d7 ${digits(term.factor, 4)}` : "", term.note ? ` (${term.note})` : "",
          term.through ? h("small", {}, ` through ${term.through.label}`) : null),
        h("td", { class: "number" }, digits(term.product)), h("td", { class: "number" }, digits(running)));
    });
    const rest = list.slice(SHOWN_TERMS).reduce((s, t) => s + t.product, 0);
    if (list.length > SHOWN_TERMS) {
      rows.push(h("tr", {}, h("td", {}, `${list.length - SHOWN_TERMS} more`), h("td", { class: "number" }, digits(rest)), h("td", { class: "number" }, digits(running + rest))));
    }
    body.replaceChildren(table(`${list.length} term${list.length === 1 ? "" : "s"}`, ["term", "product", "running sum"], rows));
  };
  show();
  return h("div", {}, h("label", {}, "Terms ", order), body);
}

/** A number of the run as a button that leads to its own explanation. */
function reference(app, part) {
  const number = app.explainer.number(part.value, part.index, part.which);
  return h("button", { class: "ref", onclick: () => app.ask(part.value, part.index, part.which) },
    bracket(app.run.nameOf(part.value.number, part.which), part.index), h("b", {}, ` ${digits(number, 5)}`));
}

/** Why a weight changed: the optimiser's rule with the numbers put in. */
function change(app, value, index) {
  const at = flat(value.shape, index);
  const { run } = app;
  const w = run.numbers(value)[at];
  const g = run.numbers(value, "grad")?.[at] ?? 0;
  const after = run.numbers(value, "after")[at];
  const lines = stepLines(run.step, w, g);
  const computed = lines[lines.length - 1].result;
  return h("div", {},
    h("p", {}, `${run.step.name} changed it by ${digits(after - w, 5)}: from ${digits(w, 8)} to ${digits(after, 8)}.`),
    h("pre", {}, lines.map((l) => l.text).join("\n")),
    h("p", { class: "sum", "data-sum": computed, "data-stored": after }, `Computed ${digits(computed, 10)}, stored ${digits(after, 10)}.`),
    h("p", {}, "The gradient is the sum of what each use of the weight sent back: ",
      h("button", { onclick: () => app.ask(value, index, "grad") }, "explain the gradient")));
}

/** The first step of SGD or Adam on weight w with gradient g (no momentum has gathered yet). */
function stepLines(rule, w, g) {
  const d = (x) => digits(x, 6);
  const lines = [{ text: `gradient g = ${d(g)}` }];
  let grad = g;
  const decoupled = rule.name === "AdamW";
  if (rule.weight_decay && !decoupled) {
    grad = g + rule.weight_decay * w;
    lines.push({ text: `with weight decay  g = ${d(g)} + ${rule.weight_decay} * ${d(w)} = ${d(grad)}` });
  }
  if (rule.name === "SGD") {
    if (rule.momentum) lines.push({ text: `momentum buffer v = g = ${d(grad)} (first step)` });
    const step = rule.nesterov ? grad + rule.momentum * grad : grad;
    const result = w - rule.lr * step;
    lines.push({ text: `w - lr * ${rule.momentum ? "v" : "g"} = ${d(w)} - ${rule.lr} * ${d(step)} = ${d(result)}`, result });
    return lines;
  }
  const [beta1, beta2] = rule.betas;
  const start = decoupled ? w * (1 - rule.lr * rule.weight_decay) : w;
  const m = ((1 - beta1) * grad) / (1 - beta1);
  const v = ((1 - beta2) * grad * grad) / (1 - beta2);
  const result = start - (rule.lr * m) / (Math.sqrt(v) + rule.eps);
  lines.push({ text: `first moment  m = ${d(m)}, second moment v = ${d(v)} (both corrected for their start at 0)` });
  if (decoupled) lines.push({ text: `decayed  w = ${d(w)} * (1 - ${rule.lr} * ${rule.weight_decay}) = ${d(start)}` });
  lines.push({ text: `w - lr * m / (sqrt(v) + eps) = ${d(result)}`, result });
  return lines;
}

// ---- tables --------------------------------------------------------------------------------------------------------

function tablePanel(app) {
  const rows = app.graph.shown.map((box) => {
    const sum = (key) => box.records.reduce((s, r) => s + r[key], 0);
    const parameters = app.run.modules.find((m) => m.path === box.path)?.parameters;
    return h("tr", {},
      h("th", { scope: "row" }, h("button", { class: "ref", onclick: () => app.select(box) }, box.title)), h("td", {}, box.kind), h("td", {}, box.shape),
      ...[parameters, sum("macs")].map((n) => h("td", { class: "number" }, n ? count(n) : "")),
      ...[sum("forward_ms"), sum("backward_ms")].map((n) => h("td", { class: "number" }, milliseconds(n))), h("td", { class: "number" }, sum("kept") ? bytes(sum("kept")) : ""));
  });
  return h("section", { class: "wide" }, h("h2", {}, "All layers"),
    table("As the graph is folded now", ["layer", "kind", "output", "parameters", "multiply-adds", "forward", "backward", "kept"], rows));
}

function memoryPanel(app) {
  const { run } = app;
  const list = run.ledger.slice().sort((a, b) => b.bytes - a.bytes);
  const total = list.filter((e) => !e.shared).reduce((s, e) => s + e.bytes, 0);
  const rows = list.map((entry) => h("tr", {},
    h("th", { scope: "row" }, entry.name), h("td", {}, entry.shape.join("\u00d7")), h("td", { class: "number" }, bytes(entry.bytes)),
    h("td", {}, (entry.made_by === null ? "given" : run.byNumber.get(entry.made_by).label) + (entry.shared && entry.made_by !== null ? " (a view)" : "")),
    h("td", {}, entry.for.map((f) => `${run.byNumber.get(f.record).label}: the gradient of ${f.readers.join(" and ") || "its arguments"} reads it as ${f.argument}`).join("; "))));
  return h("section", { class: "wide" }, h("h2", {}, "Memory between the forward and the backward pass"),
    h("p", {}, `${list.length} arrays are kept. What is no view of a parameter, the input or another of them takes ${bytes(total)}.`),
    table("Largest first", ["array", "shape", "size", "made by", "kept because"], rows));
}
