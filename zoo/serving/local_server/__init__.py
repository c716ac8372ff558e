"""A model server for one machine, in the protocol of TensorFlow Serving."""
