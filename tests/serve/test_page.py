"""The page in a real browser, from a dropped photo to a name, a camera and an undo.

MIEN_SCREENSHOTS names a folder that is then filled with pictures of each view, for docs/serve.md.
MIEN_AXE names the file axe.min.js of the npm package axe-core; without it accessibility is not
checked.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mien.images import encode, read, write
from mien.recognition.model import load, shipped

pytest.importorskip("fastapi", reason="the service needs mien[serve]")
playwright = pytest.importorskip("playwright.sync_api", reason="driving a browser needs playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
ROOT = Path(__file__).parents[2]
AXE = Path(os.environ.get("MIEN_AXE", "node_modules/axe-core/axe.min.js"))
SHOTS = os.environ.get("MIEN_SCREENSHOTS")
SCREENS = ({"width": 390, "height": 844}, {"width": 1280, "height": 860})

needs_runtime = pytest.mark.skipif(
    not (ROOT / "mien/serve/page/ort").is_dir(), reason="there is no ONNX Runtime Web: make page"
)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt install chromium"),
    pytest.mark.skipif(not shipped(), reason="no model ships with this tree"),
]


Start = Callable[..., str]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a service that knows nobody, and says where it answers."""
    command = [sys.executable, "-m", "mien", "serve", "--port", "0", "--json"]
    command += ["--facebank", str(tmp_path / "facebank.db")]
    started: list[subprocess.Popen[str]] = []

    def run(**variables: str) -> str:
        settings = {**os.environ, "MIEN_TOKEN": "", **variables}
        process = subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout
        lines = iter(process.stdout.readline, "")
        document = "".join(takewhile(lambda line: line != "}\n", lines)) + "}"
        return str(json.loads(document)["url"])

    yield run
    for process in started:
        process.terminate()
        process.wait(40)


@pytest.fixture
def address(start: Start) -> str:
    """Where a service answers that knows nobody."""
    return start()


