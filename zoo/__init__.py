"""LRCN in Keras: recurrent networks on convolutional features, for videos and photographs."""

import importlib
import pathlib
import sys

__version__ = "0.1.0"

_MODULES = {
    "LRCNActivityRecognizer": "zoo.models.activity_recognizer",
    "LRCNCaptioner": "zoo.models.captioner",
    "LRCNVideoDescriber": "zoo.models.video_describer",
    "SemanticRoleRecognizer": "zoo.models.role_recognizer",
    "from_preset": "zoo.presets",
    "lrcn_activity_recognizer": "zoo.models.activity_recognizer",
    "lrcn_captioner": "zoo.models.captioner",
    "lrcn_video_describer": "zoo.models.video_describer",
    "semantic_role_recognizer": "zoo.models.role_recognizer",
    "single_frame_recognizer": "zoo.models.activity_recognizer",
}
__all__ = ["__version__", *_MODULES]


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__():
    return __all__


# Importing zoo registers every model and layer, so that `keras.saving.load_model` finds them. Only
# the command `lrcn` does not wait for Keras here: each of its commands imports what it needs.
if pathlib.Path(sys.argv[0] if sys.argv else "").name not in ("lrcn", "lrcn.exe"):
    import zoo.models.activity_recognizer
    import zoo.models.backbones
    import zoo.models.captioner
    import zoo.models.video_describer  # noqa: F401
