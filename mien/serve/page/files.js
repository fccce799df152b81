// Files that come from anywhere: dropped on the page, pasted, or chosen.

import { button, h, toast } from "./dom.js";
import { words } from "./words.js";

// A button that lets photos be chosen, or a folder; they are dropped on the page then.
export function picker(text, className = "", folder = false, take = null) {
  const input = h("input", {
    type: "file",
    accept: folder ? null : "image/*,.heic,.heif,.jxl",
    multiple: true,
    webkitdirectory: folder,
    hidden: true,
    tabIndex: -1,
    "aria-hidden": "true",
  });
  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = "";
    if (take) take(files);
    else window.dispatchEvent(new CustomEvent("photos", { detail: files }));
  });
  return h(
    "span",
    {},
    input,
    button(text, () => input.click(), className),
  );
}

// Calls a function with whatever is dropped or pasted anywhere, and folders' files too.
export function receive(take) {
  const veil = h("div", { className: "veil", hidden: true }, h("strong", {}, words.drop));
  document.body.append(veil);
  const holds = (event) => event.dataTransfer?.types.includes("Files");
  let inside = 0; // elements that a drag is in
  window.addEventListener("dragenter", (event) => {
    if (!holds(event)) return;
    inside += 1;
    veil.hidden = false;
  });
  window.addEventListener("dragleave", () => {
    inside = Math.max(0, inside - 1);
    veil.hidden = !inside;
  });
  window.addEventListener("dragover", (event) => event.preventDefault()); // or the page would be left
  window.addEventListener("drop", async (event) => {
    event.preventDefault();
    inside = 0;
    veil.hidden = true;
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const plain = [...event.dataTransfer.files];
    offer(entries.length ? (await Promise.all(entries.map(filesOf))).flat() : plain);
  });
  window.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) offer([...event.clipboardData.files]);
  });
  window.addEventListener("photos", ({ detail }) => offer(detail));

  function offer(files) {
    if (!files.length) return;
    if (!take(files).length) toast(words.photos.noPictures);
  }
}

async function filesOf(entry) {
  if (entry.isFile)
    return [await new Promise((resolve, reject) => entry.file(resolve, reject))].filter(
      ({ name }) => !name.startsWith("."),
    );
  const reader = entry.createReader(),
    found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return found;
    for (const one of some) found.push(...(await filesOf(one)));
  }
}
