// One number taken apart: the same answers as minidl.see.explain, computed here so that every number can be asked.
//
// A term is {parts: [{value, which, index} ...], factor, product, padding}: product = factor * the parts' numbers.
// An explanation is {value, which, index, formula, terms, lines, sum, stored}; sum is what the terms come to, and
// stored what the run had. A gradient is explained the same way, its terms come from each operation that read the value.

const SLOPES = {
  // y = f(x), and dy/dx from x and y
  relu: [(x) => Math.max(x, 0), (x) => (x > 0 ? 1 : 0), "max(x, 0)", "1 where x > 0, else 0"],
  tanh: [Math.tanh, (x, y) => 1 - y * y, "tanh(x)", "1 \u2212 y\u00b2"],
  sigmoid: [(x) => 1 / (1 + Math.exp(-x)), (x, y) => y * (1 - y), "1 / (1 + exp(\u2212x))", "y (1 \u2212 y)"],
  exp: [Math.exp, (x, y) => y, "exp(x)", "y"],
  log: [Math.log, (x) => 1 / x, "log(x)", "1 / x"],
  sqrt: [Math.sqrt, (x, y) => 0.5 / y, "\u221ax", "1 / 2y"],
  rsqrt: [(x) => 1 / Math.sqrt(x), (x, y) => (-0.5 * y) / x, "1 / \u221ax", "\u2212y / 2x"],
  neg: [(x) => -x, () => -1, "\u2212x", "\u22121"],
  abs: [Math.abs, (x) => Math.sign(x), "|x|", "the sign of x"],
};

class Unknown extends Error {}

class Explainer {
  constructor(run) {
    this.run = run;
  }

  number(value, index, which = "own") {
    const numbers = this.run.numbers(value, which);
    if (!numbers) throw new Unknown(`the numbers of ${value.name} are not in this page`);
    return numbers[flat(value.shape, index)];
  }

  part(number, index, which = "own") {
    return { value: this.run.value(number), which, index };
  }

  /** Where a number stood before it was only moved: of a transposed weight the element of the weight. */
  origin(part) {
    const maker = this.run.maker(part.value);
    if (part.which !== "own" || !maker || !["move", "same_order"].includes(maker.rule.kind)) return part;
    return this.origin(FORWARD[maker.rule.kind](this, maker, part.index).terms[0].parts[0]);
  }

  /** A term: the product of a factor and of some numbers of the run. */
  term(parts, factor = 1, extra = {}) {
    const product = parts.reduce((p, part) => p * this.number(part.value, part.index, part.which), factor);
    return { parts, factor, product, ...extra };
  }

  explain(value, index, which = "own") {
    const answer = which === "grad" ? this.gradient(value, index) : this.forward(value, index);
    answer.sum = answer.sum ?? answer.terms.reduce((s, t) => s + t.product, 0);
    return { value, which, index, stored: this.number(value, index, which), lines: [], ...answer };
  }

  // ---- forward -----------------------------------------------------------------------------------------------------

  forward(value, index) {
    const record = this.run.maker(value);
    if (!record) return { formula: "given: an input, a parameter or a constant", terms: [], sum: this.number(value, index) };
    const output = record.outputs.indexOf(value.number);
    const rule = FORWARD[record.rule.kind] ?? (SLOPES[record.rule.kind] ? FORWARD.elementwise : null);
    if (!rule || (output > 0 && !["standardize", "batch_norm"].includes(record.rule.kind))) {
      throw new Unknown(`this page cannot take a number of '${record.op}' apart`);
    }
    return { record, ...rule(this, record, index, output) };
  }

  // ---- gradients ---------------------------------------------------------------------------------------------------

