"""The base class of all models of this package: presets, assets and compile defaults."""

import contextlib
import json
import pathlib

import keras
import numpy as np

from zoo.files import write_json
from zoo.models import preset_folder
from zoo.models.preset_folder import CARD, CONFIG, FORMAT, METADATA, WEIGHTS


class Task(keras.Model):
    """A functional model that also keeps words, settings and facts about its training.

    Keras saves weights. A task also saves its assets, such as a vocabulary, in both forms of
    saving: `model.save("model.keras")` and `model.save_to_preset("folder")`.

    Attributes:
        task: Name of the task, a key of `zoo.presets.TASKS`.
        metadata: Dict that JSON can hold: `data`, `scores`, `terms`, ... of the training.
    """

    task = None

    # What a subclass defines.

    def check_words(self):
        """Raises a `ValueError` if the model has no words to save."""
        raise NotImplementedError

    def write_assets(self, folder):
        """Writes the assets of the model into a folder, a `pathlib.Path`."""
        raise NotImplementedError

    def read_assets(self, folder):
        """Reads the assets that `write_assets` wrote.

        Args:
            folder: `pathlib.Path`.

        Raises:
            ValueError: If a file does not fit the model.
        """
        raise NotImplementedError

    def describe_settings(self):
        """Returns a dict of the settings that belong to the metadata, such as `decoding`."""
        return {}

    def apply_settings(self, metadata):
        """Sets what `describe_settings` returned when the model was saved.

        Args:
            metadata: Dict.

        Raises:
            ValueError: If a setting is unknown or out of range.
        """

    def make_loss(self):
        """Returns the loss that `compile` uses by default, or None for that of the model."""

    # Presets

    @classmethod
    def from_preset(cls, preset):
        """Loads a pretrained model.

        Args:
            preset: Name of a preset of this package, see `zoo.presets.presets`, or path of a
                folder that `save_to_preset` wrote.

        Returns:
            A model of this class, with its assets.

        Raises:
            ValueError: If there is no such preset, it is for another task, or its folder is
                incomplete, damaged or of a newer format.

        Example:

        ```python
        captioner = zoo.LRCNCaptioner.from_preset("lrcn_captioner_efficientnet_lite2_flickr8k_coco")
        captioner.caption("photo.jpg")
        ```
        """
        folder = preset_folder.find_folder(preset)
        metadata = preset_folder.read_json(folder, METADATA)
        if metadata.get("format", 0) > FORMAT or metadata.get("task") != cls.task:
            raise ValueError(
                f"Expected a preset for {cls.task} of a format up to {FORMAT}. Received: {preset}, "
                f"a preset for {metadata.get('task')} of format {metadata.get('format')}. "
                "`lrcn presets` lists the presets of this package."
            )
        config = preset_folder.read_json(folder, CONFIG)
        try:
            model = cls.from_config(config)  # in Keras's safe mode: no lambdas
        except (TypeError, ValueError, KeyError) as error:
            raise ValueError(
                f"{folder / CONFIG} describes no model that this version of zoo can build: {error}"
            ) from error
        try:
            model.load_weights(folder / WEIGHTS)
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(
                f"The weights in {folder / WEIGHTS} do not fit {folder / CONFIG}, or are damaged: "
                f"{error}"
            ) from error
        model.metadata = metadata
        model.read_assets(folder / "assets")
        try:
            model.apply_settings(metadata)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{folder / METADATA}: {error}") from None
        return model

    def save_to_preset(self, folder, metadata=None, card=None, half_precision=True):
        """Saves the model so that `from_preset(folder)` loads it, here or on another machine.

        Args:
            folder: Folder to write. An earlier preset there is replaced when the new one is
                complete.
            metadata: Dict that JSON can hold: `data`, `scores`, `terms`, ...; `scope` is one
                sentence that `lrcn classify` prints with every answer. `decoding` replaces the
                settings of the model's sampler. None keeps the metadata of the model.
            card: Text of the model card, Markdown; None makes one of the metadata.
            half_precision: Whether matrices are saved as float16. Smaller weights, such as biases,
                keep their type. This halves the size, and rounds the weights.

        Raises:
            ValueError: If the model has no words, or the folder holds anything else.
        """
        self.check_words()
        metadata = self._full_metadata(metadata)
        with preset_folder.replace_folder(folder) as new_folder:
            (new_folder / "assets").mkdir()
            self.write_assets(new_folder / "assets")
            config = preset_folder.in_single_precision(self.get_config())
            write_json(new_folder / CONFIG, config)
            write_json(new_folder / METADATA, metadata)
            card = card or preset_folder.model_card(pathlib.Path(folder).name, metadata)
            (new_folder / CARD).write_text(card, encoding="utf-8")
            self.save_weights(new_folder / WEIGHTS)
            if half_precision:
                preset_folder.halve_weights(new_folder / WEIGHTS)

    def _full_metadata(self, metadata=None):
        facts = self.metadata if metadata is None else metadata
        full = {**facts, "format": FORMAT, "task": self.task}
        full |= self.describe_settings()
        if metadata is not None and "decoding" in metadata:
            full["decoding"] = metadata["decoding"]
        return {name: value for name, value in full.items() if value is not None}

    # Keras calls these two for the assets of a `.keras` file.

    def save_assets(self, dir_path):
        """Writes the assets into the folder that Keras gives."""
        folder = pathlib.Path(dir_path)
        self.write_assets(folder)
        write_json(folder / METADATA, self._full_metadata())

    def load_assets(self, dir_path):
        """Reads the assets from the folder that Keras gives."""
        folder = pathlib.Path(dir_path)
        metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        self.metadata = metadata
        self.read_assets(folder)
        self.apply_settings(metadata)

    # Training

    def compile(self, optimizer=None, loss=None, *, jit_compile=None, **options):
        """Configures the model for `fit`, with defaults for its task.

        Args:
            optimizer: Name or `keras.optimizers.Optimizer`. Defaults to Adam at a rate of 1e-3.
            loss: As for `keras.Model.compile`. Defaults to the loss of the task, the mean over
                the words, frames or videos that have a weight.
            jit_compile: As for `keras.Model.compile`. Defaults to `"auto"`, but to False on a CPU
                with TensorFlow: XLA takes several times as long there.
            **options: Further arguments of `keras.Model.compile`. `weighted_metrics` defaults to
                the accuracy where the default loss is used.
        """
        if optimizer is None:
            optimizer = keras.optimizers.Adam(1e-3)
        if loss is None:
            loss = self.make_loss()
            if loss is not None:
                options.setdefault("weighted_metrics", ["sparse_categorical_accuracy"])
        if jit_compile is None:
            jit_compile = "auto" if _compiles_well() else False
        super().compile(optimizer, loss, jit_compile=jit_compile, **options)

    def compile_from_config(self, config):
        """Compiles as a saved model was compiled; Keras calls it."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)


def _compiles_well():
    """Whether XLA is worth its time: on every backend but TensorFlow, and on a GPU."""
    return keras.backend.backend() != "tensorflow" or bool(keras.distribution.list_devices("gpu"))


def load_word_lines(path):
    """Reads a text file with one word or name a line."""
    return path.read_text(encoding="utf-8").splitlines()


def check_count(path, found, expected):
    """Raises a `ValueError` if an asset has another number of words than the model."""
    if found != expected:
        raise ValueError(
            f"{path} has {found} words for a model of {expected}. One of the files belongs to "
            "another preset."
        )


def compute_moments(features):
    """Computes the mean and the variance of each feature.

    Args:
        features: float `(..., features)`, or an iterable of such arrays, of any lengths.

    Returns:
        Two float64 arrays `(features,)`.
    """
    arrays = [features] if hasattr(features, "shape") else features
    count, total, squares = 0, 0.0, 0.0
    for array in arrays:
        vectors = np.asarray(array, "float64")
        vectors = vectors.reshape(-1, vectors.shape[-1])
        count += len(vectors)
        total = total + vectors.sum(axis=0)
        squares = squares + np.square(vectors).sum(axis=0)
    mean = total / count
    variance = np.maximum(squares / count - np.square(mean), 0)
    return mean, variance


@contextlib.contextmanager
def dtype_scope(dtype):
    """Sets the precision policy of the layers that are built in the block; None leaves it."""
    before = keras.config.dtype_policy()
    if dtype is not None:
        keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
