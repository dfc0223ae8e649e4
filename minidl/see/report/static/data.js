// The run: its document (JSON) and the block of numbers behind it.

/** The bytes that a text in base64 stands for. */
function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

/** Unpack what page.py packed: gzip of [length of the JSON, JSON, padding, numbers]; bytes or a view of them. */
async function unpack(packed) {
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const length = new DataView(bytes.buffer).getUint32(0, true);
  const shown = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  return new Run(shown, bytes.buffer, 8 + Math.ceil(length / 8) * 8);
}

const TYPES = { float32: Float32Array, float64: Float64Array, int32: Int32Array, uint8: Uint8Array };

class Run {
  constructor(shown, buffer, start) {
    Object.assign(this, shown);
    this.buffer = buffer;
    this.start = start;
    this.byNumber = new Map(this.records.map((r) => [r.number, r]));
    this.consumers = new Map();
    for (const record of this.records) {
      record.args.forEach((arg, position) => {
        if (arg.value === undefined) return;
        if (!this.consumers.has(arg.value)) this.consumers.set(arg.value, []);
        this.consumers.get(arg.value).push({ record, position });
      });
    }
    for (const [number, value] of Object.entries(this.values)) value.number = Number(number);
  }

  array(place) {
    return new TYPES[place.type](this.buffer, this.start + place.offset, place.count);
  }

  value(number) {
    return this.values[number];
  }

  /** Numbers of a value ("own"), of its gradient ("grad"), or null where the page has only a picture. */
  numbers(value, which = "own") {
    if (which === "after") return value.after ? this.array(value.after) : null;
    return value[which] && value[which].data ? this.array(value[which].data) : null;
  }

  maker(value) {
    return value.record === null ? null : this.byNumber.get(value.record);
  }

  nameOf(number, which = "own") {
    return this.value(number).name + (which === "grad" ? ".grad" : "");
  }
}

// ---- indices -------------------------------------------------------------------------------------------------------

function flat(shape, index) {
  let at = 0;
  for (let a = 0; a < shape.length; a++) at = at * shape[a] + index[a];
  return at;
}

function unflat(shape, at) {
  const index = new Array(shape.length);
  for (let a = shape.length - 1; a >= 0; a--) {
    index[a] = at % shape[a];
    at = Math.floor(at / shape[a]);
  }
  return index;
}

function size(shape) {
  return shape.reduce((product, n) => product * n, 1);
}

/** Every index of a shape, in reading order. */
function* indices(shape) {
  for (let at = 0, count = size(shape); at < count; at++) yield unflat(shape, at);
}

/** Where element `index` of a result came from in an argument of `shape` that was repeated to fit. */
function unbroadcast(shape, index) {
  const skipped = index.length - shape.length;
  return shape.map((n, a) => (n === 1 ? 0 : index[a + skipped]));
}

function bracket(name, index) {
  return index.length ? `${name}[${index.join(",")}]` : name;
}

/** A number as people read it: all the digits that float32 has, no more. */
function digits(x, precision = 6) {
  if (x === null || x === undefined) return "–";
  if (!Number.isFinite(x)) return String(x);
  if (x === 0) return "0";
  if (Number.isInteger(x) && Math.abs(x) < 1e6) return String(x);
  const small = Math.abs(x) < 1e-4 || Math.abs(x) >= 1e6;
  return (small ? x.toExponential(precision - 2) : x.toPrecision(precision)).replace("-", "\u2212");
}

/** 1st, 2nd, 3rd, 4th, 11th, 21st. */
function ordinal(n) {
  const teen = Math.floor((n % 100) / 10) === 1;
  return `${n}${(!teen && ["th", "st", "nd", "rd"][n % 10]) || "th"}`;
}

function bytes(n) {
  for (const [unit, step] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) if (n >= step) return `${(n / step).toFixed(1)} ${unit}`;
  return `${n} B`;
}

function milliseconds(ms) {
  return ms >= 1000 ? `${(ms / 1000).toFixed(2)} s` : `${ms.toFixed(ms < 10 ? 2 : 0)} ms`;
}

function count(n) {
  return n.toLocaleString("en-US");
}
