"""Reading what others have named: wherever it is, however it is laid out, and whatever it is."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path
from typing import TypeVar, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from mien.errors import BadInput
from mien.images import as_shown, as_stored
from mien.sidecar import Region, path_of, read, write
from mien.sidecar.picasa import Picasa, read_contacts
from mien.sidecar.xmp import parse, regions

T = TypeVar("T")
BOX = (0.1, 0.2, 0.3, 0.6)
HEAD = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"
 xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#"
 xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#"
 xmlns:acdsee-rs="http://ns.acdsee.com/regions/"
 xmlns:acdsee-stArea="http://ns.acdsee.com/sType/Area#"
 xmlns:MP="http://ns.microsoft.com/photo/1.2/"
 xmlns:MPRI="http://ns.microsoft.com/photo/1.2/t/RegionInfo#"
 xmlns:MPReg="http://ns.microsoft.com/photo/1.2/t/Region#"
 xmlns:tiff="http://ns.adobe.com/tiff/1.0/">
 <rdf:Description rdf:about="" tiff:Orientation="6">"""
TAIL = "</rdf:Description></rdf:RDF></x:xmpmeta>"
DIGIKAM = """<mwg-rs:Regions rdf:parseType="Resource">
 <mwg-rs:AppliedToDimensions stDim:w="400" stDim:h="300" stDim:unit="pixel"/>
 <mwg-rs:RegionList><rdf:Bag>
  <rdf:li><rdf:Description mwg-rs:Name="Ann" mwg-rs:Type="Face"><mwg-rs:Area stArea:x="0.2"
   stArea:y="0.4" stArea:w="0.2" stArea:h="0.4" stArea:unit="normalized"/>
   </rdf:Description></rdf:li>
  <rdf:li><rdf:Description mwg-rs:Name="Rex" mwg-rs:Type="Pet"><mwg-rs:Area stArea:x="0.5"
   stArea:y="0.5" stArea:w="0.1" stArea:h="0.1"/></rdf:Description></rdf:li>
 </rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>"""
LIGHTROOM = """<mwg-rs:Regions><rdf:Description><mwg-rs:RegionList><rdf:Seq>
  <rdf:li rdf:parseType="Resource"><mwg-rs:Name>Ann</mwg-rs:Name><mwg-rs:Type>Face</mwg-rs:Type>
   <mwg-rs:Area rdf:parseType="Resource"><stArea:x>0.2</stArea:x><stArea:y>0.4</stArea:y>
    <stArea:w>0.2</stArea:w><stArea:h>0.4</stArea:h></mwg-rs:Area></rdf:li>
  <rdf:li rdf:parseType="Resource"><mwg-rs:Type>Face</mwg-rs:Type><mwg-rs:Area stArea:x="0.5"
   stArea:y="0.5" stArea:w="0.1" stArea:h="0.1"/></rdf:li>
 </rdf:Seq></mwg-rs:RegionList></rdf:Description></mwg-rs:Regions>"""
PIXELS = DIGIKAM.replace(
    'stArea:x="0.2"\n   stArea:y="0.4" stArea:w="0.2" stArea:h="0.4" stArea:unit="normalized"',
    'stArea:x="80" stArea:y="120" stArea:w="80" stArea:h="120" stArea:unit="pixel"',
)
MICROSOFT = """<MP:RegionInfo rdf:parseType="Resource"><MPRI:Regions><rdf:Bag>
  <rdf:li MPReg:PersonDisplayName="Ann" MPReg:Rectangle="0.1, 0.2, 0.2, 0.4"/>
  <rdf:li rdf:parseType="Resource"><MPReg:Rectangle>0.5, 0.5, 0.1, 0.1</MPReg:Rectangle></rdf:li>
  <rdf:li MPReg:PersonDisplayName="Somewhere in it"/>
 </rdf:Bag></MPRI:Regions></MP:RegionInfo>"""
