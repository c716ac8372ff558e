"""Readers of data sets of photographs with captions, and of sentences alone."""
