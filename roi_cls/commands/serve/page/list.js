// The list of pictures: order, filter, and which one is chosen.

import { answer, make, percent, pngAddress, remark, tone } from "/page/words.js";

const find = (id) => document.getElementById(id);
const NARROW = matchMedia("(max-width: 61.99rem)");
const FILTERS = {
  all: ["all pictures", () => true],
  unsure: ["too close to call", (p) => p.prediction?.unsure],
  full: ["whole picture looked at", (p) => p.prediction?.source === "full_frame"],
  errors: ["cannot be read", (p) => p.prediction?.status === "error"],
  marked: ["marked as wrong", (p) => p.corrected !== null],
};

/** Shows `pictures`; calls `choose(picture)` when a row is chosen. */
export class List {
  constructor(pictures, model, choose) {
    Object.assign(this, { pictures, model, choose, rows: new Map(), chosen: null, timer: 0 });
    this.body = find("rows");
    this.fillFilter();
    find("score-head").textContent = model.labels.length === 2 ? `p(${model.target})` : "Probability";
    find("filter").addEventListener("change", () => this.arrange());
    find("order").addEventListener("change", () => this.arrange());
    this.body.addEventListener("keydown", (event) => this.walk(event));
  }

  fillFilter() {
    const labels = this.model.labels.map((label) => [`label:${label}`, `answer: ${label}`]);
    const others = Object.entries(FILTERS).map(([key, [text]]) => [key, text]);
    for (const [value, text] of [others[0], ...labels, ...others.slice(1)]) {
      const option = make("option", "", text);
      option.value = value;
      find("filter").append(option);
    }
  }

  /** The probability a picture is ordered by: of the class looked for, or of its answer. */
  score(picture) {
    const { prediction } = picture;
    if (prediction?.status !== "ok") return null;
    return this.model.labels.length === 2 ? prediction.probabilities[this.model.target] : prediction.score;
  }

  /** The pictures that are shown, in order. */
  shown() {
    const filter = find("filter").value;
    const isShown = filter.startsWith("label:")
      ? (p) => p.prediction?.label === filter.slice(6)
      : FILTERS[filter][1];
    const order = find("order").value;
    const found = this.pictures.all.filter(isShown);
    if (order === "name") return found.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
    if (order === "added") return found;
    const sign = order === "most" ? -1 : 1;
    // What has no probability stands last, whichever way.
    const key = (p) => (this.score(p) === null ? Infinity : sign * this.score(p));
    return found.sort((a, b) => key(a) - key(b) || a.id - b.id);
  }

  /** Draw one picture's row anew; the order follows a little later, for many at once. */
  update(picture) {
    const old = this.rows.get(picture.id);
    const row = this.draw(picture);
    const hadFocus = old?.contains(document.activeElement);
    old?.replaceWith(row);
    this.rows.set(picture.id, row);
    if (hadFocus) row.querySelector("button").focus();
    if (!this.timer) this.timer = setTimeout(() => this.arrange(), 120);
  }

  arrange() {
    clearTimeout(this.timer);
    this.timer = 0;
    const focused = document.activeElement;
    const shown = this.shown().filter((picture) => this.rows.has(picture.id));
    this.body.replaceChildren(...shown.map((picture) => this.rows.get(picture.id)));
    if (this.body.contains(focused)) focused.focus();
    find("nothing").hidden = shown.length > 0;
  }

  clear() {
    this.rows.clear();
    this.chosen = null;
    this.arrange();
  }

  mark(picture) {
    if (this.chosen) this.rows.get(this.chosen.id)?.classList.remove("is-chosen");
    this.rows.get(this.chosen?.id)?.querySelector("button").removeAttribute("aria-current");
    this.chosen = picture;
    this.rows.get(picture.id)?.classList.add("is-chosen");
    this.rows.get(picture.id)?.querySelector("button").setAttribute("aria-current", "true");
  }

  draw(picture) {
    const { prediction } = picture;
    const row = make("tr", picture === this.chosen ? "is-chosen" : "");
    const thumb = make("td", "thumb");
    if (picture.crops.length) {
      const image = make("img");
      image.src = pngAddress(picture.crops[0].png);
      image.alt = "";
      thumb.append(image);
    } else thumb.append(make("span", prediction ? "" : "is-working"));
    const name = make("td", "name-cell");
    const button = make("button", "name", picture.name);
    button.type = "button";
    if (picture === this.chosen) button.setAttribute("aria-current", "true");
    name.append(button);
    const words = prediction ? remark(prediction, this.model) : "";
    if (words) name.append(make("span", "why", words));
    const verdict = make("td", "verdict-cell");
    verdict.append(make("span", `chip ${tone(prediction, this.model)}`, answer(prediction)));
    if (picture.corrected) verdict.append(make("span", "why", `corrected: ${picture.corrected}`));
    const score = this.score(picture);
    row.append(thumb, name, verdict, make("td", "number", score === null ? "" : percent(score)));
    // Where it is narrow the row is laid out otherwise, and some browsers would no longer call it one.
    row.setAttribute("role", "row");
    for (const cell of row.children) cell.setAttribute("role", "cell");
    row.addEventListener("click", (event) => {
      this.choose(picture);
      // Below the picture, where the window is narrow, nobody would see what was chosen.
      if (event.detail && NARROW.matches) find("detail").scrollIntoView();
    });
    return row;
  }

  walk(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const buttons = [...this.body.querySelectorAll("button.name")];
    const next = buttons[buttons.indexOf(document.activeElement) + step];
    if (!next) return;
    event.preventDefault();
    next.focus();
    next.click();
  }
}