  gradient(value, index) {
    if (!value.grad) throw new Unknown(`no gradient reaches ${value.name}`);
    if (value.number === this.run.loss) return { formula: "the loss itself: its gradient is 1", terms: [], sum: 1 };
    const terms = [];
    const lines = [];
    for (const { record, position } of this.run.consumers.get(value.number) ?? []) {
      const y = this.run.value(record.outputs[0]);
      if (!y.grad) continue;
      const rule = BACKWARD[record.rule.kind] ?? (SLOPES[record.rule.kind] ? BACKWARD.elementwise : null);
      if (!rule) throw new Unknown(`this page cannot take a gradient of '${record.op}' apart`);
      const before = terms.length;
      for (const term of rule(this, record, position, index, y)) {
        const moved = value.record === null && ["move", "same_order"].includes(record.rule.kind);  // look through it
        if (moved) terms.push(...this.gradient(y, term.parts[0].index).terms);
        else terms.push({ ...term, through: record });
      }
      lines.push(`through ${record.label}: ${terms.length - before} term${terms.length - before === 1 ? "" : "s"}`);
    }
    return { formula: "each y that reads this number sends back dL/dy times its slope", terms, lines };
  }
}

// ---- windows -------------------------------------------------------------------------------------------------------

/** All taps of the window at output position `out`: [position of each tap per axis (-1: padding), tap per axis]. */
function* tapsOf(taps, out) {
  const lists = taps.map((axis, a) => axis[out[a]]);
  for (const tap of indices(lists.map((l) => l.length))) yield [tap.map((t, a) => lists[a][t]), tap];
}

/** All [output position, tap] that read input position `at`. */
function* readers(taps, at) {
  const lists = taps.map((axis, a) => {
    const found = [];
    axis.forEach((positions, out) => positions.forEach((i, t) => i === at[a] && found.push([out, t])));
    return found;
  });
  for (const pick of indices(lists.map((l) => l.length))) {
    const chosen = pick.map((c, a) => lists[a][c]);
    yield [chosen.map((c) => c[0]), chosen.map((c) => c[1])];
  }
}

/** All output positions and the input position that tap `tap` reads there (-1: padding). */
function* sweep(taps, tap) {
  for (const out of indices(taps.map((axis) => axis.length))) yield [out, out.map((p, a) => taps[a][p][tap[a]])];
}

function bias(explainer, record, channel) {
  return record.args[2].value === undefined ? [] : [explainer.term([explainer.part(record.args[2].value, [channel])], 1, { note: "bias" })];
}

/** The group's size in the input and in the output of a convolution with weight (K, C/G, ...). */
function groupSizes(run, record) {
  const [maps, perGroup] = run.value(record.args[record.op === "conv" ? 1 : 0].value).shape;
  return { inputs: perGroup, outputs: maps / record.rule.groups };
}

