// Drop photos: boxes and names appear on them.

import * as api from "./api.js";
import { counted, dropzone, h, tried } from "./dom.js";
import { faceButtons, nameFace } from "./faces.js";

const shown = []; // {name, photo, found, place}: they stay while the tab is open

export function show(main) {
  const sheets = h("div", { className: "sheets" });
  const zone = dropzone("Drop photos here", "or choose them; they are not kept", (files) => take(files, sheets, zone));
  zone.classList.toggle("small", shown.length > 0);
  main.replaceChildren(
    h("h1", {}, "Who is in your photos?"),
    h("p", { className: "lead" }, "Faces get a box and a name. Choose a face to say who it is: it is learned at once."),
    zone,
    sheets,
  );
  for (const one of shown) sheets.append(one.place);
  again();
}

async function take(files, sheets, zone) {
  zone.classList.toggle("small", files.length + shown.length > 0);
  for (const file of files) {
    const photo = await tried(() => api.shrunk(file));
    if (!photo) continue;
    const image = h("img", { alt: file.name, src: URL.createObjectURL(photo) });
    const one = { name: file.name, photo, found: null };
    one.picture = h("div", { className: "picture waiting" }, image);
    one.caption = h("figcaption", {}, file.name);
    one.place = h("figure", { className: "card" }, one.picture, one.caption);
    shown.unshift(one);
    sheets.prepend(one.place);
    await look(one);
  }
}

async function look(one) {
  const found = await tried(() => api.identify(one.photo));
  one.picture.classList.remove("waiting");
  if (!found) {
    one.caption.textContent = `${one.name}: could not be looked at`;
    return;
  }
  one.found = found;
  for (const box of one.picture.querySelectorAll(".face")) box.remove();
  one.picture.append(...faceButtons(found, (face) => nameFace(one.photo, face, again)));
  one.caption.textContent = describe(one.name, found);
}

function describe(name, { faces, found }) {
  const names = [...new Set(faces.map((face) => face.person).filter(Boolean))];
  const unknown = faces.filter((face) => !face.person).length;
  const parts = [...names, ...(unknown ? [`${unknown} unknown`] : [])];
  return `${name}: ${parts.length ? parts.join(", ") : "no face found"}${found > faces.length ? `; ${counted(found - faces.length, "smaller face")} left out` : ""}`;
}

// Whom one photo has taught may be in the others.
async function again() {
  for (const one of shown) if (one.found) await look(one);
}
