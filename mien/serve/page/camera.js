// The live camera: one frame at a time goes to the server, and the newest follows its answer.

import * as api from "./api.js";
import { h, toast } from "./dom.js";
import { faceButtons, nameFace } from "./faces.js";

const WIDTH = 640; // of a frame that is sent

export function show(main) {
  const video = h("video", { playsInline: true, muted: true, hidden: true });
  video.setAttribute("aria-label", "The camera's picture");
  const boxes = h("div", {});
  const picture = h("div", { className: "picture", hidden: true }, video, boxes);
  const status = h("p", { className: "soft", role: "status" }, "The camera is off.");
  const button = h("button", { className: "main" }, "Start the camera");
  const canvas = h("canvas");
  let stream = null, naming = false, said = "";

  const stop = () => {
    stream?.getTracks().forEach((track) => track.stop());
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
      status.textContent = error.name === "NotAllowedError"
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

  async function loop(own) {
    let failures = 0;
    while (stream === own && video.isConnected) {
      const begun = performance.now();
      if (naming || document.hidden) {
        await pause(200);
        continue;
      }
      try {
        const photo = await frame();
        const found = await api.identify(photo);
        if (stream !== own) break;
        if (!boxes.contains(document.activeElement)) draw(photo, found);
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
    if (stream === own) stop();
  }

  function frame() {
    canvas.width = Math.min(WIDTH, video.videoWidth);
    canvas.height = Math.round((canvas.width * video.videoHeight) / video.videoWidth);
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.85));
  }

  function draw(photo, found) {
    boxes.replaceChildren(...faceButtons(found, async (face) => {
      naming = true;
      await nameFace(photo, face, () => {});
      naming = false;
      document.activeElement?.blur();
    }));
  }

  // A screen reader hears who comes and goes, not every frame.
  function say({ faces }, milliseconds) {
    const who = faces.map((face) => face.person ?? "somebody unknown").sort().join(", ") || "nobody";
    if (who !== said) status.textContent = `In the picture: ${who}.`;
    said = who;
    speed.textContent = `${(1000 / Math.max(milliseconds, 80)).toFixed(1)} pictures a second`;
  }

  const speed = h("span", { className: "soft" });
  button.addEventListener("click", () => (stream ? stop() : start()));
  main.replaceChildren(
    h("h1", {}, "Live camera"),
    h("p", { className: "lead" }, "Pictures go to your mien server, one at a time, and are not kept. Choose a face to name it."),
    h("div", { className: "row" }, button, speed), status,
    h("div", { className: "card" }, picture));
  return stop;
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
