// A picture at smaller and smaller sizes: what mien/recognition/detect/pyramid.py does.

import { part, shrunk } from "./pixels.js";

export const SMALLEST = 12; // pixels of the smallest face that is looked for

export function inHalves(picture) {
  const halves = [picture];
  for (let last = picture; Math.min(last.rows, last.columns) >= 2 * SMALLEST; halves.push(last)) {
    const [rows, columns] = [last.rows >> 1, last.columns >> 1];
    last = shrunk(part(last, 0, 0, 2 * rows, 2 * columns), rows, columns);
  }
  return halves;
}

export const depthOf = (shrink, halves) => Math.trunc(Math.min(Math.max(Math.log2(shrink), 0), halves.length - 1));
