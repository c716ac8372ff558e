"""What an exported describer of videos answers: from JPEG frames to sentences, in core ops.

A server merges requests of many clients into one batch, and fills short videos up with frames that
mean nothing, so every function here keeps its rows apart and believes `num_frames` alone.
"""

import json
import types

import tensorflow as tf

from zoo.data.images.decode import OK
from zoo.models.generation import MAX_WORDS
from zoo.serving.signatures.frames import (
    MAX_FRAMES,
    count_status,
    encode_rows,
    frame_specs,
    settings_table,
)
from zoo.serving.signatures.pictures import STATUS, a_picture
from zoo.serving.signatures.sentences import best_sentences, sampler_of, spoken


class DescriberSignatures(tf.Module):
    """The functions of an exported describer, and the weights that they use.

    Args:
        describer: `zoo.LRCNVideoDescriber` with a vocabulary, and in its `metadata` how it wants
            its `frames`, such as `zoo.from_preset` gives.

    Raises:
        ValueError: If the model has no vocabulary or sees no frames, does not say how it wants
            them, or wants more than a row may have.
    """

    served_as = "lrcn_video_describer"  # what clients ask for, unless it is given another name

    def __init__(self, describer):
        super().__init__()
        settings = getattr(describer, "metadata", {}).get("frames")
        if None in (settings, describer.frame_encoder, describer.vocabulary):
            raise ValueError(
                "An export turns frames into sentences: it needs a model with a frame encoder, a "
                "vocabulary and `metadata['frames']`, such as `zoo.from_preset` gives. One that is "
                "fed labels cannot be exported."
            )
        if settings["max_frames"] > MAX_FRAMES:
            raise ValueError(
                f"A row of a request has up to {MAX_FRAMES} frames; this model wants "
                f"{settings['max_frames']}: train it with --max-frames {MAX_FRAMES}."
            )
        # In a namespace, where TensorFlow does not look: of Keras's layers it would save copies.
        self.parts = types.SimpleNamespace(describer=describer, settings=settings)
        # What it finds from here: the variables that the functions use.
        self.weights = [variable.value for variable in describer.variables]
        self.sampler = sampler_of(describer)
        self.words = spoken(describer.vocabulary.words)
        self.settings = settings_table(settings)

    def signatures(self):
        """Dict from a signature's name to a function; batch first everywhere."""
        frames, num_frames = frame_specs()
        feature_dim = self.parts.describer.feature_dim
        features = tf.TensorSpec([None, None, feature_dim], tf.float32, name="features")
        wanted = {
            "serving_default": (self.describe, [frames, num_frames]),
            "features": (self.encode, [frames, num_frames]),
            "describe_features": (self.describe_features, [features, num_frames]),
            "settings": (self.look_up, [tf.TensorSpec([None], tf.string, name="key")]),
        }
        if self.parts.describer.recognizer is not None:
            wanted["roles"] = (self.label, [frames, num_frames])
        return {
            name: tf.function(function, input_signature=specs, autograph=False)
            for name, (function, specs) in wanted.items()
        }

    def save_assets(self, folder):
        """Writes the vocabulary, and the labels of the roles where the model reads labels."""
        describer = self.parts.describer
        describer.vocabulary.save(folder / "vocabulary.txt")
        if describer.roles is not None:
            text = json.dumps(describer.roles, indent=1, ensure_ascii=False)
            (folder / "roles.json").write_text(text + "\n", encoding="utf-8")

    def warm_up(self, rows):
        """Dict from an input's name to an array of so many rows, for requests that warm up."""
        return {
            "frames": tf.fill([rows, 1], a_picture()),
            "num_frames": tf.ones(rows, tf.int32),
            "features": tf.zeros((rows, 1, self.parts.describer.feature_dim)),
            "key": tf.fill([rows], "rate"),
        }

    def describe(self, frames, num_frames):
        """`frames` string `(B, T)` to the best sentences, best first."""
        features, status = self._look(frames, num_frames)
        return {**self._write(features, num_frames, status), "status": status}

    def encode(self, frames, num_frames):
        """Features of each frame, zeros behind the last one and in a bad row."""
        features, status = self._look(frames, num_frames)
        return {"features": features, "status": status}

    def describe_features(self, features, num_frames):
        """Features `(B, T, F)` to the best sentences, best first."""
        status, features = count_status(features, num_frames), features[:, :MAX_FRAMES]
        return {**self._write(features, num_frames, status), "status": status}

    def label(self, frames, num_frames):
        """The most likely label of each role, `(B, roles)`, and its marginal probability."""
        features, status = self._look(frames, num_frames)
        recognizer, roles = self.parts.describer.recognizer, self.parts.describer.roles
        outputs = recognizer.read(*self._at_least_one(features, num_frames))
        labels = recognizer.crf.most_likely(outputs["scores"])
        chosen = recognizer.crf.one_hot(labels) * outputs["probabilities"]
        parts = tf.split(chosen, [len(labels) for labels in roles.values()], axis=1)
        good = (status == STATUS[OK])[:, None]
        names = [
            tf.gather(tf.constant(own), labels[:, role]) for role, own in enumerate(roles.values())
        ]
        probabilities = tf.stack([tf.reduce_sum(part, axis=1) for part in parts], axis=1)
        return {
            "labels": tf.where(good, tf.stack(names, axis=1), ""),
            "probabilities": tf.where(good, probabilities, 0.0),
            "status": status,
        }

    def look_up(self, key):
        """How a client has to take frames from a video: JSON of each setting, or null."""
        return {"value": self.settings.lookup(key)}

    def _look(self, frames, num_frames):
        """Features `(B, T, F)`, T at most `MAX_FRAMES`, and each row's status, string `(B,)`."""
        encoder = self.parts.describer.frame_encoder
        return encode_rows(encoder, self.parts.settings, frames, num_frames)

    def _write(self, features, num_frames, status):
        """Sentences from features, none in a bad row."""
        describer = self.parts.describer
        seen = describer.read(*self._at_least_one(features, num_frames))
        decoded = describer.decoder.search(seen, self.sampler, MAX_WORDS, describer.constraints)
        return best_sentences(self.words, decoded, status == STATUS[OK])

    @staticmethod
    def _at_least_one(features, num_frames):
        """A row without frames is read as one frame of zeros; its status says that it has none."""
        features = tf.cond(
            tf.shape(features)[1] > 0,
            lambda: features,
            lambda: tf.pad(features, [[0, 0], [0, 1], [0, 0]]),
        )
        return features, tf.clip_by_value(num_frames, 1, MAX_FRAMES)
