// A photo with its faces: boxes over it for the pointer, and a strip of faces for everybody.

import { h } from "./dom.js";
import { askAbout } from "./naming.js";
import { shown } from "./session.js";
import { words } from "./words.js";

// A box with a name; `mirrored` where the picture is.
export function box(face, { width, height }, press, mirrored = false) {
  const [left, top, right, bottom] = face.box;
  const place = h(
    "div",
    { className: "face", onclick: () => press(face) },
    h("span", { className: "tag" }, face.person ?? (face.mark ? words.face.nobody : words.face.tag)),
  );
  place.classList.toggle("known", Boolean(face.person));
  place.classList.toggle("low", bottom > height * 0.88);
  Object.assign(place.style, {
    left: `${(100 * (mirrored ? width - right : left)) / width}%`,
    top: `${(100 * top) / height}%`,
    width: `${(100 * (right - left)) / width}%`,
    height: `${(100 * (bottom - top)) / height}%`,
  });
  return place;
}

// Buttons in reading order, each as large as a finger; `point` is told which one is looked at.
export function strip(press, point = () => {}) {
  const list = h("ul", { className: "strip", "aria-label": words.viewer.faces });
  const made = new Map(); // face to its button, so that focus stays where it is
  const write = (faces) => {
    for (const [face, { item }] of made) {
      if (!faces.includes(face)) {
        item.remove();
        made.delete(face);
      }
    }
    faces.forEach((face, i) => {
      if (!made.has(face)) {
        const name = h("span", { className: "name" }),
          place = h("span", { className: "quiet" });
        const button = h(
          "button",
          { type: "button", onclick: () => press(face) },
          h("img", { src: face.thumb, alt: "" }),
          name,
          place,
        );
        for (const [event, at] of [
          ["pointerenter", face],
          ["focus", face],
          ["pointerleave", null],
          ["blur", null],
        ]) {
          button.addEventListener(event, () => point(at));
        }
        made.set(face, { item: h("li", {}, button), button, name, place });
      }
      const { item, button, name, place } = made.get(face);
      place.textContent = face.person || face.mark ? words.face.change : words.face.place(i + 1, faces.length);
      button.classList.toggle("known", Boolean(face.person));
      button.classList.toggle("nobody", Boolean(face.mark));
      name.textContent = face.person ?? (face.mark ? words.face.nobody : words.face.tag);
      if (list.children[i] !== item) list.insertBefore(item, list.children[i] ?? null);
    });
  };
  return { list, write };
}

// Both for a photo: `write` shows what is known of it now.
export function stage(photo, address, attributes = {}) {
  const boxes = h("div", { "aria-hidden": "true" });
  const image = address
    ? h("img", { src: address, alt: photo.name, ...attributes })
    : h("p", { className: "blind" }, words.photos.cannotShow);
  const sheet = h("div", { className: "sheet" }, image, address && boxes);
  let looked = new Map();
  const { list, write: fill } = strip(askAbout, (face) => {
    for (const [one, place] of looked) place.classList.toggle("pointed", one === face);
  });
  const write = () => {
    if (photo.width) sheet.style.setProperty("--wide", String(photo.width / photo.height));
    const faces = shown(photo);
    looked = new Map(faces.map((face) => [face, box(face, photo, askAbout)]));
    boxes.replaceChildren(...looked.values());
    fill(faces);
    list.hidden = !faces.length;
  };
  write();
  return { sheet, list, write };
}
