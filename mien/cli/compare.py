"""The command `compare`: do two photos show one person?"""

from __future__ import annotations

from typing import Annotated

import typer

from mien.cli import console, options
from mien.cli.render import Answer


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A photo.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    *,
    threshold: options.Threshold = None,
    fmr: options.Fmr = None,
    tta: options.Tta = False,
    model: options.ModelName = options.DEFAULT_MODEL,
    detector: options.DetectorName = options.DEFAULT_DETECTOR,
    calibration: options.Calibration = None,
) -> Answer:
    """Say whether two photos show one person.

    If a photo shows several faces, the largest counts.
    """
    from mien import images
    from mien.recognition.model import load
    from mien.recognition.onnx.runtime import for_photos
    from mien.verbs.compare import compare as judge

    network = load(model, detector=detector, calibration=calibration, runtime=for_photos(2))
    policy = network.policy(threshold=threshold, fmr=fmr)
    result = judge(images.read(first), images.read(second), network, policy=policy, mirror=tta)
    answer = "the same person" if result.same else "different people"
    return Answer(
        {
            "same": result.same,
            "score": result.score,
            "threshold": result.threshold,
            "model_id": network.model_id,
            "faces": result.faces,
        },
        [f"{answer}: score {result.score:.3f}, threshold {result.threshold:.3f}"],
        [
            f"{path} shows {faces} faces: the largest was compared"
            for path, faces in zip((first, second), result.faces, strict=True)
            if faces > 1
        ],
        code=0 if result.same else console.NO,
    )
