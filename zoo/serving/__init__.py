"""Trained models on a model server: export, server, client."""
