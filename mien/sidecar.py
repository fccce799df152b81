"""Names and places of faces in XMP files beside photos, as photo programs read them.

Regions are those of the Metadata Working Group's guidelines, version 2.0 (2010): fractions of the
picture as it is stored, before EXIF turns it.  A sidecar may be another program's: all that it
says stays, and where it has regions that are not ours, or ours that somebody has changed since, it
is left alone.  So it is where others keep regions inside the photo or in photo.xmp: a program that
reads photo.jpg.xmp first would no longer show them.
"""

from __future__ import annotations

import hashlib
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mien import files, images
from mien.errors import BadInput

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_REGIONS = "http://www.metadataworkinggroup.com/schemas/regions/"
_AREA = "http://ns.adobe.com/xmp/sType/Area#"
_DIMENSIONS = "http://ns.adobe.com/xap/1.0/sType/Dimensions#"
_META = "adobe:ns:meta/"
_OURS = "urn:mien:xmp:1"
_MARK = f"{{{_OURS}}}regions"  # the fingerprint of the regions that we wrote
_PREFIXES = {
    "x": _META,
    "rdf": _RDF,
    "mwg-rs": _REGIONS,
    "stArea": _AREA,
    "stDim": _DIMENSIONS,
    "mien": _OURS,
}
_REGION_LISTS = (  # of the Metadata Working Group, of Microsoft and of IPTC
    f"{{{_REGIONS}}}RegionList",
    "{http://ns.microsoft.com/photo/1.2/t/RegionInfo#}Regions",
    "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}ImageRegion",
)
_SIGNS = re.compile(rb":RegionList|MPRI:Regions|:ImageRegion")  # of them, where XML is in parts
_PACKET = re.compile(rb"<rdf:RDF[\s>].*?</rdf:RDF>", re.DOTALL)
_EXTENSION = re.compile(rb"http://ns\.adobe\.com/xmp/extension/\0.{40}", re.DOTALL)
_SEGMENT = 65_535  # bytes of a JPEG's segment, of which XMP that needs several has each

_BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
_END = '\n<?xpacket end="w"?>\n'
_MOST = 1 << 20  # bytes of a sidecar


@dataclass(frozen=True, slots=True)
class Region:
    """A face that has a name."""

    name: str
    box: tuple[float, float, float, float]  # x1, y1, x2, y2, shares of the picture as stored


def path_of(photo: Path) -> Path:
    """Where a photo's sidecar is: photo.jpg.xmp."""
    return photo.with_name(photo.name + ".xmp")


def write(photo: Path, regions: Sequence[Region], size: tuple[int, int]) -> bool:
    """Write regions to a photo's sidecar; returns whether it changed.

    A photo in which nobody has a name keeps none; a sidecar is created only if somebody has one,
    and nothing is written where another program keeps regions elsewhere.

    Args:
        photo: is not touched.
        regions: the faces that have a name.
        size: width and height in pixels, as stored.

    Raises:
        BadInput: the sidecar is not XMP, its regions are not ours to change, or others keep regions
            elsewhere.
        CannotWrite: see `mien.files.write_atomically`.
    """
    path = path_of(photo)
    old = _read(path) if os.path.lexists(path) else None
    if old is None and not regions:
        return False
    if regions:
        _require_none_elsewhere(photo)
    root = _empty() if old is None else _parse(old, path)
    holder = _holder(root, path)
    before = holder.find(f"{{{_REGIONS}}}Regions")
    after = _regions(regions, size) if regions else None
    if _same(before, after):
        return False
    if before is not None:
        holder.remove(before)
        holder.attrib.pop(_MARK, None)
    if after is not None:
        holder.append(after)
        holder.set(_MARK, _fingerprint(after))
    text = ET.tostring(root, encoding="unicode")
    files.write_atomically(path, (_BEGIN + text + _END).encode())
    return True


def _read(path: Path) -> bytes:
    data = images.read_bytes(path)
    if len(data) > _MOST:
        raise BadInput(f"{path} is no usual sidecar, of {len(data)} bytes: move it away")
    return data


def _require_none_elsewhere(photo: Path) -> None:
    """Refuse a photo whose regions are in the photo itself, or in a sidecar of another name."""
    data = images.read_bytes(photo) if os.path.lexists(photo) else b""
    beside = {
        photo.with_suffix(".xmp"),
        photo.with_suffix(".XMP"),
        photo.with_name(f"{photo.name}.XMP"),
    }
    held = [(photo, packet) for packet in _packets(data)]
    for path in sorted(beside - {path_of(photo)}):
        if os.path.lexists(path):
            held.append((path, _read(path)))
    for path, packet in held:
        if _has_regions(packet):
            raise BadInput(
                f"{path} has regions that another program wrote: they are left as they are"
            )


