// Puts the parts of the page together: files come in here, and go to the list and to the picture.

import { setUpCamera } from "/page/camera.js";
import { download, toCsv } from "/page/csv.js";
import { Detail } from "/page/detail.js";
import { List } from "/page/list.js";
import { Pictures } from "/page/pictures.js";
import { askModel } from "/page/server.js";
import { spoken } from "/page/words.js";

const find = (id) => document.getElementById(id);
const say = (text) => { find("status").textContent = text; };
let model = null;
let list = null;
let detail = null;
let pasted = 0;
const pictures = new Pictures(changed);

function changed(picture) {
  list.update(picture);
  if (picture === list.chosen) detail.show(picture);
  const total = pictures.all.length;
  const { done } = pictures;
  find("progress-line").hidden = done === total;
  find("progress").max = total;
  find("progress").value = done;
  find("progress-words").textContent = `${done} of ${total}`;
  if (picture.state !== "done") return;
  find("status").classList.toggle("unseen", total === 1); // seen beside the picture
  // Many are told by their number: a voice that reads each would never end.
  if (total === 1 || picture === list.chosen) say(spoken(picture, model));
  if (total > 1 && done === total) say(summary());
}

function summary() {
  const count = (is) => pictures.all.filter((picture) => is(picture.prediction)).length;
  const answers = model.labels.map((label) => `${count((p) => p.label === label)} ${label}`);
  const errors = count((p) => p.status === "error");
  const unsure = count((p) => p.unsure);
  const more = [unsure && `${unsure} too close to call`, errors && `${errors} cannot be read`].filter(Boolean);
  return `${pictures.all.length} pictures: ${[...answers, ...more].join(", ")}.`;
}

function add(files) {
  const found = [...files];
  if (!found.length || !model) return;
  find("drop").classList.add("has-pictures");
  find("workspace").hidden = false;
  find("list").hidden = pictures.all.length + found.length < 2;
  const added = pictures.add(found);
  for (const picture of added) list.update(picture);
  list.arrange();
  if (!list.chosen || added.length === 1) choose(added[0]);
}

function choose(picture) {
  list.mark(picture);
  detail.show(picture);
}

function clear() {
  pictures.clear();
  list.clear();
  find("workspace").hidden = true;
  find("drop").classList.remove("has-pictures");
  say("");
  find("choose").focus();
}

function setUpInputs() {
  find("choose").addEventListener("click", () => find("files").click());
  find("files").addEventListener("change", (event) => {
    add(event.target.files);
    event.target.value = ""; // the same file may be chosen again
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])].filter((file) => file.type.startsWith("image/"));
    add(files.map((file) => new File([file], `pasted-${(pasted += 1)}.${file.type.slice(6)}`, { type: file.type })));
  });
  let depth = 0;
  const drag = (step) => (event) => {
    event.preventDefault();
    depth = Math.max(0, depth + step);
    document.body.classList.toggle("is-dragging", depth > 0);
  };
  document.addEventListener("dragenter", drag(1));
  document.addEventListener("dragleave", drag(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    drag(-Infinity)(event);
    add(event.dataTransfer.files);
  });
  setUpCamera((file) => add([file]));
  find("clear").addEventListener("click", clear);
  find("download").addEventListener("click", () => download(toCsv(list.shown()), "verdicts.csv"));
}

async function start() {
  try {
    model = await askModel();
  } catch (error) {
    find("model").textContent = `The server does not answer: ${error.message}`;
    return;
  }
  const others = model.labels.filter((label) => label !== model.target);
  const classes = others.length === 1 ? `tells ${model.target} from ${others[0]}` : `tells apart ${model.labels.join(", ")}`;
  find("model").textContent = `Model “${model.name}” ${classes}.`;
  find("privacy").textContent = model.keeps_pictures
    ? "This server keeps the pictures that it is sent."
    : "Pictures are judged on this server and not kept.";
  find("version").textContent = `roi-cls ${model.version}`;
  pictures.maxBytes = model.max_bytes;
  detail = new Detail(model, (picture) => { list.update(picture); detail.show(picture); });
  list = new List(pictures, model, choose);
  setUpInputs();
  document.body.dataset.ready = "true";
}

start();
