"""Training batches as `tf.data`, in an order that depends only on seed and epoch."""
