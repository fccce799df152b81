"""Sidecars: what photo programs will read, and what other programs have written, which stays."""

from __future__ import annotations

import json
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import PngImagePlugin

from mien.errors import BadInput
from mien.images import as_stored
from mien.sidecar import Region, path_of, write

ANN, BEN = Region("Ann", (0.1, 0.2, 0.3, 0.6)), Region("Ben <&>", (0.5, 0.1, 0.9, 0.7))
SIZE = (400, 300)
AREA = "{http://ns.adobe.com/xmp/sType/Area#}"
NAMES = "{http://www.metadataworkinggroup.com/schemas/regions/}"
OTHERS = """<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"
    xmlns:dc="http://purl.org/dc/elements/1.1/"><!-- by hand -->
   <dc:subject><rdf:Bag><rdf:li>holiday</rdf:li></rdf:Bag></dc:subject>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""

TYPED = OTHERS.replace("holiday", "&b;").replace(
    "<x:xmpmeta", '<!DOCTYPE x [<!ENTITY b "c">]><x:xmpmeta'
)


def regions(photo: Path) -> dict[str, list[float]]:
    """Names, and the middle and size of their areas."""
    root = ET.parse(path_of(photo)).getroot()
    found = {}
    for face in root.iter():
        if f"{NAMES}Name" in face.attrib:
            area = face.find(f"{NAMES}Area")
            assert area is not None
            assert area.get(f"{AREA}unit") == "normalized"
            found[face.attrib[f"{NAMES}Name"]] = [float(area.attrib[AREA + c]) for c in "xywh"]
    return found


def test_names_and_places(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    assert write(photo, [ANN, BEN], SIZE)
    assert path_of(photo).name == "a.jpg.xmp"
    found = regions(photo)
    assert list(found) == ["Ann", "Ben <&>"]
    assert found["Ann"] == pytest.approx([0.2, 0.4, 0.2, 0.4])
    text = path_of(photo).read_text()
    assert text.startswith("<?xpacket begin")
    assert 'stDim:w="400"' in text
    assert "<mwg-rs:Regions" in text


def test_again_with_the_same_changes_nothing(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    write(photo, [ANN], SIZE)
    before = path_of(photo).read_bytes()
    assert not write(photo, [ANN], SIZE)
    assert write(photo, [BEN], SIZE)
    assert list(regions(photo)) == [BEN.name]
    assert write(photo, [ANN], SIZE)
    assert path_of(photo).read_bytes() == before
    assert write(photo, [], SIZE)
    assert regions(photo) == {}
    assert not write(tmp_path / "b.jpg", [], SIZE)
    assert not path_of(tmp_path / "b.jpg").exists()


def test_what_another_program_says_stays(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    path_of(photo).write_text(OTHERS)
    assert write(photo, [ANN], SIZE)
    assert write(photo, [BEN], SIZE)
    assert list(regions(photo)) == [BEN.name]
    text = path_of(photo).read_text()
    for said in ('xmp:Rating="4"', "<dc:subject>", "<rdf:li>holiday</rdf:li>", "by hand", "4.4.0"):
        assert said in text


def test_regions_that_others_wrote_or_changed_are_left_alone(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    write(photo, [ANN], SIZE)
    ours = path_of(photo).read_text()
    unmarked = ours.replace("mien:regions=", "mien:other=")
    for text in (unmarked, ours.replace('"Ann"', '"Anna"')):
        path_of(photo).write_text(text)
        with pytest.raises(BadInput, match="left as they are"):
            write(photo, [BEN], SIZE)
        assert path_of(photo).read_text() == text


def _packet(regions: str) -> bytes:
    return OTHERS.replace("</rdf:Description>", regions + "</rdf:Description>", 1).encode()


MWG = """<m:Regions xmlns:m="http://www.metadataworkinggroup.com/schemas/regions/"
 rdf:parseType="Resource"><m:RegionList><rdf:Bag><rdf:li>x</rdf:li></rdf:Bag></m:RegionList>
