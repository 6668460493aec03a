// Puts the parts together: one drawing, or two side by side, and what mouse, keyboard and address do.
"use strict";

const LONGEST_PRINT = 12000; // pixels of a drawing that is printed on several pages

class GraphPage {
  constructor(place, data, {address = true, onSelect = () => {}} = {}) {
    this.model = new Model(data);
    this.usesAddress = address;
    this.onSelect = onSelect;
    const bar = el("header"), main = el("main"), side = el("aside");
    place.append(bar, el("div", {class: "below"}, main, side));
    this.view = new View(main, this.model, data.depth, {select: (id) => this.select(id), toggle: (id) => this.toggle(id)});
    this.panel = new Panel(side, this.model, {
      go: (id) => this.go(id), toggle: (id) => this.toggle(id), isOpen: (id) => this.view.scene.isOpen(id),
    });
    this.toolbar(bar, data);
    place.addEventListener("keydown", (event) => this.key(event));
    if (address) {
      window.addEventListener("hashchange", () => this.followAddress());
      window.addEventListener("beforeprint", () => this.print());
      window.addEventListener("afterprint", () => this.afterPrint());
    }
    this.panel.show(null);
    this.view.fit(false);
    if (address) this.followAddress();
  }

  toolbar(bar, data) {
    const find = el("div", {class: "search"});
    this.search = new Search(find, this.model, {
      go: (id) => this.go(id), leave: () => this.view.svg.focus(), mark: (hits) => { this.view.hits = hits; this.view.redraw(); },
    });
    const {colors} = this.view;
    const choice = el("select", {"aria-label": "colour by"},
      ...colors.modes.map((mode) => el("option", {value: mode, selected: mode === colors.mode}, MODES[mode])));
    choice.addEventListener("change", () => { colors.mode = choice.value; this.view.redraw(); });
    const button = (text, title, act) => el("button", {type: "button", title, "aria-label": title, onclick: act}, text);
    bar.append(el("h1", {title: data.heading}, data.name), find, el("label", {}, "colour ", choice),
      button("open all", "open all blocks (e)", () => this.openAll(true)),
      button("close all", "close all blocks (c)", () => this.openAll(false)),
      button("fit", "fit into the window (0)", () => this.view.fit()),
      button("+", "larger (+)", () => this.view.zoom(1.25)), button("\u2212", "smaller (-)", () => this.view.zoom(0.8)));
  }

  select(id, tell = true) {
    if (id !== null && !this.view.scene.isVisible(id)) id = this.view.scene.shownFor(this.model.nodes(id)[0]);
    this.view.selected = id;
    this.panel.show(id);
    this.view.redraw();
    if (this.usesAddress) this.writeAddress(id);
    if (tell) this.onSelect(id);
  }

  // Choose an item wherever it is: blocks around it open.
  go(id, tell = true) {
    if (id !== null) {
      this.view.scene.reveal(id);
      this.view.center(id);
    } else this.view.fit(false);
    this.select(id, tell);
  }

  toggle(id) {
    if (!this.model.isOpenable(id)) return;
    this.view.setOpen([id], !this.view.scene.isOpen(id), id);
    const {selected} = this.view;
    this.select(selected !== null && this.view.scene.isVisible(selected) ? selected : id);
  }

  openAll(open) {
    const {model, view} = this;
    const blocks = Array.from({length: model.count - model.size}, (_, i) => model.size + i);
    view.scene.setOpen(open ? blocks : blocks.reverse(), open);
    if (view.selected !== null && !view.scene.isVisible(view.selected)) this.select(view.selected);
    view.fit(false);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    const {view} = this, {selected} = view;
    const moves = {ArrowUp: "up", ArrowDown: "down", ArrowLeft: "left", ArrowRight: "right"};
    const acts = {
      "/": () => { this.search.input.focus(); this.search.input.select(); },
      "+": () => view.zoom(1.25), "=": () => view.zoom(1.25), "-": () => view.zoom(0.8), 0: () => view.fit(), f: () => view.fit(),
      e: () => this.openAll(true), c: () => this.openAll(false),
      Escape: () => this.out(),
      Enter: () => selected !== null && this.toggle(selected), " ": () => selected !== null && this.toggle(selected),
    };
    if (event.target.closest("button, summary") && (event.key === "Enter" || event.key === " ")) return;
    if (moves[event.key]) this.step(moves[event.key]);
    else if (Object.hasOwn(acts, event.key)) acts[event.key]();
    else return;
    event.preventDefault();
  }

  // To the block around, in the end to the whole graph.
  out() {
    const {selected} = this.view;
    if (selected === null) return;
    const above = this.model.parent[selected];
    this.select(above === this.model.root ? null : above);
    if (this.view.selected !== null) this.view.show(this.view.selected);
  }

  // To the nearest visible input, reader, or neighbour in the same row.
  step(way) {
    const {model, view} = this, {scene, selected} = view;
    let next = null;
    if (selected === null) next = model.items(model.root)[0];
    else if (way === "up" || way === "down") {
      const linked = way === "up" ? model.sources(selected) : model.targets(selected);
      if (linked.length) next = scene.shownFor(way === "up" ? linked[linked.length - 1] : linked[0]);
    } else {
      const around = scene.layout(model.parent[selected]);
      const item = around.items[around.numIns + around.childOf.get(model.nodes(selected)[0])];
      const row = around.rows[item.layer].filter((other) => other.id >= 0);
      const neighbour = row[row.indexOf(item) + (way === "left" ? -1 : 1)];
      if (neighbour) next = neighbour.id;
    }
    if (next === null || next === undefined) return;
    this.select(next);
    view.show(next);
  }

  // #node=12, or #block=layer1.0
  followAddress() {
    const asked = new URLSearchParams(location.hash.slice(1)), {model} = this;
    const node = asked.get("node"), block = asked.get("block");
    let id = null;
    if (node !== null && /^\d+$/.test(node) && Number(node) < model.size) id = Number(node);
    else if (block !== null) id = this.named(block);
    if (id !== null && id !== this.view.selected) this.go(id);
  }

  named(name) {
    for (let id = this.model.root + 1; id < this.model.count; id++) if (this.model.block(id).name === name) return id;
    return null;
  }

  writeAddress(id) {
    const block = id !== null && this.model.isBlock(id), name = block && this.model.block(id).name;
    const hash = id === null || (block && this.named(name) !== id) ? "" : block ? `#block=${encodeURIComponent(name)}` : `#node=${id}`;
    if (location.protocol === "about:" || location.hash === hash) return; // a frame of a notebook has no address
    history.replaceState(null, "", hash || location.pathname + location.search);
  }

  // All of the graph on the paper, in its size on a few pages, or on one; boxes apart as long as they are not too many.
  print() {
    const {view} = this, {width, height} = view.scene.bounds();
    view.isPrinting = true;
    view.svg.setAttribute("viewBox", `-10 -10 ${width + 20} ${height + 20}`);
    if (height < LONGEST_PRINT) view.svg.style.width = `${width + 20}px`;
    view.world.removeAttribute("transform");
    view.render({left: -Infinity, top: -Infinity, right: Infinity, bottom: Infinity}, 1, 5000);
  }

  afterPrint() {
    this.view.isPrinting = false;
    this.view.svg.removeAttribute("viewBox");
    this.view.svg.style.width = "";
    this.view.redraw();
  }
}
