// The drawing: only what is on the screen is in the document; far away, boxes of one colour are one element.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const MAX_BOXES = 400; // drawn apart, with text
const LEGIBLE = 0.4; // scale below which boxes have no text
const ZOOM = {least: 0.0005, most: 3};

class View {
  // `actions`: select(id), toggle(id)
  constructor(place, model, depth, actions) {
    this.model = model;
    this.scene = new Scene(model, depth);
    this.colors = new Colors(model);
    this.actions = actions;
    this.selected = null;
    this.hits = null;
    this.at = {x: 0, y: 0, k: 1};
    this.svg = svgEl("svg", {class: "drawing", tabindex: 0, role: "application", "aria-label": "drawing of the graph"});
    this.world = svgEl("g");
    this.svg.append(this.world);
    this.legend = el("div", {class: "legend"});
    place.append(this.svg, this.legend);
    this.listen();
    new ResizeObserver(() => this.redraw()).observe(this.svg);
  }

  listen() {
    const {svg} = this;
    let from = null;
    svg.addEventListener("wheel", (event) => {
      event.preventDefault();
      const unit = event.deltaMode === 1 ? 16 : 1;
      if (event.ctrlKey || event.metaKey) this.zoom(Math.exp(-event.deltaY * unit * 0.01), event.offsetX, event.offsetY);
      else this.move(-event.deltaX * unit, -event.deltaY * unit);
    }, {passive: false});
    svg.addEventListener("pointerdown", (event) => { from = {x: event.clientX, y: event.clientY, moved: false}; });
    svg.addEventListener("pointermove", (event) => {
      if (!from || !event.buttons) return;
      const dx = event.clientX - from.x, dy = event.clientY - from.y;
      if (!from.moved && Math.hypot(dx, dy) < 4) return;
      if (!from.moved) svg.setPointerCapture(event.pointerId);
      from = {x: event.clientX, y: event.clientY, moved: true};
      this.move(dx, dy);
    });
    // Not "click" and "dblclick": there is none where a frame that replaces elements is drawn between press and release.
    svg.addEventListener("mouseup", (event) => {
      const isClick = from && !from.moved && event.button === 0;
      from = null;
      if (!isClick) return;
      const id = this.under(event);
      if (id !== null && (event.target.closest(".toggle") || event.detail === 2)) this.actions.toggle(id);
      else this.actions.select(id);
    });
  }

  under(event) {
    const box = this.svg.getBoundingClientRect(), {x, y, k} = this.at;
    return this.scene.pick((event.clientX - box.left - x) / k, (event.clientY - box.top - y) / k);
  }

  get size() { return {width: this.svg.clientWidth || 800, height: this.svg.clientHeight || 600}; }

  move(dx, dy) {
    this.at.x += dx;
    this.at.y += dy;
    this.redraw();
  }

  zoom(factor, x = this.size.width / 2, y = this.size.height / 2) {
    const k = Math.min(Math.max(this.at.k * factor, ZOOM.least), ZOOM.most), ratio = k / this.at.k;
    this.at = {x: x - (x - this.at.x) * ratio, y: y - (y - this.at.y) * ratio, k};
    this.redraw();
  }

  // All of the graph, or its top where it would be too small to read.
  fit(whole = true) {
    const {width, height} = this.size, bounds = this.scene.bounds();
    const wide = (width - 40) / Math.max(bounds.width, 1), high = (height - 40) / Math.max(bounds.height, 1);
    const k = Math.min(whole ? Math.max(Math.min(wide, high), ZOOM.least) : Math.max(Math.min(wide, Math.max(high, 0.75)), 0.5), 1.25);
    const first = this.model.items(this.model.root)[0];
    const place = !whole && bounds.width * k > width && first !== undefined ? this.scene.place(first) : bounds;
    this.at = {k, x: width / 2 - (place.x + place.width / 2) * k, y: Math.max((height - bounds.height * k) / 2, 20)};
    this.redraw();
  }

  center(id) {
    const place = this.scene.place(id), {width, height} = this.size;
    const k = Math.min(Math.max(this.at.k, 0.8), 1.25);
    const y = place.height * k < height ? height / 2 - (place.y + place.height / 2) * k : 40 - place.y * k;
    this.at = {k, x: width / 2 - (place.x + place.width / 2) * k, y};
    this.redraw();
  }

  // Move as little as shows the item.
  show(id) {
    const place = this.scene.place(id), {width, height} = this.size, {x, y, k} = this.at;
    const left = place.x * k + x, top = place.y * k + y, edge = 24;
    const dx = left < edge ? edge - left : Math.min(0, width - edge - left - Math.min(place.width * k, width - 2 * edge));
    const dy = top < edge ? edge - top : Math.min(0, height - edge - top - Math.min(place.height * k, height - 2 * edge));
    this.move(dx, dy);
  }