</m:Regions>"""
MICROSOFT = """<p:RegionInfo xmlns:p="http://ns.microsoft.com/photo/1.2/" rdf:parseType="Resource">
<MPRI:Regions xmlns:MPRI="http://ns.microsoft.com/photo/1.2/t/RegionInfo#"><rdf:Bag><rdf:li>x</rdf:li>
</rdf:Bag></MPRI:Regions></p:RegionInfo>"""
IPTC = """<e:ImageRegion xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"><rdf:Bag><rdf:li>x</rdf:li>
</rdf:Bag></e:ImageRegion>"""
EMPTY = MWG.replace("<rdf:li>x</rdf:li>", "")


def _inside(photo: Path, packet: bytes) -> None:
    how: dict[str, Any] = {"xmp": packet}
    if photo.suffix == ".png":
        how = {"pnginfo": PngImagePlugin.PngInfo()}
        how["pnginfo"].add_itxt("XML:com.adobe.xmp", packet.decode(), zip=True)
    elif photo.suffix == ".tif":
        how = {"tiffinfo": {700: packet}}
    Pillow.new("RGB", (8, 8)).save(photo, **how)


def _extended(photo: Path, packet: bytes) -> None:
    """In a second packet of a JPEG, which Adobe's programs write where the first is too large."""
    Pillow.new("RGB", (8, 8)).save(photo)
    part = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + bytes(8) + packet[:-30]
    data = photo.read_bytes()
    head = b"\xff\xe1" + (len(part) + 2).to_bytes(2)
    photo.write_bytes(data[:2] + head + part + data[2:])


def _beside(photo: Path, packet: bytes) -> None:
    photo.with_suffix(".xmp").write_bytes(packet)


@pytest.mark.parametrize("regions_of_others", [MWG, MICROSOFT, IPTC, EMPTY, ""])
@pytest.mark.parametrize(
    ("name", "put"),
    [
        *[(f"a.{ending}", _inside) for ending in ("jpg", "png", "webp", "tif")],
        ("a.jpg", _extended),
        ("a.jpg", _beside),
        ("a", _beside),
    ],
)
def test_regions_are_looked_for_wherever_others_keep_them(
    tmp_path: Path, name: str, put: Callable[[Path, bytes], None], regions_of_others: str
) -> None:
    photo = tmp_path / name
    if put is _beside:
        photo.write_bytes(b"a photo")
    put(photo, _packet(regions_of_others))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    if photo.suffix and put is not _extended:
        theirs = regions_of_others not in (EMPTY, "")
    else:  # of a part, and of what stands where ours would
        theirs = regions_of_others != ""
    if theirs:
        with pytest.raises(BadInput, match=r"another program wrote.*left as they are"):
            write(photo, [ANN], SIZE)
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    else:
        assert write(photo, [ANN], SIZE)


def test_layout_is_no_change(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    write(photo, [ANN], SIZE)
    path_of(photo).write_text(path_of(photo).read_text().replace("><", ">\n  <"))
    assert write(photo, [BEN], SIZE)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no element"),
        (b"no XML", "syntax error"),
        (b"<a/>", "its root is 'a'"),
        (OTHERS.replace("rdf:Description", "rdf:Nothing").encode(), "describes nothing"),
        (b'<?xml version="1.0" encoding="klingon"?><a/>', "encoding"),
        (TYPED.encode(), "declares a document type"),
        (TYPED.encode("utf-16"), "declares a document type"),
    ],
)
def test_what_is_no_sidecar_is_left_alone(tmp_path: Path, data: bytes, why: str) -> None:
    photo = tmp_path / "a.jpg"
    path_of(photo).write_bytes(data)
    with pytest.raises(BadInput, match=f"{why}.*move it away"):
        write(photo, [ANN], SIZE)
    assert path_of(photo).read_bytes() == data


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
@given(data=st.binary(max_size=80), place=st.integers(0, len(OTHERS)))
def test_damage_never_ends_in_anything_else(tmp_path: Path, data: bytes, place: int) -> None:
    photo, whole = tmp_path / "a.jpg", OTHERS.encode()
    path_of(photo).write_bytes(whole[:place] + data + whole[place + len(data) :])
    try:
        write(photo, [ANN], SIZE)
    except BadInput:
        return
    assert "Ann" in regions(photo)


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, (0.0, 0.0, 0.25, 0.5)),
        (2, (0.75, 0.0, 1.0, 0.5)),
        (3, (0.75, 0.5, 1.0, 1.0)),
        (4, (0.0, 0.5, 0.25, 1.0)),
        (5, (0.0, 0.0, 0.5, 0.25)),
        (6, (0.0, 0.75, 0.5, 1.0)),
        (7, (0.5, 0.75, 1.0, 1.0)),
        (8, (0.5, 0.0, 1.0, 0.25)),
    ],
)
def test_a_corner_where_the_file_has_it(
    orientation: int, expected: tuple[float, float, float, float]
) -> None:
    assert as_stored((0.0, 0.0, 0.25, 0.5), orientation) == pytest.approx(expected)


