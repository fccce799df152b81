"""A page holds every figure, nothing outside of itself, and no markup out of names."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fakes import FakeModel, save_photo

from mien import images
from mien.errors import BadInput, MissingExtra
from mien.evaluation import report
from mien.evaluation.evaluate import evaluate
from mien.evaluation.protocol import Evaluation

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

DRAWN: dict[tuple[int, ...], list[report.Picture]] = {}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Evaluation]:
    """Two models, plain and mirrored, on a list of pairs and on the folder of its people."""
    folder = tmp_path_factory.mktemp("data") / "peo|ple"
    for seed in range(4):
        for number in (1, 2):
            save_photo(folder / f"P{seed}" / f"P{seed}_000{number}.png", seed, shade=5 * number)
    lines = ["4", *(f"P{i} 1 2" for i in range(4)), *(f"P{i} 1 P{(i + 1) % 4} 2" for i in range(4))]
    (folder.parent / "pairs.txt").write_text("\n".join(lines))
    models = [FakeModel("plain"), FakeModel("<b>bold</b>")]
    both = (False, True)
    pairs = evaluate(models, folder.parent / "pairs.txt", photos=folder, mirrors=both)
    return [*pairs, *evaluate(models, folder, mirrors=both)]


@pytest.fixture(autouse=True)
def drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives what has been drawn of the same evaluations again: drawing takes seconds."""

    def pictures(evaluations: Sequence[Evaluation]) -> list[report.Picture]:
        these = tuple(map(id, evaluations))  # which the fixture keeps
        if these not in DRAWN:
            DRAWN[these] = draw(evaluations)
        return DRAWN[these]

    draw = report.pictures
    monkeypatch.setattr(report, "pictures", pictures)


class Links(HTMLParser):
    """Collects whatever a browser would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Called for each tag."""
        self.tags.add(tag)
        self.links += [value or "" for name, value in attributes if name in ("src", "href")]


def test_one_file_of_html(found: list[Evaluation], tmp_path: Path) -> None:
    report.write(tmp_path / "report.html", found)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    text = (tmp_path / "report.html").read_text("utf-8")
    page = Links(text)
    assert len(page.links) == 2 + 4 + 3 + 4  # ROC and DET; CMC of people; scores of each
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert not re.search(r"https?:|@import|url\(", text)
    assert not page.tags & {"b", "script", "link"}
    assert "&lt;b&gt;bold&lt;/b&gt; + mirror" in text
    assert text.count("<th>accuracy</th><td>100.00 % ± 0.00</td>") == 1
    assert "<th>TAR at FAR 0.1</th><td>too few to tell</td>" in text  # 4 pairs of two people
    assert "<th>TAR at FAR 0.1</th><td>100.00 % (2 false)</td>" in text  # 24
    assert "<th>rank 1</th><td>100.00 %</td>" in text
    assert "<th>rank 5</th><td>too few to tell</td>" in text
    assert "<dt>rank</dt>" in text


def test_what_is_not_shown_is_not_explained(found: list[Evaluation], tmp_path: Path) -> None:
    report.write(tmp_path / "report.html", found[:1])
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "<dt>accuracy</dt>" in text
    assert "<dt>rank</dt>" not in text


def test_markdown_with_its_pictures_beside(found: list[Evaluation], tmp_path: Path) -> None:
    report.write(tmp_path / "report.md", found)
    text = (tmp_path / "report.md").read_text("utf-8")
    pictures = re.findall(r"!\[[^]]+\]\(<([^>]+)>\)", text)
    assert len(pictures) == 13
    for name in pictures:
        assert images.read(tmp_path / name).shape[1] > 500
    rows = [line for line in text.splitlines() if line.startswith("|")]
    widths = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
    assert widths == {4, 6}  # models by sets, and figures by models
    assert "<b>" not in text
    assert "| accuracy | 100.00 % ± 0.00 |" in text


def test_the_summary_has_a_row_for_each_model(found: list[Evaluation]) -> None:
    heading, *rows = report.summary(found)
    assert heading == ["", "pairs.txt", "peo|ple"]
    assert [row[0] for row in rows] == [
        "plain",
        "plain + mirror",
        "<b>bold</b>",
        "<b>bold</b> + mirror",
    ]
    assert rows[0][1] == "100.00 %"
    assert rows[0][2].endswith("% EER")
    assert report.summary(found[:4]) == []


@pytest.mark.parametrize("name", ["report.pdf", "report", "report.HTM"])
def test_other_endings(found: list[Evaluation], tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match=r"must end in .html or .md"):
        report.write(tmp_path / name, found)


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_without_a_package(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match="'matplotlib>="):
        report.require(None)
