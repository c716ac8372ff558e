"""Weights of other programs become presets."""
