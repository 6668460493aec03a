// Layered drawing (Sugiyama, Tagawa and Toda, 1981) of the boxes in one block: arrows point down.
//
// Layers by longest path, order by barycentres, then coordinates: the median of a box's neighbours, the nearest place
// that keeps distances (isotonic regression, pool adjacent violators). An edge over several layers passes them in
// lanes, which edges from one port share.
"use strict";

const LANE = 12, GAP_X = 20, GAP_Y = 26;
const ORDER_SWEEPS = 8, PLACE_SWEEPS = 10;
const WEIGHT = {main: 16, box: 4, lane: 2, bend: 0.25};

// `boxes`: {width, height} in topological order; `edges`: {from, to, fromX, toX} with places relative to the centres;
// `inputs` first boxes are ports on the upper rim, `outputs` last ones on the lower rim; `head`, `foot`: room there.
function layered(boxes, edges, {inputs = 0, outputs = 0, head = 0, foot = 0} = {}) {
  const layer = layersOf(boxes, edges, inputs, outputs);
  const items = boxes.map((box, index) => ({width: box.width, height: box.height, layer: layer[index], up: [], down: []}));
  const segments = cutEdges(items, edges, heightsOf(boxes, edges));
  const rows = [];
  items.forEach((item, index) => { item.x = 0; item.index = index; (rows[item.layer] ||= []).push(item); });
  for (let r = 0; r < rows.length; r++) rows[r] ||= [];
  orderRows(rows);
  placeRows(rows);
  return {...stack(items, rows, inputs, outputs, head, foot), items, rows, segments};
}

function layersOf(boxes, edges, inputs, outputs) {
  const layer = new Array(boxes.length).fill(inputs ? 1 : 0), first = new Array(boxes.length).fill(Infinity);
  const above = boxes.map(() => []), last = boxes.length - outputs;
  for (const {from, to} of edges) above[to].push(from);
  for (let b = 0; b < last; b++) {
    if (b < inputs) layer[b] = 0;
    else for (const a of above[b]) layer[b] = Math.max(layer[b], layer[a] + 1);
  }
  for (const {from, to} of edges) if (to < last) first[from] = Math.min(first[from], layer[to]);
  for (let b = inputs; b < last; b++) {
    if (!above[b].length && first[b] < Infinity) layer[b] = Math.max(layer[b], first[b] - 1);
  }
  let deepest = -1;
  for (let b = 0; b < last; b++) deepest = Math.max(deepest, layer[b]);
  for (let b = last; b < boxes.length; b++) layer[b] = deepest + 1;
  return layer;
}

// Length of the longest path from each box: an edge on such a path is drawn straight.
function heightsOf(boxes, edges) {
  const height = new Array(boxes.length).fill(0), below = boxes.map(() => []);
  for (const {from, to} of edges) below[from].push(to);
  for (let b = boxes.length - 1; b >= 0; b--) for (const to of below[b]) height[b] = Math.max(height[b], height[to] + 1);
  return height;
}

function cutEdges(items, edges, height) {
  const segments = [], known = new Map();
  const connect = (upper, upperX, lower, lowerX, weight) => {
    const key = `${upper},${upperX},${lower},${lowerX}`;
    if (!known.has(key)) {
      const segment = {upper: items[upper], upperX, lower: items[lower], lowerX, value: 0};
      items[upper].down.push({item: items[lower], shift: lowerX - upperX, weight});
      items[lower].up.push({item: items[upper], shift: upperX - lowerX, weight});
      known.set(key, segments.push(segment) - 1);
    }
    return known.get(key);
  };
  const lanes = new Map();
  for (const edge of edges) {
    const {from, to, fromX, toX} = edge, end = items[to].layer;
    const straight = height[from] === height[to] + 1;
    edge.segments = [];
    let at = from, x = fromX;
    for (let l = items[from].layer + 1; l < end; l++) {
      const key = `${from},${fromX},${l}`;
      if (!lanes.has(key)) lanes.set(key, items.push({width: LANE, height: 0, layer: l, lane: true, up: [], down: []}) - 1);
      const lane = lanes.get(key);
      edge.segments.push(connect(at, x, lane, 0, at === from ? WEIGHT.bend : WEIGHT.lane));
      at = lane;
      x = 0;
    }
    edge.segments.push(connect(at, x, to, toX, at !== from ? WEIGHT.bend : straight ? WEIGHT.main : WEIGHT.box));
  }
  return segments;
}

