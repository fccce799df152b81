"""What the answers hold, as OpenAPI describes it; the words are those of docs/json.md."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Base64Bytes, BaseModel, ConfigDict, FailFast, Field

from mien.facebank.stores.common import CANDIDATES
from mien.types import Face as Found
from mien.types import Match


class Problem(BaseModel):
    """Why there is no answer."""

    error: str = Field(description="One sentence: what was wrong and what to do.")
    code: str = Field(description="Which error it is, for programs; docs/serve.md lists all.")


class Status(BaseModel):
    """How the service is."""

    status: str
    version: str


class Name(BaseModel):
    """Who a face is, or might be."""

    person: str | None = Field(description="null: nobody in the facebank reaches the threshold")
    score: float = Field(description="cosine in [-1, 1] with the nearest person")

    @classmethod
    def of(cls, match: Match) -> Name:
        """As the command line's documents have it."""
        return cls(person=match.person, score=round(match.score, 6))


class Face(BaseModel):
    """A face and who it is."""

    person: str | None = Field(description="null: nobody in the facebank reaches the threshold")
    score: float = Field(description="cosine in [-1, 1] with the nearest person")
    nearest: str | None = Field(description="that person; null: nobody is enrolled")
    confidence: float = Field(description="the detector's, in [0, 1]")
    box: list[float] = Field(description="x1, y1, x2, y2 in pixels of the upright photo")
    points: list[list[float]] = Field(description="eyes, nose, mouth; x and y")
    turned: int = Field(
        description="degrees clockwise that the photo seems to lie turned: 0, 90, 180, 270"
    )
    candidates: list[Name] = Field(
        default_factory=list, description="the `top` nearest people, best first; only if asked for"
    )
    vector: list[float] = Field(
        default_factory=list, description="of unit length; only if `vectors` asks for it"
    )
    thumb: str = Field(
        default_factory=str,
        description="the face, 96 x 96, as data: URL; only if `thumbs` asks for it",
    )
    poor: bool = Field(
        default_factory=bool, description="too poor to begin a group; comes with `thumb`"
    )

    @classmethod
    def of(cls, face: Found, match: Match) -> Face:
        """As the command line's documents have it."""
        return cls(
            person=match.person,
            score=round(match.score, 6),
            nearest=match.nearest[0].person if match.nearest else None,
            confidence=round(face.confidence, 6),
            box=face.box.astype(float).round(1).tolist(),
            points=face.points.astype(float).round(1).tolist(),
            turned=face.turned,
        )


class Identified(BaseModel):
    """Who is in a photo."""

    width: int
    height: int
    threshold: float = Field(description="the score from which a face gets a name")
    fpir: float | None = Field(description="share of strangers who get a name")
    found: int = Field(description="faces in the photo, of which the largest are listed")
    faces: list[Face]


class OwnDetector(BaseModel):
    """The detector that ships, as it is set."""

    name: Literal["mien"] = "mien"
    networks: list[str] = Field(description="see GET /api/v1/networks/{name}")
    min_face: float = Field(description="side in pixels of the smallest face that is looked for")
    threshold: float = Field(description="confidence that its second network must reach")


class Cascade(BaseModel):
    """MTCNN's settings."""

    name: Literal["mtcnn"] = "mtcnn"
    networks: list[str] = Field(description="see GET /api/v1/networks/{name}")
    min_face: float = Field(description="side of the smallest face to look for, in pixels")
    factor: float = Field(description="from one level of the pyramid to the next")
    thresholds: list[float] = Field(description="confidences that its three networks must reach")


class Device(BaseModel):
    """What a client needs to find and embed faces as this service does."""

    model_id: str
    missing: str | None = Field(description="why a browser cannot do it; null: it can")
    faces: int = Field(description="of a photo that are processed, the largest")
    detector: OwnDetector | Cascade | None = Field(description="null: browsers cannot run it")


class Vectors(BaseModel):
    """Faces that were embedded elsewhere."""

    model_config = ConfigDict(extra="forbid")

    model_id: str = Field(description="of the network that made them: see GET /api/v1/device")
    # The first error is answered: of all of them there could be a hundred thousand.
    vectors: Annotated[list[Annotated[list[float], FailFast()]], FailFast()] = Field(
        description="each of length 1"
    )
    top: int = Field(
        default_factory=int, ge=0, le=CANDIDATES, description="nearest people to list for each"
    )


class Matched(BaseModel):
    """Who the vectors are, in their order."""

    threshold: float = Field(description="the score from which a face gets a name")
    fpir: float | None = Field(description="share of strangers who get a name")
    matches: list[Name]
    candidates: list[list[Name]] = Field(
        description="the `top` nearest people of each, best first; empty if none were asked for"
    )


