// Elements from words: text never becomes markup, so a person's name is only ever a name.

export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element && !name.startsWith("aria")) element[name] = value;
    else if (value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== false));
  return element;
}

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export const counted = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

let fading;

// Say what was done, and offer to take it back while it is shown.
export function toast(text, undo = null) {
  clearTimeout(fading);
  const place = document.getElementById("toast");
  const close = () => place.replaceChildren();
  const button =
    undo &&
    h(
      "button",
      {
        onclick: () => {
          close();
          undo();
        },
      },
      "Undo",
    );
  const note = h("div", { popover: "manual" }, h("span", {}, text), button);
  place.replaceChildren(note);
  note.showPopover(); // above a dialog too
  fading = setTimeout(close, undo ? 12000 : 5000);
}

// Run what may fail; what is wrong is said, and the answer is then undefined.
export async function tried(doing) {
  try {
    return await doing();
  } catch (error) {
    toast(error.message);
    return undefined;
  }
}

// A dialog that is gone when it is closed; `fill` is given what closes it with an answer.
export function ask(heading, fill, large = false) {
  return new Promise((resolve) => {
    const id = `asked-${document.querySelectorAll("dialog").length}`;
    const dialog = h("dialog", { className: large ? "large" : "", "aria-labelledby": id }, h("h2", { id }, heading));
    let answer;
    const close = (value) => {
      answer = value;
      dialog.close();
    };
    dialog.append(...fill(close));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    dialog.addEventListener("click", (event) => {
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
      h("button", { onclick: () => close(false), autofocus: true }, "Cancel"),
      h("button", { className: "danger", onclick: () => close(true) }, yes),
    ),
  ]);

// Where photos can be dropped, or chosen by mouse, finger or keyboard.
export function dropzone(title, hint, take) {
  const input = h("input", { type: "file", accept: "image/*", multiple: true });
  const zone = h("label", { className: "drop" }, h("strong", {}, title), h("span", {}, hint), input);
  input.addEventListener("change", () => {
    take([...input.files]);
    input.value = "";
  });
  for (const name of ["dragover", "dragenter"]) {
    zone.addEventListener(name, (event) => {
      event.preventDefault();
      zone.classList.add("over");
    });
  }
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    take([...event.dataTransfer.files].filter((file) => file.type.startsWith("image/")));
  });
  return zone;
}
