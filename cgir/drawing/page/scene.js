// Where everything is: the layouts of open blocks, one in the other, made when they are needed.
"use strict";

const NODE = {width: 148, height: 36}, CLOSED = {width: 232, height: 46};
const HEAD = 32, FOOT = 16, PAD = 14;
const GRID = 12; // copies side by side; of more, the places form a grid
const MAX_PORTS = 8; // tensors that enter or leave an open block apart; more are one bundle

class Scene {
  constructor(model, depth) {
    this.model = model;
    this.open = new Set(model.initiallyOpen(depth));
    this.layouts = new Map();
  }

  isOpen(id) { return this.open.has(id); }

  // Open or close blocks; layouts of all blocks around them are made again.
  setOpen(ids, open) {
    for (const id of ids) {
      if (!this.model.isOpenable(id) || id === this.model.root || this.isOpen(id) === open) continue;
      if (open) this.open.add(id); else this.open.delete(id);
      for (let above = this.model.parent[id]; above >= 0 && this.layouts.delete(above); above = this.model.parent[above]);
    }
  }

  // Open all blocks around an item.
  reveal(id) { this.setOpen(this.model.ancestors(id).reverse(), true); }

  isVisible(id) { return this.model.ancestors(id).every((above) => this.isOpen(above)); }

  // The item that stands for a node: itself, or the outermost closed block around it.
  shownFor(node) {
    let shown = node;
    for (const above of this.model.ancestors(node)) if (!this.isOpen(above)) shown = above;
    return shown;
  }

  layout(block) {
    if (!this.layouts.has(block)) {
      const waiting = [block], stack = [block];
      while (stack.length) {
        for (const item of this.model.items(stack.pop())) {
          if (this.model.isBlock(item) && this.isOpen(item) && !this.layouts.has(item)) {
            waiting.push(item);
            stack.push(item);
          }
        }
      }
      for (const inner of waiting.reverse()) this.layouts.set(inner, this.compute(inner));
    }
    return this.layouts.get(block);
  }

  sizeOf(id) {
    if (!this.model.isBlock(id)) return NODE;
    if (!this.isOpen(id)) return CLOSED;
    const inner = this.layouts.get(id);
    return {width: inner.width, height: inner.height};
  }

  // Place of the tensor of a node on the rim of an item, relative to the middle.
  portX(item, node, side) {
    if (!this.model.isBlock(item) || !this.isOpen(item)) return 0;
    const inner = this.layouts.get(item), ports = inner[side];
    if (inner.isGrid) return 0;
    return inner.items[ports.get(ports.has(node) ? node : "all")].x - inner.width / 2 + PAD;
  }

  compute(block) {
    const {model} = this, items = model.items(block);
    if (block !== model.root && model.block(block).sort === "beside" && items.length > GRID) return this.grid(items);
    const childOf = new Map();
    items.forEach((item, number) => { for (const node of model.nodes(item)) childOf.set(node, number); });
    const ins = this.ports(model.sources(block)), leaving = [];
    for (const node of model.nodes(block)) {
      if (model.readers[node].some((reader) => !model.contains(block, reader))) leaving.push(node);
    }
    const outs = this.ports(leaving), first = ins.count + items.length;
    for (const key of outs.index.keys()) outs.index.set(key, outs.index.get(key) + first);
    const port = {width: LANE, height: 0};
    const boxes = [...Array(ins.count).fill(port), ...items.map((id) => this.sizeOf(id)), ...Array(outs.count).fill(port)];
    const edges = this.edges(block, childOf, ins, outs, items);
    const room = {inputs: ins.count, outputs: outs.count, head: HEAD, foot: FOOT};
    const placed = layered(boxes, [...edges.values()], block === model.root ? {} : room);
    for (const edge of edges.values()) {
      for (const s of edge.segments) placed.segments[s].value = stronger(placed.segments[s].value, edge.value);
    }
    const least = block === model.root ? 0 : 7 * model.label(block).length + 60; // room for the name
    const widen = Math.max(0, Math.min(least, 400) - placed.width - 2 * PAD) / 2;
    for (const item of placed.items) item.x += widen;
    placed.width += 2 * widen + 2 * PAD;
    placed.items.forEach((item) => { item.id = item.index < ins.count || item.index >= first ? -1 : items[item.index - ins.count]; });
    const byRow = placed.rows.map(() => []);
    placed.segments.forEach((segment, number) => byRow[segment.upper.layer].push(number));
    return {...placed, ins: ins.index, outs: outs.index, numIns: ins.count, childOf, edges, byRow};
  }

  // Equal blocks side by side, all between the same nodes: in rows, and the lines end at the frame.
  grid(items) {
    const columns = Math.ceil(Math.sqrt(items.length / 2)), rows = [], tops = [], bottoms = [], childOf = new Map();
    const sizes = items.map((id) => this.sizeOf(id));
    let y = HEAD, width = 0;
    for (let start = 0; start < items.length; start += columns) {
      let x = 0, height = 0;
      const row = [];
      for (let i = start; i < Math.min(start + columns, items.length); i++) {
        for (const node of this.model.nodes(items[i])) childOf.set(node, i);
        row.push({...sizes[i], id: items[i], x: x + sizes[i].width / 2, y, layer: rows.length});
        x += sizes[i].width + GAP_X;
        height = Math.max(height, sizes[i].height);
      }
      rows.push(row);
      tops.push(y);
      bottoms.push(y + height);
      y += height + GAP_X;
      width = Math.max(width, x - GAP_X);
    }
    const none = {ins: new Map(), outs: new Map(), edges: new Map(), segments: [], byRow: rows.map(() => [])};
    return {...none, items: rows.flat(), rows, tops, bottoms, childOf, numIns: 0, isGrid: true, width: width + 2 * PAD, height: y - GAP_X + FOOT};
  }

