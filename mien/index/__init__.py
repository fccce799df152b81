"""Nearest rows of a matrix of unit vectors, and the ways to find them."""

from mien.index.exact import ExactIndex
from mien.index.int8 import Int8Index

INDEXES = {"exact": ExactIndex, "int8": Int8Index}
