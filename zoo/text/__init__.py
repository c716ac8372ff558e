"""Words and sentences: the vocabulary, and tokenization in Python and in TensorFlow."""
