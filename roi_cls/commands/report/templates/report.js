"use strict";
// The page says everything without this; it only makes looking through it easier.

function chooseTheme() {
  const button = document.getElementById("theme");
  const names = { "": "as the system", light: "light", dark: "dark" };
  const order = Object.keys(names);
  let chosen = "";
  const apply = () => {
    if (chosen) document.documentElement.dataset.theme = chosen;
    else delete document.documentElement.dataset.theme;
    button.textContent = `Theme: ${names[chosen]}`;
  };
  button.addEventListener("click", () => {
    chosen = order[(order.indexOf(chosen) + 1) % order.length];
    apply();
  });
  apply();
  button.hidden = false;
}

function followSections() {
  const links = new Map();
  for (const link of document.querySelectorAll("nav a")) {
    links.set(document.querySelector(link.getAttribute("href")), link);
  }
  const follow = () => {
    let current = null;
    for (const section of links.keys()) {
      if (section.getBoundingClientRect().top < innerHeight / 3) current = section;
    }
    if (innerHeight + scrollY >= document.documentElement.scrollHeight - 2) current = [...links.keys()].pop();
    for (const [section, link] of links) {
      if (section === current) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  };
  addEventListener("scroll", follow, { passive: true });
  follow();
}

const KINDS = { missed: "missed", false_alarm: "false alarms", mixed_up: "mixed up", right: "right" };
const ORDERS = {
  shown: ["as listed", () => 0],
  sure: ["surest first", (a, b) => b.dataset.margin - a.dataset.margin],
  unsure: ["least sure first", (a, b) => a.dataset.margin - b.dataset.margin],
  path: ["by path", (a, b) => (a.dataset.path < b.dataset.path ? -1 : 1)],
};

function addControls(gallery) {
  const list = gallery.querySelector(".pictures");
  if (!list || list.children.length < 2) return;
  const cards = [...list.children];
  const kinds = Object.keys(KINDS).filter((kind) => cards.some((card) => card.dataset.kind === kind));
  const controls = document.createElement("div");
  controls.className = "controls";
  if (kinds.length > 1) controls.append(makeFilter(cards, kinds));
  controls.append(makeOrder(list, cards));
  list.before(controls);
}

function makeFilter(cards, kinds) {
  const group = document.createElement("div");
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", "Show");
  const buttons = ["all", ...kinds].map((kind) => {
    const button = document.createElement("button");
    const count = cards.filter((card) => kind === "all" || card.dataset.kind === kind).length;
    button.type = "button";
    button.textContent = `${KINDS[kind] ?? "all"} (${count})`;
    button.setAttribute("aria-pressed", String(kind === "all"));
    button.addEventListener("click", () => {
      for (const card of cards) card.hidden = kind !== "all" && card.dataset.kind !== kind;
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
    });
    return button;
  });
  for (const button of buttons) group.append(button, " ");
  return group;
}

function makeOrder(list, cards) {
  const label = document.createElement("label");
  const select = document.createElement("select");
  for (const [name, [text]] of Object.entries(ORDERS)) select.add(new Option(text, name));
  select.addEventListener("change", () => list.append(...[...cards].sort(ORDERS[select.value][1])));
  label.append("Order ", select);
  return label;
}

function openLarge() {
  const dialog = document.getElementById("lightbox");
  const body = dialog.querySelector(".body");
  let shown = null;
  const show = (card) => {
    shown = card;
    const large = document.createElement("div");
    large.className = "large";
    for (const image of card.querySelectorAll("img")) {
      const copy = image.cloneNode();
      copy.removeAttribute("loading");
      large.append(copy);
    }
    const words = [...card.querySelectorAll(".verdict, dl, .label")].map((part) => part.cloneNode(true));
    dialog.querySelector("h2").textContent = card.dataset.path;
    body.replaceChildren(large, ...words);
  };
  const step = (by) => {
    const cards = [...shown.parentElement.children].filter((card) => !card.hidden && card.querySelector("img"));
    show(cards[(cards.indexOf(shown) + by + cards.length) % cards.length]);
  };
  for (const image of document.querySelectorAll(".shots img")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "enlarge";
    button.setAttribute("aria-label", `Enlarge: ${image.alt}`);
    image.replaceWith(button);
    button.append(image);
    button.addEventListener("click", () => {
      show(button.closest(".picture"));
      dialog.showModal();
    });
  }
  for (const button of dialog.querySelectorAll("[data-step]")) {
    button.addEventListener("click", () => step(Number(button.dataset.step)));
  }
  dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
}

chooseTheme();
followSections();
for (const gallery of document.querySelectorAll("[data-gallery]")) addControls(gallery);
openLarge();
