// A picture to its faces: what mien/recognition/detect/mien_detector.py does, whose words these are.

import { similarity, TEMPLATE } from "./align.js";
import { smaller, suppress, union } from "./boxes.js";
import { part, picture, shrunk, turned, warped } from "./pixels.js";
import { depthOf, inHalves } from "./pyramid.js";

const SEEN = 16,
  OVERVIEW = 192,
  LONGEST = 4096,
  LARGEST = 1.5,
  LAST = 40,
  TILE = 640,
  SHARED = 96,
  GREY = 127;
const SIDE = 64,
  CROPS = 16,
  CANDIDATE = 0.3,
  HOPELESS = 0.1,
  WEAK = 0.9975,
  SHARE = 0.05,
  GRID = 8;
const UNION = 0.4,
  SMALLER = 0.5;
const ASIDE = [
  [0, 0],
  [0.06, 0],
  [-0.06, 0],
  [0, 0.06],
  [0, -0.06],
];
// Where the points lie in an exact crop: of the centre and the size of a square in the template.
const goalOf = (side, x, y, shown) =>
  TEMPLATE.map((point) => [x, y].map((at, axis) => ((point[axis] - at) * side) / shown + side / 2));
const GOAL = goalOf(SIDE, 56, 64, 150),
  CUT = 48,
  CUT_GOAL = goalOf(CUT, 54.3, 70.1, 95.3),
  SURE = 0.7,
  FIVE = [0, 1, 2, 3, 4];
const { fround } = Math;

const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const longest = ({ rows, columns }) => Math.max(rows, columns);

// The faces of a picture, best first; `run(name, pixels, shape)` gives the tensors that a network returns.
export async function detect(image, { min_face, threshold }, run) {
  const settings = { threshold, run };
  const halves = inHalves(image),
    candidates = await find(halves, min_face, run);
  let found = await faces(halves, candidates, settings),
    degrees = 0;
  if (!found.length || found[0].confidence < WEAK) {
    const quarters = await lies(image, min_face, settings);
    const seen = quarters ? await lookTurned(image, min_face, quarters, settings) : [];
    if (seen.length) [found, degrees] = [seen, 90 * quarters];
    else if (!found.length) found = await doubted(halves, candidates, settings);
  }
  const size = [image.columns, image.rows];
  return found
    .map(({ box, points, confidence }) => ({
      box: box.map((edge, i) => fround(Math.min(Math.max(edge, 0), size[i % 2]))),
      points,
      confidence,
      turned: degrees,
    }))
    .filter(({ box }) => box[0] < box[2] && box[1] < box[3]);
}

// Quarter turns to the left after which a face is not weak; 0: none is.
async function lies(image, minFace, settings) {
  let small = image,
    times = 1,
    best = 0,
    sure = WEAK;
  const least = Math.max(2 * minFace, longest(image) * SHARE);
  for (; least > 4 * SEEN * times && Math.min(small.rows, small.columns) > 1; times *= 2) small = half(small);
  for (const quarters of [1, 2, 3]) {
    const [first] = await look(turned(small, quarters), least / times, settings);
    if (first && first.confidence > sure) [best, sure] = [quarters, first.confidence];
  }
  return best;
}

async function lookTurned(image, minFace, quarters, settings) {
  let small = image,
    times = 1;
  for (; longest(small) > LONGEST && Math.min(small.rows, small.columns) > 1; times *= 2) small = half(small);
  const { rows, columns } = small;
  const back = ([x, y]) => {
    const lying = { 1: [columns - y, x], 2: [columns - x, rows - y], 3: [y, rows - x] }[quarters];
    return lying.map((at) => fround(times * at));
  };
  const found = await look(turned(small, quarters), minFace / times, settings);
  return found.map(({ box, points, confidence }) => {
    const [one, other] = [back(box.slice(0, 2)), back(box.slice(2))];
    const corners = [Math.min, Math.max].flatMap((most) => [0, 1].map((axis) => most(one[axis], other[axis])));
    return { box: corners, points: points.map(back), confidence };
  });
}

async function look(image, minFace, settings) {
  const halves = inHalves(image);
  return faces(halves, await find(halves, minFace, settings.run), settings);
}

// The candidates that are faces.
async function faces(halves, candidates, { threshold, run }) {
  const seen = await lookAgain(halves, candidates, run);
  const kept = best(seen, ({ said }) => said, HOPELESS);
  const again = await lookAgain(halves, kept, run);
  return settle(halves, best(again, odds, threshold), run);
}

