"""Names and places of faces left in XMP files beside photos, as photo programs read them.

Regions are those of the Metadata Working Group's guidelines, version 2.0 (2010): fractions of the
picture as it is stored, before EXIF turns it.  A sidecar may be another program's: all that it
says stays, and where it has regions that are not ours, or ours that somebody has changed since, it
is left alone.  So it is where others keep regions, or keywords that are asked for, inside the photo
or in a sidecar of the other name: a program that reads ours first would no longer show them.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from pathlib import Path

from mien import files, formats, images
from mien.errors import BadInput
from mien.sidecar import xmp
from mien.sidecar.xmp import Region

_OURS = "urn:mien:xmp:1"
_DC = "http://purl.org/dc/elements/1.1/"
_LIGHTROOM = "http://ns.adobe.com/lightroom/1.0/"
_PREFIXES = {
    "x": xmp.META,
    "rdf": xmp.RDF,
    "mwg-rs": xmp.REGIONS,
    "stArea": xmp.AREA,
    "stDim": xmp.DIMENSIONS,
    "dc": _DC,
    "lr": _LIGHTROOM,
    "Iptc4xmpExt": xmp.IPTC,
    "mien": _OURS,
}
_KEYWORDS = {  # where names go as keywords, and where it is kept which of them are ours
    f"{{{_DC}}}subject": f"{{{_OURS}}}subject",
    f"{{{xmp.IPTC}}}PersonInImage": f"{{{_OURS}}}personInImage",
    f"{{{_LIGHTROOM}}}hierarchicalSubject": f"{{{_OURS}}}hierarchicalSubject",
}
_BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
_END = '\n<?xpacket end="w"?>\n'


def path_of(photo: Path, *, short: bool = False) -> Path:
    """Where a photo's sidecar is: photo.jpg.xmp, or photo.xmp as Adobe's programs name it."""
    return photo.with_suffix(".xmp") if short else photo.with_name(photo.name + ".xmp")


def write(
    photo: Path,
    regions: Sequence[Region],
    size: tuple[int, int],
    *,
    keywords: bool = False,
    parent: str = "",
    short: bool = False,
) -> bool:
    """Write regions to a photo's sidecar; returns whether it changed.

    A photo in which nobody has a name keeps none; a sidecar is created only if somebody has one,
    and nothing is written where another program keeps the same elsewhere.  Keywords that others
    wrote stay, and of ours those that are no longer right go.

    Args:
        photo: is not touched.
        regions: the faces that have a name.
        size: width and height in pixels, as stored.
        keywords: leave the names in dc:subject and Iptc4xmpExt:PersonInImage too.
        parent: leave them below this keyword in lr:hierarchicalSubject, as `People|Ann`.
        short: use the name photo.xmp; what we wrote under the other is taken back.

    Raises:
        BadInput: the sidecar is not XMP, its regions are not ours to change, others keep the same
            elsewhere, or a short name would be that of two photos.
        CannotWrite: see `mien.files.write_atomically`.
    """
    path, other = path_of(photo, short=short), path_of(photo, short=not short)
    names = list(dict.fromkeys(region.name for region in regions))
    plain = names if keywords else []
    wanted = plain, plain, [f"{parent}|{name}" for name in names] if parent else []
    if regions:
        if short:
            _require_alone(photo)
        _require_none_elsewhere(photo, path, xmp.has_regions, "regions")
        if keywords or parent:
            _require_none_elsewhere(photo, path, _has_keywords, "keywords")
    changed = _update(path, regions, size, wanted)
    if other != path and os.path.lexists(other) and _OURS.encode() in xmp.read_sidecar(other):
        changed |= _update(other, [], size, ([], [], []))
    return changed


def _update(
    path: Path,
    regions: Sequence[Region],
    size: tuple[int, int],
    wanted: tuple[Sequence[str], Sequence[str], Sequence[str]],
) -> bool:
    """Make a sidecar say this; whether it said anything else."""
    old = xmp.read_sidecar(path) if os.path.lexists(path) else None
    if old is None and not regions:
        return False
    root = _empty() if old is None else _parse(old, path)
    holder = _holder(root, path)
    before = holder.find(f"{{{xmp.REGIONS}}}Regions")
    after = _regions(regions, size) if regions else None
    changed = False
    if not _same(before, after):
        changed = True
        if before is not None:
            holder.remove(before)
            holder.attrib.pop(xmp.MARK, None)
        if after is not None:
            holder.append(after)
            holder.set(xmp.MARK, xmp.fingerprint(after))
    for (name, mark), texts in zip(_KEYWORDS.items(), wanted, strict=True):
        changed |= _set_keywords(root, holder, name, mark, texts)
    if changed:
        text = ET.tostring(root, encoding="unicode")
        files.write_atomically(path, (_BEGIN + text + _END).encode())
    return changed


def _set_keywords(
    root: ET.Element, holder: ET.Element, name: str, mark: str, wanted: Sequence[str]
) -> bool:
    """Have keywords in one list, beside those of others; whether anything changed."""
    there, ours = _listed(root, name), _listed(root, mark)
    others = [text for text in there if text not in ours]
    added = [text for text in wanted if text not in others]
    if added == [text for text in ours if text in there]:
        return False
    for one, texts in ((name, others + added), (mark, added)):
        held = [(part, part.find(one)) for part in root.iter(xmp.DESCRIPTION)]
        for part, found in held:
            if found is not None:
                part.remove(found)
        if texts:
            bag = ET.SubElement(ET.SubElement(holder, one), f"{{{xmp.RDF}}}Bag")
            for text in texts:
                ET.SubElement(bag, xmp.ITEM).text = text
    return True


def _listed(root: ET.Element, name: str) -> list[str]:
    return ["".join(item.itertext()) for item in xmp.items(root, name)]


def _has_keywords(packet: bytes) -> bool:
    """Whether some XMP has keywords that others wrote."""
    try:
        root = xmp.parse(packet)
    except ValueError:
        return False
    return any({*_listed(root, name)} - {*_listed(root, mark)} for name, mark in _KEYWORDS.items())


def _require_alone(photo: Path) -> None:
    """Refuse a photo whose short name for a sidecar would be another's too, as of raw and JPEG."""
    try:
        others = sorted(photo.parent.iterdir())
    except OSError:
        return
    for other in others:
        if other.stem == photo.stem and other.name != photo.name and formats.named(other):
            raise BadInput(
                f"{path_of(photo, short=True)} would be the sidecar of {photo.name} and"
                f" {other.name}: use the long name"
            )


