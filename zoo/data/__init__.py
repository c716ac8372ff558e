"""Files on disk become tensors: pictures, captions, features, and readers of data sets."""
