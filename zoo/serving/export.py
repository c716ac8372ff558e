"""From a trained model to a folder that a TensorFlow model server reads."""

import os
import pathlib
import shutil
import tempfile

import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from zoo.files import aside
from zoo.models.activity_recognizer import LRCNActivityRecognizer
from zoo.models.captioner import LRCNCaptioner
from zoo.models.preset_folder import model_card
from zoo.models.video_describer import LRCNVideoDescriber
from zoo.presets import from_run
from zoo.serving.signatures.captioner import CaptionerSignatures
from zoo.serving.signatures.describer import DescriberSignatures
from zoo.serving.signatures.recognizer import RecognizerSignatures
from zoo.serving.signatures.retrieval import RetrievalSignatures

BATCH_SIZES = (1, 2, 4, 8, 16, 32)  # warm-up; to max_batch_size of batching_parameters.txt
SIGNATURES = {
    LRCNCaptioner: CaptionerSignatures,
    LRCNActivityRecognizer: RecognizerSignatures,
    LRCNVideoDescriber: DescriberSignatures,
}
CLASSIFY = "tensorflow/serving/classify"  # method of signatures that the Classify call may use
INPUTS = "inputs"  # what they read: serialized examples


def export(model, saved_models, name=None, card=None, for_retrieval=False):
    """Writes `saved_models/<name>/<version>/`, the next free version.

    The version is written aside and renamed, so that a server that polls the folder never sees
    half a model. With it come the vocabulary or the names of the classes, the model card, and
    requests with which the server warms up before it takes traffic.

    Args:
        model: What `from_preset` gives: `zoo.LRCNCaptioner`, `zoo.LRCNActivityRecognizer` or
            `zoo.LRCNVideoDescriber`.
        saved_models: Folder of all served models; its `models.config` is written anew.
        name: Name under which clients ask for the model; None for `lrcn_captioner`,
            `lrcn_activity_recognizer` or `lrcn_video_describer`.
        card: Text of the model card, or None.
        for_retrieval: Whether a captioner is to rank and not to write; then the name is
            `lrcn_retrieval` unless another is given.

    Returns:
        Path of the version.

    Raises:
        ValueError: If the model lacks what an export needs, or the name is no plain file name.
    """
    answers = next((found for kind, found in SIGNATURES.items() if isinstance(model, kind)), None)
    if answers is None:
        kinds = ", ".join(kind.__name__ for kind in SIGNATURES)
        raise ValueError(f"What can be exported is one of {kinds}. Got {type(model).__name__}.")
    signatures = RetrievalSignatures(model) if for_retrieval else answers(model)
    name = name or signatures.served_as
    if name != pathlib.PurePath(name).name or name.startswith("."):
        raise ValueError(f"A served model has a plain name, such as lrcn_captioner. Got {name!r}")
    base = pathlib.Path(saved_models) / name
    base.mkdir(parents=True, exist_ok=True)
    # Not a number: servers pass it by.
    part = pathlib.Path(tempfile.mkdtemp(prefix=".aside-", dir=base))
    try:
        functions = signatures.signatures()
        tf.saved_model.save(signatures, part, signatures=functions)
        _name_methods(part, functions)
        (part / "assets").mkdir(exist_ok=True)
        signatures.save_assets(part / "assets")
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


def export_preset(preset, saved_models, name=None, for_retrieval=False):
    """Exports a model by name or folder, with its card.

    Args:
        preset: Name or folder of a preset, or folder of a recipe's run.
        saved_models: Like `name` and `for_retrieval`: see `export`.

    Returns:
        Path of the version.
    """
    model = from_run(preset)
    card = model_card(pathlib.Path(preset).name, model.metadata)
    return export(model, saved_models, name, card, for_retrieval)


def _name_methods(folder, functions):
    """Says of signatures that read examples that they are for the Classify call."""
    file = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for name, function in functions.items():
        if [spec.name for spec in function.input_signature] == [INPUTS]:
            model.meta_graphs[0].signature_def[name].method_name = CLASSIFY
    file.write_bytes(model.SerializeToString(deterministic=True))


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
    with tf.io.TFRecordWriter(str(path)) as records:
        for size in BATCH_SIZES:
            inputs = signatures.warm_up(size)
            for signature, function in functions.items():
                request = predict_pb2.PredictRequest(
                    model_spec=model_pb2.ModelSpec(name=name, signature_name=signature)
                )
                for spec in function.input_signature:
                    request.inputs[spec.name].CopyFrom(tf.make_tensor_proto(inputs[spec.name]))
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
