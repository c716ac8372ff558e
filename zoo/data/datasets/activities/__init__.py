"""Readers of data sets of videos with a label each."""