const FORWARD = {
  conv(e, record, [n, k, ...out]) {
    const [x, w] = record.args.map((a) => a.value);
    const { inputs, outputs } = groupSizes(e.run, record);
    const first = Math.floor(k / outputs) * inputs;
    const terms = [];
    for (let c = 0; c < inputs; c++) {
      for (const [at, tap] of tapsOf(record.rule.taps, out)) {
        const weight = e.part(w, [k, c, ...tap]);
        if (at.includes(-1)) terms.push({ parts: [weight], factor: 0, product: 0, padding: true });
        else terms.push(e.term([e.part(x, [n, first + c, ...at]), weight]));
      }
    }
    return { formula: "the window of x times the filter, plus the bias", terms: [...terms, ...bias(e, record, k)] };
  },

  conv_input_grad(e, record, [n, channel, ...at]) {
    const [w, x] = record.args.map((a) => a.value);
    const { inputs, outputs } = groupSizes(e.run, record);
    const first = Math.floor(channel / inputs) * outputs;
    const terms = [];
    for (let k = first; k < first + outputs; k++) {
      for (const [out, tap] of readers(record.rule.taps, at)) {
        terms.push(e.term([e.part(x, [n, k, ...out]), e.part(w, [k, channel % inputs, ...tap])]));
      }
    }
    return { formula: "all x whose stamped filter covers this place, plus the bias", terms: [...terms, ...bias(e, record, channel)] };
  },

  max_pool(e, record, [n, c, ...out]) {
    const x = record.args[0].value;
    const terms = [];
    let best = null;
    for (const [at] of tapsOf(record.rule.taps, out)) {
      if (at.includes(-1)) continue;
      const term = e.term([e.part(x, [n, c, ...at])], 1, { lost: true });
      terms.push(term);
      if (best === null || term.product > best.product || Number.isNaN(term.product)) best = term;
    }
    const ties = terms.filter((t) => t.product === best.product).length;
    best.lost = false;
    best.note = "largest";
    const lines = ties > 1 ? [`${ties} are equal: the first in reading order wins`] : [];
    return { formula: "the largest number of the window", terms, sum: best.product, lines };
  },

  avg_pool(e, record, [n, c, ...out]) {
    const x = record.args[0].value;
    const shape = e.run.value(record.outputs[0]).shape.slice(2);
    const share = 1 / record.rule.divisors[flat(shape, out)];
    const terms = [];
    for (const [at] of tapsOf(record.rule.taps, out)) {
      if (!at.includes(-1)) terms.push(e.term([e.part(x, [n, c, ...at])], share));
    }
    return { formula: `the sum of the window divided by ${digits(1 / share)}`, terms };
  },

  matmul(e, record, [n, m]) {
    const [a, b] = record.args.map((arg) => arg.value);
    const terms = [];
    for (let k = 0; k < e.run.value(a).shape[1]; k++) terms.push(e.term([e.part(a, [n, k]), e.origin(e.part(b, [k, m]))]));
    return { formula: "row of a times column of b", terms };
  },

  elementwise(e, record, index) {
    const [f, , text] = SLOPES[record.rule.kind];
    const part = e.part(record.args[0].value, index);
    const x = e.number(part.value, index);
    return { formula: `y = ${text}`, terms: [{ parts: [part], factor: 1, product: x, note: "x" }], sum: f(x) };
  },

  same_order(e, record, index) {
    const shape = e.run.value(record.outputs[0]).shape;
    const x = record.args[0].value;
    return { formula: "the same number in another shape", terms: [e.term([e.part(x, unflat(e.run.value(x).shape, flat(shape, index)))])] };
  },

  move(e, record, index) {
    const x = record.args[0].value;
    const source = e.run.array(record.rule.sources)[flat(e.run.value(record.outputs[0]).shape, index)];
    return { formula: "a number from another place", terms: [e.term([e.part(x, unflat(e.run.value(x).shape, source))])] };
  },

  cat(e, record, index) {
    const { dim } = record.rule;
    let before = 0;
    for (const { value } of record.args) {
      const length = e.run.value(value).shape[dim];
      if (index[dim] < before + length) {
        const at = index.map((i, a) => (a === dim ? i - before : i));
        return { formula: "a number of one of the pieces", terms: [e.term([e.part(value, at)])] };
      }
      before += length;
    }
    throw new Unknown("cat: no piece has this index");
  },

  add(e, record, index) {
    const product = record.args[0].value === undefined ? null : e.run.maker(e.run.value(record.args[0].value));
    const terms = operands(e, record, index);
    const linear = product && product.rule.kind === "matmul" && product.path === record.path && terms[1].parts.length;
    if (!linear) return { formula: "a + b", terms };
    // a linear layer: its product and its bias in one
    return { formula: "row of x times row of the weight, plus the bias", terms: [...FORWARD.matmul(e, product, index).terms, { ...terms[1], note: "bias" }] };
  },
  sub: (e, record, index) => ({ formula: "a \u2212 b", terms: operands(e, record, index, [1, -1]) }),
  mul(e, record, index) {
    const terms = operands(e, record, index);
    return { formula: "a \u00d7 b", terms: [combine(terms[0], terms[1])] };
  },
  div(e, record, index) {
    const [a, b] = operands(e, record, index);
    return { formula: "a / b", terms: [a, { ...b, note: "divisor" }], sum: a.product / b.product };
  },

  sum: (e, record, index) => ({ formula: "the sum", terms: group(e, record, index, record.rule).map((part) => e.term([part])) }),
  mean(e, record, index) {
    const parts = group(e, record, index, record.rule);
    return { formula: `the mean of ${parts.length} numbers`, terms: parts.map((part) => e.term([part], 1 / parts.length)) };
  },

  log_softmax(e, record, index) {
    const { parts, own, total } = exponentials(e, record, index);
    const x = e.number(parts[own].value, parts[own].index);
    const terms = [e.term([parts[own]])];
    const lines = parts.map((p) => `exp(${digits(e.number(p.value, p.index))}) = ${digits(Math.exp(e.number(p.value, p.index)))}`);
    return {
      formula: `x \u2212 log(sum of exp(x)) = x \u2212 log(${digits(total)}) = x \u2212 ${digits(Math.log(total))}`,
      terms, lines, sum: x - Math.log(total),
    };
  },
  softmax(e, record, index) {
    const { parts, own, total } = exponentials(e, record, index);
    const x = e.number(parts[own].value, parts[own].index);
    return { formula: `exp(x) / ${digits(total)}`, terms: [e.term([parts[own]])], sum: Math.exp(x) / total };
  },

  standardize(e, record, index, output) {
    const { mean, variance, x, count } = moments(e, record, index);
    if (output === 1) return { formula: `the mean of ${count} numbers`, terms: [], sum: mean };
    if (output === 2) return { formula: `the variance of ${count} numbers`, terms: [], sum: variance };
    const own = e.part(x, index);
    const value = e.number(own.value, index);
    return {
      formula: `(x \u2212 mean) / \u221a(variance + ${digits(record.rule.eps)})`,
      terms: [{ parts: [own], factor: 1, product: value, note: "x" }],
      lines: [`mean ${digits(mean)} and variance ${digits(variance)} of ${count} numbers`],
      sum: (value - mean) / Math.sqrt(variance + record.rule.eps),
    };
  },
};

