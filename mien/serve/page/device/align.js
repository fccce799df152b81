// Five points to an upright face: what mien/recognition/align.py does.

import { part, shrunk, warped } from "./pixels.js";

export const SIZE = 112;
export const TEMPLATE = [
  [38.2946, 51.6963],
  [73.5318, 51.5014],
  [56.0252, 71.7366],
  [41.5493, 92.3655],
  [70.7299, 92.2041],
];

const mean = (points, axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length;
const clip = (value, high) => Math.min(Math.max(value, 0), high);

// The turn, scale and shift z -> a z + b that bring the points closest to the template, or to others.
export function similarity(points, goal = TEMPLATE) {
  const [x, y, u, v] = [mean(points, 0), mean(points, 1), mean(goal, 0), mean(goal, 1)];
  let along = 0,
    across = 0,
    spread = 0;
  points.forEach((point, i) => {
    const [dx, dy] = [point[0] - x, point[1] - y];
    along += dx * goal[i][0] + dy * goal[i][1];
    across += dx * goal[i][1] - dy * goal[i][0];
    spread += dx * dx + dy * dy;
  });
  const fixed = Math.hypot(along, across) > 1e-6 * spread;
  const [real, imaginary] = fixed ? [along / spread, across / spread] : [1, 0];
  return { real, imaginary, x: u - real * x + imaginary * y, y: v - imaginary * x - real * y };
}

// The face's pixels, SIZE x SIZE, into a place of that size.
export function crop(image, points, into) {
  const { real, imaginary, x, y } = similarity(points);
  const square = real * real + imaginary * imaginary;
  const factor = Math.max(1, Math.floor(1 / Math.sqrt(square)));
  const back = (u, v) => [
    (real * (u - x) + imaginary * (v - y)) / square,
    (real * (v - y) - imaginary * (u - x)) / square,
  ];
  const corners = [back(0, 0), back(SIZE, 0), back(0, SIZE), back(SIZE, SIZE)];
  const edge = (axis, limit) => [
    clip(Math.floor(Math.min(...corners.map((one) => one[axis]))) - 2 * factor, limit),
    clip(Math.ceil(Math.max(...corners.map((one) => one[axis]))) + 2 * factor, limit),
  ];
  const [left, right] = edge(0, image.columns),
    [top, bottom] = edge(1, image.rows);
  const columns = Math.floor((right - left) / factor),
    rows = Math.floor((bottom - top) / factor);
  if (!(columns && rows)) return into.fill(0);
  const small = shrunk(part(image, top, left, factor * rows, factor * columns), rows, columns);
  // From the middle of a pixel of the crop to the picture, and from there to one of the small part.
  const [u, v] = back(0.5, 0.5),
    scale = square * factor;
  const a = real / scale,
    b = imaginary / scale;
  return warped(small, [a, b, (u - left) / factor - 0.5, -b, a, (v - top) / factor - 0.5], SIZE, SIZE, into);
}
