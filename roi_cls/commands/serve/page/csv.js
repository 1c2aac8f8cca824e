// The verdicts as a CSV: the columns of `roi-cls predict --csv`, and what this page adds.

const COLUMNS = [
  "path", "status", "error", "label", "score", "probabilities", "unsure", "source", "reason", "box",
  "face_score", "faces", "per_face", "time_s", "frames", "threshold", "damaged",
  "color_profile", "roll", "runtime",
];
const FORMULA = /^[\s']*[=+\-@]/;

/** Return the table of those pictures that are judged. */
export function toCsv(pictures) {
  const rows = pictures.filter((picture) => picture.prediction).map((picture) => [
    ...COLUMNS.map((column) => picture.prediction[column]),
    picture.sha256, picture.corrected,
  ]);
  return [[...COLUMNS, "sha256", "corrected"], ...rows].map((row) => row.map(cell).join(",") + "\r\n").join("");
}

/** Offer a text as a file. */
export function download(text, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  if (typeof value === "boolean") return value ? "True" : "False"; // as Python writes it
  let text = typeof value === "object" ? JSON.stringify(value) : value;
  if (FORMULA.test(text)) text = `'${text}`; // a file's name must not compute in a spreadsheet
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
