// Who is known: asked once, and again after a change.

import * as api from "./api.js";
import { h, whenSeen } from "./dom.js";

let everyone = null; // a promise

export function known() {
  everyone ??= api.people().catch((error) => {
    everyone = null;
    throw error;
  });
  return everyone;
}

export const changed = () => {
  everyone = null;
};

// A choice of this browser's, kept in it: people's covers, who is hidden, what was put aside.
export function choice(name) {
  const key = `mien-${name}`;
  const all = Object.assign(Object.create(null), JSON.parse(localStorage.getItem(key) ?? "{}"));
  const keep = () => localStorage.setItem(key, JSON.stringify(all));
  return {
    get: (one) => all[one],
    set: (one, value = true) => {
      all[one] = value;
      keep();
    },
    remove: (one) => {
      delete all[one];
      keep();
    },
  };
}

export const covers = choice("covers");
export const hidden = choice("hidden");

// A face of somebody, once it is in sight; until then, or where none may be shown, an initial.
export function portrait(name, cover) {
  const place = h("span", { className: "thumb", "aria-hidden": "true" }, [...name][0].toUpperCase());
  if (cover === null) return place;
  return whenSeen(place, async () => {
    try {
      const sha256 = covers.get(name) ?? cover ?? (await api.person(name)).cover;
      if (sha256) place.replaceChildren(h("img", { alt: "", src: await api.picture(sha256) }));
    } catch {} // the initial stays
  });
}

const marks = /[\p{Mark}\p{Punctuation}\s]/gu;

// What names have in common that differ in case, accents, spaces or dots alone.
export const folded = (name) => name.normalize("NFKD").replace(marks, "").toLocaleLowerCase();
