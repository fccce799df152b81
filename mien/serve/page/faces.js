// Boxes with names over a picture, each a button that asks for a name.

import * as api from "./api.js";
import { ask, h, toast, tried } from "./dom.js";

export function faceButtons(found, press) {
  return found.faces.map((face, number) => {
    const [left, top, right, bottom] = face.box;
    const label = face.person
      ? `${face.person}, score ${face.score.toFixed(2)}: change the name`
      : `Who is this? Unknown face ${number + 1} of ${found.faces.length}`;
    const button = h(
      "button",
      { className: "face", type: "button", "aria-label": label, title: label, onclick: () => press(face) },
      h(
        "span",
        { className: "tag", "aria-hidden": "true" },
        face.person ?? (right - left > found.width * 0.12 ? "Who is this?" : "?"),
      ),
    );
    button.classList.toggle("known", Boolean(face.person));
    button.classList.toggle("low", bottom > found.height * 0.88);
    button.classList.toggle("left", left + right < found.width * 0.3);
    button.classList.toggle("right", left + right > found.width * 1.7);
    Object.assign(button.style, {
      left: `${(100 * left) / found.width}%`,
      top: `${(100 * top) / found.height}%`,
      width: `${(100 * (right - left)) / found.width}%`,
      height: `${(100 * (bottom - top)) / found.height}%`,
    });
    return button;
  });
}

// Ask whose face it is, teach it, and offer to take it back; `changed` is called after either.
export async function nameFace(photo, face, changed) {
  const [left, top, right, bottom] = face.box;
  const everyone = (await tried(api.people)) ?? [];
  const piece = await cutOut(photo, face.box);
  const name = await askName(
    face.person ? `Is this not ${face.person}?` : "Who is this?",
    everyone,
    piece,
    face.person ? "Give the right name; the face is learned under it." : "The face is learned under this name.",
  );
  if (!name) return;
  const done = await tried(() => api.enroll(name, photo, (left + right) / 2, (top + bottom) / 2));
  if (!done) return;
  const undo = async () => {
    if (await tried(() => api.forgetPhoto(done.person, done.sha256))) {
      toast("Taken back");
      changed();
    }
  };
  toast(done.added ? `Learned as ${done.person}` : `${done.person} had this face already`, done.added ? undo : null);
  changed();
}

export function askName(heading, everyone, before, hint) {
  return ask(heading, (close) => {
    const input = h("input", { type: "text", id: "name", autocomplete: "off", required: true, maxLength: 100 });
    input.setAttribute("autofocus", "");
    const choices = everyone
      .slice(0, 12)
      .map(({ person }) => h("button", { type: "button", onclick: () => close(person) }, person));
    return [
      h("div", { className: "naming" }, before, h("p", { className: "soft" }, hint)),
      h(
        "form",
        {
          onsubmit: (event) => {
            event.preventDefault();
            close(input.value.trim());
          },
        },
        h("label", { htmlFor: "name" }, "Name"),
        input,
        choices.length
          ? h("div", { className: "choices", role: "group", "aria-label": "People who are known" }, choices)
          : null,
        h(
          "div",
          { className: "row end" },
          h("button", { type: "button", onclick: () => close() }, "Cancel"),
          h("button", { className: "main" }, "Learn"),
        ),
      ),
    ];
  });
}

async function cutOut(photo, [left, top, right, bottom]) {
  const canvas = h("canvas", { width: 168, height: 168, role: "img" });
  canvas.setAttribute("aria-label", "the face");
  const side = 1.5 * Math.max(right - left, bottom - top);
  const bitmap = await createImageBitmap(photo);
  canvas
    .getContext("2d")
    .drawImage(bitmap, (left + right - side) / 2, (top + bottom - side) / 2, side, side, 0, 0, 168, 168);
  bitmap.close();
  return canvas;
}