@pytest.fixture(scope="session")
def clip(demo_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the fake camera sees: the astronaut, moving a little."""
    photo = cv2.resize(read(demo_photos / "astronaut.png"), (480, 480))
    frames = []
    for shift in (*range(0, 40, 4), *range(40, 0, -4)):
        frame = np.full((480, 640, 3), 40, np.uint8)
        frame[:, 60 + shift : 540 + shift] = photo
        frames.append(encode(frame, ".jpg"))
    path = tmp_path_factory.mktemp("camera") / "clip.mjpeg"
    path.write_bytes(b"".join(frames))
    return path


@pytest.fixture(scope="module")
def browser(clip: Path) -> Iterator[Any]:
    """Chromium, whose camera is the clip."""
    with playwright.sync_playwright() as engine:
        chromium = engine.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-video-capture={clip}",
            ],
        )
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The page, on a screen of its own; nothing may have been complained of in the console."""
    context = browser.new_context(viewport={"width": 1280, "height": 860}, base_url=address)
    page, complaints = context.new_page(), []
    page.set_default_timeout(20_000)
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    foreign: list[str] = []
    page.on("request", lambda request: foreign.append(request.url))
    page.goto("/")
    yield page
    context.close()
    assert not complaints
    assert not [url for url in foreign if not url.startswith((address, "blob:", "data:"))]


def drop(page: Any, *photos: Path) -> None:
    page.locator("input[type=file]").set_input_files([str(photo) for photo in photos])


def name_first_unknown(page: Any, name: str) -> None:
    page.get_by_role("button", name=re.compile("Unknown face")).first.click()
    page.get_by_role("textbox", name="Name").fill(name)
    page.get_by_role("button", name="Learn").click()
    page.get_by_text(f"Learned as {name}").wait_for()


def test_a_token_is_asked_for(browser: Any, start: Start) -> None:
    address = start(MIEN_TOKEN="secret of the page")
    page = browser.new_page(base_url=address)
    page.goto("/#people")
    page.get_by_role("textbox", name="Token").fill("wrong")
    page.get_by_role("button", name="Go on").click()
    page.get_by_role("textbox", name="Token").fill("secret of the page")
    page.get_by_role("button", name="Go on").click()
    page.get_by_text("Nobody is known yet").wait_for()
    page.close()


def look(page: Any, view: str) -> None:
    """Let axe look at a view in both colours, and see that it fits a phone."""
    if AXE.is_file() and page.evaluate("typeof axe") == "undefined":
        page.evaluate(AXE.read_text("utf-8"))
    for colours in ("light", "dark"):
        # Colours on their way from one to the other would be measured.
        page.emulate_media(color_scheme=colours, reduced_motion="reduce")
        if AXE.is_file():
            found = page.evaluate("async () => (await axe.run()).violations")
            assert not [(one["id"], [n["target"] for n in one["nodes"]]) for one in found], view
        for screen in SCREENS:
            page.set_viewport_size(screen)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view


def test_a_face_is_named_and_found_again_and_taken_back(page: Any, demo_photos: Path) -> None:
    drop(page, demo_photos / "obama.jpg", demo_photos / "obama3.jpg")
    page.get_by_role("button", name=re.compile("Unknown face")).nth(1).wait_for()
    name_first_unknown(page, "Barack Obama")
    known = page.get_by_role("button", name=re.compile("Barack Obama, score"))
    known.nth(1).wait_for()  # in the other photo too
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Taken back").wait_for()
    page.get_by_role("button", name=re.compile("Unknown face")).nth(1).wait_for()
    assert known.count() == 0
    page.goto("/#people")
    page.get_by_text("Nobody is known yet").wait_for()


def test_people_are_renamed_merged_and_forgotten(page: Any, demo_photos: Path) -> None:
    drop(page, demo_photos / "obama.jpg", demo_photos / "biden.jpg")
    page.get_by_role("button", name=re.compile("Unknown face")).nth(1).wait_for()
    for name in ("Joe", "<b>Barack O'Bama"):
        name_first_unknown(page, name)
        page.get_by_role("button", name=re.compile(f"{name}, score")).wait_for()
    page.get_by_role("link", name="People").click()
    page.get_by_role("button", name=re.compile("<b>Barack")).click()
    page.get_by_role("img", name=re.compile("Barack.*added")).wait_for()
    page.get_by_role("textbox", name="Name").fill("Barack")
    page.get_by_role("button", name="Rename").click()
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name=re.compile("<b>Barack")).click()
    page.get_by_role("textbox", name="Name").fill("Joe")
    page.get_by_role("button", name="Rename").click()
    page.get_by_role("button", name="Merge").click()
    page.get_by_text("2 photos").first.wait_for()
    page.get_by_role("button", name=re.compile("Joe")).click()
    page.get_by_role("button", name="Forget this person").click()
    page.get_by_text("Deleted for good: 2 vectors").wait_for()
    page.get_by_role("button", name="Forget Joe").click()
    page.get_by_text("Nobody is known yet").wait_for()


def test_the_camera_names_who_is_in_it(page: Any, demo_photos: Path) -> None:
    drop(page, demo_photos / "astronaut.png")
    page.get_by_role("button", name=re.compile("Unknown face")).wait_for()
    name_first_unknown(page, "Eileen Collins")
    page.get_by_role("link", name="Camera").click()
    page.get_by_role("button", name="Start the camera").click()
    page.get_by_text("In the picture: Eileen Collins.").wait_for()
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("The camera is off.").wait_for()


LOOK = """async ({ width, height, pixels }) => {
    const { open } = await import("/page/device.js");
    const { device } = await import("/page/api.js");
    window.opened ??= await open(await device());
    const data = Uint8ClampedArray.from(atob(pixels), (byte) => byte.charCodeAt(0));
    return await window.opened.look(new ImageData(data, width, height));
}"""


