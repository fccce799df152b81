// The service, as functions.  Where it asks for a key, the page asks its user, once a tab.

import { ask, h } from "./dom.js";
import { words } from "./words.js";

const TOKEN = "mien-token";
const API = new URL("../api/v1", import.meta.url).pathname; // below whatever prefix a proxy gives

async function send(method, path, body, signal) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  if (body && !(body instanceof FormData)) headers["Content-Type"] = "application/json";
  let response;
  try {
    const data = headers["Content-Type"] ? JSON.stringify(body) : body;
    response = await fetch(API + path, { method, body: data, headers, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error(words.problems.offline);
  }
  if (response.status === 429) {
    await new Promise((resolve) => setTimeout(resolve, 500 + 1000 * Math.random()));
    return send(method, path, body, signal);
  }
  if (response.status === 401 && (await askToken(Boolean(token)))) return send(method, path, body, signal);
  if (!response.ok) {
    const { code } = await response.json().catch(() => ({}));
    throw Object.assign(new Error(words.problems[code] ?? words.problems.other), { code });
  }
  return response;
}

let asking = null; // one dialog, however many requests wait for it

function askToken(again) {
  asking ??= ask(words.token.heading, (close) => [
    h(
      "form",
      {
        onsubmit: (event) => {
          event.preventDefault();
          close(event.target.elements.token.value.trim());
        },
      },
      again && h("p", { className: "error", role: "alert" }, words.token.wrong),
      h("label", { htmlFor: "token" }, words.token.label),
      h("input", { type: "password", id: "token", autocomplete: "current-password", "aria-describedby": "token-hint" }),
      h("p", { className: "soft", id: "token-hint" }, words.token.hint),
      h("div", { className: "row end" }, h("button", { className: "main" }, words.token.go)),
    ),
  ]).then((token) => {
    asking = null;
    if (token) sessionStorage.setItem(TOKEN, token);
    return Boolean(token);
  });
  return asking;
}

const json = async (...request) => (await send(...request)).json();
const at = (name) => `/people/${encodeURIComponent(name)}`;

function form(fields) {
  const data = new FormData();
  for (const [name, value] of Object.entries(fields)) data.append(name, value);
  return data;
}

let settings = null;

// How the service finds faces: asked once.
export function device() {
  settings ??= json("GET", "/device").catch((error) => {
    settings = null;
    throw error;
  });
  return settings;
}

export const network = async (name) => (await send("GET", `/networks/${name}`)).arrayBuffer();
export const identify = (photo, signal) =>
  json("POST", "/identify", form({ photo, vectors: true, thumbs: true }), signal);

const MOST = 64; // faces of one request

// Who has these vectors, with the people nearest to each.
export async function match(vectors, top = 0) {
  const { model_id } = await device();
  const parts = [];
  for (let i = 0; i < vectors.length || !i; i += MOST) {
    parts.push(await json("POST", "/match", { model_id, vectors: vectors.slice(i, i + MOST), top }));
  }
  const all = (key) => parts.flatMap((part) => part[key]);
  return { ...parts[0], matches: all("matches"), candidates: all("candidates") };
}

// Which vectors are of one person: lists of their places.
export async function group(vectors, photos, poor) {
  const { model_id } = await device();
  const arrays = {
    vectors: Float32Array.from(vectors.flat()),
    photos: Int32Array.from(photos),
    poor: Uint8Array.from(poor),
  };
  const files = Object.entries(arrays).map(([name, array]) => [name, new Blob([array])]);
  return (await json("POST", "/groups", form({ model_id, ...Object.fromEntries(files) }))).groups;
}

export async function people() {
  const everyone = [];
  for (let after = ""; after !== null; ) {
    const page = await json("GET", `/people?limit=1000&after=${encodeURIComponent(after)}`);
    everyone.push(...page.people);
    after = page.next;
  }
  return everyone;
}

const BYTES = 200_000; // of one request with faces

// Enrol faces, as many at a time as a request takes; `faces` are {vector, confidence, size, picture}.
export async function enroll(name, faces, move) {
  const { model_id } = await device();
  const done = { person: name, sha256: [], added: [] };
  for (let begin = 0; begin < faces.length; ) {
    let end = begin;
    for (let bytes = 0; end < faces.length && end - begin < MOST; end++) {
      bytes += 4000 + faces[end].picture.length;
      if (bytes > BYTES && end > begin) break;
    }
    const { person, sha256, added } = await json("POST", `${at(name)}/faces`, {
      model_id,
      faces: faces.slice(begin, end),
      move,
    });
    done.person = person;
    done.sha256.push(...sha256);
    done.added.push(...added);
    begin = end;
  }
  return done;
}

export const person = (name) => json("GET", at(name));
export const photosOf = async (name) => (await json("GET", `${at(name)}/photos`)).photos;
export const rename = (name, person, merge = false) => json("PATCH", at(name), { person, merge });
export const give = (name, person, photos) => json("PATCH", at(name), { person, photos, merge: true });
export const forget = (name) => json("DELETE", at(name));
export const forgetPhoto = (name, sha256) => json("DELETE", `${at(name)}/photos/${sha256}`);
export const state = () => json("GET", "/facebank");

const pictures = new Map(); // SHA-256 to address: a picture never changes

// A face, no larger than it is shown on a screen of two dots a pixel.
export function picture(sha256) {
  if (!pictures.has(sha256)) {
    const fetched = send("GET", `/photos/${sha256}?size=320`)
      .then((response) => response.blob())
      .then((blob) => URL.createObjectURL(blob));
    fetched.catch(() => pictures.delete(sha256));
    pictures.set(sha256, fetched);
  }
  return pictures.get(sha256);
}
