// Everyone who is known: found, sorted, and several at once.

import * as api from "./api.js";
import { ask, button, confirmed, empty, h, toast, tried, whenSeen } from "./dom.js";
import { changed, covers, folded, hidden, known, portrait } from "./known.js";
import * as session from "./session.js";
import { words } from "./words.js";

const text = words.people;
const PAGE = 200; // cards that are made at a time
const sorts = {
  name: (one, other) => one.person.localeCompare(other.person),
  most: (one, other) => other.photos - one.photos,
  fewest: (one, other) => one.photos - other.photos,
};
let sort = "name"; // the choice stays while the tab is open

export async function show(main) {
  const wrong = h("div");
  const lead = h("p", { className: "soft" }, words.loading);
  const search = h("input", {
    type: "search",
    placeholder: text.search,
    "aria-label": text.search,
    autocomplete: "off",
  });
  const sorted = h(
    "select",
    { "aria-label": text.sort },
    Object.entries(text.sorts).map(([value, name]) => h("option", { value, selected: value === sort }, name)),
  );
  const select = button(text.select, () => choosing(!chosen), "toggle");
  const list = h("ul", { className: "people" });
  const more = h("div");
  const actions = h("div", { className: "actions row", hidden: true, role: "group", "aria-label": text.select });
  const unhide = button(
    "",
    () => {
      all = !all;
      write();
    },
    "plain",
  );
  let everyone = [],
    chosen = null, // names, while several are being chosen
    all = false, // who is hidden too
    open = PAGE;

  const refresh = async () => {
    everyone = (await tried(wrong, known)) ?? [];
    if (!everyone.length && !wrong.firstChild) {
      main.replaceChildren(
        empty(text.empty, text.emptyLead, h("a", { className: "button main", href: "#photos" }, words.photos.add)),
      );
      return;
    }
    lead.textContent = text.lead(
      everyone.length,
      everyone.reduce((sum, one) => sum + one.photos, 0),
    );
    write();
  };

  const grow = (fit) => {
    more.hidden = fit.length <= open;
    if (more.hidden) return;
    whenSeen(more, () => {
      list.append(...fit.slice(open, open + PAGE).map(card));
      open += PAGE;
      grow(fit);
    });
  };

  const write = () => {
    const wanted = folded(search.value);
    const away = everyone.filter(({ person }) => hidden.get(person));
    const fit = everyone
      .filter(({ person }) => (all || !hidden.get(person)) && (!wanted || folded(person).includes(wanted)))
      .sort(sorts[sort]);
    list.replaceChildren(...fit.slice(0, open).map(card));
    if (!fit.length) list.replaceChildren(h("li", { className: "soft" }, text.none));
    grow(fit);
    unhide.hidden = !away.length;
    unhide.textContent = all ? text.noHidden : text.hidden(away.length);
    act();
  };

  const card = ({ person, photos, cover }) => {
    const about = h(
      "span",
      { className: "about" },
      h("span", { className: "name" }, person),
      h("span", { className: "soft" }, text.faces(photos)),
    );
    const place = chosen
      ? h(
          "button",
          { type: "button", className: "person", "aria-pressed": String(chosen.has(person)) },
          portrait(person, cover),
          about,
        )
      : h("a", { className: "person", href: `#people/${encodeURIComponent(person)}` }, portrait(person, cover), about);
    place.classList.toggle("away", Boolean(hidden.get(person)));
    if (chosen) {
      place.addEventListener("click", () => {
        if (!chosen.delete(person)) chosen.add(person);
        place.setAttribute("aria-pressed", String(chosen.has(person)));
        act();
      });
    }
    return h("li", {}, place);
  };

  const act = () => {
    actions.hidden = !chosen;
    if (!chosen) return;
    const names = [...chosen];
    const picked = everyone.filter(({ person }) => chosen.has(person));
    const gone = names.length > 0 && names.every((name) => hidden.get(name));
    const after = async (doing) => {
      if (!(await tried(wrong, doing))) return;
      choosing(false);
      await refresh();
    };
    const tools = [
      button(text.merge, () => after(() => merge(picked, refresh))),
      button(gone ? text.show : text.hide, () => after(() => hide(names, !gone, write))),
      button(text.forget, () => after(() => forget(picked)), "danger"),
    ];
    tools[0].disabled = names.length < 2;
    tools[1].disabled = tools[2].disabled = !names.length;
    actions.replaceChildren(h("span", { role: "status" }, text.selected(names.length)), ...tools);
  };

  const choosing = (yes) => {
    chosen = yes ? new Set() : null;
    select.setAttribute("aria-pressed", String(yes));
    select.textContent = yes ? words.cancel : text.select;
    write();
  };

  search.addEventListener("input", () => {
    open = PAGE;
    write();
  });
  sorted.addEventListener("change", () => {
    sort = sorted.value;
    open = PAGE;
    write();
  });
  main.replaceChildren(
    h(
      "header",
      { className: "head" },
      h("div", {}, h("h1", {}, text.title), lead),
      h("div", { className: "row" }, search, sorted, select),
    ),
    actions,
    wrong,
    list,
    more,
    unhide,
  );
  await refresh();
}