@needs_runtime
@pytest.mark.parametrize("photo", ["astronaut.png", "obama2.jpg", "t1.jpg"])
def test_a_device_finds_and_embeds_as_the_server_does(
    page: Any, demo_photos: Path, photo: str
) -> None:
    image, model = read(demo_photos / photo), load()
    height, width = image.shape[:2]
    rgba = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
    pixels = base64.b64encode(rgba.tobytes()).decode()
    found = page.evaluate(LOOK, {"width": width, "height": height, "pixels": pixels})
    here = model.detect(image)
    assert len(found["faces"]) == len(here) > 0
    for one, other in zip(found["faces"], here, strict=True):
        assert one["confidence"] == pytest.approx(other.confidence, abs=1e-3)
        np.testing.assert_allclose(one["box"], other.box, atol=0.01)
        np.testing.assert_allclose(one["points"], other.points, atol=0.01)
    np.testing.assert_allclose(found["vectors"], model.embed(image, here), atol=1e-3)


@needs_runtime
def test_no_picture_leaves_a_device_that_recognises_itself(page: Any, demo_photos: Path) -> None:
    drop(page, demo_photos / "astronaut.png")
    page.get_by_role("button", name=re.compile("Unknown face")).wait_for()
    name_first_unknown(page, "Eileen Collins")
    page.get_by_role("link", name="Camera").click()
    page.get_by_role("switch", name="Recognise on this device").check()
    sent: list[Any] = []
    page.on("request", lambda request: sent.append(request) if request.method != "GET" else None)
    asked = page.request.get("/metrics").text()
    page.get_by_role("button", name="Start the camera").click()
    page.get_by_text("In the picture: Eileen Collins.").wait_for()
    page.get_by_role("button", name=re.compile("Eileen Collins, score")).click()
    page.get_by_text("the server needs its picture").wait_for()
    assert {request.url.rpartition("/")[2] for request in sent} == {"match"}
    for request in sent:
        body = request.post_data_json
        assert set(body) == {"model_id", "vectors"}
        assert np.array(body["vectors"]).shape[1:] == (128,)
    count = re.compile(r'mien_requests_total{route="/api/v1(/identify|/people/{name}/photos)".*')
    assert count.findall(asked) == count.findall(page.request.get("/metrics").text()) != []
    page.get_by_role("switch").uncheck()
    page.get_by_text("Pictures go to your mien server").wait_for()
    with page.expect_request("**/identify"):
        pass


def test_a_page_without_the_runtime_says_how_to_get_it(page: Any) -> None:
    lacking = {"missing": "it has no ONNX Runtime", "model_id": "m", "faces": 1, "detector": None}
    page.route("**/device", lambda route: route.fulfill(json=lacking))
    page.get_by_role("link", name="Camera").click()
    page.get_by_text("it has no ONNX Runtime").wait_for()
    assert page.get_by_role("switch").count() == 0


def test_a_group_of_strangers_is_named_at_once(page: Any, demo_photos: Path) -> None:
    page.get_by_role("link", name="Strangers").click()
    drop(page, *(demo_photos / f"obama{number}.jpg" for number in ("", "2", "3")))
    page.get_by_text("3 faces in 3 photos").wait_for()
    page.get_by_role("button", name="Name this person").click()
    page.get_by_role("textbox", name="Name").fill("Barack Obama")
    page.get_by_role("button", name="Learn").click()
    page.get_by_text("3 faces learned as Barack Obama").wait_for()
    page.get_by_role("link", name="People").click()
    page.get_by_text("3 photos").wait_for()


def test_it_works_without_a_mouse(page: Any, demo_photos: Path) -> None:
    drop(page, demo_photos / "astronaut.png")
    page.get_by_role("button", name=re.compile("Unknown face")).wait_for()
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('face')"):
            break
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Learn").wait_for()
    page.keyboard.type("Eileen Collins")
    page.keyboard.press("Enter")
    page.get_by_role("button", name=re.compile("Eileen Collins, score")).wait_for()


