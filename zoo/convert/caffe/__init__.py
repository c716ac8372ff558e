"""The authors' weights: what Caffe saved becomes what Keras has.

`caffemodel` reads the files, `layouts` knows how Caffe arranges the numbers of each kind of layer,
`cnns` and `captioners` build what a file holds, and `convert` makes a preset of it.
"""

from zoo.models.backbones.caffe_weights import read_caffemodel

__all__ = ["read_caffemodel"]
