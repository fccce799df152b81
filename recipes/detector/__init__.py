"""Makes the detector that ships, from nothing but photos, a teacher and pictures without faces.

    python -m recipes.detector DATA --backgrounds FOLDER --out FOLDER

DATA holds fairface/train/*.webp and teacher/yunet-2026may.onnx.  The backgrounds are any pictures
that show no face.  What is done once (labels, the photos decoded) is kept in the folder, and found
there again.  Each step is a module:

- `labels`: where the faces are, by the agreement of two teachers over scales and mirror images;
- `scenes`: pictures composed of these faces, in which their places are known exactly;
- `crops`: hard views of single faces, for the second network;
- `networks`, `train`: what learns, and how;
- `export`: both networks as the files that the package has.
"""
