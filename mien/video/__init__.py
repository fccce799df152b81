"""Videos: reading, writing, and following faces; what their files are called."""

from __future__ import annotations

from pathlib import Path

EXTENSIONS = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts"),
    *(".wmv", ".flv", ".3gp", ".ogv", ".mxf", ".vob"),
)
CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}  # we write, FFmpeg's


def is_video(path: Path) -> bool:
    """Whether a file's name is a video's."""
    return path.suffix.lower() in EXTENSIONS


def copy_name(path: Path) -> str:
    """What the drawn copy of a video is called; Matroska, which holds everything, if need be."""
    if path.suffix.lower() in CONTAINERS:
        return f"{path.stem}.mien{path.suffix}"
    return f"{path.name}.mien.mkv"
