"""What an exported activity recogniser answers: from JPEG frames to activities, in core ops.

A server merges requests of many clients into one batch, and fills short clips up with frames that
mean nothing, so every function here keeps its rows apart and believes `num_frames` alone.
"""

import types

import tensorflow as tf

from zoo.data.images.decode import OK
from zoo.models.feature_statistics import MIN_NORM
from zoo.serving.signatures.frames import (
    MAX_FRAMES,
    count_status,
    encode_frames,
    encode_rows,
    frame_specs,
    settings_table,
)
from zoo.serving.signatures.pictures import STATUS, a_picture

BAD_STATE = "state: expected the one that was answered to the frame before"
FRAMES = "frames"  # feature of a tf.Example: a list of JPEGs


class RecognizerSignatures(tf.Module):
    """The functions of an exported activity recogniser, and the weights that they use.

    Args:
        recognizer: `zoo.LRCNActivityRecognizer` with class names, and in its `metadata` how it
            wants its `frames`, such as `zoo.from_preset` gives.

    Raises:
        ValueError: If the model has no frame encoder or no class names, or does not say how it
            wants its frames.
    """

    served_as = "lrcn_activity_recognizer"  # what clients ask for, unless given another name

    def __init__(self, recognizer):
        super().__init__()
        metadata = getattr(recognizer, "metadata", {})
        settings = metadata.get("frames")
        if None in (settings, recognizer.frame_encoder, recognizer.class_names):
            raise ValueError(
                "An export turns frames into activities: it needs a model with a frame encoder, "
                "class names and `metadata['frames']`, such as `zoo.from_preset` gives."
            )
        # In a namespace, where TensorFlow does not look: of Keras's layers it would save copies.
        self.parts = types.SimpleNamespace(recognizer=recognizer, settings=settings)
        # What it finds from here: the variables that the functions use.
        self.weights = [variable.value for variable in recognizer.variables]
        self.class_names = tf.constant(recognizer.class_names)
        self.state_sizes = [int(zeros.shape[1]) for zeros in recognizer.start(1)]
        own = {"class_names": recognizer.class_names, "scope": metadata.get("scope")}
        statistics = recognizer.feature_statistics
        if statistics is not None:
            own["feature_statistics"] = {
                "num_frames": statistics.num_frames,
                "threshold": statistics.threshold,
            }
        self.settings = settings_table({**own, **settings})

    def signatures(self):
        """Dict from a signature's name to a function; batch first everywhere."""
        clips = frame_specs()
        feature_dim = self.parts.recognizer.feature_dim
        wanted = {
            "serving_default": (self.classify_frames, clips),
            "features": (self.encode, clips),
            "classify_features": (
                self.classify_features,
                [tf.TensorSpec([None, None, feature_dim], tf.float32, name="features"), clips[1]],
            ),
            "step": (
                self.step,
                [
                    tf.TensorSpec([None], tf.string, name="frame"),
                    tf.TensorSpec([None], tf.bool, name="is_first"),
                    tf.TensorSpec([None, None], tf.float32, name="state"),
                ],
            ),
            "classify": (self.classify_examples, [tf.TensorSpec([None], tf.string, name="inputs")]),
            "settings": (self.look_up, [tf.TensorSpec([None], tf.string, name="key")]),
        }
        if self.parts.recognizer.feature_statistics is not None:
            wanted["compare_features"] = (self.compare_features, wanted["classify_features"][1])
        if not self.state_sizes:  # a baseline carries nothing from frame to frame
            del wanted["step"]
        return {
            name: tf.function(function, input_signature=specs, autograph=False)
            for name, (function, specs) in wanted.items()
        }

    def save_assets(self, folder):
        """Writes the names of the classes."""
        names = "".join(f"{name}\n" for name in self.parts.recognizer.class_names)
        (folder / "classes.txt").write_text(names, encoding="utf-8")

    def warm_up(self, rows):
        """Dict from an input's name to an array of so many rows, for requests that warm up."""
        frame = a_picture()
        example = tf.train.Example()
        example.features.feature[FRAMES].bytes_list.value.append(frame.numpy())
        return {
            "frames": tf.fill([rows, 1], frame),
            "num_frames": tf.ones(rows, tf.int32),
            "features": tf.zeros((rows, 1, self.parts.recognizer.feature_dim)),
            "frame": tf.fill([rows], frame),
            "is_first": tf.fill([rows], True),
            "state": tf.zeros((rows, 1)),
            "inputs": tf.fill([rows], example.SerializeToString()),
            "key": tf.fill([rows], "rate"),
        }

    def classify_frames(self, frames, num_frames):
        """`frames` string `(B, T)` to all activities, the most probable first."""
        features, status = encode_rows(*self._cnn(), frames, num_frames)
        return {**self._best(self._read(features, num_frames), status), "status": status}

    def encode(self, frames, num_frames):
        """Features of each frame, zeros behind the last one and in a bad row."""
        features, status = encode_rows(*self._cnn(), frames, num_frames)
        return {"features": features, "status": status}

    def classify_features(self, features, num_frames):
        """Features `(B, T, F)` to all activities, the most probable first."""
        status, features = count_status(features, num_frames), features[:, :MAX_FRAMES]
        return {**self._best(self._read(features, num_frames), status), "status": status}

    def compare_features(self, features, num_frames):
        """Features `(B, T, F)` of RGB frames to the distance `(B,)` to the training videos."""
        status, features = count_status(features, num_frames), features[:, :MAX_FRAMES]
        statistics = self.parts.recognizer.feature_statistics
        there = tf.sequence_mask(num_frames, tf.shape(features)[1], tf.float32)[..., None]
        count = tf.cast(tf.maximum(num_frames, 1), tf.float32)[:, None]
        mean = tf.reduce_sum(there * features, axis=1) / count  # (B, F)
        variance = tf.reduce_sum(there * tf.square(features - mean[:, None]), axis=1) / count
        summary = tf.concat([mean, tf.sqrt(variance)], axis=1)  # (B, 2 F)
        scores = (summary - statistics.mean) / statistics.scale
        score = tf.sqrt(tf.reduce_mean(tf.square(scores), axis=1))
        norm = tf.maximum(tf.norm(mean, axis=1, keepdims=True), MIN_NORM)
        cosines = tf.matmul(mean / norm, statistics.neighbors, transpose_b=True)  # (B, neighbors)
        nearest = 1 - tf.reduce_max(cosines, axis=1)
        distance = tf.reduce_max(tf.stack([score, nearest], axis=1) / statistics.usual, axis=1)
        return {"distance": tf.where(status == STATUS[OK], distance, 0.0), "status": status}

    def step(self, frame, is_first, state):
        """Reads one more frame of each video; after a bad one the state is what it was."""
        recognizer = self.parts.recognizer
        features, number = encode_frames(*self._cnn(), frame)
        size, given = sum(self.state_sizes), tf.shape(state)[1]
        status = tf.gather(STATUS, number)
        status = tf.where(is_first | (given == size), status, BAD_STATE)
        # A first frame needs no state: whatever stands there, of any width, is not looked at.
        state = tf.pad(state[:, :size], [[0, 0], [0, tf.maximum(size - given, 0)]])
        state = tf.ensure_shape(tf.where(is_first[:, None], 0.0, state), (None, size))
        logits, new = recognizer.read(features, tf.split(state, self.state_sizes, axis=1))
        good = (status == STATUS[OK])[:, None]
        new = tf.where(good, tf.concat(new, axis=1), state)
        return {**self._best(tf.nn.softmax(logits), status), "state": new, "status": status}

    def classify_examples(self, inputs):
        """Serialized `tf.Example`s to `classes` and `scores`, for the Classify call."""
        rows, features = tf.shape(inputs)[0], {FRAMES: tf.io.RaggedFeature(tf.string)}

        def read(row, one):
            size = tf.size(tf.io.parse_single_example(one, features)[FRAMES])
            return row, size  # or nobody would need it to be parsed

        # Bytes that are no example would fail the whole batch, so they are found out before.
        good = tf.data.Dataset.from_tensor_slices((tf.range(rows), inputs))
        good = good.map(read, num_parallel_calls=tf.data.AUTOTUNE).ignore_errors()
        good = good.concatenate(tf.data.Dataset.from_tensors((rows, 0)))
        where, _ = good.batch(tf.cast(rows, tf.int64) + 1).get_single_element()
        where = where[:-1, None]
        good = tf.scatter_nd(where, tf.ones_like(where[:, 0]), [rows]) > 0
        frames = tf.io.parse_example(tf.where(good, inputs, ""), features)[FRAMES]
        num_frames = tf.cast(frames.row_lengths(), tf.int32)
        answer = self.classify_frames(frames.to_tensor(""), num_frames)
        return {"classes": answer["labels"], "scores": answer["probabilities"]}

    def look_up(self, key):
        """How a client has to cut a video, and the classes: JSON of each setting, or null."""
        return {"value": self.settings.lookup(key)}

    def _cnn(self):
        return self.parts.recognizer.frame_encoder, self.parts.settings

    def _read(self, features, num_frames):
        """Mean probability of each class over the first `num_frames`, `(B, classes)`."""
        recognizer = self.parts.recognizer
        rows, length = tf.shape(features)[0], tf.shape(features)[1]

        def read(t, state, total):
            logits, state = recognizer.read(features[:, t], state)
            there = (t < num_frames)[:, None]
            return t + 1, state, total + tf.where(there, tf.nn.softmax(logits), 0.0)

        # Step by step with the cell: what Keras's layer becomes depends on the machine.
        *_, total = tf.while_loop(
            lambda t, *_: t < length,
            read,
            [0, recognizer.start(rows), tf.zeros((rows, recognizer.num_classes))],
        )
        return total / tf.cast(tf.maximum(num_frames, 1), tf.float32)[:, None]

    def _best(self, probabilities, status):
        """All classes of each row, best first; empty and 0 in a bad one."""
        probabilities, order = tf.math.top_k(probabilities, self.parts.recognizer.num_classes)
        good = (status == STATUS[OK])[:, None]
        return {
            "labels": tf.where(good, tf.gather(self.class_names, order), ""),
            "probabilities": tf.where(good, probabilities, 0.0),
        }
