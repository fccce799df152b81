"""What deploy/ says of mien is true: its files, extras, commands, variables and times."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from contextlib import closing
from importlib import metadata
from inspect import signature
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

import pytest
from PIL import Image as Picture
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
    packages = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    files = {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
    parts = packages | {name for name in files if Path(name).parts[0] not in packages}
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


def test_caddy_is_composed_as_the_others_are() -> None:
    yaml: Any = pytest.importorskip("yaml", reason="reading compose files needs the package PyYAML")
    document = yaml.safe_load((ROOT / "deploy" / "compose.caddy.yaml").read_text())
    mien, caddy = document["services"]["mien"], document["services"]["caddy"]
    idle(mien["command"][1:], "compose.caddy.yaml", whole=True)
    proxy = mien["command"][mien["command"].index("--proxy") + 1]
    assert proxy == caddy["networks"]["front"]["ipv4_address"]
    (subnet,) = document["networks"]["front"]["ipam"]["config"]
    assert ip_address(proxy) in ip_network(subnet["subnet"])
    assert caddy["command"][-1] == f"mien:{PORT}"
    assert caddy["mem_limit"] and caddy["pids_limit"] and caddy["read_only"]
    assert "latest" not in caddy["image"] and ":" in caddy["image"]


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as found:
        return int(found.getsockname()[1])


def nginx(folder: Path, port: int, behind: int) -> list[str]:
    """The command of nginx with deploy/nginx.conf, below other addresses."""
    site = (ROOT / "deploy/nginx.conf").read_text()
    for old, new in (
        *(("443 ssl", f"{port} ssl"), (f"127.0.0.1:{PORT}", f"127.0.0.1:{behind}")),
        *(("/etc/ssl/faces", str(folder / "faces")), ("faces.example.org", "localhost")),
    ):
        assert old in site
        site = site.replace(old, new)
    places = ("client_body", "proxy", "fastcgi", "scgi", "uwsgi")
    temporary = "".join(f"{place}_temp_path {folder}/temp-{place};" for place in places)
    user = "user root;" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/errors; {user}"
        f"events {{}} http {{ access_log off; {temporary} {site} }}"
    )
    return ["nginx", "-e", f"{folder}/errors", "-c", str(config)]


def caddy(folder: Path, port: int, behind: int) -> list[str]:
    """The command of Caddy with deploy/Caddyfile, below other addresses."""
    site = (ROOT / "deploy/Caddyfile").read_text()
    for old, new in (
        ("faces.example.org {", f"https://localhost:{port} {{\n\ttls faces.pem faces.key"),
        (f"127.0.0.1:{PORT}", f"127.0.0.1:{behind}"),
    ):
        assert old in site
        site = site.replace(old, new)
    options = "{\n\tadmin off\n\tauto_https disable_redirects\n}\n"
    (folder / "Caddyfile").write_text(options + site)
    return ["caddy", "run", "--config", "Caddyfile"]


@pytest.mark.parametrize("program", [nginx, caddy])
def test_a_proxy_in_front(
    tmp_path: Path,
    program: Callable[[Path, int, int], list[str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    httpx: Any = pytest.importorskip("httpx", reason="asking the service needs httpx")
    from test_serve import ANNA, SlowInRed, accesses, png, serving

    from mien.serve.service import Limits
    from mien.serve.workers import Workers

    for needed in (program.__name__, "openssl"):
        if not shutil.which(needed):
            pytest.skip(f"{needed} is not installed")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-keyout", "faces.key", "-out", "faces.pem", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost"),
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    (tmp_path / "home").mkdir()
    red, port, token = io.BytesIO(), free_port(), "a token of the proxy"
    Picture.new("RGB", (32, 32), "red").save(red, "PNG")
    limits = Limits(seconds=3)
    with (
        Workers(SlowInRed, 1) as pool,
        serving(tmp_path, pool=pool, proxy="127.0.0.1", token=token, limits=limits) as service,
    ):
        pool.wait()
        process = subprocess.Popen(
            program(tmp_path, port, service.port),
            cwd=tmp_path,
            env={**os.environ, "HOME": str(tmp_path / "home")},
            stderr=subprocess.DEVNULL,
        )
        trusted = ssl.create_default_context(cafile=str(tmp_path / "faces.pem"))
        sent = {"Authorization": f"Bearer {token}"}
        try:
            with httpx.Client(
                base_url=f"https://localhost:{port}", verify=trusted, timeout=30, trust_env=False
            ) as client:
                deadline = time.monotonic() + 30
                while True:
                    try:
                        assert client.get("/health").status_code == 200
                        break
                    except httpx.TransportError:
                        assert time.monotonic() < deadline
                        time.sleep(0.1)
                assert client.get("/page/app.js").headers["content-encoding"] == "gzip"
                assert client.get("/api/v1/people").status_code == 401
                photo, own = {"photo": png(ANNA)}, {"Origin": f"https://localhost:{port}"}
                found = client.post("/api/v1/identify", files=photo, headers=sent | own)
                assert found.status_code == 200 and found.json()["found"] == 1
                assert len(found.headers["x-request-id"]) >= 16
                large = client.post("/api/v1/identify", content=bytes(27 << 20), headers=sent)
                # Caddy may say 502 of an answer that comes before it has sent all.
                assert large.status_code in (413, 502)
                files = [("photos", png(ANNA)), ("photos", red.getvalue())]
                with client.stream(
                    "POST", "/api/v1/identify/batch", files=files, headers=sent
                ) as answer:
                    lines, start = answer.iter_lines(), time.monotonic()
                    assert json.loads(next(lines))["photo"] == 0
                    assert time.monotonic() - start < 2.5
                    assert json.loads(next(lines))["code"] == "busy"
                forged = sent | {"X-Forwarded-For": "10.0.0.9", "X-Request-ID": "mine"}
                with caplog.at_level(logging.INFO, "mien.access"):
                    assert client.get("/api/v1/people", headers=forged).status_code == 200
                    number = 1  # the line of the batch may come late
                    while "/people" not in (line := accesses(caplog, number)[number - 1]):
                        number += 1
                assert line.startswith("127.0.0.1 ")  # who it is for the proxy
        finally:
            process.terminate()
            process.wait(20)
    assert not [path for path in tmp_path.rglob("temp-*/*") if path.is_file()]


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