  // Open or close blocks, with the top of `anchor` where it was on the screen.
  setOpen(ids, open, anchor = null) {
    const before = anchor === null ? null : this.scene.place(anchor);
    this.scene.setOpen(ids, open);
    if (before) {
      const after = this.scene.place(anchor), {k} = this.at;
      this.at.x += (before.x + before.width / 2 - after.x - after.width / 2) * k;
      this.at.y += (before.y - after.y) * k;
    }
    this.redraw();
  }

  redraw() {
    if (this.waiting || this.isPrinting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; if (!this.isPrinting) this.draw(); });
  }

  draw() {
    const {x, y, k} = this.at, {width, height} = this.size;
    this.render({left: -x / k, top: -y / k, right: (width - x) / k, bottom: (height - y) / k}, k);
    this.world.setAttribute("transform", `translate(${x} ${y}) scale(${k})`);
  }

  // Draw what is in the area; `k` is the scale at which it is seen.
  render(area, k, maxBoxes = MAX_BOXES) {
    const found = {boxes: [], frames: [], edges: new Map(), arrows: new Map()};
    this.scene.walk((layout, x, y, block) => this.collect(layout, x, y, block, area, k, found));
    this.colors.measure(found.boxes.map((box) => box.id));
    const apart = found.boxes.length <= maxBoxes && k >= LEGIBLE;
    const parts = apart ? found.frames.map((frame) => this.frame(frame)) : this.merged(found.frames, () => "frame");
    parts.push(...this.lines(found, k));
    if (apart) parts.push(...found.frames.map((frame) => this.frameName(frame)), ...found.boxes.map((box) => this.box(box)));
    else parts.push(...this.merged(found.boxes, (box) => `box ${this.colors.of(box.id)}${this.dim(box.id)}`));
    if (this.selected !== null && this.scene.isVisible(this.selected)) parts.push(...this.selection(k, apart));
    this.world.replaceChildren(...parts);
    this.legend.replaceChildren(this.colors.legend(found.boxes.slice(0, 5000).map((box) => box.id)));
  }

  collect(layout, x, y, block, area, k, found) {
    const inner = [], {rows, tops, bottoms} = layout;
    const last = lastAtMost(tops, area.bottom - y);
    let first = Math.max(lastAtMost(tops, area.top - y), 0);
    for (let r = Math.max(first - 1, 0); r <= last; r++) this.collectEdges(layout, r, x, y, area, k, found);
    for (let r = first; r <= last; r++) {
      if (bottoms[r] < area.top - y) continue;
      const row = rows[r], start = Math.max(lastAtMost(row, area.left - x - PAD, (item) => item.x - item.width / 2), 0);
      for (let i = start; i < row.length; i++) {
        const item = row[i], left = x + PAD + item.x - item.width / 2, top = y + item.y;
        if (left > area.right) break;
        if (item.id === undefined || item.id < 0 || left + item.width < area.left || top + item.height < area.top) continue;
        const place = {id: item.id, x: left, y: top, width: item.width, height: item.height};
        if (this.scene.isOpen(item.id) && item.height * k > 12) {
          found.frames.push(place);
          inner.push([item.id, left, top]);
        } else found.boxes.push(place);
      }
    }
    return inner;
  }

  collectEdges(layout, r, x, y, area, k, found) {
    for (const number of layout.byRow[r]) {
      const line = pathOf(layout, layout.segments[number], x, y);
      if (Math.max(line.x0, line.x1) < area.left || Math.min(line.x0, line.x1) > area.right || line.y2 < area.top) continue;
      const kind = this.colors.ofEdge(layout.segments[number].value);
      append(found.edges, kind, line.path);
      if (k > 0.15 && this.hasArrow(layout.segments[number])) append(found.arrows, kind, arrow(line));
    }
  }

  // Into a box, not into an open block, where the line goes on.
  hasArrow({lower}) { return lower.id >= 0 && (!this.scene.isOpen(lower.id) || this.scene.layout(lower.id).isGrid); }

  lines({edges, arrows}, k) {
    const width = k < LEGIBLE ? LEGIBLE / Math.max(k, 0.02) : 1;
    const draw = (found, name) => [...found].map(([kind, paths]) =>
      svgEl("path", {class: `${name} ${kind}`, d: paths.join(""), "stroke-width": name === "edge" ? lineWidth(kind) * width : 0}));
    return [...draw(edges, "edge"), ...draw(arrows, "arrow")];
  }

  merged(places, kindOf) {
    const found = new Map();
    for (const place of places) append(found, kindOf(place), `M${r1(place.x)},${r1(place.y)}h${r1(place.width)}v${r1(place.height)}h${r1(-place.width)}z`);
    return [...found].map(([kind, paths]) => svgEl("path", {class: `merged ${kind}`, d: paths.join("")}));
  }

  dim(id) { return this.hits && !this.hits[id] ? " dim" : ""; }

  frame({id, x, y, width, height}) {
    return svgEl("rect", {class: `frame${this.dim(id)}`, x, y, width, height, rx: 8, "data-frame": id});
  }

  frameName({id, x, y, width}) {
    const name = svgEl("g", {class: "frame-name", transform: `translate(${r1(x)} ${r1(y)})`, "data-item": id});
    name.append(toggleMark(16, 16, false), textEl(cut(this.model.label(id), (width - 34) / 6.6), 30, 20, "title start"));
    return name;
  }

  box({id, x, y, width, height}) {
    const {model} = this, isBlock = model.isBlock(id);
    const group = svgEl("g", {
      class: `item ${isBlock ? "closed" : "node"}${this.dim(id)}`, transform: `translate(${r1(x)} ${r1(y)})`, "data-item": id,
    });
    const tip = svgEl("title");
    tip.textContent = model.fullName(id);
    if (isBlock && model.block(id).sort !== "module" && model.block(id).sort !== "nodes") {
      group.append(svgEl("rect", {class: "behind", x: 4, y: 4, width, height, rx: 6}));
    }
    const lines = isBlock ? [model.label(id), this.figures(id)] : [model.label(id), model.kind(id).shape];
    const room = width - (isBlock ? 30 : 12), middle = isBlock ? width / 2 + 8 : width / 2;
    const color = this.colors.of(id);
    group.append(tip, svgEl("rect", {class: `box ${color}`, width, height, rx: 6}),
      textEl(cut(lines[0], room / 6.4), middle, height / 2 - 3, `title on-${color}`),
      textEl(cut(lines[1], room / 5.2), middle, height / 2 + 11, `soft on-${color}`));
    if (model.isOpenable(id)) group.append(toggleMark(16, height / 2, true));
    return group;
  }

  figures(id) {
    const {model} = this, nodes = model.end[id] - model.begin[id];
    const parts = [`${nodes.toLocaleString("en")} node${nodes > 1 ? "s" : ""}`];
    if (model.params[id]) parts.push(`${short(model.params[id])} params`);
    if (model.flops[id] > 0.0005 * model.flops[model.root]) parts.push(`${percent(model.flops[id], model.flops[model.root])} FLOPs`);
    return parts.length < 3 ? [...parts, model.shape(id)].join(" \u00b7 ") : parts.join(" \u00b7 ");
  }

  selection(k, apart) {
    const {x, y, width, height} = this.scene.place(this.selected);
    const lines = this.scene.edgesOf(this.selected).map(({layout, segment, x, y}) => pathOf(layout, segment, x, y).path);
    const wide = Math.max(2, 1.5 / k);
    const parts = lines.length ? [svgEl("path", {class: "edge chosen", d: lines.join(""), "stroke-width": wide})] : [];
    parts.push(svgEl("rect", {class: "chosen", x, y, width, height, rx: apart ? 7 : 0, "stroke-width": wide + 1}));
    return parts;
  }
}

