// Which elements of an earlier value can have an influence on one number: boxes, passed back from operation to operation.

/** Box [[low, high] per axis, both included] of `value` that element `index` of `from` sees, or null where none. */
function receptiveField(run, from, index, value) {
  const boxes = new Map([[from.number, index.map((i) => [i, i])]]);
  const order = run.records.slice().sort((a, b) => b.number - a.number);
  for (const record of order) {
    const box = record.outputs.map((o) => boxes.get(o)).find(Boolean);
    if (!box) continue;
    record.args.forEach((arg, position) => {
      if (arg.value === undefined) return;
      const seen = through(run, record, position, box);
      if (!seen) return;
      const before = boxes.get(arg.value);
      boxes.set(arg.value, before ? before.map(([l, h], a) => [Math.min(l, seen[a][0]), Math.max(h, seen[a][1])]) : seen);
    });
  }
  return boxes.get(value.number) ?? null;
}

function through(run, record, position, box) {
  const x = run.value(record.args[position].value);
  const all = x.shape.map((n) => [0, n - 1]);
  const { kind, taps } = record.rule;
  if (kind === "conv" || kind === "max_pool" || kind === "avg_pool") {
    if (position > 0) return null;
    const spatial = taps.map((axis, a) => {
      const [low, high] = box[a + 2];
      const read = axis.slice(low, high + 1).flat().filter((i) => i >= 0);
      return read.length ? [Math.min(...read), Math.max(...read)] : [0, 0];
    });
    return [box[0], kind === "conv" ? all[1] : box[1], ...spatial];
  }
  if (x.shape.length === box.length && x.shape.every((n, a) => n === 1 || n === run.value(record.outputs[0]).shape[a])) {
    const mixes = ["softmax", "log_softmax"].includes(kind) ? [record.rule.axis] : kind === "standardize" ? record.rule.axes : kind === "batch_norm" ? CHANNEL(x.shape) : [];
    if (kind !== "matmul" && kind !== "other") return box.map((b, a) => (x.shape[a] === 1 || mixes.includes(a) ? all[a] : b));
  }
  return kind === "matmul" && position === 1 ? null : [x.shape.length && box.length ? box[0] : all[0], ...all.slice(1)].slice(0, x.shape.length);
}
