// Figures as people read them: few digits, a unit, and "–" where there is nothing to say. And the few
// steps by which all else is put on the page: text is only ever set as text, since names may look like markup.

const NONE = "–";

/** The first digits of a number that is not negative: 0.42, 4.2, 42, 4200, 42.0k, 1.3M. */
function asFigure(number) {
  if (number === null || number === undefined) return NONE;
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    // Up to 9999 all digits are short enough.
    if (number >= Math.max(size * 0.9995, 9999.5)) return (number / size).toFixed(number < 99.95 * size ? 1 : 0) + letter;
  }
  return number >= 999.5 ? String(Math.round(number)) : fewDigits(number);
}

function fewDigits(number) {
  if (number === 0) return "0";
  if (number < 0.01) return "<0.01";
  const places = number < 9.95 ? (number < 0.995 ? 2 : 1) : 0;
  return number.toFixed(places).replace(/\.0+$/, "");
}

/** A share from 0 to 1, in percent. */
function asShare(share) {
  if (share > 0 && share < 0.0001) return "<0.01 %";
  return fewDigits(share * 100) + " %";
}

/** A length of time in µs. */
function asLength(us) {
  if (us === null || us === undefined) return NONE;
  if (us < 999.5) return fewDigits(us) + " µs";
  if (us < 999500) return fewDigits(us / 1e3) + " ms";
  return us < 99.95e6 ? fewDigits(us / 1e6) + " s" : asAge(us / 1e6);
}

/** How long something has lasted, in seconds. */
function asAge(seconds) {
  const s = Math.floor(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

/** A Unix time in ms, as a wall clock of here shows it. */
function asClock(ms) {
  return new Date(ms).toLocaleTimeString("en-GB");
}

/** weir's words as words: "no_check" is "no check". */
const asWords = (word) => word.replaceAll("_", " ");

const PERCENTILES = [["p50_us", "p50"], ["p90_us", "p90"], ["p99_us", "p99"], ["p99_9_us", "p99.9"]];
const PHASES = [
  ["connect", "Connect", "from the pick to a connection; 0 where one was kept"],
  ["first_byte", "First byte", "from the sent request to its answer’s first byte"],
  ["whole", "Whole", "from the request’s first byte to the answer’s last"],
  ["own", "weir’s own", "the whole, less the waits for backend and client"],
];

const byId = (id) => document.getElementById(id);

/** Shows `text` in a node, if it does not yet: a node that is left alone is not laid out or read out again. */
function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Sets an attribute, or takes it away, if it is not so already. */
function mark(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

/** A new element with attributes and children; a text is a child too. */
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) mark(node, name, value);
  node.append(...children);
  return node;
}

/** As `make`, in a drawing. */
function draw(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) mark(node, name, value);
  node.append(...children);
  return node;
}

/** One of the page's signs. Each state has a shape of its own, so that colour is never the only difference. */
function sign(name) {
  return draw("svg", { "aria-hidden": "true", class: `sign ${name}` }, draw("use", { href: `#i-${name}` }));
}

function turnSign(node, name) {
  mark(node, "class", `sign ${name}`);
  mark(node.firstChild, "href", `#i-${name}`);
}

/** The sign of a backend's state. */
function signOf(state) {
  switch (state) {
    case "up": case "no_check": case "serving": return "good";
    case "down": case "ended": return "bad";
    case "ejected": case "stalled": return "warn";
    case "draining": case "maintenance": return "out";
    default: return "open";
  }
}

/** Makes `parent` hold one node for each of `items`, in their order; a node stays what it is as long as its
 * key is there, so that focus and selection stay too. `fresh` makes one, with a method `show(item)`. */
function keep(parent, items, keyOf, fresh) {
  const known = (parent.kept ??= new Map());
  const wanted = new Set(items.map(keyOf));
  for (const [key, node] of known) {
    if (!wanted.has(key)) {
      node.remove();
      known.delete(key);
    }
  }
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let node = known.get(key);
    if (!node) known.set(key, (node = fresh(item)));
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
    node.show(item);
  }
}