def _require_none_elsewhere(
    photo: Path, path: Path, found_in: Callable[[bytes], bool], what: str
) -> None:
    """Refuse a photo of which others keep the same in it, or in a sidecar of another name."""
    data = images.read_bytes(photo) if os.path.lexists(photo) else b""
    held = [(photo, packet) for packet in xmp.packets(data)]
    held += [(one, xmp.read_sidecar(one)) for one in xmp.sidecars(photo) if one != path]
    for place, packet in held:
        if found_in(packet):
            raise BadInput(
                f"{place} has {what} that another program wrote: they are left as they are"
            )


def _parse(data: bytes, path: Path) -> ET.Element:
    try:
        root = xmp.parse(data)
    except ValueError as error:
        raise BadInput(f"{path} is no XMP ({error}): move it away") from error
    _register()
    if root.tag not in (f"{{{xmp.META}}}xmpmeta", f"{{{xmp.RDF}}}RDF"):
        raise BadInput(f"{path} is no XMP, its root is {root.tag!r}: move it away")
    return root


def _holder(root: ET.Element, path: Path) -> ET.Element:
    """The part of a sidecar that has regions, or may be given some."""
    rdf = next(root.iter(f"{{{xmp.RDF}}}RDF"), None)
    top = [] if rdf is None else rdf.findall(xmp.DESCRIPTION)
    if not top:
        raise BadInput(f"{path} describes nothing: move it away")
    ours = xmp.without_ours(root)
    if xmp.lists_regions(root) or root.find(f".//{{{xmp.REGIONS}}}Regions") is not None:
        raise BadInput(
            f"{path} has regions that another program wrote or changed: they are left as they are"
        )
    for holder, regions in ours:
        holder.append(regions)
    return ours[0][0] if ours else top[0]


def _same(before: ET.Element | None, after: ET.Element | None) -> bool:
    if before is None or after is None:
        return before is after
    return xmp.fingerprint(before) == xmp.fingerprint(after)


def _register() -> None:
    for prefix, uri in _PREFIXES.items():
        ET.register_namespace(prefix, uri)


def _empty() -> ET.Element:
    _register()
    root = ET.Element(f"{{{xmp.META}}}xmpmeta", {f"{{{xmp.META}}}xmptk": "mien"})
    rdf = ET.SubElement(root, f"{{{xmp.RDF}}}RDF")
    ET.SubElement(rdf, xmp.DESCRIPTION, {f"{{{xmp.RDF}}}about": ""})
    return root


def _regions(regions: Sequence[Region], size: tuple[int, int]) -> ET.Element:
    found = ET.Element(f"{{{xmp.REGIONS}}}Regions", {f"{{{xmp.RDF}}}parseType": "Resource"})
    width, height = size
    ET.SubElement(
        found,
        f"{{{xmp.REGIONS}}}AppliedToDimensions",
        {
            f"{{{xmp.DIMENSIONS}}}w": str(width),
            f"{{{xmp.DIMENSIONS}}}h": str(height),
            f"{{{xmp.DIMENSIONS}}}unit": "pixel",
        },
    )
    bag = ET.SubElement(ET.SubElement(found, f"{{{xmp.REGIONS}}}RegionList"), f"{{{xmp.RDF}}}Bag")
    for region in regions:
        face = ET.SubElement(
            ET.SubElement(bag, xmp.ITEM),
            xmp.DESCRIPTION,
            {f"{{{xmp.REGIONS}}}Name": region.name, f"{{{xmp.REGIONS}}}Type": "Face"},
        )
        x1, y1, x2, y2 = (min(max(value, 0.0), 1.0) for value in region.box)
        area = {"x": (x1 + x2) / 2, "y": (y1 + y2) / 2, "w": x2 - x1, "h": y2 - y1}
        attributes = {f"{{{xmp.AREA}}}{name}": f"{value:.6f}" for name, value in area.items()}
        attributes[f"{{{xmp.AREA}}}unit"] = "normalized"
        ET.SubElement(face, f"{{{xmp.REGIONS}}}Area", attributes)
    return found