function orderRows(rows) {
  const number = (row) => row.forEach((item, position) => { item.position = position; });
  rows.forEach(number);
  for (let sweep = 0; sweep < ORDER_SWEEPS; sweep++) {
    const side = sweep % 2 ? "down" : "up";
    const order = sweep % 2 ? [...rows].reverse() : rows;
    for (const row of order) {
      if (row.length < 2) continue;
      for (const item of row) {
        let sum = 0;
        for (const n of item[side]) sum += n.item.position + 0.9 * n.shift / (n.item.width + item.width);
        item.mean = item[side].length ? sum / item[side].length : item.position;
      }
      row.sort((a, b) => a.mean - b.mean || a.position - b.position);
      number(row);
    }
  }
}

function placeRows(rows) {
  for (const row of rows) {
    let x = 0;
    for (const item of row) { item.x = x + item.width / 2; x += item.width + GAP_X; }
    for (const item of row) item.x -= x / 2;
  }
  for (let sweep = 0; sweep < PLACE_SWEEPS; sweep++) {
    const down = sweep % 2 === 0, both = sweep >= PLACE_SWEEPS - 2;
    for (const row of down ? rows : [...rows].reverse()) {
      for (const item of row) {
        const near = both ? [...item.up, ...item.down] : down ? item.up : item.down;
        item.wish = near.length ? median(near) : item.x;
        item.pull = near.reduce((sum, n) => sum + n.weight, 0.01);
      }
      keepApart(row);
    }
  }
}

function median(near) {
  if (near.length === 1) return near[0].item.x + near[0].shift;
  const places = near.map((n) => [n.item.x + n.shift, n.weight]).sort((a, b) => a[0] - b[0]);
  const half = places.reduce((sum, place) => sum + place[1], 0) / 2;
  let sum = 0;
  for (let i = 0; i < places.length; i++) {
    sum += places[i][1];
    if (Math.abs(sum - half) < 1e-9 && i + 1 < places.length) return (places[i][0] + places[i + 1][0]) / 2;
    if (sum > half) return places[i][0];
  }
  return places[places.length - 1][0];
}

// Least squares towards `wish`, weighted by `pull`, with neighbours a gap apart.
function keepApart(row) {
  const pools = [];
  let offset = 0;
  row.forEach((item, i) => {
    if (i) offset += (row[i - 1].width + item.width) / 2 + (row[i - 1].lane && item.lane ? 4 : GAP_X);
    item.offset = offset;
    pools.push({sum: (item.wish - offset) * item.pull, weight: item.pull, count: 1});
    while (pools.length > 1) {
      const b = pools[pools.length - 1], a = pools[pools.length - 2];
      if (a.sum / a.weight <= b.sum / b.weight) break;
      pools.pop();
      a.sum += b.sum;
      a.weight += b.weight;
      a.count += b.count;
    }
  });
  let i = 0;
  for (const pool of pools) for (let n = 0; n < pool.count; n++, i++) row[i].x = pool.sum / pool.weight + row[i].offset;
}

// Places in the block: `x` of centres from its left, `top` and `bottom` of rows, and its size.
function stack(items, rows, inputs, outputs, head, foot) {
  let left = Infinity, right = -Infinity, y = inputs ? 0 : head;
  for (const item of items) {
    left = Math.min(left, item.x - item.width / 2);
    right = Math.max(right, item.x + item.width / 2);
  }
  for (const item of items) item.x -= left;
  const tops = [], bottoms = [];
  rows.forEach((row, r) => {
    tops.push(y);
    let height = 0;
    for (const item of row) { item.y = y; height = Math.max(height, item.height); }
    bottoms.push(y + height);
    y += height + (inputs && r === 0 ? head : outputs && r === rows.length - 2 ? foot : GAP_Y);
  });
  const bottom = bottoms.length ? bottoms[bottoms.length - 1] : head;
  return {width: items.length ? right - left : 0, height: bottom + (outputs ? 0 : foot), tops, bottoms};
}
