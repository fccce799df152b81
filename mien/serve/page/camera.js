// The live camera: one picture at a time is looked at, by the server or by this device, then the newest.

import * as api from "./api.js";
import * as device from "./device.js";
import { button, h, tried } from "./dom.js";
import { askAbout } from "./naming.js";
import { cutFrom } from "./session.js";
import { box, strip } from "./stage.js";
import { words } from "./words.js";

const text = words.camera;
const WIDTH = 640, // of a picture that is looked at
  OLD = 1200; // milliseconds after which boxes fade

// The choices stay while the tab is open.
let here = false, // whether this device looks
  chosen = null, // the id of a camera
  opened = null; // a promise of what then looks

export function show(main) {
  const video = h("video", { playsInline: true, muted: true, "aria-label": text.label });
  const boxes = h("div", { className: "boxes", "aria-hidden": "true" });
  const start = button(text.start, () => begin(), "main");
  const cover = h("div", { className: "cover" }, start);
  const picture = h("div", { className: "live" }, video, boxes, cover);
  const status = h("p", { role: "status" }, text.off);
  const speed = h("span", { className: "soft" });
  const stop = button(text.stop, () => end());
  const cameras = h("select", { "aria-label": text.choice, hidden: true });
  const toggle = h("input", { type: "checkbox", role: "switch", checked: here });
  const place = h("div"); // of the switch
  const lead = h("p", { className: "soft" });
  const wrong = h("div");
  const canvas = h("canvas"),
    context = canvas.getContext("2d", { willReadFrequently: true });
  const { list, write } = strip(about);
  let stream = null,
    asking = false,
    said = "",
    fading,
    faces = [];

  const explain = () => {
    lead.textContent = here ? text.byDevice : text.byServer;
  };

  const end = (why = text.off) => {
    for (const track of stream?.getTracks() ?? []) track.stop();
    stream = null;
    video.srcObject = null;
    cover.hidden = false;
    stop.hidden = true;
    speed.textContent = said = "";
    clear();
    status.textContent = why;
  };
  const clear = () => {
    boxes.replaceChildren();
    faces = [];
    write(faces);
  };

  const begin = async () => {
    start.disabled = true;
    await open().finally(() => {
      start.disabled = false;
    });
  };

  const open = async () => {
    if (!navigator.mediaDevices) return end(text.insecure);
    const wanted = chosen ? { deviceId: { ideal: chosen } } : { facingMode: "user" };
    try {
      const had = stream;
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 }, ...wanted } });
      for (const track of had?.getTracks() ?? []) track.stop();
    } catch (error) {
      return end(error.name === "NotAllowedError" ? text.refused : text.missing);
    }
    const [track] = stream.getVideoTracks();
    // Who looks at themselves expects a mirror; what is behind the device is as it is.
    picture.classList.toggle("mirrored", track.getSettings().facingMode !== "environment");
    video.srcObject = stream;
    await video.play();
    cover.hidden = true;
    stop.hidden = false;
    status.textContent = text.looking;
    loop(stream);
    const all = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === "videoinput");
    const now = track.getSettings().deviceId;
    cameras.replaceChildren(
      ...all.map(({ deviceId, label }, i) =>
        h("option", { value: deviceId, selected: deviceId === now }, label || text.numbered(i + 1)),
      ),
    );
    cameras.hidden = all.length < 2;
    return undefined;
  };
  cameras.addEventListener("change", () => {
    chosen = cameras.value;
    begin();
  });

  async function choose(settings) {
    here = toggle.checked;
    explain();
    clear();
    said = "";
    if (!here) return;
    status.textContent = text.loading;
    opened ??= device.open(settings);
    if (await tried(wrong, () => opened)) {
      status.textContent = stream ? text.looking : text.off;
      return;
    }
    opened = null;
    end(); // before pictures go to the server again
    toggle.checked = false;
    await choose();
  }

  async function loop(running) {
    let failures = 0;
    while (stream === running && video.isConnected) {
      const begun = performance.now();
      if (asking || document.hidden) {
        await pause(200);
        continue;
      }
      try {
        const by = here; // the choice may change meanwhile
        const seen = pixels(),
          frame = h("canvas", { width: canvas.width, height: canvas.height });
        frame.getContext("2d").drawImage(canvas, 0, 0);
        const found = by ? await (await opened).identify(seen) : await api.identify(await jpeg());
        if (stream !== running) break;
        if (by !== here || asking) continue;
        draw(found, frame);
        failures = 0;
        say(found, performance.now() - begun);
        wrong.replaceChildren();
      } catch (error) {
        failures += 1;
        if (failures > 5) {
          end();
          await tried(wrong, () => Promise.reject(error));
          return;
        }
        await pause(1000);
      }
      await pause(Math.max(0, 80 - (performance.now() - begun)));
    }
    if (stream === running) end();
  }

  function pixels() {
    canvas.width = Math.min(WIDTH, video.videoWidth);
    canvas.height = Math.round((canvas.width * video.videoHeight) / video.videoWidth);
    context.drawImage(video, 0, 0, canvas.width, canvas.height);
    return context.getImageData(0, 0, canvas.width, canvas.height);
  }
  const jpeg = () => new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.85));

  function draw(found, frame) {
    const mirrored = picture.classList.contains("mirrored");
    const now = found.faces.toSorted((one, other) =>
      mirrored ? other.box[0] - one.box[0] : one.box[0] - other.box[0],
    );
    // A face is the one that was there before, so that its button stays under the finger.
    faces = now.map((face) => {
      const was = faces.find((one) => near(one.box, face.box));
      return Object.assign(was ?? { photo: null, mark: null, kept: null, thumb: "" }, face);
    });
    for (const face of faces) {
      const crop = cutFrom(frame, face.box, found.width);
      face.thumb = `data:image/jpeg;base64,${crop}`;
      face.picture = async () => (here ? "" : crop); // on this device no picture leaves it
    }
    boxes.replaceChildren(...faces.map((face) => box(face, found, about, mirrored)));
    boxes.classList.remove("old");
    clearTimeout(fading);
    fading = setTimeout(() => boxes.classList.add("old"), OLD);
    if (!list.contains(document.activeElement) || faces.length) write(faces);
  }

  async function about(face) {
    asking = true;
    const own = { ...face };
    await askAbout(own);
    asking = false;
  }

  // A screen reader hears who comes and goes, not every picture.
  function say(found, milliseconds) {
    const names = found.faces.map((face) => face.person ?? text.unknown).sort();
    const who = names.join(", ");
    if (who !== said || status.textContent === text.looking) status.textContent = text.seen(who);
    said = who;
    speed.textContent = text.speed(1000 / Math.max(milliseconds, 80));
  }

  explain();
  stop.hidden = true;
  main.replaceChildren(
    h("h1", { className: "quiet" }, text.title),
    picture,
    h("div", { className: "row under" }, status, speed, cameras, stop),
    list,
    wrong,
    place,
    lead,
  );
  tried(wrong, api.device).then((settings) => {
    if (!settings) return;
    toggle.addEventListener("change", () => choose(settings));
    place.replaceChildren(
      settings.missing
        ? h("p", { className: "soft" }, text.notHere)
        : h("label", { className: "switch" }, toggle, text.here),
    );
  });
  return () => end();
}

const near = (one, other) => {
  const middle = (box) => [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
  const [[x1, y1], [x2, y2]] = [middle(one), middle(other)];
  return Math.hypot(x1 - x2, y1 - y2) < 0.7 * (other[2] - other[0]);
};

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
