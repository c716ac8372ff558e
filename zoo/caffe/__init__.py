"""The authors' weights: what Caffe saved becomes what Keras has.

`caffemodel` reads the files, `layouts` knows how Caffe arranges the numbers of each kind of layer,
`convert` makes the authors' models of them.
"""

from zoo.caffe.caffemodel import read_caffemodel

__all__ = ["read_caffemodel"]
