// Boxes of faces: what mien/boxes.py does.

// Best first, those that stay: no two overlap by more than the limit.
export function suppress(found, limit, whole) {
  const kept = [];
  for (const one of found.sort((a, b) => b.confidence - a.confidence)) {
    const clashes = (other) => {
      const common = overlap(one.box, other.box);
      return common / Math.max(whole(area(one.box), area(other.box), common), 1e-12) > limit;
    };
    if (!kept.some(clashes)) kept.push(one);
  }
  return kept;
}

const area = ([left, top, right, bottom]) => (right - left) * (bottom - top);
export const union = (one, other, common) => one + other - common;
export const smaller = (one, other) => Math.min(one, other);
const overlap = (one, other) =>
  [0, 1]
    .map((axis) => Math.max(0, Math.min(one[axis + 2], other[axis + 2]) - Math.max(one[axis], other[axis])))
    .reduce((a, b) => a * b);
