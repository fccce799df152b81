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
import time
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
import pytest

from mien.images import encode, read, write
from mien.recognition.model import load, shipped

pytest.importorskip("fastapi", reason="the service needs mien[serve]")
httpx = pytest.importorskip("httpx", reason="asking the service needs httpx")
playwright = pytest.importorskip("playwright.sync_api", reason="driving a browser needs playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
ROOT = Path(__file__).parents[2]
AXE = Path(os.environ.get("MIEN_AXE", "node_modules/axe-core/axe.min.js"))
SHOTS = os.environ.get("MIEN_SCREENSHOTS")
SCREENS = ({"width": 360, "height": 740}, {"width": 1280, "height": 860})

needs_runtime = pytest.mark.skipif(
    not (ROOT / "mien/serve/page/ort").is_dir(), reason="there is no ONNX Runtime Web: make page"
)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt install chromium"),
    pytest.mark.skipif(not shipped(), reason="no model ships with this tree"),
]


Start = Callable[..., str]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts a service that knows nobody, and says where it answers."""
    started: list[subprocess.Popen[str]] = []

    def run(**variables: str) -> str:
        facebank = tmp_path_factory.mktemp("service") / "facebank.db"
        command = [sys.executable, "-m", "mien", "serve", "--port", "0", "--json"]
        settings = {**os.environ, "MIEN_TOKEN": "", **variables}
        process = subprocess.Popen(
            [*command, "--facebank", str(facebank)], env=settings, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout
        lines = iter(process.stdout.readline, "")
        document = "".join(takewhile(lambda line: line != "}\n", lines)) + "}"
        return str(json.loads(document)["url"])

    yield run
    for process in started:
        process.terminate()
        process.wait(40)


@pytest.fixture(scope="module")
def service(start: Start) -> str:
    """Where a service answers: one for all, as each takes seconds to start."""
    return start()


@pytest.fixture
def address(service: str) -> str:
    """The same, when it knows nobody."""
    with httpx.Client(base_url=f"{service}/api/v1", trust_env=False) as client:
        for one in client.get("/people", params={"limit": 1000}).json()["people"]:
            client.delete(f"/people/{quote(one['person'], safe='')}").raise_for_status()
    return service


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
    page.set_default_timeout(45_000)
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
    """Choose photos, and wait until all were looked at."""
    page.locator("input[type=file]").first.set_input_files([str(photo) for photo in photos])
    page.locator(".running").wait_for(state="hidden", timeout=120_000)


def say(page: Any, name: str) -> None:
    """Answer who somebody is."""
    page.get_by_role("combobox", name="Name").fill(name)
    page.keyboard.press("Enter")


def name_only_face(page: Any, name: str) -> None:
    """Name the first unknown face of the only photo."""
    page.get_by_role("button", name="Name? Face").first.click()
    say(page, name)
    page.get_by_text(f"Named {name}").wait_for()


def name_all(page: Any, *names: str) -> None:
    """Answer the questions of the review in their order."""
    page.get_by_role("link", name="Review").click()
    for name in names:
        page.locator(".ask").wait_for()
        say(page, name)
        page.get_by_text(f"amed {name}").wait_for()


def undo(page: Any) -> None:
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Undone").wait_for()


def sends(page: Any, *faces: list[dict[str, Any]]) -> None:
    """Have the service find these faces in the photos that come; all else it does itself."""
    answers = iter(faces)

    def answer(route: Any) -> None:
        found = next(answers)
        size = {"width": 400, "height": 300, "threshold": 0.4, "fpir": 0.01}
        route.fulfill(json={**size, "found": len(found), "faces": found})

    page.route("**/identify", answer)


def made_up(seed: int, left: float = 100, top: float = 100, side: float = 60) -> dict[str, Any]:
    """A face of the person of a seed: all of one person are alike, and of two are not."""
    random = np.random.default_rng(seed)
    vector = random.normal(size=128)
    vector += np.random.default_rng(int(left + 7 * top)).normal(size=128) * 0.1
    pixels = np.full((96, 96, 3), 40 + seed * 37 % 180, np.uint8)
    return {
        "person": None,
        "score": 0.0,
        "confidence": 0.99,
        "box": [left, top, left + side, top + side],
        "points": [[left, top]] * 5,
        "turned": 0,
        "vector": (vector / np.linalg.norm(vector)).tolist(),
        "thumb": "data:image/jpeg;base64," + base64.b64encode(encode(pixels, ".jpg")).decode(),
        "poor": False,
    }


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A hundred small pictures, for faces that are made up."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / f"{n:03}.png" for n in range(100)]
    for n, path in enumerate(paths):
        write(path, np.full((300, 400, 3), n, np.uint8))
    return paths


def test_the_key_is_asked_for(browser: Any, start: Start) -> None:
    address = start(MIEN_TOKEN="secret of the page")
    page = browser.new_page(base_url=address)
    page.goto("/#people")
    page.get_by_label("Access key").fill("wrong")
    page.get_by_role("button", name="Unlock").click()
    page.get_by_text("not the key of this server").wait_for()
    page.get_by_label("Access key").fill("secret of the page")
    page.get_by_role("button", name="Unlock").click()
    page.get_by_text("Nobody is known yet").wait_for()
    page.close()


def look(page: Any, view: str) -> None:
    """Let axe look at a view in both colours, and see that it fits a phone."""
    if AXE.is_file() and page.evaluate("typeof axe") == "undefined":
        page.evaluate(AXE.read_text("utf-8"))
    for colours in ("light", "dark"):
        # Colours on their way from one to the other would be measured.
        page.emulate_media(color_scheme=colours, reduced_motion="reduce")
        for screen in SCREENS:
            page.set_viewport_size(screen)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
            if AXE.is_file():
                rules = {"rules": {"target-size": {"enabled": True}}}
                found = page.evaluate("async (how) => (await axe.run(how)).violations", rules)
                assert not [(one["id"], [n["target"] for n in one["nodes"]]) for one in found], view


def test_a_face_is_named_and_found_again_and_taken_back(page: Any, demo_photos: Path) -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url.rpartition("/")[2]))
    drop(page, demo_photos / "obama.jpg", demo_photos / "obama3.jpg")
    page.get_by_role("button", name="obama.jpg: 1 unnamed. Open").click()
    name_only_face(page, "Barack Obama")
    page.keyboard.press("Escape")
    known = page.get_by_role("button", name="Barack Obama. Open")
    known.nth(1).wait_for()  # in the other photo too
    undo(page)
    page.get_by_role("button", name="1 unnamed. Open").nth(1).wait_for()
    assert known.count() == 0
    assert sent.count("identify") == 2  # each was looked at once
    page.get_by_role("link", name="People").click()
    page.get_by_text("Nobody is known yet").wait_for()


def test_a_wrong_name_is_put_right(page: Any, demo_photos: Path) -> None:
    drop(page, demo_photos / "obama.jpg")
    name_only_face(page, "Joe")
    face = page.get_by_role("button", name="Joe Change")
    face.click()
    page.get_by_role("heading", name="Is this Joe?").wait_for()
    page.get_by_role("button", name="Somebody else").click()
    say(page, "Barack Obama")
    page.get_by_role("button", name="Barack Obama Change").wait_for()
    undo(page)
    face.click()
    page.get_by_role("button", name="Nobody").click()
    page.get_by_role("button", name="Nobody Change").wait_for()
    undo(page)
    face.click()
    page.get_by_role("button", name="Not a face").click()
    page.get_by_text("No face", exact=True).wait_for()
    page.keyboard.press("Control+z")
    face.click()
    page.get_by_role("button", name="Yes").click()
    page.get_by_text("Joe has this face already").wait_for()
    assert page.evaluate("document.activeElement.innerText").startswith("Joe")
    page.get_by_role("link", name="People").click()
    page.get_by_text("1 person, known from 1 face.").wait_for()


def test_names_are_offered_with_faces(page: Any, pictures: list[Path]) -> None:
    sends(page, *([made_up(n)] for n in (1, 2, 3, 1)))
    drop(page, *pictures[:3])
    name_all(page, "Zo\u00eb Able", "Barack Obama", "Anna")
    drop(page, pictures[3])  # known already: by the service, were it asked
    page.get_by_role("heading", name="Is this Zo").wait_for()
    offers = page.get_by_role("option")
    assert "Looks like them" in offers.first.inner_text()
    field = page.get_by_role("combobox", name="Name")
    for typed, offered in (
        ("ob", ["Barack Obama", "New: ob"]),
        ("an", ["Anna", "New: an"]),
        ("barack obama", ["Barack Obama", "New: barack obama"]),
        ("zoe able", ["Zo\u00eb Able", "New: zoe able"]),
        ("Anna", ["Anna"]),
    ):
        field.fill(typed)
        assert page.locator(".offers .name").all_inner_texts() == offered
    field.fill("BARACK obama")
    page.get_by_text("Barack Obama is known already").wait_for()
    field.fill("")
    page.keyboard.press("Enter")  # the best guess
    page.get_by_text("Named Zo").wait_for()


def test_questions_are_split_and_joined_and_skipped(page: Any, pictures: list[Path]) -> None:
    sends(
        page, *([made_up(n, left)] for n, left in ((1, 1), (1, 2), (1, 3), (2, 4), (2, 5), (3, 6)))
    )
    drop(page, *pictures[:6])
    page.get_by_role("link", name="Review").click()
    page.get_by_text("3 faces in 3 photos").wait_for()
    page.get_by_role("button", name="Face 2: click to take it out").click()
    page.get_by_role("button", name="Make a group of 1").click()
    page.get_by_text("4 questions left, 6 faces").wait_for()
    undo(page)
    page.get_by_text("3 questions left, 6 faces").wait_for()
    page.get_by_role("button", name="Same as another group").click()
    page.get_by_role("button", name="Join with the group of 2 faces").click()
    page.get_by_text("5 faces in 5 photos").wait_for()
    undo(page)
    page.get_by_text("3 faces in 3 photos").wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("2 faces in 2 photos").wait_for()
    page.get_by_role("button", name="Face 1: click to take it out").click()
    say(page, "Ann")
    page.get_by_text("Named Ann").wait_for()
    page.get_by_text("5 faces").wait_for()  # what was taken out is asked about alone
    page.get_by_role("button", name="See the photos").click()
    page.get_by_role("dialog", name="Photo").wait_for()


def test_the_keyboard_alone_names_a_hundred_faces(page: Any, pictures: list[Path]) -> None:
    people = 40
    sends(page, *([made_up(n % people, n)] for n in range(100)))
    drop(page, *pictures)
    begun = time.monotonic()
    page.locator("body").press("Tab")
    for _ in range(10):
        if page.evaluate("document.activeElement.hash") == "#review":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    for n in range(people):
        page.locator(".ask input:focus").wait_for()
        page.keyboard.type(f"Person {n}")
        page.keyboard.press("Enter")
        page.get_by_text(re.compile(f"amed Person {n}$")).wait_for()
    page.get_by_text("Everybody has a name").wait_for()
    assert time.monotonic() - begun < 300
    page.get_by_role("link", name="See your people").press("Enter")
    page.get_by_text(f"{people} people, known from 100 faces.").wait_for()


def test_sixty_faces_on_a_phone(page: Any, pictures: list[Path]) -> None:
    page.set_viewport_size(SCREENS[0])
    places = [(n, 20 + 38 * (n % 10), 10 + 46 * (n // 10)) for n in range(60)]
    shuffled = np.random.default_rng(0).permutation(60)
    sends(page, [made_up(*places[int(n)], 30) for n in shuffled])
    drop(page, pictures[0])
    buttons = page.locator(".strip button")
    assert buttons.count() == 60
    thumbs = [made_up(*place, 30)["thumb"] for place in places]
    assert page.locator(".strip img").evaluate_all("all => all.map(one => one.src)") == thumbs
    sizes = buttons.evaluate_all("all => all.map(one => one.getBoundingClientRect().toJSON())")
    assert min(min(one["width"], one["height"]) for one in sizes) >= 44
    look(page, "sixty")


def test_looking_can_be_stopped_and_goes_on(page: Any, pictures: list[Path]) -> None:
    held: list[Any] = []
    page.route("**/identify", lambda route: held.append(route))
    page.locator("input[type=file]").first.set_input_files(pictures)
    page.get_by_text("0 of 100").wait_for()
    assert page.locator(".tile.waiting").count() == 100  # there at once
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Stopped. 100 photos were not looked at.").wait_for()
    page.unroute("**/identify")
    page.get_by_role("button", name="Try again").first.click()
    page.get_by_text("No face", exact=True).wait_for()


GIVE = """async ([kind, data]) => {
    const bytes = Uint8Array.from(atob(data), (byte) => byte.charCodeAt(0));
    const given = new DataTransfer();
    given.items.add(new File([bytes], "given.png", { type: "image/png" }));
    const how = { bubbles: true, cancelable: true, dataTransfer: given, clipboardData: given };
    const made = kind === "paste" ? new ClipboardEvent(kind, how) : new DragEvent(kind, how);
    document.querySelector("h1").dispatchEvent(made);
}"""


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_photos_come_from_anywhere(page: Any, pictures: list[Path], kind: str) -> None:
    page.get_by_role("link", name="Health").click()
    page.get_by_role("heading", name="Nobody is known yet").wait_for()
    page.evaluate(GIVE, [kind, base64.b64encode(pictures[0].read_bytes()).decode()])
    page.get_by_text("1 photo, 0 faces").wait_for()


def test_a_photo_is_zoomed_and_turned_to_the_next(page: Any, demo_photos: Path) -> None:
    drop(page, demo_photos / "obama.jpg", demo_photos / "t1.jpg")
    page.get_by_role("button", name="obama.jpg").click()
    page.get_by_text("1 of 2 \u00b7").wait_for()
    page.keyboard.press("ArrowRight")
    page.get_by_text("2 of 2 \u00b7").wait_for()
    sheet = page.locator(".floor .sheet")
    page.get_by_role("button", name="Zoom in").click()
    assert "scale(1.5)" in sheet.get_attribute("style")
    page.keyboard.press("-")
    assert "scale" not in sheet.evaluate("one => one.style.transform")
    look(page, "viewer")
    page.keyboard.press("Escape")
    assert "obama.jpg" in page.evaluate("document.activeElement.ariaLabel")


def test_people_are_renamed_merged_and_forgotten(page: Any, demo_photos: Path) -> None:
    drop(page, demo_photos / "obama.jpg", demo_photos / "biden.jpg")
    name_all(page, "Joe", "<b>Barack O'Bama")
    page.get_by_role("link", name="People", exact=True).click()
    page.get_by_label("Search people").fill("obama")
    page.get_by_role("link", name="<b>Barack").click()
    page.get_by_role("img", name=re.compile("Barack.*added")).wait_for()
    page.get_by_role("button", name="Rename").click()
    page.get_by_role("textbox", name="Name").fill("Barack")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("heading", name="Barack", exact=True).wait_for()
    undo(page)
    page.get_by_role("heading", name="<b>Barack O'Bama").wait_for()
    page.get_by_role("link", name="People", exact=True).click()
    page.get_by_role("button", name="Select").click()
    for name in ("Joe", "<b>Barack"):
        page.get_by_role("button", name=name).click()
    page.get_by_role("button", name="Merge").click()
    page.get_by_role("dialog").get_by_role("button", name="Joe").click()
    page.get_by_text("1 person, known from 2 faces.").wait_for()
    undo(page)
    page.get_by_text("2 people, known from 2 faces.").wait_for()
    page.get_by_role("link", name="Joe").click()
    page.get_by_role("button", name="Hide").click()
    page.get_by_role("link", name="\u2039 People").click()
    page.get_by_role("button", name="Show 1 hidden").click()
    page.get_by_role("link", name="Joe").click()
    page.get_by_role("button", name="Forget").click()
    page.get_by_role("dialog").get_by_role("button", name="Forget").click()
    page.get_by_text("1 person, known from 1 face.").wait_for()


def test_a_face_goes_to_somebody_else(page: Any, pictures: list[Path]) -> None:
    sends(page, *([made_up(n, n)] for n in (1, 2, 1)))
    drop(page, *pictures[:2])
    name_all(page, "Ann", "Bert")
    page.goto("/#people/Ann")
    page.get_by_role("button", name="Face 1: options").click()
    page.get_by_role("button", name="Somebody else").click()
    say(page, "Bert")
    page.get_by_text("2 faces, since").wait_for()
    page.get_by_role("heading", name="Bert").wait_for()
    undo(page)
    page.get_by_role("heading", name="Ann").wait_for()
    page.locator("input[type=file]").first.set_input_files(pictures[2])
    page.get_by_role("button", name="Add 1 face to Ann").click()
    page.get_by_text("2 faces, since").wait_for()


def test_what_health_asks_for_can_be_done(page: Any, address: str) -> None:
    with httpx.Client(base_url=f"{address}/api/v1", trust_env=False) as client:
        made_by = client.get("/device").json()["model_id"]
        for name, seed in (("Ann", 1), ("Anna", 1), ("Bert", 2)):
            vector = made_up(seed, len(name))["vector"]
            face = {"vector": vector, "confidence": 1, "size": 99}
            given = {"model_id": made_by, "faces": [face]}
            client.post(f"/people/{name}/faces", json=given).raise_for_status()
    page.get_by_role("link", name="Health").click()
    page.get_by_text("4 things to look at").wait_for()
    page.get_by_role("button", name="One person").click()
    page.get_by_role("dialog").get_by_role("button", name="Anna").click()
    page.get_by_text("2 people are now Anna").wait_for()
    undo(page)
    page.get_by_text("4 things to look at").wait_for()
    page.get_by_role("button", name="Two people").click()
    for left in ("3 things", "2 things", "1 thing"):
        page.get_by_text(f"{left} to look at").wait_for()
        page.get_by_role("button", name="Not now").first.click()
    page.get_by_text("All is well.").wait_for()


def test_the_camera_names_who_is_in_it(page: Any, demo_photos: Path) -> None:
    drop(page, demo_photos / "astronaut.png")
    name_only_face(page, "Eileen Collins")
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
def test_no_picture_leaves_a_device_that_recognises_itself(page: Any) -> None:
    page.get_by_role("link", name="Camera").click()
    page.get_by_role("switch", name="Recognise on this device").check()
    sent: list[Any] = []
    page.on("request", lambda request: sent.append(request) if request.method != "GET" else None)
    asked = page.request.get("/metrics").text()
    page.get_by_role("button", name="Start the camera").click()
    page.get_by_text("In the picture: somebody unknown.").wait_for()
    name_only_face(page, "Eileen Collins")
    page.get_by_text("In the picture: Eileen Collins.").wait_for()
    assert {request.url.rpartition("/")[2] for request in sent} == {"match", "faces"}
    for request in sent:
        body = request.post_data_json
        faces = body.get("faces", [])
        vectors = body.get("vectors", [face["vector"] for face in faces])
        assert np.array(vectors).shape[1:] == (128,)
        assert {*body} <= {"model_id", "vectors", "top", "faces", "move"}
        assert all(face["picture"] == "" for face in faces)
    count = re.compile(r'mien_requests_total{route="/api/v1/identify".*')
    assert count.findall(asked) == count.findall(page.request.get("/metrics").text())
    page.get_by_role("switch").uncheck()
    page.get_by_text("Pictures go to your mien server").wait_for()
    with page.expect_request("**/identify"):
        pass


def test_a_page_without_the_runtime_says_so(page: Any) -> None:
    lacking = {"missing": "it has no ONNX Runtime", "model_id": "m", "faces": 1, "detector": None}
    page.route("**/device", lambda route: route.fulfill(json=lacking))
    page.get_by_role("link", name="Camera").click()
    page.get_by_text("is not available").wait_for()
    assert page.get_by_role("switch").count() == 0


def test_every_view_in_both_colours_and_on_a_phone(page: Any, demo_photos: Path) -> None:
    look(page, "empty")
    photos = ["biden.jpg", "t1.jpg", "astronaut.png"]
    drop(page, *(demo_photos / name for name in photos))
    name_all(page, "Eileen Collins", "Ann")
    look(page, "review")
    page.get_by_role("link", name="Photos", exact=True).click()
    look(page, "photos")
    page.get_by_role("button", name="t1.jpg").click()
    page.get_by_role("button", name="Name? Face").first.click()
    page.get_by_role("combobox", name="Name").wait_for()
    look(page, "naming")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.get_by_role("link", name="People").click()
    page.locator(".thumb img").first.wait_for()
    look(page, "people")
    page.get_by_role("link", name="Eileen").click()
    page.get_by_text("1 face, since").wait_for()
    look(page, "person")
    page.get_by_role("link", name="Health").click()
    page.get_by_text("things to look at").wait_for()
    page.get_by_text("How sure are names?").click()
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

    def picture(view: str) -> None:
        assert SHOTS
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
        page.evaluate("document.getElementById('toast').replaceChildren()")
        for colours in ("light", "dark"):
            page.emulate_media(color_scheme=colours, reduced_motion="reduce")
            page.wait_for_timeout(300)
            page.screenshot(path=f"{SHOTS}/{view}-{colours}.jpg", type="jpeg", quality=80)

    picture("start")
    drop(page, *photos)
    page.get_by_role("link", name="Review").click()
    page.locator(".ask").wait_for()
    picture("review")
    say(page, "Eileen Collins")
    page.get_by_text("faces named Eileen Collins").wait_for()
    page.get_by_role("link", name="Photos", exact=True).click()
    picture("photos")
    page.set_viewport_size({"width": 360, "height": 740})
    picture("phone")
    page.set_viewport_size({"width": 1280, "height": 860})
    page.get_by_role("button", name="portrait.png").click()
    picture("viewer")
    page.get_by_role("button", name="Eileen Collins Change").click()
    page.locator(".pair .own img").nth(1).wait_for()
    picture("naming")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.get_by_role("link", name="People").click()
    page.get_by_role("link", name="Eileen").click()
    page.locator(".own img").nth(2).wait_for()
    picture("person")
    page.get_by_role("link", name="People", exact=True).click()
    page.locator(".thumb img").first.wait_for()
    picture("people")
    page.get_by_role("link", name="Health").click()
    page.get_by_text("How sure are names?").click()
    picture("health")
    page.get_by_role("link", name="Camera").click()
    page.get_by_role("switch", name="Recognise on this device").check()
    page.get_by_role("button", name="Start the camera").click()
    page.get_by_text("In the picture: Eileen Collins.").wait_for()
    page.evaluate("document.querySelector('video').pause()")
    page.wait_for_timeout(3000)  # for the boxes of what is now seen
    picture("camera")
