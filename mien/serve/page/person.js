// One person: the faces they are known from, their name, and where else they are.

import * as api from "./api.js";
import { chooser } from "./chooser.js";
import { ask, button, confirmed, h, toast, tried } from "./dom.js";
import { picker } from "./files.js";
import { changed, covers, hidden, known, portrait } from "./known.js";
import { named } from "./naming.js";
import { forget, hide, merge, renamed } from "./people.js";
import * as session from "./session.js";
import { view } from "./viewer.js";
import { day, words } from "./words.js";

const text = words.person;

export async function show(main, person) {
  const wrong = h("div");
  const faces = h("ul", { className: "own" });
  const about = h("p", { className: "soft" }, words.loading);
  const found = h("div", { className: "wall small" });
  const offers = h("section", {});
  const head = h("header", { className: "head who" });
  let photos = [];

  const go = (name = null) => {
    location.hash = name ? `#people/${encodeURIComponent(name)}` : "#people";
  };
  const entry = async () => ({ person, photos: photos.length, cover: (await api.person(person)).cover });

  const rename = () =>
    ask(text.rename, (close) => {
      const input = h("input", {
        type: "text",
        id: "rename",
        value: person,
        required: true,
        maxLength: 100,
        autocomplete: "off",
      });
      const place = h("div");
      return [
        h(
          "form",
          {
            onsubmit: async (event) => {
              event.preventDefault();
              const name = input.value.trim();
              if (!name || name === person) return close();
              const done = await tried(place, () => api.rename(person, name)).catch(() => null);
              if (done) return close(done.person);
              const same = (await known()).find((one) => one.person === name);
              if (same)
                place.replaceChildren(
                  h("p", { className: "error", role: "alert" }, text.same(name)),
                  button(words.people.merge, () => close({ same })),
                );
              return undefined;
            },
          },
          h("label", { htmlFor: "rename" }, text.name),
          input,
          place,
          h(
            "div",
            { className: "row end" },
            button(words.cancel, () => close()),
            h("button", { className: "main" }, text.save),
          ),
        ),
      ];
    }).then(async (name) => {
      if (!name) return;
      if (name.same) {
        join(name.same);
        return;
      }
      const old = person;
      await renamed([old], name);
      toast(text.renamed(old, name), async () => {
        await api.rename(name, old);
        await renamed([name], old);
        go(old);
      });
      go(name);
    });

  const join = async (other) => {
    const name = await tried(wrong, async () => merge([await entry(), other], () => go()));
    if (name) go(name);
  };
  const joinSomebody = () =>
    ask(text.merge, (close) => [
      chooser(Promise.resolve([]), close, { except: person }).field,
      h(
        "div",
        { className: "row end" },
        button(words.cancel, () => close()),
      ),
    ]).then(async (name) => {
      const other = name && (await known()).find((one) => one.person === name);
      if (other) await join(other);
    });

  const remove = async (photo) => {
    const last = photos.length === 1;
    if (!(await confirmed(text.removeHeading, last ? text.removeLast(person) : text.removeText, text.remove))) return;
    if (!(await tried(wrong, () => api.forgetPhoto(person, photo.sha256)))) return;
    for (const face of session.faces()) if (face.kept?.sha256 === photo.sha256) Object.assign(face, { kept: null });
    changed();
    session.matchAgain();
    toast(text.removed);
    if (last) go();
    else await refresh();
  };
  const move = async (photo) => {
    const name = await ask(text.move, (close) => [
      h("div", { className: "pair" }, h("figure", {}, photo.shown && h("img", { src: await_(photo), alt: "" }))),
      chooser(Promise.resolve([]), close, { except: person }).field,
      h(
        "div",
        { className: "row end" },
        button(words.cancel, () => close()),
      ),
    ]);
    if (!name) return;
    const done = await tried(wrong, () => api.give(person, name, [photo.sha256]));
    if (!done) return;
    const old = person;
    for (const face of session.faces())
      if (face.kept?.sha256 === photo.sha256) face.kept.person = face.person = done.person;
    changed();
    session.matchAgain();
    toast(text.moved(done.person), async () => {
      await api.give(done.person, old, [photo.sha256]);
      changed();
      session.matchAgain();
      go(old);
      if (faces.isConnected) await refresh();
    });
    if (photos.length === 1) go(done.person);
    else await refresh();
  };
  const addresses = new Map();
  const await_ = (photo) => addresses.get(photo.sha256) ?? "";

  const face = (photo, i) => {
    const place = h("div", { className: "thumb" }, words.naming.noPicture);
    if (photo.shown) {
      api
        .picture(photo.sha256)
        .then((src) => {
          addresses.set(photo.sha256, src);
          place.replaceChildren(h("img", { src, alt: text.face(person, day(photo.added)) }));
        })
        .catch(() => {});
    }
    const menu = h(
      "div",
      { id: `face-${i}`, popover: "auto", className: "menu" },
      [
        photo.shown &&
          button(text.cover, () => {
            menu.hidePopover();
            covers.set(person, photo.sha256);
            toast(text.covered);
            title();
          }),
        button(text.other, () => {
          menu.hidePopover();
          move(photo);
        }),
        button(
          text.remove,
          () => {
            menu.hidePopover();
            remove(photo);
          },
          "danger",
        ),
      ].filter(Boolean),
    );
    const opener = h("button", {
      type: "button",
      className: "options",
      "aria-label": text.options(i + 1),
      "aria-haspopup": "true",
    });
    opener.addEventListener("click", () => {
      const { bottom, right } = opener.getBoundingClientRect();
      menu.showPopover();
      Object.assign(menu.style, {
        top: `${Math.min(bottom + 4, innerHeight - menu.offsetHeight - 8)}px`,
        left: `${Math.max(8, right - menu.offsetWidth)}px`,
      });
      menu.querySelector("button").focus();
    });
    return h("li", {}, place, opener, menu);
  };

  const title = () => {
    const away = hidden.get(person);
    head.replaceChildren(
      portrait(person),
      h("div", {}, h("h1", {}, person), about),
      h(
        "div",
        { className: "row" },
        picker(text.add, "main", false, addPhotos),
        button(text.rename, rename),
        button(text.merge, joinSomebody),
        button(away ? text.show : text.hide, () => {
          hide([person], !away, title);
          title();
        }),
        button(
          words.people.forget,
          async () => {
            if (await tried(wrong, async () => forget([await entry()]))) go();
          },
          "danger",
        ),
      ),
    );
  };

  const refresh = async () => {
    const own = await tried(wrong, () => api.photosOf(person));
    if (!own) {
      if (!(await known().catch(() => [])).some((one) => one.person === person))
        wrong.replaceChildren(h("p", { className: "error" }, text.gone));
      return;
    }
    photos = own;
    about.textContent = text.since(photos.length, day(photos[0].added));
    faces.replaceChildren(...photos.map(face));
  };

  // Of new photos those faces are offered that may be this person: the only one in a photo, or one that is alike.
  let added = [],
    picked = new Map(); // face to whether it is theirs
  const addPhotos = (files) => {
    added = session.add(files);
    picked = new Map();
    offer();
  };
  const offer = () => {
    for (const photo of added) {
      for (const one of photo.faces) {
        if (!picked.has(one) && !one.kept && (!one.person || one.person === person))
          picked.set(one, photo.faces.length === 1 || one.person === person);
      }
    }
    const looking = added.some((photo) => /waiting|looking/.test(photo.state));
    const theirs = [...picked].filter(([, yes]) => yes).map(([one]) => one);
    const choices = [...picked.keys()].map((one) => {
      const place = h(
        "button",
        { type: "button", "aria-pressed": String(picked.get(one)), "aria-label": words.naming.is(person) },
        h("img", { src: one.thumb, alt: "" }),
      );
      place.addEventListener("click", () => {
        picked.set(one, !picked.get(one));
        place.setAttribute("aria-pressed", String(picked.get(one)));
        add.textContent = text.addFaces([...picked.values()].filter(Boolean).length, person);
      });
      return h("li", {}, place);
    });
    const add = button(
      text.addFaces(theirs.length, person),
      async () => {
        const chosen = [...picked].filter(([, yes]) => yes).map(([one]) => one);
        if (chosen.length && !(await tried(wrong, () => named(chosen, person)))) return;
        added = [];
        offers.replaceChildren();
        await refresh();
      },
      "main",
    );
    offers.replaceChildren(
      ...[
        h("h2", {}, text.which(person)),
        looking
          ? h("p", { className: "soft", role: "status" }, words.photos.looking)
          : !choices.length && h("p", { className: "soft" }, text.noFaces),
        h("ul", { className: "contact" }, choices),
        choices.length > 0 && h("div", { className: "row" }, add),
      ].filter(Boolean),
    );
  };

  const appears = () => {
    const in_ = session.photos.filter((photo) => photo.address && photo.faces.some((one) => one.person === person));
    found.replaceChildren(
      ...in_.map((photo) =>
        h(
          "button",
          { type: "button", className: "sheet", "aria-label": photo.name, onclick: () => view(photo, in_) },
          h("img", { src: photo.address, alt: "", loading: "lazy" }),
        ),
      ),
    );
    if (!in_.length) found.append(h("p", { className: "soft" }, text.noPhotos(person)));
  };

  title();
  main.replaceChildren(
    h("a", { href: "#people", className: "up" }, `‹ ${words.people.title}`),
    head,
    wrong,
    offers,
    h("h2", {}, text.faces),
    faces,
    h("h2", {}, text.inPhotos),
    found,
  );
  appears();
  await refresh();
  return session.listen((changed_) => {
    appears();
    if (changed_?.some((photo) => added.includes(photo))) offer();
  });
}
