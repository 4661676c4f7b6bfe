// Maps arrive as int8 steps of limit/127. Threshold, sign, scale and colour are one look-up table per map.

const STEPS = 127;
const EAGER = 60; // maps; a page with more paints and forgets them as it scrolls
const DIM = 0.55; // of the grey picture under a map

const byId = (id) => document.getElementById(id);
const json = (element) => JSON.parse(element.textContent);
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
const colours = json(byId("colours"));
const form = byId("controls");
const settings = () => Object.fromEntries(new FormData(form)); // an unchecked box is absent
let state;

// ---- words -----------------------------------------------------------------------------------

const raised = (power) => [...String(power)].map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c])).join("");

function number(value, digits = 3) {
  if (value === 0) return "0";
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
  const power = Number(exponent);
  const plain = power >= -4 && power < 5
    ? value.toFixed(Math.max(digits - 1 - power, 0))
    : `${mantissa}×10${raised(power)}`;
  return plain.replace("-", "−");
}

const signedNumber = (value) => (value > 0 ? "+" : "") + number(value);

function percent(share) {
  if (share > 0 && share < 0.001) return "< 0.1 %";
  if (share > 0.999 && share < 1) return "> 99.9 %";
  return `${(share * 100).toFixed(1)} %`;
}

function text(tag, words) {
  const element = document.createElement(tag);
  element.textContent = words;
  return element;
}

// ---- colours ---------------------------------------------------------------------------------

function between(anchors, position) {
  const at = clamp(position, 0, 1) * (anchors.length - 1);
  const left = Math.min(Math.floor(at), anchors.length - 2);
  return anchors[left].map((from, k) => from + (at - left) * (anchors[left + 1][k] - from));
}

// The threshold's slider is finer where few pixels are left.
const keptShare = () => (state.threshold === 0 ? 1 : Math.max((1 - state.threshold) ** 2, 0.001));

// ---- one map ---------------------------------------------------------------------------------

class Map2d {
  constructor(figure, input) {
    this.figure = figure;
    this.input = input;
    this.meta = json(figure.querySelector(".meta"));
    this.stage = figure.querySelector(".stage");
    this.canvas = this.stage.querySelector("canvas");
    this.readout = figure.querySelector(".readout");
    this.hidden = this.meta.flat;
    this.near = false;
    this.values = null;
    this.height = this.meta.height;
    this.width = this.meta.width;
    figure.querySelector(".anyway")?.addEventListener("click", (event) => this.reveal(event.target));
    figure.querySelector(".plainly")?.addEventListener("click", (event) => this.plainly(event.target));
  }