// The same where those are none, by the mean of more looks.
async function doubted(halves, candidates, { threshold, run }) {
  let seen = candidates;
  for (let look = 0; look < 2; look++) seen = await lookAgain(halves, seen, run);
  seen = seen.filter((one) => sigmoid(odds(one)) >= HOPELESS);
  const views = ASIDE.flatMap((shift) =>
    seen.map((one) => {
      const moved = one.points.map((point) => point.map((at, axis) => fround(at + shift[axis] * side(one))));
      return { ...one, points: moved };
    }),
  );
  const looks = await lookAgain(halves, views, run);
  for (const [i, one] of seen.entries()) {
    const each = ASIDE.map((_, n) => looks[n * seen.length + i].said);
    one.said = each.reduce((a, b) => a + b) / each.length;
  }
  return settle(halves, best(seen, odds, threshold), run);
}

const odds = ({ finder, said }) => finder + said;
const side = ({ box: [left, top, right, bottom] }) => Math.sqrt((right - left) * (bottom - top));

// Those of this confidence and more, each face once, best first.
function best(found, oddsOf, least) {
  for (const one of found) one.confidence = sigmoid(oddsOf(one));
  const kept = found.filter(({ confidence }) => confidence >= least);
  return suppress(suppress(kept, UNION, union), SMALLER, smaller);
}

async function find(halves, minFace, run) {
  const found = [];
  for (const { level, pixel } of levels(halves, minFace)) {
    for (let top = 0; top < Math.max(1, level.rows - SHARED); top += TILE - SHARED) {
      for (let left = 0; left < Math.max(1, level.columns - SHARED); left += TILE - SHARED) {
        const [rows, columns] = [Math.min(TILE, level.rows - top), Math.min(TILE, level.columns - left)];
        const tile = padded(part(level, top, left, rows, columns));
        for (const grid of await run("finder", tile.data, [1, tile.rows, tile.columns, 3])) {
          found.push(...decoded(grid, tile.columns / grid.dims[3], [left, top], pixel));
        }
      }
    }
  }
  return suppress(found, UNION, union).filter((one) => side(one) >= 0.75 * minFace);
}

// The picture smaller and smaller, each with how many of its pixels one of theirs is.
function* levels(halves, minFace) {
  const most = longest(halves[0]);
  const scale = Math.min(Math.max(SEEN / minFace, Math.min(LARGEST, OVERVIEW / most)), LONGEST / most);
  const depth = depthOf(1 / scale, halves),
    times = 2 ** depth;
  const from = halves[depth];
  let level = resized(from, scale * times);
  let pixel = [(times * from.columns) / level.columns, (times * from.rows) / level.rows];
  for (;;) {
    yield { level, pixel };
    if (longest(level) < 2 * LAST || Math.min(level.rows, level.columns) < 2) return;
    level = half(level);
    pixel = pixel.map((size) => 2 * size);
  }
}

// What a grid's cells say that have a candidate, in the picture.
function decoded({ data, dims: [, , rows, columns] }, stride, corner, pixel) {
  const found = [],
    least = Math.log(CANDIDATE / (1 - CANDIDATE)),
    cells = rows * columns;
  for (let cell = 0; cell < cells; cell++) {
    if (data[cell] < least) continue;
    const said = (i) => data[i * cells + cell];
    const middle = [((cell % columns) + 0.5) * stride, (Math.floor(cell / columns) + 0.5) * stride];
    const place = (at, axis) => fround((at + corner[axis]) * pixel[axis]);
    const edge = (axis, sign) => {
      const far = Math.exp(Math.min(Math.max(said(3 + axis), -4), 4)) * 1.25 * stride;
      return place(middle[axis] + said(1 + axis) * stride + sign * far, axis);
    };
    found.push({
      confidence: sigmoid(data[cell]),
      finder: data[cell],
      box: [edge(0, -1), edge(1, -1), edge(0, 1), edge(1, 1)],
      points: FIVE.map((n) => [0, 1].map((axis) => place(middle[axis] + said(5 + 2 * n + axis) * 2 * stride, axis))),
    });
  }
  return found;
}

