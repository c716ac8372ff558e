"""What exported models answer: the signatures of each task, in core TensorFlow ops."""
