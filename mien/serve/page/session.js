// The photos of this tab and the faces in them.  Each photo is looked at once: names, corrections and
// groups work on the vectors that came back.

import * as api from "./api.js";
import { toast } from "./dom.js";
import { changed as peopleChanged } from "./known.js";
import { words } from "./words.js";

const AT_ONCE = 4; // photos that are on their way
const SMALL = 700_000; // bytes of a photo that is sent as it is
const NEAR = 0.15; // cosine from which a newly named face may change who another one is
const PICTURE = 320; // pixels of the longer side of a face's picture that is kept

export const photos = [];
const shrinkers = [];
const heard = new EventTarget();
const waiting = [];
let running = 0,
  stopping = new AbortController();

export const progress = { done: 0, total: 0 };

// Calls a function with the photos that have changed, or null where any may have, until it is told to stop.
export function listen(function_) {
  const call = ({ detail }) => function_(detail);
  heard.addEventListener("change", call);
  return () => heard.removeEventListener("change", call);
}

const tell = (changed) => heard.dispatchEvent(new CustomEvent("change", { detail: changed }));

export const faces = () => photos.flatMap((photo) => photo.faces);
export const isOpen = (face) => !face.person && !face.mark; // nobody has said who it is
export const shown = (photo) => photo.faces.filter((face) => face.mark !== "notFace");

export function add(files) {
  const images = files.filter((file) => file.type.startsWith("image/") || /\.(heic|heif|jxl|avif)$/i.test(file.name));
  if (progress.done === progress.total) Object.assign(progress, { done: 0, total: 0 });
  const added = images.map((file) => ({ file, name: file.name, state: "waiting", faces: [], more: 0 }));
  photos.push(...added);
  waiting.push(...added);
  progress.total += added.length;
  tell(added);
  for (let i = 0; i < AT_ONCE; i++) work();
  return added;
}

async function work() {
  if (running >= AT_ONCE || !waiting.length) return;
  running += 1;
  while (waiting.length) await look(waiting.shift(), stopping.signal);
  running -= 1;
}

async function look(photo, signal) {
  photo.state = "looking";
  tell([photo]);
  try {
    const sent = await prepared(photo);
    signal.throwIfAborted();
    tell([photo]);
    const found = await api.identify(sent, signal);
    Object.assign(photo, { width: found.width, height: found.height, state: "done", error: null });
    photo.more = found.found - found.faces.length;
    photo.faces = inReadingOrder(found.faces).map((face) => ({
      ...face,
      photo,
      mark: null,
      kept: null,
      picture: () => cutOut(photo, face),
    }));
  } catch (error) {
    photo.state = signal.aborted ? "skipped" : "failed";
    photo.error = error.message;
  }
  if (!signal.aborted) progress.done += 1;
  tell([photo]);
}

export function again(photo) {
  waiting.push(photo);
  progress.total += 1;
  work();
}

export function stop() {
  stopping.abort();
  stopping = new AbortController();
  const left = waiting.splice(0);
  for (const photo of left) photo.state = "skipped";
  progress.total = progress.done;
  tell(null);
  return photos.filter((photo) => photo.state === "skipped" || photo.state === "looking").length;
}

// Take all photos from the page, and say how to have them back.
export function clear() {
  stop();
  const before = photos.splice(0);
  tell(null);
  toast(words.photos.cleared(before.length), () => {
    photos.unshift(...before);
    tell(null);
  });
}

// What is sent of a photo; `address` then shows it.
async function prepared(photo) {
  const { file } = photo;
  if (file.size <= SMALL && /jpeg|png|webp/.test(file.type)) {
    photo.address ??= URL.createObjectURL(file);
    return file;
  }
  const { photo: sent, small } = await shrink(file);
  if (small) photo.address ??= URL.createObjectURL(small);
  photo.blind = !small;
  return sent ?? file;
}

function shrink(file) {
  const most = Math.min(AT_ONCE, Math.max(1, navigator.hardwareConcurrency / 2));
  if (shrinkers.length < most) shrinkers.push(new Worker(new URL("shrink.js", import.meta.url), { type: "module" }));
  const worker = shrinkers.shift();
  shrinkers.push(worker);
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data }) => resolve(data);
    worker.postMessage(file, [port2]);
  });
}

// From left to right; many of them line by line.
function inReadingOrder(found) {
  if (found.length < 9) return found.toSorted((one, other) => one.box[0] - other.box[0]);
  const middle = ({ box }) => (box[1] + box[3]) / 2;
  const lines = [];
  for (const face of found.toSorted((one, other) => middle(one) - middle(other))) {
    const line = lines.at(-1);
    const [first] = line ?? [];
    if (
      first &&
      middle(face) - middle(first) < 0.7 * Math.max(face.box[3] - face.box[1], first.box[3] - first.box[1])
    ) {
      line.push(face);
    } else lines.push([face]);
  }
  return lines.flatMap((line) => line.sort((one, other) => one.box[0] - other.box[0]));
}

