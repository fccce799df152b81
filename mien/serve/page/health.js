// A verdict in one sentence, then what can be done about it, each with a click.

import * as api from "./api.js";
import { chooser } from "./chooser.js";
import { ask, button, confirmed, empty, h, svg, toast, tried } from "./dom.js";
import { changed, choice, portrait } from "./known.js";
import { merge } from "./people.js";
import * as session from "./session.js";
import { words } from "./words.js";

const text = words.health;
const SHOWN = 8; // tasks at once
const aside = choice("aside"); // what was put aside, in this browser

export async function show(main) {
  const wrong = h("div");
  const verdict = h("p", { className: "lead", role: "status" }, words.loading);
  const list = h("ul", { className: "tasks" });
  const more = h("div");
  const details = h("details", { className: "sure" }, h("summary", {}, text.details));
  main.replaceChildren(h("h1", {}, text.title), verdict, wrong, list, more, details);
  let shown = SHOWN;

  const refresh = async () => {
    const state = await tried(wrong, api.state);
    if (!state) {
      verdict.textContent = "";
      return;
    }
    if (!state.people) {
      main.replaceChildren(
        empty(text.empty, text.emptyLead, h("a", { className: "button main", href: "#photos" }, words.photos.add)),
      );
      return;
    }
    const todo = tasks(state);
    const odds = state.fpir === null ? text.unmeasured : text.odds(state.fpir, state.people);
    verdict.replaceChildren(h("b", {}, todo.length ? text.tasks(todo.length) : text.well), ` ${odds}`);
    list.replaceChildren(...todo.slice(0, shown).map(([key, make]) => task(key, make)));
    more.replaceChildren(
      ...(todo.length > shown
        ? [
            button(text.moreTasks(todo.length - shown), () => {
              shown = Infinity;
              refresh();
            }),
          ]
        : []),
    );
    details.replaceChildren(
      details.firstChild,
      h(
        "div",
        { className: "panels" },
        ...[state.fpir !== null && strangers(state), state.curve.length > 0 && thresholds(state)].filter(Boolean),
      ),
    );
  };

  const done = async () => {
    changed();
    session.matchAgain();
    await refresh();
  };
  const later = (key) => {
    aside.set(key);
    toast(text.put, () => {
      aside.remove(key);
      refresh();
    });
    refresh();
  };

  // What most deserves a look first: each is its key, and what makes its place.
  const tasks = (state) =>
    [
      ...state.alike.map(({ person, other }) => [
        `alike/${[person, other].sort().join("/")}`,
        (key) => alike(key, person, other),
      ]),
      ...state.doubtful.map(({ person, sha256 }) => [`doubtful/${sha256}`, (key) => doubtful(key, person, sha256)]),
      ...state.small.map(({ person, value, sha256 }) => [
        `small/${sha256}`,
        (key) => wanted(key, person, text.small(person), text.smallText(Math.round(value))),
      ]),
      ...state.single.map((person) => [
        `single/${person}`,
        (key) => wanted(key, person, text.single(person), text.singleText),
      ]),
    ].filter(([key]) => !aside.get(key));

  const task = (key, make) => {
    const { faces, heading, hint, actions } = make(key);
    return h(
      "li",
      { className: "card task" },
      h("div", { className: "faces" }, faces),
      h("div", {}, h("h2", {}, heading), h("p", { className: "soft" }, hint)),
      h("div", { className: "row" }, actions),
    );
  };

  const alike = (key, person, other) => ({
    faces: [person, other].map((name) =>
      h("a", { href: `#people/${encodeURIComponent(name)}` }, portrait(name), h("span", {}, name)),
    ),
    heading: text.alike,
    hint: text.alikeText,
    actions: [
      button(
        text.onePerson,
        async () => {
          const both = await tried(wrong, () => Promise.all([api.person(person), api.person(other)]));
          if (both && (await tried(wrong, () => merge(both, done)))) await done();
        },
        "main",
      ),
      button(text.twoPeople, () => later(key)),
    ],
  });

  const doubtful = (key, person, sha256) => {
    const own = h("span", { className: "thumb" });
    api
      .picture(sha256)
      .then((src) => own.replaceChildren(h("img", { src, alt: "" })))
      .catch(() => {});
    return {
      faces: [own, h("a", { href: `#people/${encodeURIComponent(person)}` }, portrait(person), h("span", {}, person))],
      heading: text.doubtful(person),
      hint: text.doubtfulText,
      actions: [
        button(text.yes, () => later(key), "main"),
        button(text.other, async () => {
          const name = await ask(words.person.move, (close) => [
            chooser(Promise.resolve([]), close, { except: person }).field,
            h(
              "div",
              { className: "row end" },
              button(words.cancel, () => close()),
            ),
          ]);
          const given = name && (await tried(wrong, () => api.give(person, name, [sha256])));
          if (!given) return;
          toast(words.person.moved(given.person), async () => {
            await api.give(given.person, person, [sha256]);
            await done();
          });
          await done();
        }),
        button(
          text.remove,
          async () => {
            if (!(await confirmed(words.person.removeHeading, words.person.removeText, text.remove))) return;
            if (await tried(wrong, () => api.forgetPhoto(person, sha256))) await done();
          },
          "danger",
        ),
      ],
    };
  };

  const wanted = (key, person, heading, hint) => ({
    faces: [h("a", { href: `#people/${encodeURIComponent(person)}` }, portrait(person), h("span", {}, person))],
    heading,
    hint,
    actions: [
      h("a", { className: "button main", href: `#people/${encodeURIComponent(person)}` }, text.add),
      button(text.later, () => later(key), "plain"),
    ],
  });

  await refresh();
}

