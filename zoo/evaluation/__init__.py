"""Metrics: arrays and strings in, numbers out; no model is ever seen here."""
