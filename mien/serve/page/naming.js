// Who is this?  A face beside those of the person that it may be, and an answer that can be undone.

import * as api from "./api.js";
import { chooser } from "./chooser.js";
import { ask, button, h, toast, tried } from "./dom.js";
import { covers } from "./known.js";
import * as session from "./session.js";
import { words } from "./words.js";

const GUESSES = 4,
  LEAST = 0.15, // score from which somebody is worth being guessed
  BELOW = 0.1; // the threshold, and still likely

// The people nearest to a face, and from which score on they are likely.
async function guess(face) {
  const { candidates, threshold } = await api.match([face.vector], GUESSES);
  return { guesses: candidates[0].filter(({ score }) => score > LEAST), near: threshold - BELOW };
}

// Ask about a face; resolves once it is answered.
export function askAbout(face) {
  const { naming } = words;
  return ask(
    face.person ? naming.is(face.person) : naming.who,
    (close, dialog) => {
      const place = h("div"),
        wrong = h("div"),
        own = h("figure", {});
      const heading = dialog.querySelector("h2");
      let near = Infinity;
      const guessed = guess(face).then((found) => {
        near = found.near;
        return found.guesses;
      });
      const answer = async (doing) => {
        dialog.inert = true;
        const done = await tried(wrong, async () => (await doing()) ?? true);
        dialog.inert = false;
        if (done) close(true);
      };
      const take = (person) => answer(() => named([face], person));
      const others = [
        button(naming.nobody, () => answer(() => session.mark([face], "nobody"))),
        button(naming.notFace, () => answer(() => session.mark([face], "notFace"))),
      ];
      // The field is there at once; who it may be is added when it is known.
      const choose = () => {
        heading.textContent = naming.who;
        const yes = h("div", { className: "row" });
        const { field, input } = chooser(guessed, take, { near: () => near, except: face.person });
        place.replaceChildren(yes, field, h("div", { className: "row" }, others));
        input.focus();
        if (face.person) return;
        guessed.then(
          ([best]) => {
            if (!(best?.score >= near)) return;
            heading.textContent = naming.is(best.person);
            yes.append(button(naming.yes, () => take(best.person), "main"));
            showOwn(own, best.person, face);
          },
          () => {},
        );
      };
      if (face.person) {
        const yes = button(naming.yes, () => take(face.person), "main");
        yes.setAttribute("autofocus", "");
        place.append(h("div", { className: "row" }, yes, button(naming.somebody, choose), others));
        showOwn(own, face.person, face);
      } else choose();
      return [
        h("div", { className: "pair" }, showFace(face), own),
        place,
        wrong,
        button(words.close, () => close(), "shut"),
      ];
    },
    "naming",
  );
}

function showFace(face) {
  const image = h("img", { src: face.thumb, alt: "" });
  face
    .picture() // which shows more around it
    .then((picture) => {
      if (picture) image.src = `data:image/jpeg;base64,${picture}`;
    })
    .catch(() => {});
  return h("figure", {}, image, h("figcaption", {}, words.naming.this));
}

// The faces that somebody is known from, but not the one that is asked about.
async function showOwn(place, person, face) {
  const own = h("div", { className: "own" });
  place.replaceChildren(own, h("figcaption", {}, words.naming.others(person)));
  const photos = await api.photosOf(person).catch(() => []);
  const rank = ({ sha256, confidence }) => (covers.get(person) === sha256 ? 2 : confidence);
  const best = photos
    .filter((photo) => photo.shown && photo.sha256 !== face.kept?.sha256)
    .sort((one, other) => rank(other) - rank(one));
  const images = await Promise.all(best.slice(0, 3).map(({ sha256 }) => api.picture(sha256).catch(() => "")));
  own.replaceChildren(...images.map((src) => h("img", { src, alt: "" })));
  if (!images.length) own.textContent = words.naming.noPicture;
}

// Name faces, and offer to take it back.
export async function named(faces, person) {
  const again = faces.every((face) => face.person === person);
  const done = await session.name(faces, person);
  const { naming } = words;
  const text = !done.added
    ? naming.had(done.person)
    : again
      ? naming.confirmed(done.person)
      : naming.named(faces.length, done.person);
  toast(text, done.added ? done.undo : null);
  return done;
}
