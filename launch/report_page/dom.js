// Elements, numbers and the floating tip. Texts of models enter the page through text nodes only.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes (a function is a listener) and children (strings become text nodes). */
function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return node;
}

/** A select element for [value, label] pairs. */
function choice(label, options, onChange, value) {
  const select = element("select", { "aria-label": label, change: () => onChange(select.value) });
  select.append(...options.map(([key, text]) => element("option", { value: key }, text)));
  if (value !== undefined) select.value = value;
  return select;
}

function checkbox(label, onChange) {
  const box = element("input", { type: "checkbox", change: () => onChange(box.checked) });
  return element("label", { class: "check" }, box, " ", label);
}

/** A number in few characters. */
function number(value) {
  if (value == null) return "–";
  const size = Math.abs(value);
  if (Number.isInteger(value)) return value.toLocaleString("en").replace("-", "−");
  const text = size >= 1000 ? Math.round(value).toLocaleString("en") : size >= 1e-3 ? value.toPrecision(3) : value.toExponential(1);
  return text.replaceAll("-", "−");
}

function signed(value) {
  return value == null ? "–" : (value > 0 ? "+" : "") + number(value);
}

function percent(value) {
  return `${(100 * value).toFixed(1)} %`;
}

const tip = {
  node: document.getElementById("tip"),
  /** Shows `children` beside the pointer, inside the window. */
  show(event, ...children) {
    this.node.replaceChildren(...children);
    this.node.hidden = false;
    const { width, height } = this.node.getBoundingClientRect();
    const left = event.clientX + 14 + width > innerWidth ? event.clientX - 14 - width : event.clientX + 14;
    const top = event.clientY + 18 + height > innerHeight ? event.clientY - 12 - height : event.clientY + 18;
    this.node.style.left = `${Math.max(4, left)}px`;
    this.node.style.top = `${Math.max(4, top)}px`;
  },
  hide() {
    this.node.hidden = true;
  },
};
