// Small helpers to make elements, and the colours of numbers.

/** h("button", {class: "x", onclick: f}, "text", child ...): an element. */
function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "aria-pressed") element.setAttribute(name, value); // false says something too
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return element;
}

/** Draw `element` anew; where it had the focus it keeps it, so that keys go on working. */
function redraw(element, ...children) {
  const focused = element.contains(element.getRootNode().activeElement);
  element.replaceChildren(...children);
  if (focused) element.focus({ preventScroll: true });
}

function table(caption, head, rows) {
  return h("table", {}, h("caption", {}, caption),
    h("thead", {}, h("tr", {}, head.map((t) => h("th", { scope: "col" }, t)))),
    h("tbody", {}, rows));
}

// Blue is negative, red positive, white 0: legible with the common kinds of colour blindness.
function diverging(t) {
  const s = Math.min(1, Math.abs(t)) ** 0.7;
  const [r, g, b] = t < 0 ? [33, 102, 172] : [178, 24, 43];
  return [247 + (r - 247) * s, 247 + (g - 247) * s, 247 + (b - 247) * s];
}

function grey(t) {
  return [t * 255, t * 255, t * 255];
}

/** Paint numbers[start ... start + rows * columns) into a canvas, one pixel each. */
function paint(canvas, numbers, start, rows, columns, low, high, signed) {
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  const reach = Math.max(Math.abs(low), Math.abs(high)) || 1;
  for (let i = 0; i < rows * columns; i++) {
    const x = numbers[start + i];
    const colour = !Number.isFinite(x) ? [255, 200, 0] : signed ? diverging(x / reach) : grey((x - low) / (high - low || 1));
    image.data.set([...colour, 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
}

/** Bars of a histogram. */
function histogram(statistics, label) {
  const { bins, min, max } = statistics;
  const top = Math.max(...bins, 1);
  const bars = bins.map((n, i) => svg("rect", { x: i * 6, y: 60 - (58 * n) / top, width: 5, height: (58 * n) / top }));
  const text = `${label}: from ${digits(min, 4)} to ${digits(max, 4)}, mean ${digits(statistics.mean, 4)}, standard deviation ${digits(statistics.std, 4)}${statistics.every > 1 ? ` (of every ${ordinal(statistics.every)} number)` : ""}`;
  return h("figure", { class: "histogram" },
    svg("svg", { viewBox: `0 0 ${bins.length * 6} 60`, role: "img", "aria-label": text, preserveAspectRatio: "none" }, bars),
    h("figcaption", {}, text));
}