  // A port for each tensor, or one for all if there are many.
  ports(nodes) {
    if (nodes.length > MAX_PORTS) return {index: new Map([["all", 0]]), count: 1};
    return {index: new Map(nodes.map((node, number) => [node, number])), count: nodes.length};
  }

  edges(block, childOf, ins, outs, items) {
    const {model} = this, found = new Map(), values = model.data.importance && model.data.importance.edges;
    const add = (from, fromX, to, toX, value) => {
      const key = `${from},${fromX},${to},${toX}`, known = found.get(key);
      if (known) known.value = stronger(known.value, value);
      else found.set(key, {from, fromX, to, toX, value});
    };
    for (const node of model.nodes(block)) {
      const to = childOf.get(node);
      model.data.inputs[node].forEach((source, slot) => {
        const from = childOf.get(source), value = values ? values[model.edgeStart[node] + slot] : 0;
        if (from === to) return;
        const toX = this.portX(items[to], source, "ins");
        if (from === undefined) add(ins.index.get(ins.index.has(source) ? source : "all"), 0, to + ins.count, toX, value);
        else add(from + ins.count, this.portX(items[from], source, "outs"), to + ins.count, toX, value);
      });
      model.readers[node].forEach((reader) => {
        if (block === model.root || model.contains(block, reader)) return;
        const slot = model.data.inputs[reader].indexOf(node), value = values ? values[model.edgeStart[reader] + slot] : 0;
        const end = outs.index.get(outs.index.has(node) ? node : "all");
        add(to + ins.count, this.portX(items[to], node, "outs"), end, 0, value);
      });
    }
    return found;
  }

  // Left, top, width and height of a visible item.
  place(id) {
    let x = 0, y = 0;
    const {width, height} = id === this.model.root ? this.bounds() : (this.layout(this.model.root), this.sizeOf(id));
    for (let at = id; at !== this.model.root; at = this.model.parent[at]) {
      const around = this.layout(this.model.parent[at]);
      const item = around.items[around.numIns + around.childOf.get(this.model.nodes(at)[0])];
      x += item.x - item.width / 2 + PAD;
      y += item.y;
    }
    return {x, y, width, height};
  }

  bounds() {
    const {width, height} = this.layout(this.model.root);
    return {x: 0, y: 0, width, height};
  }

  // Call `visit(layout, x, y, block)` for each open block that meets the area, outer ones first; it gives the open
  // blocks inside that are to be visited.
  walk(visit) {
    const stack = [[this.model.root, 0, 0]];
    while (stack.length) {
      const [block, x, y] = stack.pop();
      stack.push(...visit(this.layout(block), x, y, block));
    }
  }

  // The innermost visible item at a point, or null.
  pick(px, py) {
    let hit = null;
    this.walk((layout, x, y) => {
      const row = lastAtMost(layout.tops, py - y);
      if (row < 0 || py - y > layout.bottoms[row]) return [];
      for (const item of layout.rows[row]) {
        const left = x + PAD + item.x - item.width / 2, top = y + item.y;
        if (item.id === undefined || item.id < 0) continue;
        if (px < left || px > left + item.width || py < top || py > top + item.height) continue;
        hit = item.id;
        return this.isOpen(item.id) ? [[item.id, left, top]] : [];
      }
      return [];
    });
    return hit;
  }

  // Segments of all edges between visible items that come from the item's nodes or lead to them, with their places.
  edgesOf(id) {
    const {model} = this, found = [];
    const pairs = [];
    for (const node of model.nodes(id)) {
      for (const source of model.data.inputs[node]) if (!model.contains(id, source)) pairs.push([source, node]);
      for (const reader of model.readers[node]) if (!model.contains(id, reader)) pairs.push([node, reader]);
    }
    const done = new Set();
    for (const [source, target] of pairs.slice(0, 500)) {
      for (const around of new Set([...model.ancestors(source), ...model.ancestors(target)])) {
        if (!this.isOpen(around) || !this.isVisible(around)) continue;
        const layout = this.layout(around), items = model.items(around);
        if (layout.isGrid) continue;
        const from = layout.childOf.get(source), to = layout.childOf.get(target);
        if (from === to) continue;
        const end = (number, node, side, other) => number === undefined
          ? [layout[side].get(layout[side].has(other) ? other : "all"), 0]
          : [number + layout.numIns, this.portX(items[number], other, side === "ins" ? "outs" : "ins")];
        const key = [...end(from, source, "ins", source), ...end(to, target, "outs", source)].join();
        const edge = layout.edges.get(key);
        if (!edge || done.has(`${around}:${key}`)) continue;
        done.add(`${around}:${key}`);
        const place = this.place(around);
        for (const s of edge.segments) found.push({layout, segment: layout.segments[s], x: place.x, y: place.y});
      }
    }
    return found;
  }
}

// The last position whose value is at most `limit`, -1 if none; values ascend.
function lastAtMost(values, limit, value = (v) => v) {
  let low = 0, high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (value(values[middle]) <= limit) low = middle + 1; else high = middle;
  }
  return low - 1;
}
