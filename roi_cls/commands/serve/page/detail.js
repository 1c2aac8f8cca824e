// One picture at large: verdict, box, crop, heat map, and the form that corrects it.

import { explain, review } from "/page/server.js";
import { answer, decidedFrom, lookedAt, make, percent, pngAddress, tone } from "/page/words.js";

const find = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

/** Shows one picture; calls `changed(picture)` when it was corrected. */
export class Detail {
  constructor(model, changed) {
    Object.assign(this, { model, changed, picture: null, address: "" });
    for (const label of model.labels) {
      const option = make("option", "", label);
      option.value = label;
      find("right").append(option);
    }
    find("heat").addEventListener("click", () => this.toggleHeat());
    find("correct").addEventListener("submit", (event) => this.correct(event));
    find("frame-image").addEventListener("error", () => this.tellUnshown(true));
    find("frame-image").addEventListener("load", () => this.tellUnshown(false));
  }

  show(picture) {
    if (picture !== this.picture) {
      URL.revokeObjectURL(this.address);
      this.address = URL.createObjectURL(picture.file);
      find("frame-image").src = this.address;
      this.hot = false;
      for (const id of ["heat-words", "correct-words"]) find(id).textContent = "";
    }
    this.picture = picture;
    find("detail-name").textContent = picture.name;
    find("detail-size").textContent = picture.width ? `${picture.width} × ${picture.height} px` : "";
    // As large as there is room for, and never higher than the window.
    const ratio = picture.width / picture.height;
    find("frame").parentElement.style.maxWidth = picture.width ? `min(100%, calc(62vh * ${ratio}))` : "";
    find("frame").classList.toggle("is-waiting", picture.state !== "done");
    this.showVerdict();
    this.showFigures();
    this.showActions();
  }

  showVerdict() {
    const { prediction } = this.picture;
    const box = find("verdict");
    box.replaceChildren();
    if (!prediction) {
      box.append(make("p", "quiet is-working", "Being judged…"));
      return;
    }
    const colour = tone(prediction, this.model);
    const line = make("p", "answer");
    line.append(make("strong", colour, answer(prediction)));
    if (prediction.status === "ok") line.append(make("span", "share", percent(prediction.score)));
    const decided = decidedFrom(prediction, this.model);
    if (decided) line.append(make("span", "quiet", decided));
    if (prediction.unsure) line.append(make("span", "chip is-unsure", "too close to call"));
    if (this.picture.corrected) line.append(make("span", "chip", `corrected: ${this.picture.corrected}`));
    box.append(line);
    if (prediction.status === "ok") {
      const bars = make("div", "bars");
      bars.append(...this.bars(prediction, colour));
      box.append(bars);
    }
    box.append(make("p", prediction.status === "error" ? "is-error" : "quiet", lookedAt(prediction, this.model)));
  }

  bars(prediction, colour) {
    const { labels, target, threshold } = this.model;
    if (labels.length === 2 && threshold !== null) return [bar(target, prediction.probabilities[target], colour, threshold)];
    const order = [...labels].sort((a, b) => prediction.probabilities[b] - prediction.probabilities[a]);
    return order.map((label) => bar(label, prediction.probabilities[label], label === prediction.label ? colour : "quiet", null));
  }

  showFigures() {
    const { prediction, crops, heat } = this.picture;
    const hot = this.hot ? heat : null;
    const source = hot ? pngAddress(hot.frame_png) : this.address;
    if (find("frame-image").src !== source) find("frame-image").src = source;
    find("frame-image").alt = `${this.picture.name}${hot ? `, with what speaks for ${hot.label}` : ""}`;
    this.drawMarks();
    const shown = hot ? hot.heats : crops;
    find("crops").replaceChildren(...shown.map((crop, i) => {
      const image = make("img");
      image.src = pngAddress(crop.png);
      image.alt = hot ? `Crop ${i + 1} with its heat map` : `Crop ${i + 1}, as the model saw it`;
      return image;
    }));
    find("crop-caption").textContent = crops.length ? "What the model looked at" : "";
    const caption = find("frame-caption");
    caption.replaceChildren();
    if (prediction?.box) caption.append(make("span", "key"), "face ");
    if (crops.some((crop) => crop.is_face)) caption.append(make("span", "key dashed"), "what was cut out");
  }