ACDSEE = """<acdsee-rs:Regions rdf:parseType="Resource"><acdsee-rs:RegionList><rdf:Bag>
  <rdf:li><rdf:Description acdsee-rs:Name="Ann" acdsee-rs:Type="Face"
   acdsee-rs:NameAssignType="manual"><acdsee-rs:DLYArea acdsee-stArea:x="0.2"
   acdsee-stArea:y="0.4" acdsee-stArea:w="0.2" acdsee-stArea:h="0.4"/></rdf:Description></rdf:li>
  <rdf:li><rdf:Description acdsee-rs:Name="Ben" acdsee-rs:Type="Face"
   acdsee-rs:NameAssignType="denied"><acdsee-rs:DLYArea acdsee-stArea:x="0.2"
   acdsee-stArea:y="0.4" acdsee-stArea:w="0.2" acdsee-stArea:h="0.4"/></rdf:Description></rdf:li>
 </rdf:Bag></acdsee-rs:RegionList></acdsee-rs:Regions>"""
FORMS = [DIGIKAM, LIGHTROOM, PIXELS, MICROSOFT, ACDSEE]


def about(value: T, within: float = 1e-6) -> T:
    """What is equal to all that is near a value."""
    return cast("T", pytest.approx(value, abs=within))


@pytest.mark.parametrize(
    "form", FORMS, ids=["digiKam", "Lightroom", "pixels", "Microsoft", "ACDSee"]
)
def test_faces_with_a_name_are_read_from_every_layout(form: str) -> None:
    (found,) = regions(parse((HEAD + form + TAIL).encode()))
    assert found.name == "Ann"
    assert found.box == pytest.approx(BOX)


def _photo(path: Path, xmp: str = "") -> Path:
    Pillow.new("RGB", (8, 8)).save(path, xmp=(HEAD + xmp + TAIL).encode())
    return path


def test_they_are_read_from_every_place(tmp_path: Path) -> None:
    photo = _photo(tmp_path / "A.jpg", MICROSOFT)
    for name in ("A.jpg.xmp", "A.xmp"):
        (tmp_path / name).write_text(HEAD + DIGIKAM + TAIL)
    (tmp_path / ".picasa.ini").write_text(
        "[a.JPG]\nfaces=rect64(1999333333339999),a1\n[Contacts2]\na1=Ann;;"
    )
    held, skipped = read(photo, photo.read_bytes(), Picasa())
    names = ["A.jpg", "A.jpg.xmp", "A.xmp", ".picasa.ini"]
    assert [(one.path.name, one.orientation) for one in held] == [(n, 6) for n in names[:3]] + [
        (".picasa.ini", 1)
    ]
    assert all(one.regions[0].name == "Ann" for one in held)
    assert held[-1].regions[0].box == pytest.approx((0.1, 0.2, 0.2, 0.6), abs=1e-4)
    assert skipped == []


