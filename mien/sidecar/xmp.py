"""XMP inside photos and beside them: where it is, and which regions it names.

Nothing in it is trusted: no entity is expanded, no document type or reference followed.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser, ParseError

from mien import images
from mien.errors import BadInput

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
REGIONS = "http://www.metadataworkinggroup.com/schemas/regions/"
AREA = "http://ns.adobe.com/xmp/sType/Area#"
DIMENSIONS = "http://ns.adobe.com/xap/1.0/sType/Dimensions#"
META = "adobe:ns:meta/"
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
DESCRIPTION, ITEM = f"{{{RDF}}}Description", f"{{{RDF}}}li"
MARK = "{urn:mien:xmp:1}regions"  # the fingerprint of the regions that we wrote
_MICROSOFT = "http://ns.microsoft.com/photo/1.2/t/Region"
_ACDSEE = "http://ns.acdsee.com/"
_ORIENTATION = "{http://ns.adobe.com/tiff/1.0/}Orientation"

_LISTS = (  # of regions: of the Metadata Working Group, of Microsoft, of IPTC and of ACDSee
    f"{{{REGIONS}}}RegionList",
    f"{{{_MICROSOFT}Info#}}Regions",
    f"{{{IPTC}}}ImageRegion",
    f"{{{_ACDSEE}regions/}}RegionList",
)
_SIGNS = re.compile(rb":RegionList|MPRI:Regions|:ImageRegion")  # of them, where XML is in parts
_PACKET = re.compile(rb"<rdf:RDF[\s>].*?</rdf:RDF>", re.DOTALL)
_EXTENSION = re.compile(  # a segment of a JPEG: its length, whose part it is, and its place there
    rb"\xff\xe1(..)http://ns\.adobe\.com/xmp/extension/\0(.{32})....(....)", re.DOTALL
)
_MOST = 1 << 20  # bytes of a sidecar


@dataclass(frozen=True, slots=True)
class Region:
    """A face that has a name."""

    name: str
    box: tuple[float, float, float, float]  # x1, y1, x2, y2, shares of the picture as stored


def sidecars(photo: Path) -> list[Path]:
    """Where programs keep what they know of a photo: photo.jpg.xmp, and photo.xmp as Adobe does."""
    stems = (photo, photo.with_suffix("")) if photo.suffix else (photo,)
    named = [stem.with_name(stem.name + end) for stem in stems for end in (".xmp", ".XMP")]
    return [path for path in named if os.path.lexists(path)]


def read_sidecar(path: Path) -> bytes:
    """The bytes of a sidecar.

    Raises:
        BadInput: it cannot be read, or is over 1 MiB.
    """
    data = images.read_bytes(path)
    if len(data) > _MOST:
        raise BadInput(f"{path} is no usual sidecar, of {len(data)} bytes: move it away")
    return data


class _Tree(ET.TreeBuilder):
    """What XMP says, with its comments."""

    def start_ns(self, prefix: str, uri: str) -> None:
        """Have a prefix written as it was read."""
        if prefix and not (prefix.startswith("ns") and prefix[2:].isdigit()):
            ET.register_namespace(prefix, uri)


def parse(data: bytes) -> ET.Element:
    """The tree of some XMP.

    Raises:
        ValueError: it is no XML, or declares a document type.
    """
    parser = DefusedXMLParser(target=_Tree(insert_comments=True), forbid_dtd=True)
    try:
        parser.feed(data)
        root: ET.Element = parser.close()
    except DefusedXmlException as error:
        raise ValueError("it declares a document type") from error
    except (ParseError, LookupError) as error:
        raise ValueError(str(error)) from error
    return root


def packets(data: bytes) -> Iterator[bytes]:
    """All XMP in a photo, of whatever format."""
    for found in _PACKET.finditer(data):
        yield found[0]
    extended: dict[bytes, dict[bytes, bytes]] = {}  # what was too large for one segment
    for found in _EXTENSION.finditer(data):
        length, whose, place = found.groups()
        end = found.start() + 2 + int.from_bytes(length)
        extended.setdefault(whose, {})[place] = data[found.end() : end]
    for parts in extended.values():
        yield b"".join(parts[place] for place in sorted(parts))
    if text := images.xmp_of_png(data):
        yield text


def has_regions(packet: bytes) -> bool:
    """Whether some XMP, which may be in parts, has regions that another program wrote."""
    try:
        root = parse(packet)
    except ValueError:
        return _SIGNS.search(packet) is not None
    without_ours(root)
    return lists_regions(root)


def lists_regions(root: ET.Element) -> bool:
    """Whether there are any regions."""
    lists = (found for name in _LISTS for found in root.iter(name))
    return any(one.find(f".//{ITEM}") is not None for one in lists)


def without_ours(root: ET.Element) -> list[tuple[ET.Element, ET.Element]]:
    """Take out the regions that we wrote and nobody has changed, each with what held it."""
    ours = [
        (holder, held)
        for holder in root.iter(DESCRIPTION)
        for held in holder.findall(f"{{{REGIONS}}}Regions")
        if holder.get(MARK) == fingerprint(held)
    ]
    for holder, held in ours:
        holder.remove(held)
    return ours


def fingerprint(regions: ET.Element) -> str:
    """What differs if anything in regions does but the space between tags."""
    text = ET.canonicalize(ET.tostring(regions, encoding="unicode"), strip_text=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def orientation(root: ET.Element) -> int:
    """EXIF's orientation as XMP gives it, 1 to 8: 1 if it does not."""
    for holder in root.iter(DESCRIPTION):
        text = _text(holder, _ORIENTATION)
        if text in tuple("12345678"):
            return int(text)
    return 1


