// Everyone whom the facebank knows.

import * as api from "./api.js";
import { ask, confirmed, counted, h, toast, tried } from "./dom.js";

export async function show(main) {
  const list = h("ul", { className: "people" });
  const lead = h("p", { className: "lead" }, "…");
  main.replaceChildren(h("h1", {}, "People"), lead, list);
  const refresh = async () => {
    const everyone = await tried(api.people);
    if (!everyone) return;
    lead.textContent = everyone.length
      ? `${counted(everyone.length, "person", "people")}. Choose one to see, rename, merge or forget.`
      : "Nobody is known yet. Name a face in a photo, and it appears here.";
    list.replaceChildren(...everyone.map((one) => h("li", {}, card(one, everyone, refresh))));
  };
  await refresh();
}

function card({ person, photos, cover }, everyone, refresh) {
  return h(
    "button",
    { className: "person", onclick: () => details(person, everyone, refresh) },
    face(person, cover),
    h(
      "span",
      { className: "about" },
      h("span", { className: "name" }, person),
      h("span", { className: "soft" }, counted(photos, "photo")),
    ),
  );
}

const seen = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      reveal(target).catch(() => {}); // the initial stays
    }
  },
  { rootMargin: "200px" },
);

// A face of somebody, once it is in sight; until then, or where none may be shown, an initial.
export function face(person, cover) {
  const place = h("span", { className: "thumb", "aria-hidden": "true" }, [...person][0].toUpperCase());
  if (cover !== null) {
    Object.assign(place.dataset, cover ? { cover } : { person });
    seen.observe(place);
  }
  return place;
}

async function reveal(place) {
  const cover = place.dataset.cover ?? (await api.person(place.dataset.person)).cover;
  if (cover) place.replaceChildren(h("img", { alt: "", src: await api.picture(cover) }));
}

async function details(person, everyone, refresh) {
  const photos = await tried(() => api.photosOf(person));
  if (!photos) return;
  await ask(
    person,
    (close) => {
      const input = h("input", { type: "text", id: "rename", value: person, required: true, autocomplete: "off" });
      const rename = async (event) => {
        event.preventDefault();
        if (await renamed(person, input.value.trim(), everyone)) {
          close();
          refresh();
        }
      };
      const remove = async () => {
        if (await removed(person, photos)) {
          close();
          refresh();
        }
      };
      const list = h(
        "ul",
        { className: "own" },
        photos.map((photo) =>
          entry(person, photo, photos.length, async () => {
            close();
            await refresh();
            if (photos.length > 1) details(person, everyone, refresh);
          }),
        ),
      );
      return [
        h(
          "p",
          { className: "soft" },
          `${counted(photos.length, "photo")}, since ${new Date(photos[0].added).toLocaleDateString("en", { dateStyle: "long" })}`,
        ),
        list,
        h(
          "form",
          { onsubmit: rename },
          h("label", { htmlFor: "rename" }, "Name"),
          input,
          h("p", { className: "soft" }, "Give the name of somebody else to make one person of both."),
          h(
            "div",
            { className: "row" },
            h("button", { type: "button", className: "danger first", onclick: remove }, "Forget this person"),
            h("button", { type: "button", onclick: () => close() }, "Close"),
            h("button", { className: "main" }, "Rename"),
          ),
        ),
      ];
    },
    true,
  );
}

function entry(person, photo, number, gone) {
  const place = h("div", { className: "thumb" }, "no picture kept");
  if (photo.shown) {
    api
      .picture(photo.sha256)
      .then((src) => place.replaceChildren(h("img", { src, alt: `${person}, added ${photo.added.slice(0, 10)}` })))
      .catch(() => {});
  }
  const remove = async () => {
    const last = number === 1 ? ` It is the only photo: ${person} will be forgotten.` : "";
    if (
      !(await confirmed(
        "Forget this photo?",
        `Its vector and the face that was kept of it are deleted.${last}`,
        "Forget it",
      ))
    )
      return;
    if (await tried(() => api.forgetPhoto(person, photo.sha256))) gone();
  };
  return h(
    "li",
    {},
    place,
    h(
      "button",
      { className: "plain danger", onclick: remove, "aria-label": `Forget this photo of ${person}` },
      "Forget",
    ),
  );
}

async function renamed(old, name, everyone) {
  if (!name || name === old) return false;
  const other = everyone.find((one) => one.person === name);
  if (
    other &&
    !(await confirmed(
      `Make one person of both?`,
      `${old} becomes ${name}, who has ${counted(other.photos, "photo")} already. This cannot be undone.`,
      "Merge",
    ))
  )
    return false;
  const done = await tried(() => api.rename(old, name, Boolean(other)));
  if (!done) return false;
  const undo = other
    ? null
    : async () => {
        if (await tried(() => api.rename(name, old, false))) {
          toast(`${old} again`);
          window.dispatchEvent(new HashChangeEvent("hashchange"));
        }
      };
  toast(`${old} is called ${done.person} now and has ${counted(done.photos, "photo")}`, undo);
  return true;
}

async function removed(person, photos) {
  const yes = await confirmed(
    `Forget ${person}?`,
    `Deleted for good: ${counted(photos.length, "vector")} and the faces that were kept of them. ` +
      "Photo files elsewhere on the server stay where they are.",
    `Forget ${person}`,
  );
  if (!yes) return false;
  const done = await tried(() => api.forget(person));
  if (!done) return false;
  const left = done.elsewhere ? ` ${counted(done.elsewhere, "photo file")} stay on the server.` : "";
  toast(`${person} is forgotten.${left}`);
  return true;
}