def test_of_a_large_packet_that_a_jpeg_holds_in_parts(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    Pillow.new("RGB", (8, 8)).save(photo)
    whole = (HEAD + DIGIKAM + TAIL).encode()
    parts = b""
    for start in (300, 0):  # in no order
        part = b"http://ns.adobe.com/xmp/extension/\0" + b"F" * 32
        part += struct.pack(">II", len(whole), start) + whole[start : 300 if start == 0 else None]
        parts += b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part
    data = photo.read_bytes()
    held, _ = read(photo, data[:2] + parts + data[2:], Picasa())
    assert held[-1].regions == [Region("Ann", about(BOX))]


def test_what_we_wrote_names_nobody_until_somebody_changes_it(tmp_path: Path) -> None:
    photo = _photo(tmp_path / "a.jpg")
    write(photo, [Region("Ann", BOX)], (400, 300))
    assert read(photo, photo.read_bytes(), Picasa()) == ([], [])
    path = path_of(photo)
    path.write_text(path.read_text().replace('"Ann"', '"Anna"'))
    held, _ = read(photo, photo.read_bytes(), Picasa())
    assert [region.name for one in held for region in one.regions] == ["Anna"]


def test_files_that_cannot_be_read_are_named_and_the_others_count(tmp_path: Path) -> None:
    photo = _photo(tmp_path / "a.jpg", DIGIKAM)
    path_of(photo).write_text("<a")
    (tmp_path / "a.xmp").write_bytes(bytes(2 << 20))
    held, skipped = read(photo, photo.read_bytes(), Picasa())
    assert [one.path for one in held] == [photo]
    assert ["is no XMP" in skipped[0].reason, "no usual" in skipped[1].reason] == [True, True]


def test_picasas_own_names_and_those_of_its_contacts(tmp_path: Path) -> None:
    contacts = tmp_path / "contacts.xml"
    contacts.write_text('<contacts><contact id="0a1" name="Ann &amp; Co"/><contact/></contacts>')
    (tmp_path / ".picasa.ini").write_bytes(
        b"\xef\xbb\xbfnoise\r\n[Contacts2]\r\na1=An;;\r\nB2=Ben;b@x;\r\n[a.jpg]\r\n"
        b"faces=rect64(1999333333339999),a1;rect64(b999333333339999),b2;rect64(3f84),ffffffffffffffff"
        b";rect64(x),b2;rect64(99991111),b2\r\nrotate=rotate(1)\r\n"
    )
    picasa = Picasa(read_contacts(contacts))
    assert picasa.regions(tmp_path / "b.jpg") is None
    known = picasa.regions(tmp_path / "A.JPG")
    assert known is not None
    assert [region.name for region in known[1]] == ["Ann & Co", "Ben"]
    assert known[1][1].box == pytest.approx((0, 0, 0.6, 0.0667), abs=1e-4)  # zeros are left out
    for text in ("", "<a", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'):
        contacts.write_text(text)
        with pytest.raises(BadInput, match=r"no contacts\.xml"):
            read_contacts(contacts)


places = st.floats(0, 1, width=32)


@given(
    edges=st.tuples(places, places, places, places),
    orientation=st.integers(1, 8),
    name=st.text(
        st.characters(min_codepoint=33, max_codepoint=0x2FFF, exclude_categories=["C", "Z"]),
        min_size=1,
    ),
)
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory,
    edges: tuple[float, float, float, float],
    orientation: int,
    name: str,
) -> None:
    (x1, x2), (y1, y2) = sorted(edges[::2]), sorted(edges[1::2])
    box = as_stored((x1, y1, x2, y2), orientation)
    assert as_shown(box, orientation) == pytest.approx((x1, y1, x2, y2))
    if x2 - x1 < 0.01 or y2 - y1 < 0.01:
        return
    photo = tmp_path_factory.mktemp("written") / "a.jpg"
    write(photo, [Region(name, box)], (400, 300))
    path = path_of(photo)
    path.write_text(path.read_text("utf-8").replace("mien:regions=", "mien:other="), "utf-8")
    ((_, found, _),), _ = read(photo, b"", Picasa())
    assert found == [Region(name, about(box, 2e-6))]


@given(form=st.sampled_from(FORMS), data=st.binary(max_size=60), place=st.integers(0, 2500))
@settings(max_examples=150, deadline=None)
def test_damaged_xmp_names_somebody_or_nobody(form: str, data: bytes, place: int) -> None:
    whole = (HEAD + form + TAIL).encode()
    try:
        found = regions(parse(whole[:place] + data + whole[place + len(data) :]))
    except ValueError:
        return
    for region in found:
        x1, y1, x2, y2 = region.box
        assert region.name
        assert 0 <= x1 < x2 <= 1
        assert 0 <= y1 < y2 <= 1


@given(data=st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_a_file_of_picasa(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("picasa")
    (folder / ".picasa.ini").write_bytes(b"[a.jpg]\nfaces=rect64(" + data)
    assert Picasa({1: "Ann"}).regions(folder / "b.jpg") is None


def test_exiftool_writes_what_is_read(tmp_path: Path, exiftool: str) -> None:
    photo = tmp_path / "a.jpg"
    Pillow.new("RGB", (400, 300)).save(photo)
    area = "Area={X=0.2,Y=0.4,W=0.2,H=0.4,Unit=normalized}"
    subprocess.run(
        [
            exiftool,
            "-q",
            f"-RegionInfo={{RegionList=[{{Name=Ann,Type=Face,{area}}}]}}",
            "-RegionInfoMP={Regions=[{PersonDisplayName=Ann,Rectangle=0.1|, 0.2|, 0.2|, 0.4}]}",
            photo,
        ],
        check=True,
    )
    held, skipped = read(photo, photo.read_bytes(), Picasa())
    found = [region for one in held for region in one.regions]
    assert found == [Region("Ann", about(BOX))] * 2
    assert skipped == []
