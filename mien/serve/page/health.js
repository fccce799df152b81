// How often a stranger will get a name, as pictures, and whom to look after.

import * as api from "./api.js";
import { counted, h, svg, tried } from "./dom.js";
import { face } from "./people.js";

export async function show(main) {
  main.replaceChildren(h("h1", {}, "Health"), h("p", { className: "lead" }, "…"));
  const state = await tried(api.state);
  if (!state) return;
  main.lastChild.textContent =
    `${counted(state.people, "person", "people")} with ${counted(state.photos, "photo")}. ` +
    "The more people are known, the likelier it is that a stranger looks like one of them.";
  main.append(
    h(
      "div",
      { className: "panels" },
      state.fpir === null ? unmeasured() : strangers(state),
      state.curve.length ? thresholds(state) : null,
      listed("Look alike", "They are taken for each other, or are one person with two names.", state.alike, (one) => [
        face(one.person),
        face(one.other),
        `${one.person} and ${one.other}`,
      ]),
      listed("Do not look like the others", "Perhaps a photo of somebody else.", state.doubtful, (one) => [
        face(one.person),
        one.person,
      ]),
      listed("Small faces", "Fewer than 60 pixels: a larger photo would help.", state.small, (one) => [
        face(one.person),
        `${one.person}, ${Math.round(one.value)} pixels`,
      ]),
      listed("Only one photo", "A second one, in other light, makes a name surer.", state.single, (one) => [
        face(one),
        one,
      ]),
    ),
  );
}

const unmeasured = () =>
  h(
    "section",
    { className: "card pad" },
    h("h2", {}, "Strangers"),
    h("p", {}, "The model does not say how alike strangers are to it: mien calibrate measures it."),
  );

// Of a thousand strangers, those who would get a name.
function strangers({ fpir, people, extrapolated }) {
  const hits = Math.round(fpir * 1000);
  const columns = 40,
    rows = 25,
    step = 14;
  const picture = svg("svg", {
    class: "chart",
    viewBox: `0 0 ${columns * step} ${rows * step}`,
    role: "img",
    "aria-label": `${hits} of 1,000 dots are marked`,
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
  const often = fpir > 0 ? `1 in ${Math.round(1 / fpir).toLocaleString("en")}` : "none";
  return h(
    "section",
    { className: "card pad" },
    h("h2", {}, "Strangers who get a name"),
    h("p", { className: "big" }, often),
    h(
      "p",
      { className: "soft" },
      people
        ? `Each dot is one of 1,000 strangers; ${hits ? `the ${hits === 1 ? "marked one gets" : `${hits} marked ones get`}` : "fewer than one gets"} somebody's name by mistake${extrapolated ? ", by extrapolation" : ""}.`
        : "While nobody is known, nobody gets a name.",
    ),
    picture,
  );
}

// What another threshold would mean, on a scale where each step is a tenth.
function thresholds({ curve, threshold, fpir }) {
  const width = 460,
    height = 320,
    left = 82,
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
    "aria-label": `At the threshold of ${threshold.toFixed(2)}, a share of ${fpir === null ? "?" : fpir.toPrecision(2)} of strangers gets a name`,
  });
  for (const [rate, text] of [
    [1, "all"],
    [0.1, "1 in 10"],
    [0.01, "1 in 100"],
    [1e-3, "1 in 1,000"],
    [1e-4, "1 in 10,000"],
    [1e-5, "1 in 100,000"],
  ]) {
    picture.append(
      svg("line", { class: "grid", x1: left, x2: width - right, y1: y(rate), y2: y(rate) }),
      svg("text", { x: left - 8, y: y(rate) + 4, "text-anchor": "end" }, text),
    );
  }
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
    svg(
      "text",
      { x: (left + width) / 2, y: height - 4, "text-anchor": "middle" },
      "threshold: the score that earns a name",
    ),
    line("fmr", "line second"),
    line("fpir", "line"),
    svg("line", { class: "mark", x1: x(threshold), x2: x(threshold), y1: top - 8, y2: height - bottom }),
    svg(
      "text",
      { class: "strong", x: x(threshold) + (before ? -8 : 8), y: top + 2, "text-anchor": before ? "end" : "start" },
      `now ${threshold.toFixed(2)}`,
    ),
  );
  return h(
    "section",
    { className: "card pad" },
    h("h2", {}, "What the threshold does"),
    h(
      "p",
      { className: "soft" },
      "The line: strangers who get a name here. Dotted: two strangers taken for one person. Higher thresholds err less, and miss more of those who are known.",
    ),
    picture,
  );
}

function listed(heading, hint, found, words) {
  if (!found.length) return null;
  return h(
    "section",
    { className: "card pad" },
    h("h2", {}, `${heading} (${found.length})`),
    h("p", { className: "soft" }, hint),
    h(
      "ul",
      { className: "pairs" },
      found.slice(0, 12).map((one) => h("li", {}, words(one))),
    ),
  );
}