/** Element `index` of x with its channel's weight and bias: what batch norm does after it has standardised. */
function scaled(e, record, index, standard, lines) {
  const [, weight, shift] = record.args;
  const terms = [];
  if (weight.value === undefined) terms.push({ parts: [], factor: standard, product: standard, note: "x, standardised" });
  else terms.push(e.term([e.part(weight.value, [index[1]])], standard, { note: "times x, standardised" }));
  if (shift.value !== undefined) terms.push(e.term([e.part(shift.value, [index[1]])], 1, { note: "bias" }));
  return { terms, lines };
}

function operands(e, record, index, factors = [1, 1]) {
  return record.args.map((arg, i) => {
    if (arg.value === undefined) return { parts: [], factor: factors[i], product: factors[i] * arg.constant, note: "constant" };
    return e.term([e.part(arg.value, unbroadcast(e.run.value(arg.value).shape, index))], factors[i]);
  });
}

function combine(a, b) {
  return { parts: [...a.parts, ...b.parts], factor: a.parts.length && b.parts.length ? 1 : a.parts.length ? b.product : a.product, product: a.product * b.product };
}

/** The elements of argument 0 that are summed into element `index` of the result. */
function group(e, record, index, { axes, keepdim }) {
  const x = e.run.value(record.args[0].value);
  const summed = new Set(axes.map((a) => (a + x.shape.length) % x.shape.length));
  let next = 0;
  const fixed = x.shape.map((_, a) => (summed.has(a) ? (keepdim && next++, null) : index[next++]));
  const free = x.shape.map((n, a) => (fixed[a] === null ? n : 1));
  return [...indices(free)].map((i) => ({ value: x, which: "own", index: i.map((j, a) => fixed[a] ?? j) }));
}

function exponentials(e, record, index) {
  const x = e.run.value(record.args[0].value);
  const { axis } = record.rule;
  const parts = [];
  for (let j = 0; j < x.shape[axis]; j++) parts.push({ value: x, which: "own", index: index.map((i, a) => (a === axis ? j : i)) });
  return { parts, own: index[axis], total: parts.reduce((s, p) => s + Math.exp(e.number(p.value, p.index)), 0) };
}

/** Mean and variance of the group that element `index` of x is standardised with. */
function moments(e, record, index, axes = record.rule.axes) {
  const x = record.args[0].value;
  const shape = e.run.value(x).shape;
  const members = sameGroup(shape, index, axes);
  const values = members.map((i) => e.number(e.run.value(x), i));
  const mean = values.reduce((s, v) => s + v, 0) / values.length;
  const variance = values.reduce((s, v) => s + (v - mean) ** 2, 0) / values.length;
  return { mean, variance, x, members, count: values.length };
}

