// Elements from words: text never becomes markup, so a person's name is only ever a name.

import { words } from "./words.js";

export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element && !name.startsWith("aria")) element[name] = value;
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// A picture drawn with one line, 24 x 24.
export const icon = (path) =>
  svg("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" }, svg("path", { d: path }));

export const button = (text, onclick, className = "") => h("button", { type: "button", className, onclick }, text);

let undoing = null;

// Say what was done, and offer to take it back until something else is done.
export function toast(text, undo = null) {
  undoing = undo;
  const note = h("div", { popover: "manual" }, h("span", {}, text), undo && button(words.undo, takeBack));
  document.getElementById("toast").replaceChildren(note);
  note.showPopover(); // above a dialog too
  setTimeout(() => note.remove(), undo ? 20000 : 5000);
}

async function takeBack() {
  const undo = undoing;
  if (!undo) return;
  undoing = null;
  toast(words.undone);
  try {
    await undo();
  } catch (error) {
    toast(error.message);
  }
}

window.addEventListener("keydown", (event) => {
  const typing = event.target.matches?.("input[type=text], input[type=search]") && event.target.value;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z" && !event.shiftKey && !typing && undoing) {
    event.preventDefault();
    takeBack();
  }
});

// Do what may fail; what is wrong is said in a place, and the answer is then undefined.
export async function tried(place, doing) {
  place.replaceChildren();
  try {
    return await doing();
  } catch (error) {
    place.replaceChildren(h("p", { className: "error", role: "alert" }, error.message));
    return undefined;
  }
}

// A dialog that is gone when it is closed; `fill` is given what closes it with an answer.
export function ask(heading, fill, className = "") {
  return new Promise((resolve) => {
    const id = `asked-${document.querySelectorAll("dialog").length}`;
    const dialog = h("dialog", { className, "aria-labelledby": id }, h("h2", { id }, heading));
    const opener = document.activeElement;
    let answer;
    const close = (value) => {
      answer = value;
      dialog.close();
    };
    dialog.append(...fill(close, dialog));
    dialog.addEventListener("close", () => {
      dialog.remove();
      const place = opener?.isConnected ? opener : document.querySelector("dialog[open] button, #main");
      place?.focus({ preventScroll: true });
      resolve(answer);
    });
    dialog.addEventListener("pointerdown", (event) => {
      if (event.target === dialog) dialog.close();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

export const confirmed = (heading, text, yes) =>
  ask(heading, (close) => [
    h("p", { className: "soft" }, text),
    h(
      "div",
      { className: "row end" },
      button(words.cancel, () => close(false)),
      button(yes, () => close(true), "danger"),
    ),
  ]);

// What a view shows as long as there is nothing to be shown.
export const empty = (heading, text, ...actions) =>
  h(
    "section",
    { className: "empty" },
    h("h1", {}, heading),
    h("p", { className: "lead" }, text),
    h("div", { className: "row" }, actions),
  );

// Calls a function once an element is nearly in sight.
const sights = new WeakMap();
const seen = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      sights.get(target)();
    }
  },
  { rootMargin: "400px" },
);

export function whenSeen(element, show) {
  sights.set(element, show);
  seen.observe(element);
  return element;
}