// Of a thousand strangers, those who would get a name.
function strangers({ fpir, extrapolated }) {
  const hits = Math.round(fpir * 1000);
  const columns = 40,
    rows = 25,
    step = 14;
  const picture = svg("svg", {
    class: "chart",
    viewBox: `0 0 ${columns * step} ${rows * step}`,
    role: "img",
    "aria-label": text.dots(hits),
  });
  for (let number = 0; number < columns * rows; number++) {
    picture.append(
      svg("circle", {
        cx: (number % columns) * step + step / 2,
        cy: Math.floor(number / columns) * step + step / 2,
        r: number < hits ? 5.5 : 3.5,
        class: number < hits ? "dot hit" : "dot",
      }),
    );
  }
  return h(
    "section",
    { className: "card pad" },
    h("h3", {}, text.strangers),
    h("p", { className: "big" }, text.often(fpir)),
    h("p", { className: "soft" }, text.dotsText(hits, extrapolated)),
    picture,
  );
}

// What another threshold would mean, on a scale where each step is a tenth.
function thresholds({ curve, threshold, fpir }) {
  const width = 460,
    height = 320,
    left = 96,
    right = 14,
    top = 28,
    bottom = 48,
    least = 1e-5;
  const seen = curve.filter((point) => point.fpir >= least);
  const low = curve[0].threshold,
    high = Math.max(seen.at(-1)?.threshold ?? 0, threshold) + 0.06;
  const x = (score) => left + ((score - low) / (high - low)) * (width - left - right);
  const y = (rate) => top + (Math.log10(Math.max(rate, least)) / Math.log10(least)) * (height - top - bottom);
  const picture = svg("svg", {
    class: "chart",
    viewBox: `0 0 ${width} ${height}`,
    role: "img",
    "aria-label": text.curve(threshold, fpir ?? 0),
  });
  text.rates.forEach((name, power) => {
    const rate = 10 ** -power;
    picture.append(
      svg("line", { class: "grid", x1: left, x2: width - right, y1: y(rate), y2: y(rate) }),
      svg("text", { x: left - 8, y: y(rate) + 4, "text-anchor": "end" }, name),
    );
  });
  for (let score = 0.1; score < high; score += 0.1) {
    picture.append(svg("text", { x: x(score), y: height - bottom + 20, "text-anchor": "middle" }, score.toFixed(1)));
  }
  const line = (key, name) =>
    svg("polyline", {
      class: name,
      points: curve
        .filter((point) => point[key] >= least)
        .map((point) => `${x(point.threshold).toFixed(1)},${y(point[key]).toFixed(1)}`)
        .join(" "),
    });
  const before = threshold > (low + high) / 2;
  picture.append(
    svg("text", { x: (left + width) / 2, y: height - 4, "text-anchor": "middle" }, text.axis),
    line("fmr", "line second"),
    line("fpir", "line"),
    svg("line", { class: "mark", x1: x(threshold), x2: x(threshold), y1: top - 8, y2: height - bottom }),
    svg(
      "text",
      { class: "strong", x: x(threshold) + (before ? -8 : 8), y: top + 2, "text-anchor": before ? "end" : "start" },
      text.now(threshold),
    ),
  );
  return h(
    "section",
    { className: "card pad" },
    h("h3", {}, text.strict),
    h("p", { className: "soft" }, text.strictText),
    picture,
  );
}
