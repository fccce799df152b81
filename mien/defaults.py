"""What holds where nobody says otherwise."""

from __future__ import annotations

MODEL = "mien-small"
DETECTOR = "mien"
MIN_FACE = 40  # pixels of the smallest face that is looked for
FPIR = 0.01  # strangers who may get a name, however many people are enrolled
