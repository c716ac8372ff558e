"""Data sets that are made when they are needed: handwritten digits that move."""
