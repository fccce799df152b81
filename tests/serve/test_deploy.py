"""What deploy/ says of mien is true: its files, extras, commands, variables and times."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from inspect import signature
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

import pytest
from test_docs import extras, idle

from mien.cli.options import FacebankPath
from mien.cli.serve import TOKEN, serve

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
UNIT = (ROOT / "deploy" / "mien.service").read_text()
VARIABLES = {TOKEN, get_args(FacebankPath)[1].envvar}
PORT, SECONDS = (signature(serve).parameters[name].default for name in ("port", "seconds"))


def said(word: str, text: str = DOCKERFILE) -> list[str]:
    """What follows a word at the beginning of a line."""
    return re.findall(rf"^{word}[ =](.*)$", text, re.MULTILINE)


@pytest.fixture
def composed() -> tuple[dict[str, Any], dict[str, Any]]:
    """The services of one file, and of the other, which is laid over it."""
    yaml: Any = pytest.importorskip("yaml", reason="reading compose files needs the package PyYAML")
    one, other = (
        yaml.safe_load((ROOT / "deploy" / name).read_text())
        for name in ("compose.yaml", "compose.postgres.yaml")
    )
    return one["services"], other["services"]


def test_the_image_is_built_from_what_the_package_is_made_of() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    parts = {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
    parts |= set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    parts.add("deploy/constraints.txt")
    copied = [shlex.split(rest) for rest in said("COPY") if not rest.startswith("--from")]
    assert {name for words in copied for name in words[:-1]} == parts
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == parts


def test_its_commands_are_understood() -> None:
    (command,), (start,) = said("CMD"), said("ExecStart", UNIT)
    for words in (json.loads(command), shlex.split(start)):
        assert Path(words[0]).name == "mien"
        idle(words[1:], " ".join(words), whole=True)
        assert "--port" not in words
    assert said("EXPOSE") == [str(PORT)]


def test_it_waits_until_what_was_accepted_is_answered(composed: Any) -> None:
    waits = [*said("TimeoutStopSec", UNIT), *re.findall(r"--stop-timeout (\d+)", DOCKERFILE)]
    waits.append(composed[0]["mien"]["stop_grace_period"].removesuffix("s"))
    assert len(waits) == 3 and all(float(wait) > SECONDS for wait in waits)


def test_extras_variables_and_ports_are_the_projects(composed: Any) -> None:
    one, other = (services["mien"] for services in composed)
    wanted = [*said("ARG EXTRAS"), other["build"]["args"]["EXTRAS"]]
    assert len(wanted) == 2 and set(",".join(wanted).split(",")) <= set(extras())
    variables = set(re.findall(r"(\w+)=", " ".join(said("ENV")))) - {"PATH"}
    assert variables | set(other["environment"]) == VARIABLES - {TOKEN}
    assert all(port.endswith(f":{PORT}") for port in one["ports"])


def test_what_it_is_built_of_and_may_take_is_said(composed: Any) -> None:
    pinned = Path(ROOT, "deploy/constraints.txt").read_text().splitlines()[1:]
    versions = dict(line.split("==") for line in pinned)
    assert {"fastapi", "uvicorn", "pydantic", "onnxruntime"} <= set(versions)
    for requirement in metadata.requires("mien") or []:
        found = re.match(r"([\w-]+).*?>=([\d.]+)", requirement)
        if found and (pin := versions.get(found[1].lower())):
            least, have = (list(map(int, text.split("."))) for text in (found[2], pin))
            assert have >= least, requirement
    assert "latest" not in DOCKERFILE and "-c constraints.txt" in DOCKERFILE
    one, other = composed
    for service in (one["mien"], other["db"]):
        assert service["mem_limit"] and service["pids_limit"]
    assert ":" in other["db"]["image"]
    assert "environment" not in one["mien"]  # where `docker inspect` would show the token
    (secret,) = one["mien"]["secrets"]
    assert f"/run/secrets/{secret}" in one["mien"]["command"]
    idle(one["mien"]["command"][1:], "compose.yaml", whole=True)
    assert said("MemoryMax", UNIT) and said("TasksMax", UNIT)


def test_the_database_is_where_the_facebank_is_sought(composed: Any) -> None:
    (name,) = VARIABLES - {TOKEN}
    services = composed[1]
    address = urlsplit(re.sub(r"\$\{.*?\}", "x", services["mien"]["environment"][name]))
    database = services[address.hostname]["environment"]
    assert address.hostname in services["mien"]["depends_on"]
    assert (address.scheme, address.username) == ("postgresql", database["POSTGRES_USER"])
    assert address.path == f"/{database['POSTGRES_DB']}"


def test_the_health_check_tells_who_is_healthy(tmp_path: Path) -> None:
    from test_serve import serving

    (check,) = re.findall(r"^HEALTHCHECK .*?CMD (.*)$", DOCKERFILE, re.MULTILINE)
    _, *arguments = json.loads(check)
    environment = os.environ | {"http_proxy": "http://127.0.0.1:9", "no_proxy": ""}

    def healthy(port: int) -> bool:
        command = [word.replace(str(PORT), str(port)) for word in arguments]
        done = subprocess.run(
            [sys.executable, *command], env=environment, capture_output=True, timeout=20
        )
        return done.returncode == 0

    with serving(tmp_path, token="secret" * 3) as service:
        assert healthy(service.port)
    assert not healthy(service.port)


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "mien.service"
    unit.write_text(UNIT.replace("/opt/mien/bin/mien", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=20
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