// A segment from the lower rim of one box or lane to the upper rim of another.
function pathOf(layout, {upper, lower, upperX, lowerX}, x, y) {
  const x0 = x + PAD + upper.x + upperX, x1 = x + PAD + lower.x + lowerX;
  const y0 = y + upper.y + upper.height, y1 = y + layout.bottoms[upper.layer], y2 = y + layout.tops[lower.layer];
  const start = upper.lane ? y + layout.tops[upper.layer] : y0, bend = (y2 - y1) * 0.55;
  const straight = Math.abs(x0 - x1) < 0.5;
  const path = `M${r1(x0)},${r1(start)}V${r1(straight ? y2 : y1)}` +
    (straight ? "" : `C${r1(x0)},${r1(y1 + bend)} ${r1(x1)},${r1(y2 - bend)} ${r1(x1)},${r1(y2)}`);
  return {path, x0, x1, y2};
}

function arrow({x1, y2}) { return `M${r1(x1 - 3.5)},${r1(y2 - 6)}h7l-3.5,6z`; }

function lineWidth(kind) { return kind ? 1 + Number(kind.slice(1)) / 10 : 1.2; }

function append(map, key, value) { if (map.has(key)) map.get(key).push(value); else map.set(key, [value]); }

function r1(value) { return Math.round(value * 10) / 10; }

function cut(text, length) { return text.length <= length ? text : `${text.slice(0, Math.max(Math.floor(length) - 1, 1))}\u2026`; }

function svgEl(name, attributes = {}) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function textEl(text, x, y, name) {
  const made = svgEl("text", {x, y, class: name});
  made.textContent = text;
  return made;
}

// A plus on closed blocks, a minus on open ones.
function toggleMark(x, y, plus) {
  const mark = svgEl("g", {class: "toggle", transform: `translate(${x} ${y})`});
  mark.append(svgEl("circle", {r: 8}), svgEl("path", {d: plus ? "M-4,0h8M0,-4v8" : "M-4,0h8"}));
  return mark;
}
