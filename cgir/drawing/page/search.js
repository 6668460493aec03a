// Search by operator, name or module: what is found is listed, and everything else in the drawing is pale.
"use strict";

const RESULTS = 100; // listed

class Search {
  // `place`: where input and list are; `actions`: go(id), mark(hits)
  constructor(place, model, actions) {
    this.model = model;
    this.actions = actions;
    this.input = el("input", {type: "search", placeholder: "search  /", "aria-label": "search by operator, name or module", spellcheck: "false"});
    this.count = el("span", {class: "count", role: "status"});
    this.list = el("ul", {class: "results", hidden: true});
    place.append(this.input, this.count, this.list);
    this.found = [];
    this.chosen = -1;
    this.input.addEventListener("input", () => this.run());
    this.input.addEventListener("keydown", (event) => this.key(event));
    this.input.addEventListener("focus", () => { this.list.hidden = !this.found.length; });
    this.list.addEventListener("mousedown", (event) => event.preventDefault());
    this.input.addEventListener("blur", () => { this.list.hidden = true; });
  }

  run() {
    const result = this.model.search(this.input.value);
    this.found = result ? result.found : [];
    this.chosen = -1;
    this.count.textContent = result ? `${this.found.length.toLocaleString("en")} found` : "";
    const rows = this.found.slice(0, RESULTS).map((id, i) => {
      const name = this.model.isBlock(id) ? `${this.model.fullName(id)} (block)` : `${id}: ${this.model.fullName(id)}`;
      return el("li", {onclick: () => this.choose(i)}, name);
    });
    if (this.found.length > RESULTS) rows.push(el("li", {class: "more"}, `and ${(this.found.length - RESULTS).toLocaleString("en")} more`));
    this.list.replaceChildren(...rows);
    this.list.hidden = !this.found.length;
    this.actions.mark(result && result.hit);
  }

  choose(position) {
    if (!this.found.length) return;
    this.chosen = (position + this.found.length) % this.found.length;
    [...this.list.children].forEach((row, i) => row.classList.toggle("chosen", i === this.chosen));
    if (this.list.children[this.chosen]) this.list.children[this.chosen].scrollIntoView({block: "nearest"});
    this.count.textContent = `${this.chosen + 1} of ${this.found.length.toLocaleString("en")}`;
    this.actions.go(this.found[this.chosen]);
  }

  key(event) {
    event.stopPropagation();
    if (event.key === "Enter" || event.key === "ArrowDown") this.choose(this.chosen + (event.shiftKey ? -1 : 1));
    else if (event.key === "ArrowUp") this.choose(this.chosen - 1);
    else if (event.key === "Escape") {
      this.input.value = "";
      this.run();
      this.input.blur();
      this.actions.leave();
    } else return;
    event.preventDefault();
  }
}