function sameGroup(shape, index, axes) {
  const free = shape.map((n, a) => (axes.includes(a) ? n : 1));
  return [...indices(free)].map((i) => i.map((j, a) => (axes.includes(a) ? j : index[a])));
}

const CHANNEL = (shape) => shape.map((_, a) => a).filter((a) => a !== 1);

FORWARD.batch_norm = (e, record, index, output) => {
  const x = record.args[0].value;
  const shape = e.run.value(x).shape;
  const at = output ? shape.map((_, a) => (a === 1 ? index[0] : 0)) : index;
  const { mean, variance, count } = moments(e, record, at, CHANNEL(shape));
  if (output === 1) return { formula: `the mean of ${count} numbers`, terms: [], sum: mean };
  if (output === 2) return { formula: `the variance of ${count} numbers`, terms: [], sum: variance };
  const own = e.number(e.run.value(x), index);
  const deviation = Math.sqrt(variance + record.rule.eps);
  const lines = [
    `mean ${digits(mean)} and variance ${digits(variance)} of the ${count} numbers of channel ${index[1]}`,
    `standardised: (${digits(own)} \u2212 ${digits(mean)}) / \u221a(${digits(variance)} + ${digits(record.rule.eps)}) = ${digits((own - mean) / deviation)}`,
  ];
  return { formula: "weight \u00d7 (x \u2212 mean) / \u221a(variance + eps) + bias", ...scaled(e, record, index, (own - mean) / deviation, lines) };
};

FORWARD.scale_shift = (e, record, index) => {
  const [x, scale, shift] = record.args;
  const terms = [e.term([e.part(x.value, index), e.part(scale.value, [index[1]])])];
  if (shift.value !== undefined) terms.push(e.term([e.part(shift.value, [index[1]])], 1, { note: "shift" }));
  return { formula: "x \u00d7 scale + shift, one of each for a channel", terms };
};

