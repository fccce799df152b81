"""Nearest rows of a matrix of unit vectors, and the ways to find them."""

from mien.index.exact import ExactIndex

INDEXES = {"exact": ExactIndex}
