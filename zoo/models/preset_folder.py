"""The folder of a preset: how it is found, read and written."""

import contextlib
import json
import os
import pathlib
import shutil
import tempfile

import h5py
import numpy as np

SHIPPED = pathlib.Path(__file__).parents[1] / "preset_files"
FORMAT = 1  # of the folder; it is raised when an older version of zoo cannot read it
METADATA = "metadata.json"
CONFIG = "config.json"
WEIGHTS = "model.weights.h5"
CARD = "README.md"
FILES = (METADATA, CONFIG, WEIGHTS)  # every preset has them
ASSETS = (  # a preset has those of its task, in the folder "assets"
    "classes.txt",
    "feature_statistics.npz",
    "prior_features.npy",
    "roles.json",
    "vocabulary.txt",
)
TASK_ASSETS = {  # the asset that no preset of a task lacks
    "activity_recognition": "classes.txt",
    "image_captioning": "vocabulary.txt",
    "semantic_roles": "roles.json",
    "video_description": "vocabulary.txt",
}
HALF_PRECISION = ("mixed_bfloat16", "mixed_float16", "bfloat16", "float16")


def shipped_folders():
    """Returns a dict from the name of each preset of this package to its folder."""
    return {file.parent.name: file.parent for file in sorted(SHIPPED.glob(f"*/{METADATA}"))}


def find_folder(preset):
    """Finds the folder of a preset.

    Args:
        preset: Name of a preset of this package, or path of a folder.

    Returns:
        `pathlib.Path`.

    Raises:
        ValueError: If there is no such preset, or the folder is incomplete.
    """
    shipped = shipped_folders()
    folder = shipped.get(preset) or pathlib.Path(preset)
    missing = [name for name in FILES if not (folder / name).exists()]
    if not missing:
        asset = TASK_ASSETS.get(read_json(folder, METADATA).get("task"))
        if asset and not (folder / "assets" / asset).exists():
            missing = [f"assets/{asset}"]
    if missing:
        raise ValueError(
            f"{str(preset)!r} is neither a preset of this package ({', '.join(shipped)}) nor a "
            f"preset's folder: it lacks {', '.join(missing)}."
        )
    return folder


def read_json(folder, name):
    """Reads a JSON file of a preset; damage raises a `ValueError` that names the file."""
    try:
        return json.loads((folder / name).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{folder / name} is not JSON: {error}") from None


def check_folder(folder):
    """Refuses to replace a folder that holds anything but a preset.

    Raises:
        ValueError: If it does.
    """
    folder = pathlib.Path(folder)
    if not folder.exists() or not any(folder.iterdir()):
        return
    files = {str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir()}
    is_preset = METADATA in files and read_json(folder, METADATA).get("task") in TASK_ASSETS
    known = {*FILES, CARD, *(f"assets/{name}" for name in ASSETS)}
    if not is_preset or not files <= known:
        raise ValueError(
            f"{folder} holds something else than a preset of this package, or more: "
            f"{', '.join(sorted(files)[:20])}{', ...' if len(files) > 20 else ''}. Choose another "
            "folder."
        )


@contextlib.contextmanager
def replace_folder(folder):
    """Yields an empty folder that takes the place of `folder` when the block is complete.

    If the block fails, `folder` stays as it was and nothing else remains.
    """
    folder = pathlib.Path(folder)
    check_folder(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    new_folder = pathlib.Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield new_folder
        new_folder.chmod(0o755)
        _rename_folder(new_folder, folder)
    finally:
        shutil.rmtree(new_folder, ignore_errors=True)


def _rename_folder(new_folder, folder):
    """Renames a finished folder; an earlier one of that name is deleted only after that."""
    if not folder.exists():
        os.rename(new_folder, folder)
        return
    earlier = new_folder.with_name(f"{new_folder.name}.earlier")
    os.rename(folder, earlier)
    try:
        os.rename(new_folder, folder)
    except OSError:
        os.rename(earlier, folder)
        raise
    shutil.rmtree(earlier)


def halve_weights(path):
    """Rewrites a weights file with every matrix as float16."""

    def copy(name, item):
        if isinstance(item, h5py.Group):
            group = target.require_group(name)
        else:
            array = item[()]
            if array.ndim > 1 and array.dtype == np.float32:
                array = array.astype("float16")
            options = {"compression": "gzip"} if array.ndim else {}
            group = target.create_dataset(name, data=array, **options)
        for key, value in item.attrs.items():
            group.attrs[key] = value

    full = path.with_name(f"full-{path.name}")
    os.rename(path, full)
    with h5py.File(full, "r") as source, h5py.File(path, "w") as target:
        source.visititems(copy)
    full.unlink()


def in_single_precision(config):
    """Replaces the mixed precision of a training run by float32 in a model's configuration.

    Without this, a model that was trained in bfloat16 also computes in bfloat16 where it is
    loaded, which takes several times as long on a processor without bfloat16 instructions.
    """
    if isinstance(config, dict):
        return {key: in_single_precision(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [in_single_precision(value) for value in config]
    if config in HALF_PRECISION:
        return "float32"
    return config


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