def test_every_view_in_both_colours_and_on_a_phone(page: Any, demo_photos: Path) -> None:
    photos = ["biden.jpg", "t1.jpg", "astronaut.png"]
    drop(page, *(demo_photos / name for name in photos))
    page.get_by_role("button", name=re.compile("Unknown face")).nth(len(photos) - 1).wait_for()
    page.wait_for_timeout(1500)
    name_first_unknown(page, "Eileen Collins")
    page.get_by_role("button", name=re.compile("Eileen Collins, score")).wait_for()
    name_first_unknown(page, "Ann")
    page.get_by_role("button", name=re.compile("Ann, score")).wait_for()
    look(page, "photos")
    page.get_by_role("button", name=re.compile(", score")).first.click()
    page.get_by_role("button", name="Learn").wait_for()
    look(page, "naming")
    page.keyboard.press("Escape")
    page.get_by_role("link", name="People").click()
    page.locator(".thumb img").first.wait_for()
    look(page, "people")
    page.get_by_role("button", name=re.compile("Eileen")).click()
    page.get_by_role("button", name="Forget this person").wait_for()
    look(page, "person")
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Strangers").click()
    drop(page, *(demo_photos / name for name in ("t1.jpg", "obama.jpg", "obama2.jpg")))
    page.get_by_role("button", name="Name this person").first.wait_for()
    look(page, "strangers")
    page.get_by_role("link", name="Health").click()
    page.get_by_text("What the threshold does").wait_for()
    look(page, "health")
    page.get_by_role("link", name="Camera").click()
    page.get_by_role("button", name="Start the camera").click()
    page.get_by_text("In the picture").wait_for()
    look(page, "camera")


@needs_runtime
@pytest.mark.skipif(not SHOTS, reason="MIEN_SCREENSHOTS names no folder: make screenshots")
def test_pictures_of_each_view_for_the_docs(page: Any, demo_photos: Path, tmp_path: Path) -> None:
    """Of NASA's photograph alone, which is in the public domain."""
    whole = read(demo_photos / "astronaut.png")
    near, far = np.ascontiguousarray(whole[:300, 60:400]), np.ascontiguousarray(whole[:, ::-1])
    photos = []
    for name, image in (("portrait", whole), ("close", near), ("evening", far // 2)):
        photos.append(tmp_path / f"{name}.png")
        write(photos[-1], image)

    def picture(view: str, colours: str = "light") -> None:
        assert SHOTS
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
        page.emulate_media(color_scheme=colours, reduced_motion="reduce")
        page.evaluate("document.getElementById('toast').replaceChildren()")
        page.wait_for_timeout(300)
        page.screenshot(path=f"{SHOTS}/{view}-{colours}.jpg", type="jpeg", quality=80)

    page.get_by_role("link", name="Strangers").click()
    drop(page, *photos)
    page.get_by_role("button", name="Name this person").wait_for()
    picture("strangers")
    page.get_by_role("button", name="Name this person").click()
    page.get_by_role("textbox", name="Name").fill("Eileen Collins")
    page.get_by_role("button", name="Learn").click()
    page.get_by_text("faces learned as Eileen Collins").wait_for()
    page.get_by_role("link", name="People").click()
    page.locator(".thumb img").first.wait_for()
    picture("people")
    page.get_by_role("link", name="Photos").click()
    drop(page, *photos)
    page.get_by_role("button", name=re.compile("Eileen Collins, score")).nth(2).wait_for()
    picture("photos")
    picture("photos", "dark")
    page.get_by_role("link", name="Health").click()
    page.get_by_text("What the threshold does").wait_for()
    picture("health")
    page.get_by_role("link", name="Camera").click()
    page.get_by_role("switch", name="Recognise on this device").check()
    page.get_by_role("button", name="Start the camera").click()
    page.get_by_text("In the picture: Eileen Collins.").wait_for()
    page.evaluate("document.querySelector('video').pause()")
    page.wait_for_timeout(3000)  # for the boxes of what is now seen
    picture("camera")
