"""LRCN in Keras: recurrent networks on convolutional features, for videos and photographs."""

from zoo.models.captioner import LRCNCaptioner, lrcn_captioner

__all__ = ["LRCNCaptioner", "from_preset", "lrcn_captioner"]


def __getattr__(name):
    # Reading presets asks for more packages than building a model, so it waits until wanted.
    if name == "from_preset":
        from zoo.presets import from_preset

        return from_preset
    raise AttributeError(f"module 'zoo' has no attribute {name!r}")
