"""The networks, in `keras` and `keras.ops` only: they run on every backend of Keras."""
