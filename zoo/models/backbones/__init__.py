"""Image encoders: the paper's CNNs, EfficientNet-Lite, and any Keras network.

Every encoder takes float32 RGB in 0..255 and scales it itself, so that data, recipes and servers
need not know which encoder they feed.
"""

from zoo.models.backbones.caffe_nets import FLOW_MEAN_PIXEL, caffenet, caffenet_hybrid, vgg16
from zoo.models.backbones.digit_cnns import digit_cnn, small_cnn
from zoo.models.backbones.efficientnet_lite import (
    efficientnet_lite0,
    efficientnet_lite1,
    efficientnet_lite2,
)
from zoo.models.backbones.image_encoder import (
    check_image_encoder,
    encoder_config,
    encoder_from_config,
    image_encoder,
)
from zoo.models.layers.preprocess import Preprocess

__all__ = [
    "FLOW_MEAN_PIXEL",
    "Preprocess",
    "caffenet",
    "caffenet_hybrid",
    "check_image_encoder",
    "digit_cnn",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "encoder_config",
    "encoder_from_config",
    "image_encoder",
    "small_cnn",
    "vgg16",
]
