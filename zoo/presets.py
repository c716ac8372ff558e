"""Trained models in folders: saved, listed and loaded by name or path."""

import json
import os
import pathlib
import shutil
import tempfile
from typing import NamedTuple

import h5py
import numpy as np

from zoo.decoding import read_decoding
from zoo.files import write_json
from zoo.models.activity_recognizer import ActivityRecognizer
from zoo.models.captioner import LRCNCaptioner
from zoo.models.confidence import CaptionConfidence
from zoo.models.feature_statistics import FeatureStatistics
from zoo.models.role_recognizer import SemanticRoleRecognizer
from zoo.models.video_describer import LRCNVideoDescriber
from zoo.text.vocabulary import UNKNOWN, Vocabulary

SHIPPED = pathlib.Path(__file__).parent / "preset_files"
FORMAT = 1  # of the folder; raised when an older program could not read it
FILES = ("metadata.json", "config.json", "model.weights.h5")
PRIOR = "assets/prior_features.npy"  # of a captioner: features of other images, `(images, F)`
STATISTICS = "assets/feature_statistics.npz"  # of a recognizer: features of training videos
CONFIDENCE = "confidence"  # key of a captioner's metadata: `CaptionConfidence.get_config`
ROLES = "assets/roles.json"  # of a model that labels semantic roles: role -> its labels


class _Task(NamedTuple):
    model: type
    words: str  # the attribute that holds the words it speaks
    asset: str  # the file that keeps them, one a line


TASKS = {
    "activity_recognition": _Task(ActivityRecognizer, "class_names", "assets/classes.txt"),
    "image_captioning": _Task(LRCNCaptioner, "vocabulary", "assets/vocabulary.txt"),
    "semantic_roles": _Task(SemanticRoleRecognizer, "roles", ROLES),
    "video_description": _Task(LRCNVideoDescriber, "vocabulary", "assets/vocabulary.txt"),
}


def presets():
    """Lists the presets that come with the package.

    Returns:
        Dict from name to what `metadata.json` says: `task`, `data`, `scores`, `terms`, ...; and
        `megabytes`, the size of the folder.
    """
    found = {}
    for folder in sorted(SHIPPED.glob("*/metadata.json")):
        folder = folder.parent
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        found[folder.name] = {**_read_json(folder, "metadata.json"), "megabytes": size / 1e6}
    return found


def from_preset(preset, task=None):
    """Loads a trained model, with its vocabulary, the names of its classes, or its roles.

    Args:
        preset: Name of a preset of this package (see `presets`), or path of a folder that
            `save_to_preset` wrote.
        task: What it has to be for, a key of `TASKS`; None for anything.

    Returns:
        `LRCNCaptioner` or `LRCNVideoDescriber` with `vocabulary` and the `sampler` that it was
        scored with, a captioner also with its `confidence` if one was fitted, `ActivityRecognizer`
        with `class_names` and, where the preset has them, `feature_statistics`, or
        `SemanticRoleRecognizer` with `roles`; each with `metadata`, a dict.

    Raises:
        ValueError: If there is no such preset, it is for another task, or its folder is
            incomplete or of a newer format.

    Example:

    ```python
    captioner = zoo.from_preset("lrcn_captioner_efficientnet_lite2_flickr8k_coco")
    sentences = captioner.caption(images)
    ```
    """
    folder = _find(preset)
    metadata = _read_json(folder, "metadata.json")
    if metadata.get("format", 0) > FORMAT or metadata.get("task") not in TASKS:
        raise ValueError(
            f"{folder} is a preset of format {metadata.get('format')} for the task "
            f"{metadata.get('task')!r}; this version of zoo reads formats up to {FORMAT} and the "
            f"tasks {list(TASKS)}. Upgrade zoo."
        )
    if task not in (None, metadata["task"]):
        raise ValueError(
            f"{preset} is a preset for {metadata['task']}, and one for {task} is needed here. "
            "`lrcn presets` lists those that come along."
        )
    config = _read_json(folder, "config.json")
    task = TASKS[metadata["task"]]
    try:
        model = task.model.from_config(config)  # in Keras's safe mode: no lambdas
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(
            f"{folder / 'config.json'} describes no model that this version of zoo can build: "
            f"{error}"
        ) from error
    weights = folder / "model.weights.h5"
    try:
        model.load_weights(weights)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"The weights in {weights} do not fit {folder / 'config.json'}, or are damaged: {error}"
        ) from error
    model.metadata = metadata
    if isinstance(model, ActivityRecognizer):
        model.class_names = (folder / task.asset).read_text(encoding="utf-8").splitlines()
        _check_words(folder, len(model.class_names), model.num_classes)
        if (folder / STATISTICS).exists():
            model.feature_statistics = _load_statistics(folder / STATISTICS, model.feature_dim)
        return model
    if (folder / ROLES).exists():
        model.roles = _read_json(folder, ROLES)
        _check_words(folder, [len(labels) for labels in model.roles.values()], model.num_labels)
        if getattr(model, "recognizer", None) is not None:
            model.recognizer.roles = model.roles
    if isinstance(model, SemanticRoleRecognizer):
        return model
    model.vocabulary = Vocabulary.load(folder / task.asset)
    _check_words(folder, len(model.vocabulary), model.decoder.vocabulary_size)
    if (folder / PRIOR).exists():
        prior = np.load(folder / PRIOR, allow_pickle=False)
        if prior.ndim != 2 or prior.shape[1] != model.feature_dim:
            raise ValueError(
                f"{folder / PRIOR} has features of shape {prior.shape}, for a model that takes "
                f"{model.feature_dim} an image."
            )
        model.prior_features = prior.astype("float32")
    try:
        decoding = metadata.get("decoding", {})
        model.sampler, model.constraints = read_decoding(decoding, (UNKNOWN,))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder / 'metadata.json'}, decoding: {error}") from None
    if isinstance(model, LRCNCaptioner) and CONFIDENCE in metadata:
        try:
            model.confidence = CaptionConfidence.from_config(metadata[CONFIDENCE])
        except (TypeError, ValueError) as error:
            raise ValueError(f"{folder / 'metadata.json'}, {CONFIDENCE}: {error}") from None
    return model