// What the second network says of candidates: their points, and the log-odds of a face.
async function lookAgain(halves, found, run) {
  const say = async (crops, number) => (await run("points", crops, [number, SIDE, SIDE, 3]))[0].data;
  const seen = await inCrops(say, halves, found, GOAL, SIDE);
  return seen.map(({ data, start, back }, i) => {
    const place = (n, axis) => 8 * data[11 * start + 2 * n + axis] + GOAL[n][axis];
    return { ...found[i], points: FIVE.map((n) => back(place(n, 0), place(n, 1))), said: data[11 * start + 10] };
  });
}

// The points that MTCNN's network gives, or these where it sees no face.
async function settle(halves, found, run) {
  const say = async (crops, number) => {
    const [, places, sure] = await run("confirm", swapped(crops), [number, CUT, CUT, 3]);
    return { places: places.data, sure: sure.data };
  };
  const seen = await inCrops(say, halves, found, CUT_GOAL, CUT);
  return seen.map(({ data: { places, sure }, start, back }, i) => {
    if (!(sure[start] >= SURE)) return found[i];
    const points = FIVE.map((n) => back(CUT * places[10 * start + n], CUT * places[10 * start + 5 + n]));
    return { ...found[i], points };
  });
}

// What a network says of crops, for each candidate with its place there and what leads back to the picture.
async function inCrops(say, halves, found, goal, side) {
  const seen = [],
    size = 3 * side * side;
  for (let first = 0; first < found.length; first += CROPS) {
    const maps = found.slice(first, first + CROPS).map(({ points }) => toCrop(points, goal));
    const crops = new Uint8Array(maps.length * size);
    maps.forEach((map, i) => {
      cropped(halves, map, side, new Uint8ClampedArray(crops.buffer, i * size, size));
    });
    const data = await say(crops, maps.length);
    seen.push(...maps.map(({ back }, start) => ({ data, start, back: (u, v) => back(u, v).map(fround) })));
  }
  return seen;
}

// From the picture to a crop, z -> a z + b, and back.
function toCrop(points, goal) {
  const onGrid = points.map((point) => point.map((at) => Math.floor(at * GRID + 0.5) / GRID));
  const { real, imaginary, x, y } = similarity(onGrid, goal);
  const square = real * real + imaginary * imaginary;
  const back = (u, v) => [
    (real * (u - x) + imaginary * (v - y)) / square,
    (real * (v - y) - imaginary * (u - x)) / square,
  ];
  return { real, imaginary, square, back };
}

function cropped(halves, { real, imaginary, square, back }, side, into) {
  const depth = depthOf(1 / Math.sqrt(square), halves),
    times = 2 ** depth;
  const [u, v] = back(0.5, 0.5),
    scale = square * times;
  const matrix = [real / scale, imaginary / scale, u / times - 0.5, -imaginary / scale, real / scale, v / times - 0.5];
  warped(halves[depth], matrix, side, side, into);
}

// Cuts with their axes swapped.
function swapped(cuts) {
  const made = new Uint8Array(cuts.length),
    area = CUT * CUT;
  for (let i = 0; i < cuts.length / 3; i++) {
    const at = i % area;
    const to = i - at + (at % CUT) * CUT + Math.floor(at / CUT);
    for (let c = 0; c < 3; c++) made[3 * to + c] = cuts[3 * i + c];
  }
  return made;
}

function half(image) {
  const [rows, columns] = [image.rows >> 1, image.columns >> 1];
  return shrunk(part(image, 0, 0, 2 * rows, 2 * columns), rows, columns);
}

function resized(image, scale) {
  const [rows, columns] = [image.rows, image.columns].map((side) => Math.max(1, Math.round(side * scale)));
  if (rows === image.rows && columns === image.columns) return image;
  const made = picture(rows, columns);
  const [x, y] = [image.columns / columns, image.rows / rows];
  warped(image, [x, 0, x / 2 - 0.5, 0, y, y / 2 - 0.5], rows, columns, made.data, true);
  return made;
}

// A tile on grey, of sides that 16 divides.
function padded(tile) {
  const made = picture(Math.ceil(tile.rows / 16) * 16, Math.ceil(tile.columns / 16) * 16);
  made.data.fill(GREY);
  const width = 3 * tile.columns;
  for (let i = 0; i < tile.rows; i++) {
    made.data.set(tile.data.subarray(i * width, (i + 1) * width), 3 * i * made.columns);
  }
  return made;
}
