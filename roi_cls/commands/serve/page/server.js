// What the page asks the server. Knows addresses and answers, nothing that is seen.

const TRIES = 6;

/** Return the server's model and limits. */
export async function askModel() {
  return readJson(await fetch("/model"));
}

/** Judge one file; resolves to the answer of /look, also where the picture cannot be read. */
export async function look(file, signal) {
  return readJson(await send(`/look?${name(file)}`, file, signal));
}

/** Return the answer of /explain for one file and one class. */
export async function explain(file, label, signal) {
  const query = `${name(file)}&label=${encodeURIComponent(label)}`;
  return readJson(await send(`/explain?${query}`, file, signal));
}

/** Note that a verdict is wrong. */
export async function review(mark) {
  const response = await fetch("/review", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(mark),
  });
  if (!response.ok) throw new Error(await words(response));
}

const name = (file) => `name=${encodeURIComponent(file.name)}`;

/** Post a file; while the server is busy, wait as long as it says. */
async function send(address, file, signal) {
  for (let attempt = 1; ; attempt += 1) {
    const response = await fetch(address, {
      method: "POST",
      body: file,
      headers: { "Content-Type": file.type || "application/octet-stream" },
      signal,
    });
    if (response.status !== 503 || attempt === TRIES) return response;
    const seconds = Number(response.headers.get("Retry-After")) || 1;
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds * attempt));
  }
}

async function readJson(response) {
  if (!response.ok) throw new Error(await words(response));
  return response.json();
}

async function words(response) {
  const text = await response.text();
  try {
    const { detail } = JSON.parse(text);
    return typeof detail === "string" ? detail : JSON.stringify(detail);
  } catch {
    return text || `The server answered ${response.status}.`;
  }
}
