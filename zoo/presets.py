"""Pretrained models in folders: listed, and loaded by name or path."""

import pathlib

from zoo.files import write_json
from zoo.models.activity_recognizer import LRCNActivityRecognizer
from zoo.models.captioner import LRCNCaptioner
from zoo.models.preset_folder import FORMAT, METADATA, find_folder, read_json, shipped_folders
from zoo.models.role_recognizer import SemanticRoleRecognizer
from zoo.models.video_describer import LRCNVideoDescriber

CLASSES = (LRCNActivityRecognizer, LRCNCaptioner, SemanticRoleRecognizer, LRCNVideoDescriber)
TASKS = {model_class.task: model_class for model_class in CLASSES}


def presets():
    """Lists the presets that come with the package.

    Returns:
        Dict from name to the content of `metadata.json`: `task`, `data`, `scores`, `terms`, ...;
        and `megabytes`, the size of the folder.
    """
    found = {}
    for name, folder in shipped_folders().items():
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        found[name] = {**read_json(folder, METADATA), "megabytes": size / 1e6}
    return found


def from_preset(preset, task=None):
    """Loads a pretrained model of any task.

    Args:
        preset: Name of a preset of this package (see `presets`), or path of a folder that
            `save_to_preset` wrote.
        task: The task that is needed, a key of `TASKS`; None accepts any.

    Returns:
        `LRCNCaptioner`, `LRCNActivityRecognizer`, `LRCNVideoDescriber` or
        `SemanticRoleRecognizer` with its assets, see `zoo.models.task.Task`.

    Raises:
        ValueError: If there is no such preset, it is for another task, or its folder is
            incomplete or of a newer format.

    Example:

    ```python
    captioner = zoo.from_preset("lrcn_captioner_efficientnet_lite2_flickr8k_coco")
    captioner.caption("photo.jpg")
    ```
    """
    folder = find_folder(preset)
    metadata = read_json(folder, METADATA)
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
    return TASKS[metadata["task"]].from_preset(preset)


def read_metadata(preset):
    """Reads the metadata of a preset, without loading the model.

    Args:
        preset: Name or folder of a preset.

    Returns:
        Dict with `task`, `data`, `scores`, `scope`, ...

    Raises:
        ValueError: If the preset is unknown, or its folder is incomplete.
    """
    return read_json(find_folder(preset), METADATA)


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
    folder = find_folder(_preset_of_run(name))
    metadata = read_json(folder, METADATA)
    if metadata.get("task") != "image_captioning":
        raise ValueError(
            f"Expected a preset for image_captioning. Received: {name}, for {metadata.get('task')}"
        )
    write_json(folder / METADATA, {**metadata, "confidence": confidence.get_config()})
    return folder / METADATA


def _preset_of_run(name):
    """Returns the preset in the folder of a recipe's run; any other name as it is."""
    model = pathlib.Path(name) / "model"
    return model if model.exists() else name
