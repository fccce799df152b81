// Faces of nobody that is known, grouped by person as contact sheets.

import * as api from "./api.js";
import { counted, dropzone, h, toast, tried } from "./dom.js";
import { askName } from "./faces.js";

let last = null; // {photos, found}: they stay while the tab is open

export function show(main) {
  const groups = h("div", { className: "sheets" });
  const status = h("p", { className: "soft", role: "status" });
  const zone = dropzone("Drop many photos here", "faces that belong together are put on one sheet", async (files) => {
    status.textContent = `Looking at ${counted(files.length, "photo")}…`;
    groups.replaceChildren();
    const photos = [];
    for (const file of files) {
      const photo = await tried(() => api.shrunk(file, 1600));
      if (photo) photos.push(photo);
    }
    const found = photos.length ? await tried(() => api.strangers(photos)) : null;
    status.textContent = "";
    if (found) last = { photos, found };
    draw();
  });
  const draw = () => {
    if (!last) return;
    const seen = last;
    const { groups: found, alone, known } = seen.found;
    zone.classList.add("small");
    status.textContent = `${counted(found.length, "group")}; ${counted(alone, "face")} like no other, ${counted(known, "face")} of people who are known.`;
    groups.replaceChildren(...found.map((faces, number) => sheet(seen, faces, number, draw)));
  };
  main.replaceChildren(
    h("h1", {}, "Strangers"),
    h("p", { className: "lead" }, "Find who appears again and again, and name each of them once."),
    zone,
    status,
    groups,
  );
  draw();
}

function sheet(seen, faces, number, draw) {
  const thumbs = faces.slice(0, 40).map((face) => h("img", { src: face.thumb, alt: "" }));
  const photos = new Set(faces.map((face) => face.photo)).size;
  return h(
    "section",
    { className: "card pad", "aria-label": `Group ${number + 1}` },
    h("h2", {}, `Group ${number + 1}`),
    h("div", { className: "soft" }, `${counted(faces.length, "face")} in ${counted(photos, "photo")}`),
    h("div", { className: "contact", role: "img", "aria-label": `${faces.length} faces of one person` }, thumbs),
    h("button", { className: "main", onclick: () => name(seen, faces, draw) }, "Name this person"),
  );
}

// Other photos may be dropped meanwhile: what is named is of those that were.
async function name(seen, faces, draw) {
  const thumb = h("img", { src: faces[0].thumb, alt: "", width: 84, height: 84 });
  const who = await askName(
    "Who is this?",
    (await tried(api.people)) ?? [],
    thumb,
    `${counted(faces.length, "face")} will be learned.`,
  );
  if (!who) return;
  const done = [];
  for (const {
    photo,
    box: [left, top, right, bottom],
  } of faces) {
    const one = await tried(() => api.enroll(who, seen.photos[photo], (left + right) / 2, (top + bottom) / 2));
    if (one?.added) done.push(one);
  }
  if (!done.length) return;
  const before = seen.found;
  seen.found = {
    ...before,
    groups: before.groups.filter((group) => group !== faces),
    known: before.known + faces.length,
  };
  draw();
  toast(`${counted(done.length, "face")} learned as ${done[0].person}`, async () => {
    for (const { person, sha256 } of done) await tried(() => api.forgetPhoto(person, sha256));
    seen.found = before;
    draw();
    toast("Taken back");
  });
}
