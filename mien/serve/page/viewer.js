// One photo over the whole window: zoom, arrows, and a strip of its faces.

import { h, icon } from "./dom.js";
import * as session from "./session.js";
import { stage } from "./stage.js";
import { words } from "./words.js";

const text = words.viewer;
const MOST = 8; // times as large as it fits

export function view(first, photos = session.photos) {
  const list = photos.filter((photo) => photo.state === "done" || photo.address);
  let photo = first,
    shownOne = null,
    original = null;
  const place = h("p", { className: "soft", role: "status" });
  const floor = h("div", { className: "floor" });
  const below = h("div", { className: "below" });
  const step = (by) => {
    const at = list.indexOf(photo) + by;
    if (list[at]) open(list[at]);
  };
  const tool = (label, path, onclick) =>
    h("button", { type: "button", "aria-label": label, title: label, onclick }, icon(path));
  const previous = tool(text.previous, "M15 5l-7 7 7 7", () => step(-1)),
    next = tool(text.next, "M9 5l7 7-7 7", () => step(1));
  const dialog = h(
    "dialog",
    { className: "viewer", "aria-label": text.title },
    h(
      "header",
      {},
      place,
      tool(text.farther, "M5 12h14", () => zoom(1 / 1.5)),
      tool(text.closer, "M5 12h14M12 5v14", () => zoom(1.5)),
      tool(words.close, "M6 6l12 12M18 6L6 18", () => dialog.close()),
    ),
    h("div", { className: "middle" }, previous, floor, next),
    below,
  );

  const open = (wanted) => {
    photo = wanted;
    if (original) URL.revokeObjectURL(original);
    original = photo.blind ? null : URL.createObjectURL(photo.file);
    shownOne = stage(photo, original, { draggable: false });
    floor.replaceChildren(shownOne.sheet);
    below.replaceChildren(shownOne.list);
    const at = list.indexOf(photo);
    place.textContent = `${text.place(at + 1, list.length)} · ${photo.name}`;
    previous.disabled = at === 0;
    next.disabled = at === list.length - 1;
    fit();
  };

  // What is seen: `scale` times as large as it fits, moved by x and y pixels.
  let scale = 1,
    x = 0,
    y = 0;
  const move = () => {
    const { offsetWidth, offsetHeight } = shownOne.sheet;
    const room = [
      [offsetWidth, floor.clientWidth],
      [offsetHeight, floor.clientHeight],
    ].map(([size, seen]) => Math.max(0, (size * scale - seen) / 2));
    x = Math.min(Math.max(x, -room[0]), room[0]);
    y = Math.min(Math.max(y, -room[1]), room[1]);
    shownOne.sheet.style.transform = scale === 1 ? "" : `translate(${x}px, ${y}px) scale(${scale})`;
    shownOne.sheet.style.setProperty("--scale", String(scale));
  };
  const fit = () => {
    scale = 1;
    move();
  };
  const zoom = (by, at = null) => {
    const to = Math.min(MOST, Math.max(1, scale * by));
    const { left, top, width, height } = floor.getBoundingClientRect();
    const [fromX, fromY] = at ? [at.clientX - left - width / 2, at.clientY - top - height / 2] : [0, 0];
    x = fromX - ((fromX - x) * to) / scale; // the point under the pointer stays there
    y = fromY - ((fromY - y) * to) / scale;
    scale = to;
    move();
  };

  const fingers = new Map();
  let apart = 0,
    moved = false;
  const distance = () => {
    const [one, other] = [...fingers.values()];
    return Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
  };
  floor.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 300), event);
  });
  floor.addEventListener("dblclick", (event) => {
    if (!event.target.closest(".face")) zoom(scale > 1 ? 1 / scale : 2.5, event);
  });
  floor.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, event);
    moved = false;
    if (fingers.size === 2) apart = distance();
  });
  floor.addEventListener("pointermove", (event) => {
    const last = fingers.get(event.pointerId);
    if (!last) return;
    fingers.set(event.pointerId, event);
    if (fingers.size === 2) {
      const now = distance();
      zoom(now / apart, event);
      apart = now;
    } else if (scale > 1) {
      x += event.clientX - last.clientX;
      y += event.clientY - last.clientY;
      move();
    }
    moved ||= Math.hypot(event.movementX, event.movementY) > 2;
  });
  for (const name of ["pointerup", "pointercancel", "pointerleave"])
    floor.addEventListener(name, ({ pointerId }) => fingers.delete(pointerId));
  // A drag ends on a face without meaning it.
  floor.addEventListener("click", (event) => moved && event.stopPropagation(), true);

  dialog.addEventListener("keydown", (event) => {
    const done = {
      ArrowLeft: () => step(-1),
      ArrowRight: () => step(1),
      "+": () => zoom(1.5),
      "=": () => zoom(1.5),
      "-": () => zoom(1 / 1.5),
      0: fit,
    }[event.key];
    if (!done || event.target.tagName === "INPUT") return;
    event.preventDefault();
    done();
  });
  const opener = document.activeElement;
  const deaf = session.listen((changed) => {
    if (!changed || changed.includes(photo)) shownOne.write();
  });
  dialog.addEventListener("close", () => {
    deaf();
    dialog.remove();
    if (original) URL.revokeObjectURL(original);
    if (opener?.isConnected) opener.focus({ preventScroll: true });
  });
  document.body.append(dialog);
  open(photo);
  dialog.showModal();
  floor.tabIndex = -1;
}
