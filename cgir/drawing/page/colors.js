// Fill colours of boxes, by what the reader chose, and the legend. The colours themselves are in page.css.
"use strict";

const STEPS = 20; // of a scale
const MODES = {
  kind: "kind of operator", flops: "FLOPs", params: "parameters", importance: "importance", difference: "difference",
};

class Colors {
  constructor(model) {
    this.model = model;
    this.mode = model.data.importance ? "importance" : model.data.difference ? "difference" : "kind";
    this.high = 0;
  }

  get modes() {
    const {importance, difference} = this.model.data;
    return Object.keys(MODES).filter((m) => (m !== "importance" || importance) && (m !== "difference" || difference));
  }

  // The scale reaches to the largest of the visible boxes.
  measure(ids) {
    const values = this.mode === "flops" ? this.model.flops : this.mode === "params" ? this.model.params : [];
    this.high = ids.reduce((high, id) => Math.max(high, values[id] || 0), 0);
  }

  // The class that fills a box.
  of(id) {
    const {model} = this;
    if (this.mode === "kind") return `k-${model.mainKind(id).category}`;
    if (this.mode === "difference") return `d-${differenceOf(model, id)}`;
    if (this.mode === "importance") return shade(model.data.importance.node_scale, model.importance[id]);
    const value = this.mode === "flops" ? model.flops[id] : model.params[id];
    // the root, as most boxes have little beside the largest
    return `s${Math.round(STEPS * Math.sqrt(this.high > 0 ? Math.min(value / this.high, 1) : 0))}`;
  }

  ofEdge(value) {
    return this.mode === "importance" ? shade(this.model.data.importance.edge_scale, value) : "";
  }

  legend(ids) {
    const {model} = this;
    if (this.mode === "kind") {
      const shown = new Set();
      for (const id of ids) shown.add(model.mainKind(id).category);
      return el("div", {}, ...[...shown].map((name) => el("span", {class: "key"}, el("i", {class: `swatch k-${name}`}), name)));
    }
    if (this.mode === "difference") {
      return el("div", {}, ...model.data.difference.legend.map(([name, text]) =>
        el("span", {class: "key"}, el("i", {class: `swatch d-${name}`}), text)));
    }
    if (this.mode === "importance") return this.importanceLegend();
    const most = `${short(this.high)} ${this.mode === "flops" ? "FLOPs" : "parameters"}`;
    return el("div", {}, bar(0, 1, false, "0", `${most} in the largest box shown; the scale is its square root`));
  }

  importanceLegend() {
    const {node_scale: nodes, edge_scale: edges, caption} = this.model.data.importance;
    const meaning = nodes.signed ? "blue raises the score, red lowers it; stronger colour: more" : "stronger colour: more important";
    const line = (scale, name) =>
      bar(scale.low, scale.high, scale.signed, scale.low.toPrecision(3), `${scale.high.toPrecision(3)} ${name}`);
    return el("div", {}, el("div", {}, caption ? `${caption}; ${meaning}` : meaning),
      line(nodes, "nodes; in blocks the strongest"), line(edges, "edges"));
  }
}

// The step of a value on a scale of `cgir.drawing.importance`: s0 to s20, or n0 to n20 for what is negative.
function shade(scale, value) {
  const span = scale.signed ? scale.high : scale.high - scale.low;
  const share = span > 0 ? (scale.signed ? Math.abs(value) : value - scale.low) / span : 0;
  return `${scale.signed && value < 0 ? "n" : "s"}${Math.round(STEPS * Math.min(Math.max(share, 0), 1))}`;
}

function bar(low, high, signed, before, after) {
  const cells = Array.from({length: 11}, (_, i) => shade({low, high, signed}, low + (high - low) * i / 10));
  return el("div", {class: "bar"}, before, ...cells.map((name) => el("i", {class: `swatch ${name}`})), after);
}

// "same", "changed" or "only", whichever is the strongest in the item.
function differenceOf(model, id) {
  const {state} = model.data.difference;
  let worst = 0;
  for (const node of model.nodes(id)) worst = Math.max(worst, state[node]);
  return ["same", "changed", "only"][worst];
}

function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== false && value !== null) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}
