// Recognition in a thread of its own, so that the page stays at hand: pixels in, faces and vectors out.

import { env, InferenceSession, Tensor } from "../ort/ort.wasm.bundle.min.mjs";

import { crop, SIZE } from "./align.js";
import * as mien from "./mien.js";
import * as mtcnn from "./mtcnn.js";
import { opaque } from "./pixels.js";

env.wasm.numThreads = 1; // more need a page that is isolated from all others
const detectors = { mien, mtcnn };
const sessions = {};
let settings;

async function run(name, pixels, shape) {
  const network = sessions[name];
  const tensor = new Tensor("uint8", pixels, shape);
  const found = await network.run({ [network.inputNames[0]]: tensor });
  return network.outputNames.map((output) => found[output]);
}

async function open({ networks, ...given }) {
  settings = given;
  for (const [name, file] of Object.entries(networks)) {
    sessions[name] = await InferenceSession.create(new Uint8Array(file), { executionProviders: ["wasm"] });
  }
}

async function look(pixels) {
  const image = opaque(pixels);
  const found = await detectors[settings.detector.name].detect(image, settings.detector, run);
  const size = ({ box: [left, top, right, bottom] }) => Math.max(right - left, bottom - top);
  const largest = [...found].sort((one, other) => size(other) - size(one)).slice(0, settings.faces);
  const faces = found.filter((face) => largest.includes(face));
  return { found: found.length, faces, vectors: await embed(image, faces) };
}

async function embed(image, faces) {
  const vectors = [];
  for (const { points } of faces) {
    const pixels = new Uint8ClampedArray(SIZE * SIZE * 3);
    crop(image, points, pixels);
    const [{ data }] = await run("embed", new Uint8Array(pixels.buffer), [1, SIZE, SIZE, 3]);
    vectors.push([...data]);
  }
  return vectors;
}

const does = { open, look };
self.onmessage = async ({ data: { what, given }, ports: [port] }) => {
  try {
    port.postMessage({ answer: await does[what](given) });
  } catch (error) {
    port.postMessage({ error: error.message });
  }
};