def read_metadata(preset):
    """Reads what a preset says about itself, without loading the model.

    Args:
        preset: Name or folder of a preset.

    Returns:
        Dict with `task`, `data`, `scores`, `scope`, ...

    Raises:
        ValueError: If the preset is unknown, or its folder is incomplete.
    """
    return _read_json(_find(preset), "metadata.json")


def from_run(name, task=None):
    """Loads a preset by name or folder, as `from_preset` does, or the model of a recipe's run."""
    return from_preset(_preset_of_run(name), task)


def save_confidence(name, confidence):
    """Stores a fitted confidence in the preset of a captioner; all else stays as it is.

    Args:
        name: Name or folder of a preset, or folder of a recipe's run.
        confidence: `zoo.models.confidence.CaptionConfidence` of this very model.

    Returns:
        Path of the file that changed, `metadata.json`.

    Raises:
        ValueError: If the preset is unknown, or is not a captioner.
    """
    folder = _find(_preset_of_run(name))
    metadata = _read_json(folder, "metadata.json")
    if metadata.get("task") != "image_captioning":
        raise ValueError(
            f"Expected a preset for image_captioning. Received: {name}, for {metadata.get('task')}"
        )
    write_json(folder / "metadata.json", {**metadata, CONFIDENCE: confidence.get_config()})
    return folder / "metadata.json"


