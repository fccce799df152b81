// Photos that were added, as a wall of tiles; one alone fills the width.

import { button, h, whenSeen } from "./dom.js";
import { picker } from "./files.js";
import * as session from "./session.js";
import { stage } from "./stage.js";
import { view } from "./viewer.js";
import { words } from "./words.js";

const text = words.photos;
const PAGE = 400; // tiles that are made at a time
const kinds = {
  all: () => true,
  unnamed: (photo) => session.shown(photo).some(session.isOpen),
  none: (photo) => photo.state === "done" && !session.shown(photo).length,
  failed: (photo) => photo.state === "failed" || photo.state === "skipped",
};
let kind = "all"; // the choice stays while the tab is open

export function show(main) {
  const status = h("p", { className: "progress", role: "status" });
  const bar = h("progress", { "aria-label": text.looking });
  const stop = button(text.stop, () => {
    stopped.textContent = text.cancelled(session.stop());
  });
  const running = h("div", { className: "row running" }, status, bar, stop);
  const stopped = h("p", { className: "soft", role: "status" });
  const review = h("a", { className: "button main", href: "#review" });
  const filter = h(
    "select",
    { "aria-label": text.filter },
    Object.entries(text.filters).map(([value, name]) => h("option", { value, selected: value === kind }, name)),
  );
  const summary = h("p", { className: "soft" });
  const wall = h("div", { className: "wall" });
  const more = whenSeen(h("div"), () => {});
  const tools = h(
    "header",
    { className: "head" },
    h("div", {}, h("h1", {}, text.title), summary),
    h("div", { className: "row" }, review, filter, picker(text.add), button(text.clear, session.clear, "plain")),
  );
  const start = h(
    "section",
    { className: "start" },
    h("h1", {}, text.heading),
    h("p", { className: "lead" }, text.lead),
    h(
      "div",
      { className: "zone" },
      h("strong", {}, text.zone),
      h("span", {}, text.paste),
      h("div", { className: "row" }, picker(text.choose, "main"), picker(text.folder, "", true)),
    ),
    h("p", { className: "soft kept" }, text.kept),
  );
  const tiles = new Map(); // photo to {place, write}
  let open = PAGE,
    alone = null;

  const sizes = () => {
    const { done, total } = session.progress;
    running.hidden = done >= total;
    status.textContent = text.progress(done, total);
    Object.assign(bar, { max: Math.max(total, 1), value: done });
    const faces = session.faces().filter((face) => face.mark !== "notFace");
    const unnamed = faces.filter(session.isOpen).length;
    summary.textContent = text.summary(session.photos.length, faces.length);
    review.textContent = text.review(unnamed);
    review.hidden = !unnamed;
    if (done < total) stopped.textContent = "";
  };

  const write = (changed) => {
    const { photos } = session;
    main.classList.toggle("blank", !photos.length);
    start.hidden = photos.length > 0;
    tools.hidden = wall.hidden = !photos.length;
    sizes();
    if (photos.length === 1) {
      const [photo] = photos;
      if (alone?.photo !== photo || alone?.address !== photo.address) {
        alone = { photo, address: photo.address, ...stage(photo, photo.address) };
        alone.said = h("p", { className: "soft" });
        wall.replaceChildren(h("figure", { className: "only" }, alone.sheet, alone.list, alone.said));
      }
      alone.write();
      alone.sheet.classList.toggle("waiting", /waiting|looking/.test(photo.state));
      alone.said.replaceChildren(...caption(photo));
      filter.hidden = true;
      return;
    }
    if (alone) wall.replaceChildren();
    alone = null;
    filter.hidden = false;
    wall.classList.toggle("few", photos.length <= 8);
    for (const photo of changed ?? photos) tiles.get(photo)?.write();
    if (changed && kind === "all" && changed.every((photo) => tiles.has(photo))) return;
    const wanted = photos.filter(kinds[kind]).slice(0, open);
    for (const photo of wanted) if (!tiles.has(photo)) tiles.set(photo, tile(photo));
    const places = wanted.map((photo) => tiles.get(photo).place);
    if (places.length !== wall.children.length || places.some((place, i) => wall.children[i] !== place)) {
      wall.replaceChildren(...places);
    }
    if (!wanted.length) wall.replaceChildren(h("p", { className: "soft" }, text.nothing));
    more.hidden = photos.length <= open;
    if (!more.hidden) {
      whenSeen(more, () => {
        open += PAGE;
        write(null);
      });
    }
  };
  filter.addEventListener("change", () => {
    kind = filter.value;
    open = PAGE;
    write(null);
  });
  main.replaceChildren(start, tools, running, stopped, wall, more);
  write(null);
  return session.listen(write);
}

function caption(photo) {
  if (photo.state === "waiting") return [text.waiting];
  if (photo.state === "looking") return [text.looking];
  if (photo.state === "skipped" || photo.state === "failed") {
    return [photo.state === "failed" ? photo.error : text.skipped];
  }
  const faces = session.shown(photo);
  const names = [...new Set(faces.map((face) => face.person).filter(Boolean))];
  const open = faces.filter(session.isOpen).length;
  const parts = names.map((name) => h("b", {}, name));
  if (open) parts.push(text.unnamed(open));
  if (photo.more > 0) parts.push(text.smaller(photo.more));
  if (!faces.length) parts.push(text.noFace);
  return parts.flatMap((part, i) => (i ? [", ", part] : [part]));
}

// A tile keeps its place while its photo is looked at: its skeleton is there at once.
function tile(photo) {
  const image = h("img", { alt: "", loading: "lazy", decoding: "async" });
  const boxes = h("div", { "aria-hidden": "true" });
  const said = h("figcaption", {});
  const open = h("button", { type: "button", className: "sheet", onclick: () => view(photo) }, image, boxes);
  const again = button(words.retry, () => session.again(photo), "plain");
  const place = h("figure", { className: "tile" }, open, said, again);
  const size = () => {
    const wide = (photo.width ?? image.naturalWidth) / (photo.height ?? image.naturalHeight);
    place.style.setProperty("--wide", String(Math.min(Math.max(wide, 0.6), 3))); // what is longer is cut
  };
  image.addEventListener("load", size);
  const write = () => {
    if (photo.address && image.getAttribute("src") !== photo.address) image.src = photo.address;
    if (photo.width) size();
    place.classList.toggle("waiting", /waiting|looking/.test(photo.state));
    place.classList.toggle("wrong", photo.state === "failed");
    place.classList.toggle("blind", Boolean(photo.blind));
    again.hidden = !/failed|skipped/.test(photo.state);
    said.replaceChildren(...caption(photo));
    open.setAttribute("aria-label", text.open(photo.name, said.textContent));
    const marks = session.shown(photo).map(({ box: [left, top, right, bottom], person, mark }) => {
      const mark_ = h("i", { className: person ? "known" : mark ? "nobody" : "" });
      Object.assign(mark_.style, {
        left: `${(100 * left) / photo.width}%`,
        top: `${(100 * top) / photo.height}%`,
        width: `${(100 * (right - left)) / photo.width}%`,
        height: `${(100 * (bottom - top)) / photo.height}%`,
      });
      return mark_;
    });
    boxes.replaceChildren(...marks);
  };
  write();
  return { place, write };
}