def keywords(path: Path, exiftool: str) -> dict[str, Any]:
    """What exiftool reads of regions and keywords."""
    names = ("RegionName", "Subject", "PersonInImage", "HierarchicalSubject", "Rating")
    command = [exiftool, "-j", "-a", *(f"-{name}" for name in names), str(path)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (found,) = json.loads(out)
    del found["SourceFile"]
    return {name: [value] if isinstance(value, str) else value for name, value in found.items()}


def test_keywords_beside_those_of_others(tmp_path: Path, exiftool: str) -> None:
    photo = tmp_path / "a.jpg"
    path_of(photo).write_text(OTHERS.replace("<rdf:li>holiday", "<rdf:li>Ann</rdf:li><rdf:li>sea"))
    assert write(photo, [ANN, BEN, ANN], SIZE, keywords=True, parent="People")
    assert keywords(path_of(photo), exiftool) == {
        "RegionName": ["Ann", BEN.name, "Ann"],
        "Subject": ["Ann", "sea", BEN.name],
        "PersonInImage": ["Ann", BEN.name],
        "HierarchicalSubject": ["People|Ann", f"People|{BEN.name}"],
        "Rating": 4,
    }
    assert not write(photo, [ANN, BEN, ANN], SIZE, keywords=True, parent="People")
    assert write(photo, [ANN], SIZE, keywords=True)
    assert keywords(path_of(photo), exiftool) == {
        "RegionName": ["Ann"],
        "Subject": ["Ann", "sea"],
        "PersonInImage": ["Ann"],
        "Rating": 4,
    }
    assert write(photo, [], SIZE)
    left = keywords(path_of(photo), exiftool)
    assert left == {"Subject": ["Ann", "sea"], "Rating": 4}  # somebody else's Ann


def test_a_short_name_as_adobes_programs_have_it(tmp_path: Path, exiftool: str) -> None:
    photo = tmp_path / "a.jpg"
    assert write(photo, [ANN], SIZE)
    assert write(photo, [ANN], SIZE, short=True, keywords=True)
    assert keywords(tmp_path / "a.xmp", exiftool)["Subject"] == ["Ann"]
    assert regions(photo) == {}  # taken back: there is one place to look at
    (tmp_path / "a.CR2").touch()
    with pytest.raises(BadInput, match=r"would be the sidecar of a\.jpg and a\.CR2"):
        write(photo, [BEN], SIZE, short=True)


@pytest.mark.parametrize("put", [_inside, _beside])
def test_keywords_of_others_elsewhere_are_not_hidden(
    tmp_path: Path, put: Callable[[Path, bytes], None]
) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"a photo")
    put(photo, OTHERS.encode())
    with pytest.raises(BadInput, match=r"has keywords that another program wrote"):
        write(photo, [ANN], SIZE, keywords=True)
    assert write(photo, [ANN], SIZE)
