// One view at a time, by the address after #, so that the browser's back button works.

import * as camera from "./camera.js";
import { h, icon } from "./dom.js";
import { receive } from "./files.js";
import * as health from "./health.js";
import * as people from "./people.js";
import * as person from "./person.js";
import * as photos from "./photos.js";
import * as review from "./review.js";
import * as session from "./session.js";
import { language, words } from "./words.js";

const views = { photos, review, people, camera, health };
const icons = {
  photos: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9.5h.01",
  review: "M5 7h14v12H5zM7 4h10M9.5 13l2 2 3.5-4",
  people: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM5 20c.8-3.5 3.500-5 7-5s6.200 1.500 7 5",
  camera: "M4 8h4l1.500-2h5L16 8h4v11H4zM12 16.500a3 3 0 1 0 0-6 3 3 0 0 0 0 6z",
  health: "M12 20s-7-4.300-7-9.500A3.800 3.800 0 0 1 12 8.300a3.800 3.800 0 0 1 7 2.200C19 15.700 12 20 12 20z",
};
const main = h("main", { id: "main", tabIndex: -1 });
const open = h("span", { className: "count", hidden: true });
const links = Object.keys(views).map((view) =>
  h("a", { href: `#${view}` }, icon(icons[view]), h("span", {}, words.views[view]), view === "review" && open),
);
let leave = null;

async function go(event) {
  const [name, ...rest] = location.hash.slice(1).split("/").map(decoded);
  if (name === "main") return; // the skip link
  const view = views[name] ? name : "photos";
  if (typeof leave === "function") leave();
  leave = null;
  for (const link of links) {
    if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const of = rest.join("/");
  document.title = `${(view === "people" && of) || words.views[view]} · mien`;
  const place = h("div", { className: `view-${view}` }); // of its own: an answer that comes late finds it gone
  main.replaceChildren(place);
  if (event) {
    window.scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
  const left = await (view === "people" && of ? person.show(place, of) : views[view].show(place));
  if (place.isConnected) leave = left;
  else if (typeof left === "function") left();
}

// A person's name as an address has it, or whatever somebody has typed.
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

document.documentElement.lang = language;
document.body.prepend(
  h("a", { className: "skip", href: "#main" }, words.skip),
  h(
    "header",
    { className: "bar" },
    h(
      "a",
      { className: "brand", href: "#photos", "aria-label": words.home },
      h("img", { src: "page/icon.svg", alt: "", width: 28, height: 28 }),
      "mien",
    ),
    h("nav", { "aria-label": words.nav }, links),
  ),
  main,
);
receive((files) => {
  const added = session.add(files);
  if (added.length && !/^#people\/|^#photos|^#review/.test(location.hash)) location.hash = "#photos";
  return added;
});
session.listen(() => {
  const count = session.faces().filter(session.isOpen).length;
  open.hidden = !count;
  open.textContent = count > 999 ? "999+" : count;
});
window.addEventListener("hashchange", go);
go();