  async load() {
    if (this.values || this.loading) return;
    this.loading = true;
    const packed = Uint8Array.from(atob(this.figure.querySelector(".values").textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const values = new Int8Array(await new Response(stream).arrayBuffer());
    await this.input.loaded;
    this.loading = false;
    this.values = values;
    this.cells = this.meta.grid ? asGrid(values, this.meta) : values;
    this.counts = { values: census(values), cells: census(this.cells) };
    this.paint();
    this.input.tell();
  }

  forget() {
    this.values = this.cells = null;
    this.canvas.width = this.canvas.width; // empties it
    delete this.figure.dataset.state;
  }

  get shown() { return state.smooth ? this.values : this.cells; }
  get census() { return state.smooth ? this.counts.values : this.counts.cells; }
  get unsigned() { return !this.meta.signed || state.sign === "magnitude"; }

  get limit() {
    if (state.scale === "map") return this.meta.limit;
    return Math.max(...this.input.maps.filter((m) => m.meta.scale === this.meta.scale).map((m) => m.meta.limit));
  }

  // The least |step| that is painted.
  get level() {
    if (state.threshold === 0 || !this.meta.limit) return 0;
    if (state.mode === "value") return Math.ceil((state.threshold * this.limit * STEPS) / this.meta.limit);
    const level = this.census.atLeast.findIndex((share) => share <= keptShare());
    return level < 0 ? STEPS : level;
  }

  visible(step, level) {
    if (Math.abs(step) < level) return false;
    return !(state.sign === "plus" && step < 0) && !(state.sign === "minus" && step > 0);
  }

  colour(part) { // part of the limit, −1 … 1
    return this.unsigned
      ? between(colours.magnitude[state.magnitude], Math.abs(part))
      : between(colours.signed[state.signed], (part + 1) / 2);
  }

  // For each of the 256 steps red, green, blue and how much of it covers the picture.
  table(level, alone) {
    const table = new Float32Array(256 * 4);
    for (let step = -128; step < 128; step += 1) {
      const part = this.limit ? clamp((step * this.meta.limit) / STEPS / this.limit, -1, 1) : 0;
      const cover = alone ? 1 : state.opacity * Math.abs(part) ** 0.8;
      table.set([...this.colour(part), this.visible(step, level) ? cover : 0], (step + 128) * 4);
    }
    return table;
  }

  paint() {
    if (!this.values) return;
    const under = this.input.under(this.width, this.height);
    const level = this.level;
    const flat = this.hidden;
    const image = new ImageData(this.width, this.height);
    const table = this.table(level, !under);
    if (flat) for (let i = 3; i < table.length; i += 4) table[i] = 0;
    blend(image.data, this.shown, table, under);
    this.canvas.getContext("2d").putImageData(image, 0, 0);
    this.stage.classList.toggle("cells", !state.smooth);
    this.figure.dataset.state = flat ? "flat" : "painted";
    this.paintLegend(level);
    this.describe(level);
  }

  paintLegend(level) {
    const canvas = this.figure.querySelector(".legend canvas");
    const image = new ImageData(canvas.width, 1);
    for (let x = 0; x < canvas.width; x += 1) {
      const at = x / (canvas.width - 1);
      const part = this.unsigned ? at : 2 * at - 1;
      const step = this.meta.limit ? (part * this.limit * STEPS) / this.meta.limit : 0;
      const on = !this.hidden && this.visible(step, level);
      image.data.set([...this.colour(part), on ? 255 : 0], x * 4);
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
    const write = (name, text) => { this.figure.querySelector(`.limits .${name}`).textContent = text; };
    const limit = number(this.limit);
    write("low", this.unsigned ? "0" : `−${limit}`);
    write("mid", this.unsigned ? "" : "0");
    write("high", this.unsigned ? limit : `+${limit}`);
  }

  describe(level) {
    const share = this.census.shown((step) => this.visible(step, level));
    const bound = level ? `|value| ≥ ${number((level * this.meta.limit) / STEPS)}` : "";
    const sign = { plus: "positive only", minus: "negative only", magnitude: "magnitude", both: "" }[state.sign];
    const words = [bound, this.meta.signed ? sign : state.sign === "minus" ? "no negative values" : ""].filter(Boolean);
    const kept = level || (sign && sign !== "magnitude") ? `${percent(share)} of pixels shown` : "";
    this.figure.querySelector(".kept").textContent = [...words, kept].filter(Boolean).map((t) => ` · ${t}`).join("");
    const peers = this.input.maps.filter((m) => m.meta.scale === this.meta.scale).length;
    this.figure.querySelector(".scope").textContent =
      state.scale === "map" ? "scale of this map"
        : peers < 2 ? "scale of this map, the only one with its unit"
          : `scale shared by ${peers} maps of this input`;
  }

  reveal(button) {
    this.hidden = !this.hidden;
    button.setAttribute("aria-pressed", String(!this.hidden));
    button.textContent = this.hidden ? "Show anyway" : "Hide again";
    this.stage.classList.toggle("revealed", !this.hidden);
    this.paint();
    this.input.tell();
  }

  plainly(button) {
    const plain = this.stage.classList.toggle("plain");
    button.setAttribute("aria-pressed", String(plain));
    button.textContent = plain ? "Write the words across again" : "Show the map without the words";
  }

  // What is under the crosshair.
  tell(at) {
    const mark = this.figure.querySelector(".mark");
    mark.hidden = !at || !this.values || this.hidden;
    if (!at || !this.values) return this.readout.replaceChildren(this.readout.dataset.rest);
    const { row, col } = cellAt(at, this);
    const step = this.shown[row * this.width + col];
    const value = (step * this.meta.limit) / STEPS;
    const part = this.limit ? clamp(value / this.limit, -1, 1) : 0;
    mark.style.left = `${(this.unsigned ? Math.abs(part) : (part + 1) / 2) * 100}%`;
    const place = text("span", `row ${row} col ${col}`);
    if (this.hidden) return this.readout.replaceChildren(place, text("span", "no signal"));
    const beyond = Math.abs(step) === STEPS && this.meta.clipped !== "0.0 %" ? (step < 0 ? "≤ " : "≥ ") : "";
    return this.readout.replaceChildren(
      place,
      text("b", beyond + signedNumber(value)),
      text("span", `top ${percent(this.census.rank[Math.abs(step)])}`),
    );
  }

  largest() {
    let best = 0;
    this.shown.forEach((step, i) => { if (Math.abs(step) > Math.abs(this.shown[best])) best = i; });
    return { y: (Math.floor(best / this.width) + 0.5) / this.height, x: ((best % this.width) + 0.5) / this.width };
  }
}

function blend(out, steps, table, under) {
  for (let i = 0, o = 0; i < steps.length; i += 1, o += 4) {
    const t = (steps[i] + 128) * 4;
    const cover = table[t + 3];
    for (let k = 0; k < 3; k += 1) {
      out[o + k] = under ? under[o + k] + cover * (table[t + k] - under[o + k]) : table[t + k];
    }
    out[o + 3] = under ? 255 : cover * 255;
  }
}

// How often each step occurs; by |step| the share of pixels that reach it, and its rank from the
// top, where equal steps share the middle of their ranks.
function census(steps) {
  const counts = new Float64Array(256);
  for (const step of steps) counts[step + 128] += 1;
  const atLeast = new Array(STEPS + 1);
  const rank = new Array(STEPS + 1);
  for (let size = STEPS, sum = 0; size >= 0; size -= 1) {
    const equal = counts[128 + size] + (size ? counts[128 - size] : 0);
    rank[size] = (sum + equal / 2) / steps.length;
    sum += equal;
    atLeast[size] = sum / steps.length;
  }
  const shown = (test) => counts.reduce((sum, n, i) => sum + (n && test(i - 128) ? n : 0), 0) / steps.length;
  return { atLeast, rank, shown };
}

// An upsampled map passes through its cells' values at their centres.
function asGrid(values, { height, width, grid: [rows, columns] }) {
  const centres = (n, size) => Array.from({ length: n }, (_, i) => {
    const at = ((i + 0.5) * size) / n - 0.5;
    return [clamp(Math.floor(at), 0, size - 1), clamp(Math.ceil(at), 0, size - 1)];
  });
  const tall = centres(rows, height);
  const wide = centres(columns, width);
  const cell = (r, c) => {
    let sum = 0;
    for (const y of tall[r]) for (const x of wide[c]) sum += values[y * width + x];
    return Math.round(sum / 4);
  };
  const cells = tall.map((_, r) => wide.map((__, c) => cell(r, c)));
  const out = new Int8Array(values.length);
  for (let y = 0; y < height; y += 1) {
    const row = cells[Math.floor((y * rows) / height)];
    for (let x = 0; x < width; x += 1) out[y * width + x] = row[Math.floor((x * columns) / width)];
  }
  return out;
}

function cellAt({ y, x }, { height, width }) {
  return { row: clamp(Math.floor(y * height), 0, height - 1), col: clamp(Math.floor(x * width), 0, width - 1) };
}

// ---- one input: its picture, its maps, one crosshair -------------------------------------------

class Input {
  constructor(section) {
    this.section = section;
    this.image = section.querySelector(".picture img");
    this.loaded = this.image ? this.image.decode().catch(() => { this.image = null; }) : Promise.resolve();
    this.maps = [...section.querySelectorAll(".panel:not(.bars-panel)")].map((f) => new Map2d(f, this));
    this.stages = [...section.querySelectorAll(".stage")];
    this.at = null; // { y, x } as parts of height and width
    this.grounds = new Map();
    for (const stage of this.stages) this.listen(stage);
  }

  mapOf(stage) { return this.maps.find((m) => m.stage === stage); }

  // The picture beneath a map, or null for none.
  under(width, height) {
    if (!this.image || state.picture === "none") return null;
    const key = `${state.picture} ${width} ${height}`;
    if (!this.grounds.has(key)) this.grounds.set(key, ground(this.image, width, height, state.picture === "grey"));
    return this.grounds.get(key);
  }

  listen(stage) {
    const follow = (event) => {
      const box = stage.getBoundingClientRect();
      this.move({ y: (event.clientY - box.top) / box.height, x: (event.clientX - box.left) / box.width });
    };
    stage.addEventListener("pointermove", follow);
    stage.addEventListener("pointerdown", follow);
    stage.addEventListener("pointerleave", () => { if (!this.stages.includes(document.activeElement)) this.move(null); });
    stage.addEventListener("focus", () => { if (!this.at) this.move({ y: 0.5, x: 0.5 }); });
    stage.addEventListener("blur", () => this.move(null));
    stage.addEventListener("keydown", (event) => this.steer(event, stage));
    const readout = stage.parentElement.querySelector(".readout");
    stage.addEventListener("focus", () => readout?.setAttribute("aria-live", "polite"));
    stage.addEventListener("blur", () => readout?.removeAttribute("aria-live"));
  }

  steer(event, stage) {
    const [dy, dx] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key] ?? [0, 0];
    const map = this.mapOf(stage) ?? this.maps[0];
    if (event.ctrlKey || event.metaKey || event.altKey || !map) return;
    if (event.key.toLowerCase() === "m" && map.values) this.move(map.largest());
    else if (dy || dx) this.move(this.beside(map, dy, dx, event.shiftKey ? 10 : 1));
    else return;
    event.preventDefault();
  }

  beside(map, dy, dx, by) {
    const { row, col } = cellAt(this.at ?? { y: 0.5, x: 0.5 }, map);
    return {
      y: (clamp(row + dy * by, 0, map.height - 1) + 0.5) / map.height,
      x: (clamp(col + dx * by, 0, map.width - 1) + 0.5) / map.width,
    };
  }

  move(at) {
    this.at = at && { y: clamp(at.y, 0, 1), x: clamp(at.x, 0, 1) };
    for (const stage of this.stages) {
      stage.classList.toggle("pointed", Boolean(at));
      if (!at) continue;
      stage.querySelector(".across").style.top = `${this.at.y * 100}%`;
      stage.querySelector(".down").style.left = `${this.at.x * 100}%`;
    }
    this.tell();
  }

  tell() {
    for (const map of this.maps) map.tell(this.at);
    const readout = this.section.querySelector(".subject .readout");
    if (!readout) return;
    if (!this.at || !this.image) { readout.textContent = readout.dataset.rest; return; }
    const size = { height: this.image.naturalHeight, width: this.image.naturalWidth };
    const { row, col } = cellAt(this.at, size);
    this.pixels ??= ground(this.image, size.width, size.height, false);
    const o = (row * size.width + col) * 4;
    readout.textContent = `row ${row} col ${col} · RGB ${this.pixels.slice(o, o + 3).join(" ")}`;
  }

  repaint() { for (const map of this.maps) if (map.near || map.values) map.paint(); }
}

function ground(image, width, height, grey) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  for (let o = 0; grey && o < data.length; o += 4) {
    data.fill(DIM * (0.2126 * data[o] + 0.7152 * data[o + 1] + 0.0722 * data[o + 2]), o, o + 3);
  }
  return data;
}

// ---- the page ----------------------------------------------------------------------------------

const inputs = [...document.querySelectorAll(".input")].map((section) => new Input(section));
const maps = inputs.flatMap((input) => input.maps);
const many = maps.length > EAGER;

function read() {
  const now = settings();
  state = { ...now, threshold: Number(now.threshold), opacity: Number(form.elements.opacity.value), smooth: "smooth" in now };
  form.elements.opacity.disabled = state.picture === "none"; // there is nothing to shine through
  byId("threshold-said").textContent =
    state.threshold === 0 ? "all pixels"
      : state.mode === "share" ? `top ${percent(keptShare())}` : `≥ ${percent(state.threshold)} of the scale`;
}

let queued = false;
function changed() {
  if (queued) return;
  queued = true;
  requestAnimationFrame(() => {
    queued = false;
    read();
    for (const input of inputs) { input.repaint(); input.tell(); }
  });
}

function set(name, value) {
  const field = form.elements[name];
  if (field.type === "checkbox") field.checked = value;
  else field.value = value;
  changed();
}

function next(name) {
  const field = form.elements[name];
  const values = field.options ? [...field.options].map((o) => o.value) : [...field].map((r) => r.value);
  set(name, values[(values.indexOf(field.value) + 1) % values.length]);
}

function nudge(name, by) {
  const field = form.elements[name];
  set(name, String(clamp(Number(field.value) + by, 0, 1)));
}

function turn(by) {
  const edge = form.offsetHeight + 40;
  const here = inputs.findLastIndex((input) => input.section.getBoundingClientRect().top < edge);
  go(inputs[clamp(here + by, 0, inputs.length - 1)].section);
}

function go(section) {
  const fold = section?.closest("details");
  if (fold) fold.open = true;
  section?.scrollIntoView({ block: "start" });
  section?.focus({ preventScroll: true });
}

const help = byId("help");
const shortcuts = {
  1: () => set("sign", "both"),
  2: () => set("sign", "plus"),
  3: () => set("sign", "minus"),
  4: () => set("sign", "magnitude"),
  "[": () => nudge("threshold", -0.05),
  "]": () => nudge("threshold", 0.05),
  ",": () => nudge("opacity", -0.1),
  ".": () => nudge("opacity", 0.1),
  t: () => next("mode"),
  c: () => { next("signed"); next("magnitude"); },
  g: () => next("scale"),
  b: () => next("picture"),
  s: () => set("smooth", !form.elements.smooth.checked),
  n: () => turn(1),
  p: () => turn(-1),
  r: () => form.reset(),
  "?": () => help.showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open || event.target.matches("select")) return;
  const action = shortcuts[event.key] ?? shortcuts[event.key.toLowerCase()];
  if (!action || event.defaultPrevented) return;
  event.preventDefault();
  action();
});