def _packets(data: bytes) -> Iterator[bytes]:
    """All XMP in a photo, of whatever format."""
    for found in _PACKET.finditer(data):
        yield found[0]
    for found in _EXTENSION.finditer(data):
        yield data[found.start() : found.start() + _SEGMENT]
    if text := images.xmp_of_png(data):
        yield text


def _has_regions(packet: bytes) -> bool:
    try:
        return _lists_regions(ET.fromstring(packet), _REGION_LISTS)
    except (ET.ParseError, ValueError, LookupError):
        return _SIGNS.search(packet) is not None


def _lists_regions(root: ET.Element, names: Sequence[str]) -> bool:
    lists = (found for name in names for found in root.iter(name))
    return any(one.find(f".//{{{_RDF}}}li") is not None for one in lists)


class _Tree(ET.TreeBuilder):
    """What a sidecar says, with its comments."""

    def start_ns(self, prefix: str, uri: str) -> None:
        """Have a prefix written as it was read."""
        if prefix and not (prefix.startswith("ns") and prefix[2:].isdigit()):
            ET.register_namespace(prefix, uri)

    def doctype(self, *declared: str | None) -> None:
        """Refuse a document type, whose entities could grow at will."""
        raise ValueError("it declares a document type")


def _parse(data: bytes, path: Path) -> ET.Element:
    try:
        root = ET.fromstring(data, ET.XMLParser(target=_Tree(insert_comments=True)))
    except (ET.ParseError, ValueError, LookupError) as error:
        raise BadInput(f"{path} is no XMP ({error}): move it away") from error
    _register()
    if root.tag not in (f"{{{_META}}}xmpmeta", f"{{{_RDF}}}RDF"):
        raise BadInput(f"{path} is no XMP, its root is {root.tag!r}: move it away")
    return root


def _holder(root: ET.Element, path: Path) -> ET.Element:
    """The part of a sidecar that has regions, or may be given some."""
    rdf = next(root.iter(f"{{{_RDF}}}RDF"), None)
    top = [] if rdf is None else rdf.findall(f"{{{_RDF}}}Description")
    if not top:
        raise BadInput(f"{path} describes nothing: move it away")
    held = [one for one in top if one.find(f"{{{_REGIONS}}}Regions") is not None]
    if not (held or _lists_regions(root, _REGION_LISTS)):
        return top[0]
    found = held[0].find(f"{{{_REGIONS}}}Regions") if len(held) == 1 else None
    ours = found is not None and held[0].get(_MARK) == _fingerprint(found)
    if not ours or _lists_regions(root, _REGION_LISTS[1:]):
        raise BadInput(
            f"{path} has regions that another program wrote or changed: they are left as they are"
        )
    return held[0]


def _same(before: ET.Element | None, after: ET.Element | None) -> bool:
    if before is None or after is None:
        return before is after
    return _fingerprint(before) == _fingerprint(after)


def _fingerprint(regions: ET.Element) -> str:
    """What differs if anything in regions does but the space between tags."""
    text = ET.canonicalize(ET.tostring(regions, encoding="unicode"), strip_text=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _register() -> None:
    for prefix, uri in _PREFIXES.items():
        ET.register_namespace(prefix, uri)


def _empty() -> ET.Element:
    _register()
    root = ET.Element(f"{{{_META}}}xmpmeta", {f"{{{_META}}}xmptk": "mien"})
    rdf = ET.SubElement(root, f"{{{_RDF}}}RDF")
    ET.SubElement(rdf, f"{{{_RDF}}}Description", {f"{{{_RDF}}}about": ""})
    return root


def _regions(regions: Sequence[Region], size: tuple[int, int]) -> ET.Element:
    found = ET.Element(f"{{{_REGIONS}}}Regions", {f"{{{_RDF}}}parseType": "Resource"})
    width, height = size
    ET.SubElement(
        found,
        f"{{{_REGIONS}}}AppliedToDimensions",
        {
            f"{{{_DIMENSIONS}}}w": str(width),
            f"{{{_DIMENSIONS}}}h": str(height),
            f"{{{_DIMENSIONS}}}unit": "pixel",
        },
    )
    bag = ET.SubElement(ET.SubElement(found, f"{{{_REGIONS}}}RegionList"), f"{{{_RDF}}}Bag")
    for region in regions:
        item = ET.SubElement(bag, f"{{{_RDF}}}li")
        face = ET.SubElement(
            item,
            f"{{{_RDF}}}Description",
            {f"{{{_REGIONS}}}Name": region.name, f"{{{_REGIONS}}}Type": "Face"},
        )
        x1, y1, x2, y2 = (min(max(value, 0.0), 1.0) for value in region.box)
        area = {"x": (x1 + x2) / 2, "y": (y1 + y2) / 2, "w": x2 - x1, "h": y2 - y1}
        attributes = {f"{{{_AREA}}}{name}": f"{value:.6f}" for name, value in area.items()}
        attributes[f"{{{_AREA}}}unit"] = "normalized"
        ET.SubElement(face, f"{{{_REGIONS}}}Area", attributes)
    return found
