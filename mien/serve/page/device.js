// Recognition on this device: the server gives its networks once, and then says who has which vectors.

import * as api from "./api.js";
import { words } from "./words.js";

// What looks at pixels as the server would: `look` finds and embeds faces, `identify` also names them.
export async function open(device) {
  const names = [...device.detector.networks, "embed"];
  const files = await Promise.all(names.map(api.network));
  const worker = new Worker(new URL("device/worker.js", import.meta.url), { type: "module" });
  const broken = new Promise((_, reject) => {
    worker.onerror = () => reject(new Error(words.camera.broken));
  });

  const ask = (what, given, transfer) =>
    Promise.race([
      broken,
      new Promise((resolve, reject) => {
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = ({ data: { answer, error } }) => (error ? reject(new Error(error)) : resolve(answer));
        worker.postMessage({ what, given }, [port2, ...transfer]);
      }),
    ]);

  const networks = Object.fromEntries(names.map((name, i) => [name, files[i]]));
  await ask("open", { ...device, networks }, files);
  const look = (pixels) => ask("look", pixels, [pixels.data.buffer]);

  async function identify(pixels) {
    const { width, height } = pixels;
    const { found, faces, vectors } = await look(pixels);
    const { matches } = await api.match(vectors);
    const named = faces.map((face, i) => ({ ...face, ...matches[i], vector: vectors[i] }));
    return { width, height, found, faces: named };
  }

  return { look, identify };
}