// Terms that operation `record` sends back to element `index` of its argument `position`; y is its result.
const BACKWARD = {
  *conv(e, record, position, index, y) {
    const [x, w] = record.args.map((a) => a.value);
    const { inputs, outputs } = groupSizes(e.run, record);
    const g = (i) => e.part(y.number, i, "grad");
    const batch = y.shape[0];
    if (position === 0) {
      const [n, c, ...at] = index;
      const first = Math.floor(c / inputs) * outputs;
      for (let k = first; k < first + outputs; k++) {
        for (const [out, tap] of readers(record.rule.taps, at)) yield e.term([g([n, k, ...out]), e.part(w, [k, c % inputs, ...tap])]);
      }
    } else if (position === 1) {
      const [k, c, ...tap] = index;
      const channel = Math.floor(k / outputs) * inputs + c;
      for (let n = 0; n < batch; n++) {
        for (const [out, at] of sweep(record.rule.taps, tap)) {
          if (!at.includes(-1)) yield e.term([g([n, k, ...out]), e.part(x, [n, channel, ...at])]);
        }
      }
    } else yield* channelSum(e, y, index[0]);
  },

  *conv_input_grad(e, record, position, index, y) {
    const [w, x] = record.args.map((a) => a.value);
    const { inputs, outputs } = groupSizes(e.run, record);
    const g = (i) => e.part(y.number, i, "grad");
    if (position === 1) {
      const [n, k, ...out] = index;
      const first = Math.floor(k / outputs) * inputs;
      for (let c = 0; c < inputs; c++) {
        for (const [at, tap] of tapsOf(record.rule.taps, out)) {
          if (!at.includes(-1)) yield e.term([g([n, first + c, ...at]), e.part(w, [k, c, ...tap])]);
        }
      }
    } else if (position === 0) {
      const [k, c, ...tap] = index;
      const channel = Math.floor(k / outputs) * inputs + c;
      for (let n = 0; n < y.shape[0]; n++) {
        for (const [out, at] of sweep(record.rule.taps, tap)) {
          if (!at.includes(-1)) yield e.term([g([n, channel, ...at]), e.part(x, [n, k, ...out])]);
        }
      }
    } else yield* channelSum(e, y, index[0]);
  },

  *max_pool(e, record, position, [n, c, ...at], y) {
    for (const [out] of readers(record.rule.taps, at)) {
      const winner = FORWARD.max_pool(e, record, [n, c, ...out]).terms.find((t) => !t.lost);
      if (winner.parts[0].index.slice(2).every((i, a) => i === at[a])) yield e.term([e.part(y.number, [n, c, ...out], "grad")], 1, { note: "won" });
    }
  },

  *avg_pool(e, record, position, [n, c, ...at], y) {
    for (const [out] of readers(record.rule.taps, at)) {
      yield e.term([e.part(y.number, [n, c, ...out], "grad")], 1 / record.rule.divisors[flat(y.shape.slice(2), out)]);
    }
  },

  *matmul(e, record, position, [i, j], y) {
    const [a, b] = record.args.map((arg) => arg.value);
    if (position === 0) {
      for (let m = 0; m < y.shape[1]; m++) yield e.term([e.part(y.number, [i, m], "grad"), e.part(b, [j, m])]);
    } else {
      for (let n = 0; n < y.shape[0]; n++) yield e.term([e.part(y.number, [n, j], "grad"), e.part(a, [n, i])]);
    }
  },

  *elementwise(e, record, position, index, y) {
    const x = e.number(e.run.value(record.args[0].value), index);
    const [, slope, , text] = SLOPES[record.rule.kind];
    yield e.term([e.part(y.number, index, "grad")], slope(x, e.number(y, index)), { note: `slope ${text}` });
  },

  *same_order(e, record, position, index, y) {
    const shape = e.run.value(record.args[0].value).shape;
    yield e.term([e.part(y.number, unflat(y.shape, flat(shape, index)), "grad")]);
  },

  *move(e, record, position, index, y) {
    const own = flat(e.run.value(record.args[0].value).shape, index);
    const sources = e.run.array(record.rule.sources);
    for (let at = 0; at < sources.length; at++) if (sources[at] === own) yield e.term([e.part(y.number, unflat(y.shape, at), "grad")]);
  },

  *cat(e, record, position, index, y) {
    const { dim } = record.rule;
    const before = record.args.slice(0, position).reduce((s, arg) => s + e.run.value(arg.value).shape[dim], 0);
    yield e.term([e.part(y.number, index.map((i, a) => (a === dim ? i + before : i)), "grad")]);
  },

  *add(e, record, position, index, y) {
    for (const at of repeated(e, record, position, index, y)) yield e.term([e.part(y.number, at, "grad")]);
  },
  *sub(e, record, position, index, y) {
    for (const at of repeated(e, record, position, index, y)) yield e.term([e.part(y.number, at, "grad")], position ? -1 : 1);
  },
  *mul(e, record, position, index, y) {
    for (const at of repeated(e, record, position, index, y)) {
      yield combine(e.term([e.part(y.number, at, "grad")]), operands(e, record, at)[1 - position]);
    }
  },
  *div(e, record, position, index, y) {
    for (const at of repeated(e, record, position, index, y)) {
      const divisor = operands(e, record, at)[1].product;
      yield e.term([e.part(y.number, at, "grad")], position ? -e.number(y, at) / divisor : 1 / divisor);
    }
  },

  *sum(e, record, position, index, y) {
    yield e.term([e.part(y.number, reduced(e, record, index), "grad")]);
  },
  *mean(e, record, position, index, y) {
    const x = e.run.value(record.args[0].value).shape;
    yield e.term([e.part(y.number, reduced(e, record, index), "grad")], size(y.shape) / size(x));
  },

  *log_softmax(e, record, position, index, y) {
    const { axis } = record.rule;
    const probability = Math.exp(e.number(y, index));
    yield e.term([e.part(y.number, index, "grad")]);
    for (let i = 0; i < y.shape[axis]; i++) {
      const at = index.map((j, a) => (a === axis ? i : j));
      yield e.term([e.part(y.number, at, "grad")], -probability, { note: "\u2212softmax(x)" });
    }
  },
  *softmax(e, record, position, index, y) {
    const { axis } = record.rule;
    const own = e.number(y, index);
    for (let i = 0; i < y.shape[axis]; i++) {
      const at = index.map((j, a) => (a === axis ? i : j));
      yield e.term([e.part(y.number, at, "grad")], own * ((i === index[axis] ? 1 : 0) - e.number(y, at)));
    }
  },

  *standardize(e, record, position, index, y) {
    const { variance, members, count } = moments(e, record, index);
    const r = 1 / Math.sqrt(variance + record.rule.eps);
    const g = (i) => e.part(y.number, i, "grad");
    yield e.term([g(index)], r, { note: "itself" });
    const sum = members.reduce((s, i) => s + e.number(y, i, "grad"), 0);
    const along = members.reduce((s, i) => s + e.number(y, i, "grad") * e.number(y, i), 0);
    yield { parts: [], factor: 1, product: (-r * sum) / count, note: `through the mean of ${count} numbers` };
    yield { parts: [], factor: 1, product: (-r * e.number(y, index) * along) / count, note: "through their variance" };
  },
};

