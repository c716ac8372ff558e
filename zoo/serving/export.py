"""From a trained model to a folder that a TensorFlow model server reads."""

import os
import pathlib
import shutil
import tempfile

import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from zoo.files import aside
from zoo.serving.signatures import CaptionerSignatures

BATCH_SIZES = (1, 2, 4, 8, 16, 32)  # warm-up; to max_batch_size of batching_parameters.txt
# A word that every vocabulary may lack: what counts is that the graph runs once.
WARM_UP = {
    "sentence": lambda n: tf.constant(["a photograph"] * n),
    "seed": lambda n: tf.zeros(n, tf.int64),
    "temperature": lambda n: tf.ones(n),
    "top_p": lambda n: tf.ones(n),
}


def export(captioner, saved_models, name="lrcn_captioner", card=None):
    """Writes `saved_models/<name>/<version>/`, the next free version.

    The version is written aside and renamed, so that a server that polls the folder never sees
    half a model. With it come the vocabulary, the model card, and requests with which the server
    warms up before it takes traffic.

    Args:
        captioner: `zoo.LRCNCaptioner` from `from_preset`.
        saved_models: Folder of all served models; its `models.config` is written anew.
        name: Name under which clients ask for the model.
        card: Text of the model card, or None.

    Returns:
        Path of the version.

    Raises:
        ValueError: If the model has no vocabulary or no image encoder, or the name is no plain
            file name.
    """
    if captioner.vocabulary is None or captioner.image_encoder is None:
        raise ValueError(
            "An export turns image bytes into words: it needs a model with an image encoder and "
            "a vocabulary, such as `zoo.from_preset` gives."
        )
    if not name or name != pathlib.PurePath(name).name or name.startswith("."):
        raise ValueError(f"A served model has a plain name, such as lrcn_captioner. Got {name!r}")
    base = pathlib.Path(saved_models) / name
    base.mkdir(parents=True, exist_ok=True)
    decoding = getattr(captioner, "metadata", {}).get("decoding", {})
    signatures = CaptionerSignatures(captioner, **decoding)
    # Not a number: servers pass it by.
    part = pathlib.Path(tempfile.mkdtemp(prefix=".aside-", dir=base))
    try:
        functions = signatures.signatures()
        tf.saved_model.save(signatures, part, signatures=functions)
        captioner.vocabulary.save(part / "assets" / "vocabulary.txt")
        (part / "assets.extra").mkdir()
        warm_up = part / "assets.extra" / "tf_serving_warmup_requests"
        _write_warm_up(warm_up, name, functions, signatures)
        if card is not None:
            (part / "README.md").write_text(card, encoding="utf-8")
        part.chmod(0o755)
        version = _take_next_version(part, base)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    write_models_config(saved_models)
    return version


def _take_next_version(part, base):
    while True:
        taken = [int(folder.name) for folder in base.iterdir() if folder.name.isdecimal()]
        version = base / str(max(taken, default=0) + 1)
        try:
            os.rename(part, version)  # fails where another export was faster
            return version
        except OSError:
            if not version.exists():
                raise


def _write_warm_up(path, name, functions, signatures):
    """Writes real requests, one for each signature and batch size."""
    picture = tf.cast(tf.random.stateless_uniform((64, 64, 3), (0, 0), 0, 256, tf.int32), tf.uint8)
    jpeg = tf.io.encode_jpeg(picture)
    inputs = {
        **WARM_UP,
        "image_bytes": lambda n: tf.fill([n], jpeg),
        "features": lambda n: tf.zeros((n, signatures.feature_dim)),
    }
    with tf.io.TFRecordWriter(str(path)) as records:
        for signature, function in functions.items():
            names = function.get_concrete_function().structured_input_signature[0]
            for size in BATCH_SIZES:
                request = predict_pb2.PredictRequest(
                    model_spec=model_pb2.ModelSpec(name=name, signature_name=signature)
                )
                for spec in names:
                    tensor = tf.make_tensor_proto(inputs[spec.name](size))
                    request.inputs[spec.name].CopyFrom(tensor)
                log = prediction_log_pb2.PredictionLog(
                    predict_log=prediction_log_pb2.PredictLog(request=request)
                )
                records.write(log.SerializeToString())


def write_models_config(saved_models, base_path="/models"):
    """Writes `models.config` for all models in a folder, as the server's container sees it."""
    saved_models = pathlib.Path(saved_models)
    config = model_server_config_pb2.ModelServerConfig()
    for folder in sorted(saved_models.iterdir()):
        if folder.is_dir() and any(f.name.isdecimal() for f in folder.iterdir()):
            config.model_config_list.config.add(
                name=folder.name,
                base_path=f"{base_path}/{folder.name}",
                model_platform="tensorflow",
            )
    with aside(saved_models / "models.config") as part:
        pathlib.Path(part).write_text(text_format.MessageToString(config), encoding="utf-8")
