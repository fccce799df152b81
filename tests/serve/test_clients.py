"""Clients made of OpenAPI by others' generators, against a service that runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the service needs mien[serve]")
pytest.importorskip("httpx", reason="asking the service needs httpx")

from test_serve import ANNA, BERT, png, serving

ROOT = Path(__file__).parents[2]
TOKEN = "a token of the clients"
PLACES = f"{Path(sys.prefix, 'clients', 'bin')}{os.pathsep}{os.environ['PATH']}"
GENERATOR = shutil.which("openapi-python-client", path=PLACES)
MODULES = ROOT / "node_modules"
IN_PYTHON = """
import io, sys
from pathlib import Path
from made import AuthenticatedClient
from made.api.people import delete_person, list_people
from made.api.photos import enroll, get_face
from made.api.recognise import compare, compare_with_person, identify, identify_batch
from made.models import *
from made.types import File, UNSET

url, token, folder = sys.argv[1:]
client = AuthenticatedClient(base_url=url, token=token)
file = lambda name: File(io.BytesIO(Path(folder, name).read_bytes()), name)

assert identify.sync(client=client, body=BodyIdentify(file("anna"))).faces[0].person is None
answer = enroll.sync_detailed("Anna", client=client, body=BodyEnroll(file("anna")))
assert (answer.status_code, answer.parsed.added) == (201, True)
again = enroll.sync_detailed("Anna", client=client, body=BodyEnroll(file("anna")))
assert (again.status_code, again.parsed.added) == (200, False)
enroll.sync("Bert", client=client, body=BodyEnroll(file("bert"), largest=True))
body = BodyIdentify(file("anna"), top=2, limit=1, min_score=0.5, vectors=True)
(face,) = identify.sync(client=client, body=body).faces
assert face.person == "Anna" and len(face.vector) == 12
assert [one.person for one in face.candidates] == ["Anna", "Bert"]
first = list_people.sync(client=client, limit=1)
assert (first.total, first.next_) == (2, "Anna")
second = list_people.sync(client=client, after=first.next_)
assert [one.person for one in second.people] == ["Bert"] and second.next_ is None
assert compare.sync(client=client, body=BodyCompare(file("anna"), file("bert"))).same is False
body = BodyCompareWithPerson(file("anna"))
assert compare_with_person.sync("Anna", client=client, body=body).same is True
many = BodyIdentifyBatch([file("anna"), file("bert")])
assert identify_batch.sync_detailed(client=client, body=many).content.count(b"\\n") == 2
shown = get_face.sync_detailed(first.people[0].cover, client=client, size=64)
assert shown.content.startswith(b"\\xff\\xd8")
assert delete_person.sync("Anna", client=client).deleted == 1
gone = delete_person.sync("Anna", client=client)
assert isinstance(gone, Problem) and gone.code == "not_found"
refused = list_people.sync(client=AuthenticatedClient(base_url=url, token="x" * 16))
assert refused.code == "unauthorized"
print("done")
"""
IN_TYPESCRIPT = """
import { readFileSync } from "node:fs";
import createClient from "openapi-fetch";
import type { paths } from "./made.js";

const [url, token, folder] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${token}` } });
// The types call a file a string, as openapi-typescript does.
const file = (name: string) => new Blob([readFileSync(`${folder}/${name}`)]) as unknown as string;
const bodySerializer = (body: object) => {
  const form = new FormData();
  for (const [name, value] of Object.entries(body)) form.append(name, value);
  return form;
};
function sure(yes: boolean, what: string): void {
  if (!yes) throw new Error(what);
}

const photo = file("anna");
const params = { path: { name: "Anna" } };
const photos = "/api/v1/people/{name}/photos";
const one = await client.POST("/api/v1/identify", { body: { photo }, bodySerializer });
sure(one.data?.faces[0].person === null, "nobody yet");
const learned = await client.POST(photos, { params, body: { photo }, bodySerializer });
sure(learned.response.status === 201 && learned.data?.added === true, "learned");
const more = { photo, top: 1, vectors: true };
const asked = await client.POST("/api/v1/identify", { body: more, bodySerializer });
sure(asked.data?.faces[0].candidates?.[0].person === "Anna", "named");
const everyone = await client.GET("/api/v1/people", { params: { query: { limit: 10 } } });
sure(everyone.data?.total === 1 && everyone.data.next === null, "listed");
const two = { first: photo, second: file("bert") };
const both = await client.POST("/api/v1/compare", { body: two, bodySerializer });
sure(both.data?.same === false, "compared");
const gone = await client.DELETE("/api/v1/people/{name}", { params });
sure(gone.data?.deleted === 1, "deleted");
const { error } = await client.DELETE("/api/v1/people/{name}", { params });
sure(error?.code === "not_found", "an error");
console.log("done");
"""


def run(*command: str | Path, folder: Path, **variables: str) -> str:
    """What a command says; it must not fail."""
    done = subprocess.run(
        [*map(str, command)],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def asked(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A service's address, with what it says of itself and two photos in the folder."""
    (tmp_path / "anna").write_bytes(png(ANNA))
    (tmp_path / "bert").write_bytes(png(BERT))
    with serving(tmp_path, token=TOKEN, keep=True) as service:
        service.client.headers["Authorization"] = f"Bearer {TOKEN}"
        document = service.client.get("/openapi.json").json()
        (tmp_path / "openapi.json").write_text(json.dumps(document))
        yield f"http://127.0.0.1:{service.port}"


@pytest.mark.skipif(not GENERATOR, reason="there is no openapi-python-client: make browser")
def test_a_client_in_python(asked: str, tmp_path: Path) -> None:
    assert GENERATOR
    said = run(
        *(GENERATOR, "generate", "--path", "openapi.json", "--meta", "none"),
        *("--output-path", "made"),
        folder=tmp_path,
        PATH=PLACES,
    )
    omitted = [line for line in said.splitlines() if line.startswith("WARNING parsing")]
    assert len(omitted) == 2, said  # pictures and lines of JSON, whose bytes it hands over
    python = Path(GENERATOR).resolve().parent / "python"
    assert run(python, "-c", IN_PYTHON, asked, TOKEN, tmp_path, folder=tmp_path) == "done\n"


@pytest.mark.skipif(
    not (shutil.which("node") and (MODULES / "openapi-typescript").is_dir()),
    reason="there is no openapi-typescript: make browser",
)
def test_a_client_in_typescript(asked: str, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(MODULES)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "client.ts").write_text(IN_TYPESCRIPT)
    programs = MODULES / ".bin"
    run(programs / "openapi-typescript", "openapi.json", "-o", "made.d.ts", folder=tmp_path)
    strict = ("--strict", "--module", "nodenext", "--target", "es2022", "--skipLibCheck")
    run(programs / "tsc", *strict, "--types", "node", "client.ts", folder=tmp_path)
    said = run("node", "client.js", asked, TOKEN, tmp_path, folder=tmp_path)
    assert said == "done\n"