class Compared(BaseModel):
    """Whether two photos show one person."""

    same: bool
    score: float
    threshold: float
    faces: list[int] = Field(description="found in either photo; the largest were compared")


class ComparedWithPerson(BaseModel):
    """Whether a photo shows someone."""

    person: str
    same: bool
    score: float = Field(description="cosine with the mean of their vectors, in [-1, 1]")
    threshold: float = Field(description="the score from which it is the same person")
    found: int = Field(description="faces in the photo; the largest was compared")


class PersonEntry(BaseModel):
    """Someone in the facebank."""

    person: str
    photos: int
    cover: str | None = Field(description="GET /api/v1/photos/{cover} shows them; null: nothing")


class People(BaseModel):
    """Some of the people in the facebank, by name."""

    model_id: str
    total: int = Field(description="people in the facebank")
    people: list[PersonEntry]
    next: str | None = Field(description="the `after` of the next page; null: there is none")


class PhotoEntry(BaseModel):
    """A photo in the facebank, but not its pixels or where it was."""

    sha256: str
    confidence: float
    size: float = Field(description="the longer side of the face, in pixels")
    added: str
    shown: bool = Field(description="GET /api/v1/photos/{sha256} has its face")


class Photos(BaseModel):
    """Someone's photos."""

    person: str
    photos: list[PhotoEntry]


class NewFace(BaseModel):
    """A face that was found and embedded before, here or on another device."""

    model_config = ConfigDict(extra="forbid")

    vector: Annotated[list[float], FailFast()] = Field(description="of length 1")
    confidence: float = Field(ge=0, le=1, description="the detector's")
    size: float = Field(gt=0, le=100_000, description="the longer side of the face, in pixels")
    picture: Base64Bytes = Field(
        default_factory=bytes,
        description="the face with a margin, to be shown and kept, such as JPEG; empty: none",
    )


class NewFaces(BaseModel):
    """Faces of one person, to be enrolled without being looked at again."""

    model_config = ConfigDict(extra="forbid")

    model_id: str = Field(
        description="of the network that made the vectors: see GET /api/v1/device"
    )
    faces: Annotated[list[NewFace], FailFast()] = Field(min_length=1)
    move: bool = Field(
        default_factory=bool, description="take a face from whoever has it by mistake"
    )


class EnrolledFaces(BaseModel):
    """Faces that are now in the facebank, and on disk."""

    person: str
    sha256: list[str] = Field(description="of each face, in their order")
    added: list[str] = Field(description="those that this person did not have yet")
    photos: int = Field(description="of this person now")


class Enrolled(BaseModel):
    """A face that is now in the facebank, and on disk."""

    person: str
    sha256: str
    added: bool = Field(description="false: it was there already")
    photos: int = Field(description="of this person now")


class Imported(BaseModel):
    """What an import has changed: it is on the disk."""

    added: int = Field(description="photos that were not in the facebank")
    duplicates: int = Field(description="photos that were, and stay as they were")
    people: int = Field(description="in the facebank now")


class Rename(BaseModel):
    """Another name for someone."""

    model_config = ConfigDict(extra="forbid")

    person: str = Field(description="the new name", max_length=200)
    merge: bool = Field(
        default_factory=bool, description="make one person of both if somebody has that name"
    )
    photos: list[str] = Field(
        default_factory=list,
        description="SHA-256 of the photos that are to go to that person; empty: all",
    )


class Deleted(BaseModel):
    """What is no longer in the facebank."""

    person: str
    deleted: int = Field(description="photos, and the cut-out faces that were kept of them")
    photos: int = Field(description="photos left of this person")
    elsewhere: int = Field(description="photo files outside that stay where they are")


class Groups(BaseModel):
    """Faces grouped by person, the largest group first."""

    threshold: float = Field(description="the score that two faces need to begin a group")
    groups: list[list[int]] = Field(description="places of the faces, from 0; alone are the rest")


class Pair(BaseModel):
    """Two people who are taken for each other, or one with two names."""

    person: str
    other: str
    score: float


class Doubt(BaseModel):
    """A photo that needs attention."""

    person: str
    sha256: str
    value: float


class Mixed(BaseModel):
    """A person whose photos seem to show several."""

    person: str
    photos: list[str] = Field(description="SHA-256 of those that show another than most")
    score: float = Field(description="cosine of their mean with that of the others")


class Point(BaseModel):
    """What a threshold would mean."""

    threshold: float
    fmr: float = Field(description="pairs of strangers taken for one person")
    fpir: float = Field(description="strangers who get a name in this facebank")


class State(BaseModel):
    """The health of the facebank."""

    people: int
    photos: int
    threshold: float
    fpir: float | None
    extrapolated: bool
    curve: list[Point]
    alike: list[Pair]
    mixed: list[Mixed]
    doubtful: list[Doubt]
    small: list[Doubt]
    single: list[str]
