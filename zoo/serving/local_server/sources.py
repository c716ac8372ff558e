"""Where models lie on disk: a folder of models, or a config of the stock server."""

import os
import pathlib
import re

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2


def read_source(path):
    """Reads where the models of a server come from.

    Args:
        path: Folder with `<name>/<version>/saved_model.pb` for each model, or a file such as the
            stock server takes as `--model_config_file`.

    Returns:
        `pathlib.Path` of the folder, or `ModelServerConfig`.

    Raises:
        FileNotFoundError: If there is neither.
        ValueError: If the file is no such config.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        return path
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a folder of models, or a models.config")
    config = model_server_config_pb2.ModelServerConfig()
    try:
        text_format.Parse(path.read_text(encoding="utf-8"), config)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} holds no ModelServerConfig: {error}") from error
    return config


def wanted_versions(source):
    """What should be served.

    Args:
        source: From `read_source`. In a folder, every model in its newest version.

    Returns:
        Dict from `(name, version)` to the folder of the version.

    Raises:
        FileNotFoundError: If a folder is missing: then nothing is known, and nothing should change.
        ValueError: If a config names a model twice, or not at all, or asks for another platform.
    """
    if isinstance(source, pathlib.Path):
        models = [folder for folder in source.iterdir() if folder.is_dir()]
        found = {}
        for folder in models:
            versions = _versions(folder)
            if versions and not folder.name.startswith("."):
                found[folder.name, max(versions)] = versions[max(versions)]
        return found
    if source.WhichOneof("config") != "model_config_list":
        raise ValueError("A config of models has a model_config_list.")
    configs = source.model_config_list.config
    names = [config.name for config in configs]
    if len(set(names)) < len(names) or not all(names):
        raise ValueError(f"Every model in a config has a name of its own. Got {names}")
    wanted = {}
    for config in configs:
        if config.model_platform != "tensorflow":
            raise ValueError(
                f'The model_platform of {config.name} should be "tensorflow". '
                f"Got {config.model_platform!r}"
            )
        versions = _versions(pathlib.Path(config.base_path))
        for number in _by_policy(config.model_version_policy, versions):
            wanted[config.name, number] = versions[number]
    return wanted


def listed_names(source):
    """Names of the models that a config lists, whether there is anything on disk or not."""
    if isinstance(source, pathlib.Path):
        return set()
    return {config.name for config in source.model_config_list.config}


def fingerprint(folder):
    """Tells whether the files of a folder have changed."""
    seen = []
    for root, _, files in os.walk(folder):
        for file in files:
            try:
                stat = os.stat(os.path.join(root, file))
                seen.append((root, file, stat.st_size, stat.st_mtime_ns))
            except OSError:  # gone in this moment
                seen.append((root, file))
    return sorted(map(str, seen))


def _versions(base):
    """Dict from number to folder; other names are passed by."""
    return {
        int(folder.name): folder
        for folder in base.iterdir()
        if re.fullmatch(r"[0-9]{1,18}", folder.name) and folder.is_dir()
    }


def _by_policy(policy, versions):
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return versions
    if choice == "specific":
        return versions.keys() & set(policy.specific.versions)
    return sorted(versions)[-max(policy.latest.num_versions, 1) :]
