// A worker that makes a large photo as small as it needs to be: quick to send, and quick to show.

const SENT = 2048, // pixels of the longer side that is looked at
  SHOWN = 800; // and of what is shown among many

async function scaled(bitmap, side, quality) {
  const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  const canvas = new OffscreenCanvas(Math.round(bitmap.width * scale), Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: "image/jpeg", quality });
}

self.onmessage = async ({ data: file, ports: [port] }) => {
  try {
    const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
    const photo = await scaled(bitmap, SENT, 0.9);
    const small = await scaled(bitmap, SHOWN, 0.8);
    bitmap.close();
    port.postMessage({ photo, small });
  } catch {
    port.postMessage({}); // the browser does not know this kind; the server may
  }
};