// Make one person of several; answers their name, or nothing.
export async function merge(people, after = () => {}) {
  const name = await ask(text.mergeHeading, (close) => [
    h("p", { className: "soft" }, text.mergeText),
    h(
      "div",
      { className: "both" },
      people.map(({ person, photos, cover }) =>
        h(
          "button",
          { type: "button", className: "person", onclick: () => close(person) },
          portrait(person, cover),
          h(
            "span",
            { className: "about" },
            h("span", { className: "name" }, person),
            h("span", { className: "soft" }, text.faces(photos)),
          ),
        ),
      ),
    ),
    h(
      "div",
      { className: "row end" },
      button(words.cancel, () => close()),
    ),
  ]);
  if (!name) return undefined;
  const others = people.map(({ person }) => person).filter((person) => person !== name);
  const were = await Promise.all(
    others.map(async (other) => [other, (await api.photosOf(other)).map(({ sha256 }) => sha256)]),
  );
  for (const other of others) await api.rename(other, name, true);
  renamed(others, name);
  toast(text.merged(people.length, name), async () => {
    for (const [other, photos] of were) await api.give(name, other, photos);
    changed();
    await session.matchAgain();
    await after();
  });
  return name;
}

// Heed in the photos of this page that people have another name.
export function renamed(olds, name) {
  changed();
  for (const old of olds) {
    if (hidden.get(old)) hidden.remove(old);
    if (covers.get(old) && !covers.get(name)) covers.set(name, covers.get(old));
    covers.remove(old);
  }
  for (const face of session.faces()) {
    if (olds.includes(face.kept?.person)) face.kept.person = face.person = name;
  }
  return session.matchAgain();
}

export function hide(names, yes, after = () => {}) {
  for (const name of names) {
    if (yes) hidden.set(name);
    else hidden.remove(name);
  }
  toast((yes ? text.hid : text.shown)(names.length), () => {
    for (const name of names) {
      if (yes) hidden.remove(name);
      else hidden.set(name);
    }
    after();
  });
  return true;
}

export async function forget(people) {
  const names = people.map(({ person }) => person);
  const faces = people.reduce((sum, one) => sum + one.photos, 0);
  if (!(await confirmed(text.forgetHeading(names), text.forgetText(faces), text.forget))) return false;
  for (const name of names) {
    await api.forget(name);
    covers.remove(name);
    hidden.remove(name);
  }
  for (const face of session.faces()) {
    if (names.includes(face.person)) Object.assign(face, { person: null, kept: null });
  }
  changed();
  await session.matchAgain();
  toast(text.forgotten(names));
  return true;
}
