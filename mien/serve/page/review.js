// One question at a time: a group of faces that belong together, and who they are.

import * as api from "./api.js";
import { chooser } from "./chooser.js";
import { button, empty, h, toast, tried } from "./dom.js";
import { picker } from "./files.js";
import { named } from "./naming.js";
import * as session from "./session.js";
import { view } from "./viewer.js";
import { words } from "./words.js";

const text = words.review;
const GROUPED = 5000, // faces that the server groups at a time
  SHOWN = 60, // faces of a group at once
  AHEAD = 24, // questions that are shown before they are asked
  GUESSES = 4,
  LEAST = 0.15,
  BELOW = 0.1; // the threshold, and still likely

// The groups stay while the tab is open: {faces, skipped}, as the user has made them.
let groups = [],
  grouped = new Set(),
  near = Infinity;

const open = (group) => group.faces.filter(session.isOpen);

// Whoever has most faces first; who was skipped last.
function questions() {
  groups = groups.filter((group) => open(group).length);
  const worth = (group) => open(group).length + (group.guesses?.[0]?.score >= near ? 0.5 : 0);
  return groups.toSorted((one, other) => one.skipped - other.skipped || worth(other) - worth(one));
}

// Group faces that have come since, with what the user has made of the others.
async function regroup() {
  const faces = session.faces().filter(session.isOpen);
  if (faces.every((face) => grouped.has(face))) return;
  const some = faces.slice(0, GROUPED);
  const photos = new Map(session.photos.map((photo, i) => [photo, i]));
  const found = await api.group(
    some.map((face) => face.vector),
    some.map((face) => photos.get(face.photo)),
    some.map((face) => face.poor),
  );
  const fixed = new Set(groups.filter((group) => group.made).flatMap((group) => group.faces));
  const together = found.map((group) => group.map((i) => some[i]));
  const placed = new Set(together.flat());
  const alone = some.filter((face) => !placed.has(face)).map((face) => [face]);
  const skipped = new Set(groups.filter((group) => group.skipped).flatMap((group) => group.faces));
  groups = [
    ...groups.filter((group) => group.made),
    ...[...together, ...alone]
      .map((own) => own.filter((face) => !fixed.has(face)))
      .filter((own) => own.length)
      .map((own) => ({ faces: own, skipped: own.every((face) => skipped.has(face)) ? 1 : 0 })),
  ];
  grouped = new Set(faces);
}

// Who the groups may be, asked for all at once by the face in each that says most.
async function guess() {
  const lacking = questions()
    .filter((group) => !group.guesses)
    .slice(0, 64);
  if (!lacking.length) return;
  const best = lacking.map((group) => open(group).toSorted((one, other) => other.confidence - one.confidence)[0]);
  const { candidates, threshold } = await api.match(
    best.map((face) => face.vector),
    GUESSES,
  );
  near = threshold - BELOW;
  lacking.forEach((group, i) => {
    group.guesses = candidates[i].filter(({ score }) => score > LEAST);
  });
}

