// Verdicts in words and numbers, the same in the list, beside the picture and read aloud.

export const percent = (value) => `${(100 * value).toFixed(1)} %`;

/** Which colour an answer has: the class that is looked for, another, unsure, or none. */
export function tone(prediction, model) {
  if (!prediction) return "";
  if (prediction.status !== "ok") return "is-error";
  if (prediction.unsure) return "is-unsure";
  return prediction.label === model.target ? "is-target" : "is-other";
}

/** The answer in a word or two. */
export function answer(prediction) {
  if (!prediction) return "…";
  if (prediction.status === "error") return "cannot be read";
  if (prediction.status === "skipped") return "skipped";
  return prediction.label;
}

/** From which probability the target is the answer, where another class is more probable; else empty. */
export function decidedFrom(prediction, model) {
  if (prediction.threshold === null || prediction.score >= 0.5) return "";
  return `${model.target} is the answer from ${percent(prediction.threshold)} on`;
}

/** What was looked at, and why; without a full stop. */
export function lookedAt(prediction, model) {
  if (prediction.status === "error") return prediction.error;
  const why = model.reasons[prediction.reason];
  if (prediction.status === "skipped") return `Skipped: ${why}, and the model has no substitute for a face.`;
  if (prediction.source === "face") {
    const others = prediction.faces > 1 ? ` ${prediction.faces} faces were seen.` : "";
    return `Looked at the face, found with a score of ${prediction.face_score.toFixed(2)}.${others}`;
  }
  if (!why) return "Looked at the whole picture, as the model was trained to.";
  const best = prediction.face_score === null ? "" : ` (the best guess scored ${prediction.face_score.toFixed(2)})`;
  return `Looked at the whole picture, because ${why}${best}.`;
}

/** Why a row of the list is unlike the others; empty for a probable answer from a face. */
export function remark(prediction, model) {
  if (prediction.status !== "ok") return lookedAt(prediction, model);
  const why = prediction.source === "face" ? "" : model.reasons[prediction.reason];
  const threshold = decidedFrom(prediction, model) && `threshold ${percent(prediction.threshold)}`;
  return [threshold, why && `whole picture: ${why}`].filter(Boolean).join("; ");
}

/** A verdict as one sentence, for those who listen. */
export function spoken(picture, model) {
  const { prediction } = picture;
  if (prediction.status !== "ok") return `${picture.name}: ${lookedAt(prediction, model)}`;
  const unsure = prediction.unsure ? ", too close to call" : "";
  const verdict = [`${prediction.label}, ${percent(prediction.score)}${unsure}`, decidedFrom(prediction, model)];
  return `${picture.name}: ${verdict.filter(Boolean).join("; ")}. ${lookedAt(prediction, model)}`;
}

/** Make an element with a class and a text; text is never read as HTML. */
export function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

export const pngAddress = (base64) => `data:image/png;base64,${base64}`;
