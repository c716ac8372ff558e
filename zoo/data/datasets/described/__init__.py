"""Readers of data sets of videos with sentences."""