def regions(root: ET.Element) -> list[Region]:
    """The faces to which other programs gave names, in order; takes out what we wrote."""
    without_ours(root)
    found: list[Region] = []
    for held in root.iter(f"{{{REGIONS}}}Regions"):
        found += _working_group(held, REGIONS, AREA, DIMENSIONS, "Area")
    for held in root.iter(f"{{{_ACDSEE}regions/}}Regions"):
        area, dimensions = f"{_ACDSEE}sType/Area#", f"{_ACDSEE}sType/Dimensions#"
        found += _working_group(held, f"{_ACDSEE}regions/", area, dimensions, "DLYArea")
    for item in items(root, f"{{{_MICROSOFT}Info#}}Regions"):
        corner = _text(item, f"{{{_MICROSOFT}#}}Rectangle").split(",")
        if len(numbers := _numbers(corner)) == 4:
            x, y, width, height = numbers
            name = _text(item, f"{{{_MICROSOFT}#}}PersonDisplayName")
            found += _named(name, x, y, x + width, y + height)
    return found


def _working_group(
    held: ET.Element, schema: str, area_of: str, dimensions: str, area: str
) -> Iterator[Region]:
    """Regions as the Metadata Working Group lays them out, and ACDSee by other names."""
    size = _part(held, f"{{{schema}}}AppliedToDimensions")
    sides = _numbers(_text(size, f"{{{dimensions}}}{side}") for side in "wh")
    for item in items(held, f"{{{schema}}}RegionList"):
        place = _part(item, f"{{{schema}}}{area}")
        numbers = _numbers(_text(place, f"{{{area_of}}}{part}") for part in "xywh")
        if _text(place, f"{{{area_of}}}unit") == "pixel":
            if not (len(sides) == 2 and min(sides) > 0):
                continue
            numbers = [one / sides[i % 2] for i, one in enumerate(numbers)]
        of_a_face = _text(item, f"{{{schema}}}Type") in ("Face", "")
        doubted = _text(item, f"{{{schema}}}NameAssignType") in ("denied", "suggested")  # ACDSee's
        if len(numbers) == 4 and of_a_face and not doubted:
            x, y, width, height = numbers  # from the middle
            left, top = x - width / 2, y - height / 2
            name = _text(item, f"{{{schema}}}Name")
            yield from _named(name, left, top, left + width, top + height)


def _named(name: str, *edges: float) -> Iterator[Region]:
    """The region, where it has a name and lies in the picture."""
    x1, y1, x2, y2 = (min(max(edge, 0.0), 1.0) for edge in edges)
    if (name := name.strip()) and x1 < x2 and y1 < y2:
        yield Region(name, (x1, y1, x2, y2))


def items(root: ET.Element, name: str) -> Iterator[ET.Element]:
    """What is in the lists of a name."""
    for held in root.iter(name):
        yield from held.findall(f"*/{ITEM}")


def _parts(node: ET.Element | None) -> list[ET.Element]:
    """Where a structure's fields may be: in it, or in a description inside."""
    return [] if node is None else [node, *node.findall(DESCRIPTION)]


def _part(node: ET.Element, name: str) -> ET.Element | None:
    return next((found for part in _parts(node) for found in part.findall(name)), None)


def _text(node: ET.Element | None, name: str) -> str:
    """A field of a structure, as an attribute or an element; nothing if there is none."""
    for part in _parts(node):
        if name in part.attrib:
            return part.attrib[name]
        for child in part.findall(name):
            return "".join(child.itertext()).strip()
    return ""


def _numbers(texts: Iterator[str] | list[str]) -> list[float]:
    """All of the texts as numbers, or none."""
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        return []
    return numbers if all(map(math.isfinite, numbers)) else []
