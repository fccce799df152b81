// One view at a time, by the address after #, so that the browser's back button works.

import * as camera from "./camera.js";
import { h } from "./dom.js";
import * as health from "./health.js";
import * as people from "./people.js";
import * as photos from "./photos.js";
import * as strangers from "./strangers.js";

const views = { photos, camera, people, strangers, health };
const main = document.getElementById("main");
let leave = null;

async function go(event) {
  const name = location.hash.slice(1);
  if (name === "main") return; // the skip link
  const view = views[name] ? name : "photos";
  if (typeof leave === "function") leave();
  leave = null;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${view[0].toUpperCase()}${view.slice(1)} · mien`;
  const place = h("div"); // of its own: an answer that comes late finds it gone, not another view
  main.replaceChildren(place);
  if (event) main.focus({ preventScroll: true });
  const left = await views[view].show(place);
  if (place.isConnected) leave = left;
  else if (typeof left === "function") left();
}

window.addEventListener("hashchange", go);
// A photo that misses its place must not take the page's.
for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());
go();