// The face with half its size around it, as base64; "" where the browser cannot read the photo.
async function cutOut({ file, width, blind }, { box, thumb }) {
  if (blind) return thumb.split(",")[1];
  return cutFrom(await createImageBitmap(file, { imageOrientation: "from-image" }), box, width);
}

export function cutFrom(image, [left, top, right, bottom], width) {
  const times = image.width / width, // a photo may have been sent smaller than it is
    margin = 0.5 * Math.max(right - left, bottom - top);
  const edge = (at, most) => Math.min(Math.max(0, times * at), most);
  const [x, y] = [edge(left - margin, image.width), edge(top - margin, image.height)];
  const across = edge(right + margin, image.width) - x,
    down = edge(bottom + margin, image.height) - y;
  const scale = Math.min(1, PICTURE / Math.max(across, down));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [Math.round(across * scale), Math.round(down * scale)];
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, x, y, across, down, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.9).split(",")[1];
}

const told = ({ person, mark, kept }) => ({ person, mark, kept });

function change(some, values) {
  for (const face of some) Object.assign(face, values);
  tell([...new Set(some.map((face) => face.photo))]);
}

// Give faces a name: shown at once, then kept by the server.  Answers what was done, and can be undone.
export async function name(some, person) {
  const before = some.map(told);
  change(some, { person, mark: null, saving: true });
  let done;
  try {
    const given = [];
    for (const face of some) {
      const [left, top, right, bottom] = face.box;
      const size = Math.max(right - left, bottom - top);
      given.push({ vector: face.vector, confidence: face.confidence, size, picture: await face.picture() });
    }
    const moved = some.some((face) => face.kept && face.kept.person !== person);
    done = await api.enroll(person, given, moved);
  } catch (error) {
    some.forEach((face, i) => {
      Object.assign(face, before[i], { saving: false });
    });
    tell([...new Set(some.map((face) => face.photo))]);
    throw error;
  }
  some.forEach((face, i) => {
    Object.assign(face, { person: done.person, saving: false });
    face.kept = { person: done.person, sha256: done.sha256[i] };
  });
  peopleChanged();
  matchAgain(some);
  const undo = async () => {
    for (const [i, face] of some.entries()) {
      const { kept } = before[i];
      if (kept) await api.give(done.person, kept.person, [face.kept.sha256]);
      else if (done.added.includes(face.kept.sha256)) await api.forgetPhoto(done.person, face.kept.sha256);
      Object.assign(face, before[i]);
    }
    peopleChanged();
    tell([...new Set(some.map((face) => face.photo))]);
    await matchAgain(some);
  };
  return { person: done.person, added: done.added.length, undo };
}

// Say that faces are nobody's, or no faces: remembered while the tab is open.
export async function mark(some, as) {
  const before = some.map(told);
  const kept = some.filter((face) => face.kept);
  for (const face of kept) await api.forgetPhoto(face.kept.person, face.kept.sha256);
  change(some, { person: null, mark: as, kept: null });
  const undo = async () => {
    some.forEach((face, i) => {
      Object.assign(face, before[i], { kept: null });
    });
    for (const face of kept) await name([face], before[some.indexOf(face)].person);
    tell([...new Set(some.map((face) => face.photo))]);
  };
  toast((as === "nobody" ? words.naming.asNobody : words.naming.asNotFace)(some.length), undo);
}

const cosine = (one, other) => one.reduce((sum, value, i) => sum + value * other[i], 0);

// Ask again who those are whom a change may concern.
export async function matchAgain(around = null) {
  const people = new Set(around?.flatMap((face) => [face.person, face.kept?.person]));
  const concerned = faces().filter(
    (face) =>
      !face.mark &&
      !face.kept &&
      !face.saving &&
      (!around || people.has(face.person) || around.some((one) => cosine(one.vector, face.vector) > NEAR)),
  );
  if (!concerned.length) return;
  const { matches } = await api.match(concerned.map((face) => face.vector)).catch(() => ({ matches: null }));
  if (!matches) return; // what fails here is only older
  const differ = concerned.filter((face, i) => {
    if (face.mark || face.kept || face.saving || face.person === matches[i].person) return false;
    Object.assign(face, matches[i]);
    return true;
  });
  if (differ.length) tell([...new Set(differ.map((face) => face.photo))]);
}
