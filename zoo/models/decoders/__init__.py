"""Decoders of words: LSTMs that run over whole sentences, or one word at a time."""
