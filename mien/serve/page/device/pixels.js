// Pixels as OpenCV resamples them: {rows, columns, data}, three bytes a pixel, row after row.
// All is rounded where and how OpenCV 5 rounds it: to 32 bits (fround), and a half to the even number (clamped arrays).

const { fround } = Math;

export const picture = (rows, columns) => ({ rows, columns, data: new Uint8ClampedArray(3 * rows * columns) });

// From what a canvas gives: four bytes a pixel, the last of which says nothing here.
export function opaque({ width, height, data }) {
  const made = picture(height, width);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) made.data[3 * i + c] = data[4 * i + c];
  }
  return made;
}

export function transposed({ rows, columns, data }) {
  const made = picture(columns, rows);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      for (let c = 0; c < 3; c++) made.data[3 * (j * rows + i) + c] = data[3 * (i * columns + j) + c];
    }
  }
  return made;
}

// The picture turned to the left by so many quarters.
export function turned(whole, quarters) {
  if (quarters === 0) return whole;
  const { rows, columns, data } = whole,
    made = picture(columns, rows);
  for (let i = 0; i < columns; i++) {
    for (let j = 0; j < rows; j++) {
      for (let c = 0; c < 3; c++) made.data[3 * (i * rows + j) + c] = data[3 * (j * columns + columns - 1 - i) + c];
    }
  }
  return turned(made, quarters - 1);
}

export function part({ columns: width, data }, top, left, rows, columns) {
  const made = picture(rows, columns);
  for (let i = 0; i < rows; i++) {
    const start = 3 * ((top + i) * width + left);
    made.data.set(data.subarray(start, start + 3 * columns), 3 * i * columns);
  }
  return made;
}

// The picture in a smaller size, each pixel the mean of what it covers (INTER_AREA).
export function shrunk(whole, rows, columns) {
  if (whole.rows === rows && whole.columns === columns) return whole;
  const made = picture(rows, columns),
    width = 3 * columns;
  const down = covers(whole.rows, rows),
    across = covers(whole.columns, columns);
  // Means of whole pixels are sums first; of 2 x 2 OpenCV rounds a half up.
  const even = Number.isInteger(whole.rows / rows) && Number.isInteger(whole.columns / columns);
  const area = even ? (whole.rows / rows) * (whole.columns / columns) : 1;
  const up = area === 4 && whole.rows === 2 * rows ? 0.1 : 0;
  const line = new Float32Array(width),
    sums = new Float32Array(width);
  let row = -1; // that the line is of
  for (let i = 0; i < rows; i++) {
    sums.fill(0);
    for (let d = down.first[i]; d < down.first[i + 1]; d++) {
      if (down.at[d] !== row) {
        row = down.at[d];
        addUp(whole, row, across, even, line);
      }
      const share = even ? 1 : down.share[d];
      for (let k = 0; k < width; k++) sums[k] += fround(share * line[k]);
    }
    for (let k = 0; k < width; k++) made.data[width * i + k] = sums[k] / area + up;
  }
  return made;
}

// A row of the picture, shrunk to a line: of each part the sum, or the mean if shares are counted.
function addUp({ columns, data }, row, { first, at, share }, even, line) {
  for (let j = 0; j < line.length / 3; j++) {
    let red = 0,
      green = 0,
      blue = 0;
    for (let a = first[j]; a < first[j + 1]; a++) {
      const from = 3 * (row * columns + at[a]),
        part = even ? 1 : share[a];
      red = fround(red + fround(part * data[from]));
      green = fround(green + fround(part * data[from + 1]));
      blue = fround(blue + fround(part * data[from + 2]));
    }
    line[3 * j] = red;
    line[3 * j + 1] = green;
    line[3 * j + 2] = blue;
  }
}

// The pixels in each of `few` equal parts of a line of `many`, and their shares: of part i those from first[i] on.
function covers(many, few) {
  const size = 1 / (few / many),
    first = [0],
    at = [],
    share = [];
  for (let i = 0; i < few; i++) {
    const start = i * size,
      end = start + size,
      whole = Math.min(size, many - start);
    const last = Math.min(Math.floor(end), many - 1),
      next = Math.min(Math.ceil(start), last);
    const add = (pixel, part) => {
      at.push(pixel);
      share.push(part / whole);
    };
    if (next - start > 1e-3) add(next - 1, next - start);
    for (let pixel = next; pixel < last; pixel++) add(pixel, 1);
    if (end - last > 1e-3) add(last, Math.min(end - last, 1, whole));
    first.push(at.length);
  }
  return { first: Uint32Array.from(first), at: Uint32Array.from(at), share: Float32Array.from(share) };
}

// A part of the picture in any size, sampled between its pixels (INTER_LINEAR); where the picture ends it is black
// or, if asked for, goes on as at its border.  The matrix [a, b, x, c, d, y] leads from the part's pixels to the picture's.
export function warped({ rows, columns, data }, matrix, height, width, into, goesOn = false) {
  const [a, b, x, c, d, y] = Float32Array.from(matrix);
  const inside = (at, size) => Math.min(Math.max(at, 0), size - 1);
  const at = (row, column, channel) => {
    const [i, j] = goesOn ? [inside(row, rows), inside(column, columns)] : [row, column];
    return i >= 0 && i < rows && j >= 0 && j < columns ? data[3 * (i * columns + j) + channel] : 0;
  };
  for (let i = 0; i < height; i++) {
    const across = fround(fround(b * i) + x),
      down = fround(fround(d * i) + y);
    for (let j = 0; j < width; j++) {
      const u = fround(a * j + across),
        v = fround(c * j + down);
      const left = Math.floor(u),
        top = Math.floor(v),
        right = u - left,
        below = v - top;
      for (let channel = 0; channel < 3; channel++) {
        const one = at(top, left, channel),
          two = at(top + 1, left, channel);
        const above = fround(one + right * (at(top, left + 1, channel) - one));
        const under = fround(two + right * (at(top + 1, left + 1, channel) - two));
        into[3 * (i * width + j) + channel] = fround(above + below * fround(under - above));
      }
    }
  }
  return into;
}