export function show(main) {
  const left = h("p", { className: "soft", role: "status" });
  const wrong = h("div");
  const card = h("section", { className: "card ask" });
  const rest = h("section", { className: "rest" });
  const head = h(
    "header",
    { className: "head" },
    h("div", {}, h("h1", {}, text.heading), left),
    h("div", { className: "row" }, picker(text.toPhotos)),
  );
  let asked = null, // the group in question
    out = new Set(), // its faces that are not of the same person
    joining = false,
    busy = false,
    ended = false,
    blank = "", // what is shown in place of a question
    turned = false, // to another question, whose name can be typed at once
    heading,
    yes;

  const draw = () => {
    const all = questions();
    if (!all.includes(asked)) {
      asked = all[0] ?? null;
      out = new Set();
      joining = false;
    }
    const looking = session.progress.done < session.progress.total;
    if (!asked) {
      const nothing = session.faces().length === 0;
      const state = busy ? "busy" : nothing ? `none ${looking}` : "done";
      if (state === blank) return; // where the focus is
      blank = state;
      const made = {
        busy: () => h("p", { className: "soft", role: "status" }, text.grouping),
        done: () =>
          empty(
            text.done,
            text.doneLead,
            h("a", { className: "button main", href: "#people" }, text.seePeople),
            picker(text.toPhotos),
          ),
      };
      const none = () => empty(text.empty, looking ? text.wait : text.emptyLead, picker(text.toPhotos, "main"));
      main.replaceChildren((made[state] ?? none)());
      return;
    }
    blank = "";
    const faces = all.reduce((sum, group) => sum + open(group).length, 0);
    left.textContent = text.left(all.length, faces) + (looking ? ` ${text.wait}` : "");
    if (!card.isConnected) main.replaceChildren(head, wrong, card, rest);
    question();
    rest.replaceChildren(
      h("h2", {}, joining ? text.joinHint : text.next),
      h(
        "div",
        { className: "stack" },
        all
          .filter((group) => group !== asked)
          .slice(0, joining ? 200 : AHEAD)
          .map(heap),
      ),
    );
    rest.hidden = all.length < 2;
  };

  // The question stays as it is while somebody types, whatever comes meanwhile; only a guess is added.
  const question = () => {
    const faces = open(asked);
    if (card.asked === asked && card.faces === faces.length) {
      suppose();
      return;
    }
    Object.assign(card, { asked, faces: faces.length });
    asked.made = true; // it does not change under the one who answers
    const group = asked;
    const photos = new Set(faces.map((face) => face.photo)).size;
    const guesses = group.guesses ? Promise.resolve(group.guesses) : guess().then(() => group.guesses ?? []);
    const { field, input } = chooser(guesses, answer, { near: () => near, others: 0 });
    input.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !input.value) skip();
    });
    const list = h("ul", { className: "contact" }, faces.slice(0, SHOWN).map(face));
    list.classList.toggle("few", faces.length < 4);
    if (faces.length > SHOWN) list.append(h("li", { className: "soft more" }, text.moreFaces(faces.length - SHOWN)));
    heading = h("h2", {});
    yes = button(words.naming.yes, () => answer(group.guesses[0].person), "main");
    const said = h(
      "div",
      { className: "about" },
      heading,
      h("span", { className: "soft" }, text.card(faces.length, photos)),
    );
    card.replaceChildren(
      h("div", {}, said, list, faces.length > 1 && outs()),
      h(
        "div",
        {},
        h("div", { className: "row" }, yes),
        field,
        h(
          "div",
          { className: "row" },
          button(words.naming.nobody, () => say("nobody")),
          button(words.naming.notFace, () => say("notFace")),
          groups.length > 1 && button(text.join, join),
          button(text.photos, () => view(faces[0].photo, [...new Set(faces.map((one) => one.photo))])),
          button(text.skip, skip, "plain"),
        ),
        h("p", { className: "soft keys" }, text.keys),
      ),
    );
    suppose();
    guesses.then(suppose, () => {});
    const { activeElement } = document;
    if (turned || !activeElement || [document.body, main.parentElement].includes(activeElement))
      input.focus({ preventScroll: true });
    turned = false;
  };

  const suppose = () => {
    const best = asked?.guesses?.[0];
    const maybe = best?.score >= near ? best.person : null;
    heading.textContent = maybe ? words.naming.is(maybe) : words.naming.who;
    yes.parentElement.hidden = !maybe;
  };

  const outs = () => {
    const faces = open(asked);
    const place = h("div", { className: "row outs" });
    place.append(h("span", { className: "soft" }, out.size ? text.out(out.size) : text.hint));
    if (out.size && out.size < faces.length) place.append(button(text.split(out.size), split));
    return place;
  };

  const face = (one, i) => {
    const place = h("button", { type: "button" }, h("img", { src: one.thumb, alt: "", loading: "lazy" }));
    const write = () => {
      place.setAttribute("aria-label", (out.has(one) ? text.putBack : text.takeOut)(i + 1));
      place.classList.toggle("out", out.has(one));
    };
    place.addEventListener("click", () => {
      if (!out.delete(one)) out.add(one);
      write();
      card.querySelector(".outs")?.replaceWith(outs());
    });
    write();
    return h("li", {}, place);
  };

  const heap = (group) => {
    const faces = open(group);
    return h(
      "button",
      {
        type: "button",
        className: "heap",
        "aria-label": (joining ? text.joinWith : text.question)(faces.length),
        onclick: () => (joining ? joinWith(group) : turnTo(group)),
      },
      h(
        "span",
        { className: "fan" },
        faces.slice(0, 4).map((one) => h("img", { src: one.thumb, alt: "", loading: "lazy" })),
      ),
      h("span", { className: "soft" }, words.people.faces(faces.length)),
    );
  };

  // On to the next question, where the next name can be typed at once.
  const onwards = (group = null) => {
    asked = group;
    out = new Set();
    joining = false;
    turned = true;
    card.asked = null;
    draw();
    if (!card.isConnected) main.querySelector("a, button")?.focus();
  };
  const turnTo = (group) => {
    group.skipped = 0;
    onwards(group);
    card.scrollIntoView({ block: "nearest" });
  };
  const skip = () => {
    asked.skipped = 1 + Math.max(...groups.map((group) => group.skipped));
    onwards();
  };

  // Those that were taken out are a question of their own.
  const parted = () => {
    const faces = open(asked);
    const own = faces.filter((one) => !out.has(one));
    if (!out.size || !own.length) return faces;
    groups.push({ faces: faces.filter((one) => out.has(one)), skipped: 0, made: true });
    Object.assign(asked, { faces: own, made: true });
    return own;
  };
  const split = () => {
    const group = asked,
      before = groups.map((one) => ({ one, faces: one.faces }));
    parted();
    Object.assign(group, { guesses: null });
    toast(text.parted, () => restore(before));
    onwards(group);
  };
  const join = () => {
    joining = true;
    draw();
    rest.querySelector("button")?.focus();
  };
  const joinWith = (group) => {
    const before = groups.map((one) => ({ one, faces: one.faces }));
    const whole = asked;
    Object.assign(whole, { faces: [...whole.faces, ...group.faces], made: true });
    groups = groups.filter((one) => one !== group);
    toast(text.joined, () => restore(before));
    onwards(whole);
  };
  const restore = (before) => {
    groups = before.map(({ one, faces }) => Object.assign(one, { faces }));
    onwards();
  };

  const answer = (name) => {
    const faces = parted();
    // The next question is there at once; what fails comes back with its reason.
    tried(wrong, () => named(faces, name));
    onwards();
  };
  const say = (as) => {
    const faces = parted();
    tried(wrong, () => session.mark(faces, as));
    onwards();
  };

  const refresh = async () => {
    if (busy) return;
    busy = true;
    await tried(wrong, async () => {
      await regroup();
      await guess();
    });
    busy = false;
    if (ended) return;
    draw();
  };
  let soon;
  const deaf = session.listen((changed) => {
    if (!changed && !session.photos.length) {
      groups = [];
      grouped = new Set();
    }
    const questioned = asked && open(asked).length === 0;
    if (questioned) draw();
    clearTimeout(soon);
    soon = setTimeout(refresh, session.progress.done < session.progress.total ? 1500 : 150);
  });
  busy = session.faces().some(session.isOpen) && !questions().length;
  draw();
  busy = false;
  refresh();
  return () => {
    ended = true;
    clearTimeout(soon);
    deaf();
  };
}