  drawMarks() {
    const { prediction, crops, width, height } = this.picture;
    const marks = find("marks");
    marks.replaceChildren();
    if (!width) return;
    marks.setAttribute("viewBox", `0 0 ${width} ${height}`);
    // Of a whole picture the line would be its frame.
    for (const crop of crops.filter((one) => one.is_face)) marks.append(...rectangle(crop.region, "region", crop.angle));
    const faces = prediction.per_face?.map((face) => face.box) ?? (prediction.box ? [prediction.box] : []);
    for (const face of faces) marks.append(...rectangle(face, "box", 0));
  }

  showActions() {
    const { prediction } = this.picture;
    find("actions").hidden = prediction?.status !== "ok";
    find("heat").setAttribute("aria-pressed", String(this.hot));
    find("heat").textContent = this.hot ? "Hide the heat map" : "Show the heat map";
    if (prediction?.status !== "ok") return;
    const others = this.model.labels.filter((label) => label !== prediction.label);
    find("right").value = this.picture.corrected ?? others[0];
  }

  async toggleHeat() {
    const { picture } = this;
    this.hot = !this.hot;
    if (this.hot && !picture.heat) {
      find("heat-words").textContent = "Drawing the heat map…";
      find("heat").disabled = true;
      try {
        // Of two classes the one that is looked for; of more the answer.
        const label = this.model.labels.length === 2 ? this.model.target : picture.prediction.label;
        picture.heat = await explain(picture.file, label);
      } catch (error) {
        if (picture === this.picture) find("heat-words").textContent = error.message;
        this.hot = false;
      } finally {
        find("heat").disabled = false;
      }
    }
    if (picture !== this.picture) return;
    if (this.hot) find("heat-words").replaceChildren("speaks little", make("span", "scale"), `much for “${picture.heat.label}”`);
    else if (picture.heat) find("heat-words").textContent = "";
    this.showFigures();
    this.showActions();
  }

  async correct(event) {
    event.preventDefault();
    const { picture } = this;
    const { prediction, sha256 } = picture;
    const label = find("right").value;
    try {
      await review({ name: picture.name, sha256, answer: prediction.label, label, probability: prediction.score });
    } catch (error) {
      find("correct-words").textContent = error.message;
      return;
    }
    picture.corrected = label === prediction.label ? null : label;
    this.changed(picture);
    find("correct-words").textContent = picture.corrected
      ? `Noted: ${picture.name} is “${label}”.`
      : `Noted: the answer “${label}” is right after all.`;
  }

  tellUnshown(isUnshown) {
    find("unshown").hidden = !isUnshown;
    find("frame-image").hidden = isUnshown;
    find("marks").toggleAttribute("hidden", isUnshown);
  }
}

function bar(label, value, colour, threshold) {
  const line = make("div", "bar-line");
  line.setAttribute("role", "img");
  const words = threshold === null ? "" : `, threshold ${threshold.toFixed(2)}`;
  line.setAttribute("aria-label", `Probability of ${label}: ${value.toFixed(3)}${words}`);
  const track = make("div", `bar ${colour}`);
  const fill = make("i");
  fill.style.width = percent(value).replace(" ", "");
  track.append(fill);
  line.append(make("span", "small bar-name", `p(${label})`), track, make("span", "number", percent(value)));
  if (threshold !== null) {
    const tick = make("b");
    tick.style.left = `${100 * threshold}%`;
    track.append(tick);
    const foot = make("div", "bar-foot small quiet");
    const text = make("span", threshold < 0.2 ? "at-start" : threshold > 0.8 ? "at-end" : "", `threshold ${percent(threshold)}`);
    text.style.left = `${100 * threshold}%`;
    foot.append(text);
    line.append(make("span", "bar-name"), foot);
  }
  return line;
}

/** A box, twice: its lines are seen on dark and on light pictures. */
function rectangle([left, top, right, bottom], kind, angle) {
  return ["halo", kind].map((className) => {
    const box = document.createElementNS(SVG, "rect");
    const sizes = { x: left, y: top, width: right - left, height: bottom - top, class: className };
    for (const [key, value] of Object.entries(sizes)) box.setAttribute(key, value);
    if (angle) box.setAttribute("transform", `rotate(${angle} ${(left + right) / 2} ${(top + bottom) / 2})`);
    return box;
  });
}
