// The pictures of this visit and what is known of each. They are judged a few at a time.

import { look } from "/page/server.js";

const AT_ONCE = 4;
let last = 0;

/** A list of pictures that calls `changed(picture)` whenever it knows more of one. */
export class Pictures {
  constructor(changed) {
    this.changed = changed;
    this.maxBytes = Infinity;
    this.clear();
  }

  clear() {
    this.stop?.abort();
    this.stop = new AbortController();
    this.all = [];
    this.waiting = [];
    this.working = 0;
  }

  get done() {
    return this.all.filter((picture) => picture.state === "done").length;
  }

  /** Add files; returns their pictures. */
  add(files) {
    const added = [...files].map((file) => ({
      id: (last += 1), file, name: file.name, state: "waiting",
      prediction: null, crops: [], sha256: null, width: null, height: null,
      heat: null, corrected: null,
    }));
    this.all.push(...added);
    this.waiting.push(...added);
    this.next();
    return added;
  }

  next() {
    while (this.working < AT_ONCE && this.waiting.length) this.judge(this.waiting.shift());
  }

  async judge(picture) {
    const { signal } = this.stop;
    this.working += 1;
    picture.state = "working";
    this.changed(picture);
    try {
      if (picture.file.size > this.maxBytes) {
        const most = Math.floor(this.maxBytes / 1e6);
        throw new Error(`It is larger than ${most} MB, the most that this server takes.`);
      }
      Object.assign(picture, await look(picture.file, signal));
    } catch (error) {
      if (signal.aborted) return;
      picture.prediction = failed(picture.name, error);
    }
    picture.state = "done";
    this.working -= 1;
    this.changed(picture);
    this.next();
  }
}

function failed(path, error) {
  // What fetch says where nobody answers helps nobody.
  const reason = error instanceof TypeError ? "The server does not answer. Is it still running?" : error.message;
  return {
    path, status: "error", error: reason, label: null, score: null, probabilities: null,
    unsure: false, source: null, reason: null, box: null, face_score: null, faces: 0,
    per_face: null, time_s: null, frames: null, threshold: null, damaged: null,
    color_profile: null, roll: null,
  };
}