form.addEventListener("input", changed);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(changed));
byId("ask").addEventListener("click", shortcuts["?"]);
byId("more").addEventListener("click", (event) => {
  event.target.setAttribute("aria-expanded", String(form.classList.toggle("open")));
});

const index = byId("index");
if (index) {
  form.before(index); // written last, read first
}
document.addEventListener("click", (event) => { // also inside a notebook's frame, where #names lead astray
  const link = event.target.closest?.('a[href^="#"]');
  if (!link) return;
  event.preventDefault();
  go(byId(link.getAttribute("href").slice(1)));
});

const closed = [];
addEventListener("beforeprint", () => {
  for (const map of maps) map.paint();
  const folds = "main details:not([open]):not(.evidence details)"; // figures are printed where they are open
  for (const fold of document.querySelectorAll(folds)) closed.push(fold);
  for (const fold of closed) fold.open = true;
});
addEventListener("afterprint", () => { while (closed.length) closed.pop().open = false; });

function watch() {
  const mapOf = new Map(maps.map((map) => [map.figure, map]));
  const near = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const map = mapOf.get(target);
      map.near = isIntersecting;
      if (isIntersecting) map.load();
      else if (map.values) map.forget();
    }
  }, { rootMargin: "600px" });
  for (const map of maps) near.observe(map.figure);
}

document.body.classList.toggle("many", many);
form.hidden = maps.length === 0;
read();
if (!("DecompressionStream" in globalThis)) {
  byId("old-browser").hidden = false;
} else if (many) watch();
else for (const map of maps) map.load();
