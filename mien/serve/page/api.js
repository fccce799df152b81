// The service, as functions. Where it asks for a token, the page asks its user, once a tab.

import { ask, h } from "./dom.js";

const TOKEN = "mien-token";
const API = new URL("../api/v1", import.meta.url).pathname; // below whatever prefix a proxy gives

async function send(method, path, body) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  if (body && !(body instanceof FormData)) headers["Content-Type"] = "application/json";
  let response;
  try {
    const data = headers["Content-Type"] ? JSON.stringify(body) : body;
    response = await fetch(API + path, { method, body: data, headers });
  } catch {
    throw new Error("The server does not answer: is mien serve still running?");
  }
  if (response.status === 429) {
    await new Promise((resolve) => setTimeout(resolve, 500 + 1000 * Math.random()));
    return send(method, path, body);
  }
  if (response.status === 401 && (await askToken())) return send(method, path, body);
  if (!response.ok) {
    const said = await response.json().catch(() => ({ error: `the server answers ${response.status}` }));
    throw new Error(sentence(said.error));
  }
  return response;
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

let asking = null; // one dialog, however many requests wait for it

function askToken() {
  asking ??= ask("This server asks for its token", (close) => {
    const input = h("input", { type: "password", id: "token", autocomplete: "current-password" });
    return [
      h(
        "form",
        {
          onsubmit: (event) => {
            event.preventDefault();
            close(input.value.trim());
          },
        },
        h("label", { htmlFor: "token" }, "Token"),
        input,
        h("div", { className: "row end" }, h("button", { className: "main" }, "Go on")),
      ),
    ];
  }).then((token) => {
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
  for (const [name, value] of Object.entries(fields)) {
    for (const one of [value].flat()) data.append(name, one);
  }
  return data;
}

export const identify = (photo) => json("POST", "/identify", form({ photo }));

export async function people() {
  const everyone = [];
  for (let after = ""; after !== null; ) {
    const page = await json("GET", `/people?limit=1000&after=${encodeURIComponent(after)}`);
    everyone.push(...page.people);
    after = page.next;
  }
  return everyone;
}

export const person = (name) => json("GET", at(name));
export const photosOf = async (name) => (await json("GET", `${at(name)}/photos`)).photos;
export const enroll = (name, photo, x, y) => json("POST", `${at(name)}/photos`, form({ photo, x, y }));
export const rename = (name, person, merge) => json("PATCH", at(name), { person, merge });
export const forget = (name) => json("DELETE", at(name));
export const forgetPhoto = (name, sha256) => json("DELETE", `${at(name)}/photos/${sha256}`);
export const strangers = (photos) => json("POST", "/strangers", form({ photos }));
export const device = () => json("GET", "/device");
export const network = async (name) => (await send("GET", `/networks/${name}`)).arrayBuffer();
export const match = (model_id, vectors) => json("POST", "/match", { model_id, vectors });
export const state = () => json("GET", "/facebank");

const pictures = new Map(); // SHA-256 to address: a picture never changes

// A face, no larger than it is shown on a screen of two dots a pixel.
export async function picture(sha256) {
  if (!pictures.has(sha256)) {
    const blob = await (await send("GET", `/photos/${sha256}?size=256`)).blob();
    pictures.set(sha256, URL.createObjectURL(blob));
  }
  return pictures.get(sha256);
}

// A photo upright and no larger than it needs to be: quick to send, and what is shown is what was sent.
export async function shrunk(file, side = 2048) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new Error(`${file.name} cannot be read: is it a picture?`);
  }
  const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  const canvas = h("canvas", { width: Math.round(bitmap.width * scale), height: Math.round(bitmap.height * scale) });
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
}
