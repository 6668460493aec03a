// The graph of the page: nodes 0 to size - 1, then blocks, of which the first is the whole graph.
"use strict";

const AUTO_OPEN = 40; // boxes that open by themselves: as many as can be read
const FEW = 8; // of so few blocks some may be open and others not

class Model {
  constructor(data) {
    this.data = data;
    this.size = data.kind.length;
    this.root = this.size;
    const [names, labels, sorts, items] = data.blocks;
    this.blocks = names.map((name, i) => ({name, label: labels[i], sort: sorts[i], items: items[i]}));
    this.count = this.size + this.blocks.length;
    this.parent = new Int32Array(this.count).fill(-1);
    for (let block = this.root; block < this.count; block++) {
      for (const item of this.items(block)) this.parent[item] = block;
    }
    this.readers = data.inputs.map(() => []);
    data.inputs.forEach((sources, node) => sources.forEach((source) => this.readers[source].push(node)));
    this.edgeStart = [0]; // edges are numbered by reader, then argument
    for (const sources of data.inputs) this.edgeStart.push(this.edgeStart[this.edgeStart.length - 1] + sources.length);
    this.addUp();
    this.arrange();
  }

  // Parameters, FLOPs and importance of blocks; parents are numbered before their children.
  addUp() {
    const {data, size, count} = this;
    this.params = Float64Array.from({length: count}, (_, id) => (id < size ? data.params[id] : 0));
    this.flops = Float64Array.from({length: count}, (_, id) => (id < size ? data.flops[id] : 0));
    const important = data.importance;
    this.importance = important && Float64Array.from({length: count}, (_, id) => (id < size ? important.nodes[id] : 0));
    for (let node = 0; node < size; node++) this.addToParent(node);
    for (let block = count - 1; block > this.root; block--) this.addToParent(block);
  }

  addToParent(id) {
    const above = this.parent[id];
    this.params[above] += this.params[id];
    this.flops[above] += this.flops[id];
    if (this.importance) this.importance[above] = stronger(this.importance[above], this.importance[id]);
  }

  // Nodes in an order in which those of every block are neighbours: from `begin` to `end` of the block.
  arrange() {
    this.sequence = new Int32Array(this.size);
    this.begin = new Int32Array(this.count);
    this.end = new Int32Array(this.count);
    let position = 0;
    const stack = [this.root];
    while (stack.length) {
      const id = stack.pop();
      this.begin[id] = position;
      if (id < this.size) this.sequence[position++] = id;
      else for (const item of [...this.items(id)].reverse()) stack.push(item);
    }
    for (let node = 0; node < this.size; node++) this.end[node] = this.begin[node] + 1;
    for (let block = this.count - 1; block >= this.root; block--) {
      const items = this.items(block);
      this.end[block] = items.length ? this.end[items[items.length - 1]] : this.begin[block];
    }
  }

  isBlock(id) { return id >= this.size; }
  block(id) { return this.blocks[id - this.size]; }
  items(id) { return this.blocks[id - this.size].items; }
  name(node) { return this.data.names[node] || ""; }
  nodes(id) { return this.sequence.subarray(this.begin[id], this.end[id]); }
  kind(node) { return this.data.kinds[this.data.kind[node]]; }
  module(node) { return this.data.modules[this.data.module[node]]; }
  contains(block, node) { return this.begin[block] <= this.begin[node] && this.begin[node] < this.end[block]; }

  label(id) {
    if (!this.isBlock(id)) return this.kind(id).title;
    return this.block(id).label || `nodes ${this.sequence[this.begin[id]]} to ${this.sequence[this.end[id] - 1]}`;
  }

  // What is said of an item everywhere outside of its box.
  fullName(id) {
    if (this.isBlock(id)) return id === this.root ? this.data.name : this.block(id).name || this.label(id);
    const where = this.module(id) || this.name(id);
    return `${this.kind(id).title}${where ? `, ${where}` : ""}`;
  }

  // Kind of the operator with most FLOPs, and shape of the last tensor that leaves.
  mainKind(id) {
    let best = this.nodes(id)[0];
    for (const node of this.nodes(id)) if (this.flops[node] > this.flops[best]) best = node;
    return this.kind(best);
  }

  shape(id) {
    const nodes = this.nodes(id);
    let last = -1;
    for (const node of nodes) if (node > last && this.readers[node].some((r) => !this.contains(id, r))) last = node;
    return nodes.length ? this.kind(last < 0 ? nodes[nodes.length - 1] : last).shape : "";
  }

  operators(id) {
    const counts = new Map();
    for (const node of this.nodes(id)) counts.set(this.kind(node).op, (counts.get(this.kind(node).op) || 0) + 1);
    return [...counts].sort((a, b) => b[1] - a[1]);
  }

  ancestors(id) {
    const found = [];
    for (let above = this.parent[id]; above >= 0; above = this.parent[above]) found.push(above);
    return found;
  }

  // Items outside that the item reads, and nodes that read it.
  sources(id) {
    const found = new Set();
    for (const node of this.nodes(id)) for (const s of this.data.inputs[node]) if (!this.contains(id, s)) found.add(s);
    return [...found];
  }

  targets(id) {
    const found = new Set();
    for (const node of this.nodes(id)) for (const r of this.readers[node]) if (!this.contains(id, r)) found.add(r);
    return [...found].sort((a, b) => a - b);
  }

  // Blocks that are open at first: `depth` levels, or as many as can be read.
  initiallyOpen(depth) {
    let level = [this.root], shown = this.items(this.root).length;
    const open = [this.root];
    for (let deep = 1; level.length && (depth === null || deep < depth); deep++) {
      let inner = level.flatMap((id) => (this.isOpenable(id) ? this.items(id) : [])).filter((id) => this.isBlock(id));
      inner.sort((a, b) => this.end[b] - this.begin[b] - this.end[a] + this.begin[a]);
      if (depth === null) {
        const added = inner.reduce((sum, id) => sum + this.items(id).length - 1, 0);
        if (shown + added > AUTO_OPEN && inner.length > FEW) break;
        inner = inner.filter((id) => {
          const fits = shown + this.items(id).length - 1 <= AUTO_OPEN;
          if (fits) shown += this.items(id).length - 1;
          return fits;
        });
      }
      open.push(...inner);
      level = inner;
    }
    return open;
  }

  isOpenable(id) { return this.isBlock(id) && this.items(id).length > 0; }

  // Whether each item has all words of the query in its names, or contains a node that has.
  search(query) {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) return null;
    this.texts ||= Array.from({length: this.count}, (_, id) => this.searchText(id).toLowerCase());
    const found = [], hit = new Uint8Array(this.count);
    for (let id = 0; id < this.count; id++) {
      if (id === this.root || !words.every((word) => this.texts[id].includes(word))) continue;
      found.push(id);
      for (let above = id; above >= 0 && !hit[above]; above = this.parent[above]) hit[above] = 1;
    }
    return {found, hit};
  }

  searchText(id) {
    if (this.isBlock(id)) return `${this.block(id).name} ${this.label(id)}`;
    return `${this.kind(id).title} ${this.kind(id).op} ${this.name(id)} ${this.module(id)}`;
  }
}

function stronger(a, b) { return Math.abs(b) > Math.abs(a) ? b : a; }

// Three digits and a unit: 25.6M.
function short(value) {
  const units = ["", "K", "M", "G", "T", "P"];
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) { value /= 1000; unit++; }
  return (value >= 100 || !unit ? value.toFixed(0) : value.toFixed(1)) + units[unit];
}

function percent(part, whole) { return whole > 0 ? `${(100 * part / whole).toFixed(1)} %` : ""; }
