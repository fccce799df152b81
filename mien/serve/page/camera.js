// The live camera: one frame at a time is looked at, by the server or by this device, then the newest.

import * as api from "./api.js";
import * as device from "./device.js";
import { h, toast, tried } from "./dom.js";
import { faceButtons, nameFace } from "./faces.js";

const WIDTH = 640; // of a frame that is looked at
const BY_SERVER = "Pictures go to your mien server, one at a time, and are not kept. Choose a face to name it.";
const BY_DEVICE =
  "No picture leaves this device. Your mien server gets a row of numbers for each face, and says whose it is.";

// The choice stays while the tab is open.
let here = false; // whether this device looks
let opened = null; // a promise of what then does

export function show(main) {
  const video = h("video", { playsInline: true, muted: true, hidden: true });
  video.setAttribute("aria-label", "The camera's picture");
  const boxes = h("div", {});
  const picture = h("div", { className: "picture", hidden: true }, video, boxes);
  const status = h("p", { className: "soft", role: "status" }, "The camera is off.");
  const button = h("button", { className: "main" }, "Start the camera");
  const canvas = h("canvas"),
    context = canvas.getContext("2d", { willReadFrequently: true });
  const toggle = h("input", { type: "checkbox", role: "switch", checked: here });
  const choice = h("div");
  const lead = h("p", { className: "lead" }, here ? BY_DEVICE : BY_SERVER);
  let stream = null,
    starting = false,
    naming = false,
    said = "";

  const stop = () => {
    for (const track of stream?.getTracks() ?? []) track.stop();
    stream = null;
    picture.hidden = video.hidden = true;
    boxes.replaceChildren();
    button.textContent = "Start the camera";
    status.textContent = "The camera is off.";
  };

  const start = async () => {
    if (!navigator.mediaDevices) {
      status.textContent = "A browser shows the camera only to pages of this machine or over HTTPS.";
      return;
    }
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 }, facingMode: "user" } });
    } catch (error) {
      status.textContent =
        error.name === "NotAllowedError"
          ? "The camera was not allowed: allow it in the browser's settings of this page."
          : "No camera was found: plug one in, or close what uses it.";
      return;
    }
    video.srcObject = stream;
    await video.play();
    picture.hidden = video.hidden = false;
    button.textContent = "Stop";
    status.textContent = "Looking…";
    loop(stream);
  };

  async function choose(settings) {
    here = toggle.checked;
    lead.textContent = here ? BY_DEVICE : BY_SERVER;
    boxes.replaceChildren();
    said = "";
    if (!here) return;
    status.textContent = "Getting the networks…";
    try {
      opened ??= device.open(settings);
      await opened;
      status.textContent = stream ? "Looking…" : "The camera is off.";
    } catch (error) {
      opened = null;
      stop(); // before pictures go to the server again
      toggle.checked = false;
      choose();
      toast(error.message);
    }
  }

  async function loop(running) {
    let failures = 0;
    while (stream === running && video.isConnected) {
      const begun = performance.now();
      if (naming || document.hidden) {
        await pause(200);
        continue;
      }
      try {
        const found = here ? await (await opened).identify(pixels()) : await send();
        if (stream !== running) break;
        if (here !== !found.photo) continue; // of before the choice
        if (!boxes.contains(document.activeElement)) draw(found);
        failures = 0;
        say(found, performance.now() - begun);
      } catch (error) {
        failures += 1;
        if (failures > 5) {
          toast(error.message);
          stop();
          return;
        }
        await pause(1000);
      }
      await pause(Math.max(0, 80 - (performance.now() - begun)));
    }
    if (stream === running) stop();
  }

  function pixels() {
    canvas.width = Math.min(WIDTH, video.videoWidth);
    canvas.height = Math.round((canvas.width * video.videoHeight) / video.videoWidth);
    context.drawImage(video, 0, 0, canvas.width, canvas.height);
    return context.getImageData(0, 0, canvas.width, canvas.height);
  }

  async function send() {
    pixels();
    const photo = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.85));
    return here ? { photo } : { photo, ...(await api.identify(photo)) };
  }

  function draw({ photo, ...found }) {
    boxes.replaceChildren(
      ...faceButtons(found, async (face) => {
        if (!photo) {
          toast("To learn a face the server needs its picture: switch recognition on this device off first");
          return;
        }
        naming = true;
        await nameFace(photo, face, () => {});
        naming = false;
        document.activeElement?.blur();
      }),
    );
  }

  // A screen reader hears who comes and goes, not every frame.
  function say({ faces }, milliseconds) {
    const who =
      faces
        .map((face) => face.person ?? "somebody unknown")
        .sort()
        .join(", ") || "nobody";
    if (who !== said) status.textContent = `In the picture: ${who}.`;
    said = who;
    speed.textContent = `${(1000 / Math.max(milliseconds, 80)).toFixed(1)} frames per second`;
  }

  const speed = h("span", { className: "soft" });
  button.addEventListener("click", async () => {
    if (stream) return stop();
    if (starting) return; // a camera that was opened twice would be closed once
    starting = true;
    await start().finally(() => {
      starting = false;
    });
  });
  main.replaceChildren(
    h("h1", {}, "Live camera"),
    lead,
    h("div", { className: "row" }, button, speed),
    choice,
    status,
    h("div", { className: "card" }, picture),
  );
  tried(api.device).then((settings) => {
    if (!settings) return;
    toggle.addEventListener("change", () => choose(settings));
    choice.replaceChildren(
      settings.missing
        ? h("p", { className: "soft" }, `Nothing can be recognised on this device: ${settings.missing}.`)
        : h("label", { className: "switch" }, toggle, "Recognise on this device"),
    );
  });
  return stop;
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