BACKWARD.batch_norm = function* (e, record, position, index, y) {
  const x = e.run.value(record.args[0].value);
  const channel = position === 0 ? index : x.shape.map((_, a) => (a === 1 ? index[0] : 0));
  const { mean, variance, members, count } = moments(e, record, channel, CHANNEL(x.shape));
  const r = 1 / Math.sqrt(variance + record.rule.eps);
  const g = (i) => e.part(y.number, i, "grad");
  const standard = (i) => (e.number(x, i) - mean) * r;
  if (position === 1) for (const i of members) yield e.term([g(i)], standard(i), { note: "times x, standardised" });
  else if (position === 2) yield* channelSum(e, y, index[0]);
  else {
    const slope = r * (record.args[1].value === undefined ? 1 : e.number(e.run.value(record.args[1].value), [index[1]]));
    const sum = members.reduce((s, i) => s + e.number(y, i, "grad"), 0);
    const along = members.reduce((s, i) => s + e.number(y, i, "grad") * standard(i), 0);
    yield e.term([g(index)], slope, { note: "itself" });
    yield { parts: [], factor: 1, product: (-slope * sum) / count, note: `through the mean of ${count} numbers` };
    yield { parts: [], factor: 1, product: (-slope * standard(index) * along) / count, note: "through their variance" };
  }
};

BACKWARD.scale_shift = function* (e, record, position, index, y) {
  const [x, scale] = record.args.map((a) => a.value);
  if (position === 0) yield e.term([e.part(y.number, index, "grad"), e.part(scale, [index[1]])]);
  else if (position === 2) yield* channelSum(e, y, index[0]);
  else for (const i of sameGroup(y.shape, [0, index[0]], CHANNEL(y.shape))) yield e.term([e.part(y.number, i, "grad"), e.part(x, i)]);
};

function* channelSum(e, y, channel) {
  for (let n = 0; n < y.shape[0]; n++) {
    for (const at of indices(y.shape.slice(2))) yield e.term([e.part(y.number, [n, channel, ...at], "grad")]);
  }
}

/** All places of y at which element `index` of an argument was used, repeated along its axes of length 1. */
function* repeated(e, record, position, index, y) {
  const shape = e.run.value(record.args[position].value).shape;
  const skipped = y.shape.length - shape.length;
  const own = (a) => a >= skipped && (shape[a - skipped] !== 1 || y.shape[a] === 1);
  for (const at of indices(y.shape.map((n, a) => (own(a) ? 1 : n)))) yield at.map((i, a) => (own(a) ? index[a - skipped] : i));
}

/** The element of the result into which element `index` of the argument was summed. */
function reduced(e, record, index) {
  const { axes, keepdim } = record.rule;
  const summed = new Set(axes.map((a) => (a + index.length) % index.length));
  return index.flatMap((i, a) => (summed.has(a) ? (keepdim ? [0] : []) : [i]));
}
