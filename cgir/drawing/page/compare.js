// The page of two graphs: what is chosen on one side is chosen on the other, if it is there.
"use strict";

const compared = JSON.parse(document.getElementById("graph").textContent);
const lines = el("details", {class: "lines", open: true}, el("summary", {}, "differences"), el("pre", {}, compared.lines));
const sides = compared.sides.map(() => el("section", {class: "side"}));
document.body.append(lines, el("div", {class: "pair"}, ...sides));
const pages = compared.sides.map((data, side) => new GraphPage(sides[side], data, {
  address: false, onSelect: (id) => follow(side, id),
}));

// what differs first is what one came for
const first = compared.sides[0].difference.state.findIndex((state) => state > 0);
if (first >= 0) pages[0].go(first);
else {
  const other = compared.sides[1].difference.state.findIndex((state) => state > 0);
  if (other >= 0) pages[1].go(other);
}

function follow(side, id) {
  const here = pages[side].model, there = pages[1 - side];
  if (id === null) return there.select(null, false);
  const {partner} = here.data.difference;
  if (!here.isBlock(id)) return partner[id] < 0 ? there.select(null, false) : there.go(partner[id], false);
  // the block of the other side that has the counterparts of the first and the last node
  const ends = [...here.nodes(id)].map((node) => partner[node]).filter((node) => node >= 0);
  if (!ends.length) return there.select(null, false);
  const blocks = there.model.ancestors(ends[0]).filter((block) => there.model.contains(block, ends[ends.length - 1]));
  return blocks[0] === there.model.root ? there.go(ends[0], false) : there.go(blocks[0], false);
}
