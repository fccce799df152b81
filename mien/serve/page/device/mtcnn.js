// A picture to its faces: what mien/recognition/detect/mtcnn.py does, whose words these are.
// The networks want a picture with its axes swapped: below, its rows are x.  Boxes are rounded to 32 bits
// wherever NumPy rounds them, or a cut's pixels would differ, and with them what the networks find.

import { smaller, suppress, union } from "./boxes.js";
import { shrunk, transposed, warped } from "./pixels.js";
import { depthOf, inHalves, SMALLEST } from "./pyramid.js";

const LONGEST = 4096,
  CELL = SMALLEST,
  STRIDE = 2,
  GRID = 8,
  CUTS = 16;
const UNION = 0.5,
  SMALLER = 0.7;
const { fround } = Math;

// The faces of a picture, best first; `run(name, pixels, shape)` gives the tensors that a network returns.
export async function detect(image, { min_face, factor, thresholds }, run) {
  const picture = transposed(bounded(image));
  const halves = inHalves(picture);
  const proposed = await propose(halves, min_face, factor, thresholds[0], run);
  const refined = await refine(halves, proposed, thresholds[1], run);
  const confirmed = await confirm(halves, refined, thresholds[2], run);
  const size = [image.columns, image.rows];
  const scale = [image.columns / picture.rows, image.rows / picture.columns];
  return confirmed
    .map(({ box, points, confidence }) => ({
      box: box.map((edge, i) => fround(Math.min(Math.max(edge * scale[i % 2], 0), size[i % 2]))),
      points: points.map((point) => point.map((at, i) => fround(at * scale[i]))),
      confidence,
    }))
    .filter(({ box }) => box[0] < box[2] && box[1] < box[3]);
}

async function propose(halves, minFace, factor, threshold, run) {
  const found = [];
  for (let scale = CELL / minFace; Math.min(halves[0].rows, halves[0].columns) * scale >= CELL; scale *= factor) {
    const depth = depthOf(1 / scale, halves),
      half = halves[depth];
    const level = shrunk(half, ...[half.rows, half.columns].map((side) => Math.ceil(side * scale * 2 ** depth)));
    const pixel = [(half.rows * 2 ** depth) / level.rows, (half.columns * 2 ** depth) / level.columns];
    const [offsets, sure] = await run("propose", level.data, [1, level.rows, level.columns, 3]);
    const [, rows, columns] = sure.dims;
    const heat = (i, j) => (i < 0 || j < 0 || i >= rows || j >= columns ? 0 : sure.data[i * columns + j]);
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        const confidence = heat(i, j);
        if (confidence < threshold || !isPeak(heat, i, j)) continue;
        const cell = [i, j, i, j].map((at, side) => fround((STRIDE * at + (side < 2 ? 0 : CELL)) * pixel[side % 2]));
        found.push({ box: calibrated(cell, offsets.data, i * columns + j), confidence });
      }
    }
  }
  return suppress(found, UNION, union).map(({ box }) => square(box));
}

function isPeak(heat, i, j) {
  for (let row = i - 1; row <= i + 1; row++) {
    for (let column = j - 1; column <= j + 1; column++) if (heat(row, column) > heat(i, j)) return false;
  }
  return true;
}

async function refine(halves, boxes, threshold, run) {
  const [offsets, sure] = await runAll("refine", cut(halves, boxes, 24), 24, run);
  const passed = boxes.map((box, i) => ({ box, i, confidence: sure[i] })).filter((one) => one.confidence >= threshold);
  return suppress(passed, UNION, union).map(({ box, i }) => square(calibrated(box, offsets, i)));
}

async function confirm(halves, boxes, threshold, run) {
  const [offsets, places, sure] = await runAll("confirm", cut(halves, boxes, 48), 48, run);
  const passed = boxes
    .map((box, i) => ({
      box: calibrated(box, offsets, i),
      points: [0, 1, 2, 3, 4].map((point) => [0, 1].map((axis) => along(box, axis, places[10 * i + 5 * axis + point]))),
      confidence: sure[i],
    }))
    .filter((one) => one.confidence >= threshold);
  return suppress(passed, SMALLER, smaller);
}

// An edge moved by a part of the box's size.
const along = (box, edge, part) => fround(box[edge] + fround(part * fround(box[2 + (edge % 2)] - box[edge % 2])));
const calibrated = (box, offsets, i) => box.map((_, edge) => along(box, edge, offsets[4 * i + edge]));

function square([left, top, right, bottom]) {
  const side = fround(Math.max(right - left, bottom - top, 1));
  const low = [fround(left + right), fround(top + bottom)].map((sum) => onGrid(fround(sum - side) / 2));
  return [...low, low[0] + onGrid(side), low[1] + onGrid(side)];
}

// On it the last bit of a sum moves nothing.
const onGrid = (pixels) => Math.round(pixels * GRID) / GRID;

function bounded(image) {
  const shrink = LONGEST / Math.max(image.rows, image.columns);
  if (shrink >= 1) return image;
  return shrunk(image, ...[image.rows, image.columns].map((side) => Math.max(1, Math.round(side * shrink))));
}

function cut(halves, boxes, size) {
  const cuts = new Uint8ClampedArray(boxes.length * size * size * 3);
  boxes.forEach(([left, top, right], i) => {
    const step = fround(fround(right - left) / size),
      depth = depthOf(step, halves),
      scale = 2 ** depth;
    const start = (edge) => fround(edge + step / 2) / scale - 0.5;
    const matrix = [step / scale, 0, start(top), 0, step / scale, start(left)];
    warped(halves[depth], matrix, size, size, cuts.subarray(i * size * size * 3, (i + 1) * size * size * 3));
  });
  return cuts;
}

// A network's outputs for all cuts; a few at a time, so that what it computes stays in the cache.
async function runAll(name, cuts, size, run) {
  const all = [[], [], []];
  for (let start = 0; start < cuts.length; start += CUTS * size * size * 3) {
    const some = cuts.subarray(start, start + CUTS * size * size * 3);
    const found = await run(name, some, [some.length / (size * size * 3), size, size, 3]);
    for (const [i, { data }] of found.entries()) all[i].push(...data);
  }
  return all;
}
