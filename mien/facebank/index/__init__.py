"""Nearest rows of a matrix of unit vectors, and the ways to find them."""

from mien.facebank.index.exact import ExactIndex
from mien.facebank.index.int8 import Int8Index

INDEXES = {"exact": ExactIndex, "int8": Int8Index}
