// A field for a name: people are offered with their faces, best guesses first, and filtered while typing.

import { h } from "./dom.js";
import { folded, hidden, known, portrait } from "./known.js";
import { words } from "./words.js";

const OFFERED = 6;
let count = 0;

/**
 * @param {Promise<{person: string, score: number}[]>} guesses best first
 * @param {(name: string) => void} choose
 * @param {{near?: () => number, except?: string, others?: number}} options Enter takes a guess of at least this score
 */
export function chooser(guesses, choose, { near = () => Infinity, except = null, others = OFFERED } = {}) {
  const id = `names-${++count}`;
  const list = h("ul", { id, role: "listbox", "aria-label": words.naming.suggestions, className: "offers" });
  const warning = h("p", { className: "soft warning", role: "status" });
  const input = h("input", {
    type: "text",
    role: "combobox",
    autocomplete: "off",
    maxLength: 100,
    placeholder: words.naming.placeholder,
    "aria-label": words.naming.label,
    "aria-autocomplete": "list",
    "aria-expanded": "false",
    "aria-controls": id,
  });
  input.setAttribute("autofocus", "");
  let everyone = [],
    likely = [],
    offers = [],
    active = -1;

  const write = () => {
    const text = input.value.trim(),
      wanted = folded(text);
    const names = everyone.filter(({ person }) => person !== except);
    const same = wanted ? names.find(({ person }) => folded(person) === wanted) : null;
    if (!wanted) {
      offers = likely.map(({ person, score }) => ({
        person,
        note: score >= near() ? words.naming.likely : words.naming.perhaps,
      }));
      const rest = names.filter(({ person }) => !likely.some((one) => one.person === person));
      offers.push(...rest.slice(0, Math.max(0, others - offers.length)));
    } else {
      const rank = ({ person }) => {
        const name = folded(person);
        if (name === wanted) return 0;
        if (name.startsWith(wanted)) return 1;
        return person.split(/\s+/).some((part) => folded(part).startsWith(wanted)) ? 2 : name.includes(wanted) ? 3 : 9;
      };
      offers = names
        .map((one) => [rank(one), one])
        .filter(([at]) => at < 9)
        .sort(([one], [other]) => one - other)
        .slice(0, OFFERED)
        .map(([, one]) => one);
      if (same?.person !== text) offers.push({ person: text, fresh: true });
    }
    warning.textContent = same && same.person !== text ? words.naming.same(same.person) : "";
    active = wanted ? (same ? 0 : offers.length - 1) : likely[0]?.score >= near() ? 0 : -1;
    list.replaceChildren(...offers.map(offer));
    input.setAttribute("aria-expanded", String(offers.length > 0));
    point();
  };

  const offer = ({ person, cover, note, fresh }, i) =>
    h(
      "li",
      {
        id: `${id}-${i}`,
        role: "option",
        onpointerdown: (event) => event.preventDefault(),
        onclick: () => choose(person),
      },
      fresh ? h("span", { className: "thumb", "aria-hidden": "true" }, "+") : portrait(person, cover),
      h("span", { className: "name" }, fresh ? words.naming.fresh(person) : person),
      note && h("span", { className: "soft" }, note),
    );

  const point = () => {
    [...list.children].forEach((item, i) => {
      item.setAttribute("aria-selected", String(i === active));
    });
    if (active < 0) input.removeAttribute("aria-activedescendant");
    else input.setAttribute("aria-activedescendant", `${id}-${active}`);
    list.children[active]?.scrollIntoView({ block: "nearest" });
  };

  input.addEventListener("input", write);
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && offers.length) {
      event.preventDefault();
      active = active < 0 && step < 0 ? offers.length - 1 : (active + step + offers.length) % offers.length;
      point();
    } else if (event.key === "Enter" && !event.isComposing) {
      event.preventDefault();
      const name = offers[active]?.person ?? input.value.trim();
      if (name) choose(name);
    } else if (event.key === "Escape" && input.value) {
      event.preventDefault();
      event.stopPropagation();
      input.value = "";
      write();
    }
  });
  known().then(
    (all) => {
      everyone = all.filter(({ person }) => !hidden.get(person));
      write();
    },
    () => {},
  );
  guesses.then(
    (found) => {
      likely = found.filter(({ person }) => person !== except);
      write();
    },
    () => {},
  );
  return { field: h("div", { className: "chooser" }, input, warning, list), input };
}
