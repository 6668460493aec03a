// What is said beside the drawing: the report of the graph, or all about the item that is chosen.
"use strict";

const LISTED = 50; // nodes listed of each sort

class Panel {
  constructor(place, model, actions) {
    this.place = place;
    this.model = model;
    this.actions = actions;
  }

  show(id) {
    const {model} = this;
    this.place.replaceChildren(...(id === null ? this.graph() : model.isBlock(id) ? this.blockParts(id) : this.nodeParts(id)));
    this.place.scrollTop = 0;
  }

  graph() {
    const {data} = this.model;
    return [el("h2", {}, data.name), this.rows([["level", data.level], ["nodes", data.kind.length.toLocaleString("en")],
      ["parameters", data.totals.params], ["FLOPs", data.totals.flops]]),
    el("details", {}, el("summary", {}, "report"), el("pre", {}, data.report)), this.hints()];
  }

  hints() {
    const keys = [["click", "choose a box"], ["double click, Enter", "open or close a block"],
      ["\u2191 \u2193 \u2190 \u2192", "to inputs, readers, neighbours"], ["/", "search"], ["Esc", "to the block around"],
      ["e, c", "open all, close all"], ["+, \u2212, 0", "zoom, fit"], ["wheel", "move; with Ctrl zoom"]];
    return el("details", {open: true}, el("summary", {}, "keys"), this.rows(keys));
  }

  nodeParts(id) {
    const {model} = this, {data} = model, kind = model.kind(id);
    const rows = [["operator", kind.op === kind.category ? kind.op : `${kind.op} (${kind.category})`], ["node", String(id)],
      ["name", model.name(id)], ["module", model.module(id)], ["shape", kind.shape], ...this.costRows(id)];
    return [el("h2", {}, kind.title), this.around(id), this.rows(rows),
      ...this.section("attributes", kind.attrs), ...this.section("parameters", data.param_rows[id] || []),
      ...this.nodeList("inputs", data.inputs[id], (slot) => (kind.inputs[slot] ? ` as ${kind.inputs[slot]}` : "")),
      ...this.nodeList("read by", model.readers[id])];
  }

  blockParts(id) {
    const {model} = this, open = this.actions.isOpen(id), {sort, items} = model.block(id);
    const many = {copies: `${items.length} equal blocks, one after the other`, beside: `${items.length} equal blocks, side by side`};
    const rows = [["is", many[sort] || (sort === "nodes" ? "nodes without a module of their own" : "")],
      ["nodes", (model.end[id] - model.begin[id]).toLocaleString("en")], ["shape", model.shape(id)], ...this.costRows(id)];
    const operators = model.operators(id).map(([name, count]) => [name, count.toLocaleString("en")]);
    return [el("h2", {}, model.fullName(id)), this.around(id), this.rows(rows),
      el("button", {type: "button", onclick: () => this.actions.toggle(id)}, open ? "close the block" : "open the block"),
      ...this.section("operators", operators.slice(0, LISTED)),
      ...this.nodeList("inputs", model.sources(id)), ...this.nodeList("read by", model.targets(id))];
  }

  costRows(id) {
    const {model} = this, {root} = model, rows = [];
    for (const [name, values] of [["parameters", model.params], ["FLOPs", model.flops]]) {
      if (values[id]) rows.push([name, `${values[id].toLocaleString("en")} (${percent(values[id], values[root])})`]);
    }
    if (model.importance) rows.push(["importance", model.importance[id].toPrecision(4)]);
    const {difference} = model.data;
    if (difference) rows.push(["compared", difference.names[differenceOf(model, id)]]);
    if (difference && !model.isBlock(id) && difference.partner[id] >= 0) {
      rows.push(["counterpart", `node ${difference.partner[id]}`], ...(difference.changes[id] || []));
    }
    return rows;
  }

  // The blocks around, outermost first, as links.
  around(id) {
    const blocks = this.model.ancestors(id).reverse();
    const links = blocks.map((above) => this.link(above, above === this.model.root ? "graph" : this.model.label(above)));
    return el("p", {class: "around"}, ...links.flatMap((link, i) => (i ? [" \u203a ", link] : [link])));
  }

  section(title, rows) { return rows.length ? [el("h3", {}, title), this.rows(rows)] : []; }

  nodeList(title, nodes, more = () => "") {
    if (!nodes.length) return [];
    const lines = nodes.slice(0, LISTED).map((node, slot) => el("li", {}, this.link(node, `${node}: ${this.model.fullName(node)}`), more(slot)));
    if (nodes.length > LISTED) lines.push(el("li", {}, `and ${(nodes.length - LISTED).toLocaleString("en")} more`));
    return [el("h3", {}, title), el("ul", {}, ...lines)];
  }

  link(id, text) {
    const go = (event) => { event.preventDefault(); this.actions.go(id === this.model.root ? null : id); };
    return el("button", {type: "button", class: "link", onclick: go}, text);
  }

  rows(pairs) {
    const shown = pairs.filter(([, value]) => value !== "" && value !== undefined);
    return el("dl", {}, ...shown.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  }
}