def save_to_preset(model, folder, metadata=None, card=None, half_precision=True):
    """Saves a model so that `from_preset(folder)` loads it, here or on another machine.

    Args:
        model: `LRCNCaptioner` or `LRCNVideoDescriber` with a `vocabulary`, `ActivityRecognizer`
            with `class_names`, or `SemanticRoleRecognizer` with `roles`.
        folder: Folder to write. An earlier preset there goes when the new one is whole.
        metadata: Dict that JSON can hold: `data`, `scores`, `terms`, `decoding`, ...; `scope` is
            one sentence that `lrcn classify` prints with every answer.
        card: Text of the model card, Markdown; None makes one of the metadata.
        half_precision: Whether matrices are kept in half precision, and only what is smaller
            (biases, statistics) as it is: half the size, but not the same numbers.

    Raises:
        ValueError: If the model has no words, or the folder holds something else.
    """
    folder = pathlib.Path(folder)
    name, task = next(item for item in TASKS.items() if isinstance(model, item[1].model))
    words = getattr(model, task.words)
    if words is None:
        raise ValueError(
            f"A preset speaks words, and this model has no {task.words}: set `model.{task.words}`."
        )
    check_folder(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = pathlib.Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        (aside / "assets").mkdir()
        if getattr(model, "roles", None) is not None:
            write_json(aside / ROLES, model.roles)
        if isinstance(words, Vocabulary):
            words.save(aside / task.asset)
        elif task.asset != ROLES:
            lines = "".join(f"{word}\n" for word in words)
            (aside / task.asset).write_text(lines, encoding="utf-8")
        if getattr(model, "prior_features", None) is not None:
            np.save(aside / PRIOR, model.prior_features.astype("float16"))
        if getattr(model, "feature_statistics", None) is not None:
            model.feature_statistics.save(aside / STATISTICS)
        write_json(aside / "config.json", _in_single_precision(model.get_config()))
        metadata = {**(metadata or {}), "format": FORMAT, "task": name}
        metadata.pop(CONFIDENCE, None)  # the model's own counts, which fits its weights
        if getattr(model, "confidence", None) is not None:
            metadata[CONFIDENCE] = model.confidence.get_config()
        write_json(aside / "metadata.json", metadata)
        card = card or model_card(folder.name, metadata)
        (aside / "README.md").write_text(card, encoding="utf-8")
        model.save_weights(aside / "model.weights.h5")
        if half_precision:
            os.rename(aside / "model.weights.h5", aside / "full.weights.h5")
            _halve(aside / "full.weights.h5", aside / "model.weights.h5")
            (aside / "full.weights.h5").unlink()
        aside.chmod(0o755)
        _put_in_place(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def model_card(name, metadata):
    """Writes what a user should know of a model before using it.

    Args:
        name: Name of the model.
        metadata: Dict of strings `about`, `scope`, `data`, `terms`, `limits` and `command`; `seed`;
            `decoding` and `scores`, dicts. What is missing is left out.

    Returns:
        The card, Markdown.
    """
    parts = [f"# {name}", metadata.get("about"), metadata.get("scope")]
    for title, key in (("Data", "data"), ("Terms", "terms"), ("Limits", "limits")):
        if metadata.get(key):
            parts.append(f"**{title}.** {metadata[key]}")
    if metadata.get("unlike_training"):
        counted = metadata["unlike_training"]
        parts.append(
            "**Other videos.** Videos that are unlike the training videos are marked. Held-out "
            f"videos that are marked: {counted['held_out_marked']} of {counted['held_out_videos']}."
        )
    if metadata.get("command"):
        seed = f", seed {metadata['seed']}" if "seed" in metadata else ""
        parts.append(f"**Training**{seed}.\n\n```\n{metadata['command']}\n```")
    if metadata.get("decoding"):
        parts.append(f"**Decoding.** Beam search: {metadata['decoding']}.")
    scores = {k: v for k, v in metadata.get("scores", {}).items() if isinstance(v, float)}
    if scores:
        rows = [f"| {name} | {value:.4f} |" for name, value in scores.items()]
        parts.append("\n".join(["| score | |", "|---|---|", *rows]))
    return "\n\n".join(part for part in parts if part) + "\n"


def check_folder(folder):
    """Refuses to replace a folder that holds more, or something else, than a preset.

    Raises:
        ValueError: If it does.
    """
    folder = pathlib.Path(folder)
    if not folder.exists() or not any(folder.iterdir()):
        return
    files = {str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir()}
    ours = "metadata.json" in files and _read_json(folder, "metadata.json").get("task") in TASKS
    assets = {task.asset for task in TASKS.values()}
    if not ours or not files <= {*FILES, *assets, PRIOR, ROLES, STATISTICS, "README.md"}:
        raise ValueError(
            f"{folder} holds something else than a preset of this package, or more: "
            f"{', '.join(sorted(files)[:20])}{', ...' if len(files) > 20 else ''}. Choose another "
            "folder."
        )


def _in_single_precision(config):
    """Replaces the mixed precision of a training run by float32 in a model's configuration.

    Without this, a model that was trained in bfloat16 also computes in bfloat16 where it is
    loaded, which takes several times as long on a processor without bfloat16 instructions.
    """
    if isinstance(config, dict):
        return {key: _in_single_precision(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return [_in_single_precision(value) for value in config]
    if config in ("mixed_bfloat16", "mixed_float16", "bfloat16", "float16"):
        return "float32"
    return config


def _preset_of_run(name):
    """Returns the preset in the folder of a recipe's run; any other name as it is."""
    model = pathlib.Path(name) / "model"
    return model if model.exists() else name


def _put_in_place(aside, folder):
    """Gives a finished folder its name; an earlier one of that name goes only after that."""
    if not folder.exists():
        os.rename(aside, folder)
        return
    earlier = aside.with_name(f"{aside.name}.earlier")
    os.rename(folder, earlier)
    try:
        os.rename(aside, folder)
    except OSError:
        os.rename(earlier, folder)
        raise
    shutil.rmtree(earlier)


def _find(preset):
    shipped = presets()
    folder = SHIPPED / preset if preset in shipped else pathlib.Path(preset)
    missing = [name for name in FILES if not (folder / name).exists()]
    if not missing:
        task = TASKS.get(_read_json(folder, "metadata.json").get("task"))
        missing = [task.asset] if task and not (folder / task.asset).exists() else []
    if missing:
        raise ValueError(
            f"{str(preset)!r} is neither a preset of this package ({', '.join(shipped)}) nor a "
            f"preset's folder: it lacks {', '.join(missing)}."
        )
    return folder


def _load_statistics(path, feature_dim):
    statistics = FeatureStatistics.load(path)
    if statistics.feature_dim != feature_dim:
        raise ValueError(
            f"{path} has statistics of {statistics.feature_dim} features, for a model of "
            f"{feature_dim}. One of the files belongs to another preset."
        )
    return statistics


def _check_words(folder, found, expected):
    if found != expected:
        raise ValueError(
            f"{folder} has {found} words for a model of {expected}. One of the files belongs to "
            "another preset."
        )


def _halve(source, target):
    """Copies a weights file with every matrix as float16."""

    def copy(name, item):
        if isinstance(item, h5py.Group):
            group = outgoing.require_group(name)
        else:
            array = item[()]
            if array.ndim > 1 and array.dtype == np.float32:
                array = array.astype("float16")
            options = {"compression": "gzip"} if array.ndim else {}
            group = outgoing.create_dataset(name, data=array, **options)
        for key, value in item.attrs.items():
            group.attrs[key] = value

    with h5py.File(source, "r") as incoming, h5py.File(target, "w") as outgoing:
        incoming.visititems(copy)


def _read_json(folder, name):
    try:
        return json.loads((folder / name).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{folder / name} is not JSON: {error}") from None
