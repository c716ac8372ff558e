"""The walls of the house: which room of zoo may import which, and which packages it may use."""

import ast
import pathlib
import sys

import pytest

HOUSE = pathlib.Path(__file__).parents[1]

# Room -> (rooms of zoo that it may import, besides itself; packages, besides Python's own).
# A room is a module or a package of zoo; a line for one file wins over that of its room. When a
# wall moves, move it here. An import inside a function counts like one at the top.
EVERY_ROOM = {"zoo", "models", "decoding", "text", "data", "evaluation", "training"}
EVERY_ROOM |= {"gallery", "presets", "serving", "caffe", "inference"}
FOR_ALL = {"files"}  # any room may import it
WALLS = {
    "zoo": ({"models", "presets"}, set()),  # the front door, zoo/__init__.py
    "files": (set(), set()),
    "text": (set(), {"numpy", "tensorflow", "tensorflow_text"}),
    "decoding": (set(), {"keras", "numpy"}),  # gets a step function, never a model
    "models": ({"decoding", "text"}, {"google", "keras", "numpy"}),  # protobuf reads Caffe's files
    "data": ({"text"}, {"numpy", "tensorflow", "tqdm"}),  # no network, no Keras
    "data.video_extra": (set(), {"av", "cv2"}),  # videos, flow and shards get them from there
    "data.shots": (set(), {"scenedetect"}),
    "data.datasets.moving_digits": (set(), {"numpy", "sklearn"}),
    "data.audit": ({"gallery", "text"}, {"tqdm"}),  # writes a sheet of examples
    "gallery": (set(), {"PIL"}),
    "evaluation": ({"text"}, {"numpy", "pycocoevalcap"}),  # gets predictions, never a model
    "training": ({"evaluation"}, {"keras", "matplotlib", "numpy", "tensorflow"}),
    "training.activity": ({"data", "evaluation", "models"}, {"numpy"}),  # videos and statistics
    "training.confidence": ({"evaluation", "models"}, {"numpy", "sklearn"}),  # fits a model's
    "training.role_labels": ({"data", "evaluation"}, {"numpy"}),  # of a split of videos
    "training.workers": ({"data"}, {"keras", "numpy", "tensorflow"}),  # who reads which rows
    "training.report": ({"decoding", "evaluation", "gallery", "text"}, {"numpy"}),
    "training.transfer": ({"text"}, {"numpy"}),  # rows of the embedding go by word
    "presets": ({"models", "data", "decoding", "text"}, {"h5py", "numpy"}),
    "serving": (
        {"models", "data", "decoding", "text", "presets"},
        {"google", "grpc", "grpc_health", "keras", "numpy", "prometheus_client", "starlette"}
        | {"tensorflow", "tensorflow_serving", "uvicorn"},
    ),
    "inference": (
        {"models", "data", "decoding", "text", "presets"},
        {"numpy", "tensorflow"},
    ),
    "caffe": ({"data", "models", "presets"}, {"keras", "numpy"}),
    "cli": (EVERY_ROOM, {"PIL", "matplotlib", "numpy", "tensorflow", "tqdm"}),
    "cli.layer_check": (EVERY_ROOM, {"keras", "numpy"}),  # asks layers of a network
    "cli.features": (EVERY_ROOM, {"keras", "numpy"}),  # sets the precision, as the recipes do
}
# What may import them is nobody but the tests.
IMPORTED_BY_NOTHING = {"recipes", "benchmarks", "tests", "zoo.cli"}


def name_of(path):
    """`zoo/data/images.py` -> `zoo.data.images`; `zoo/data/__init__.py` -> `zoo.data`."""
    return ".".join(path.relative_to(HOUSE).with_suffix("").parts).removesuffix(".__init__")


def is_module(name):
    path = HOUSE.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def imports_of(path):
    """All that a file imports, wherever in it: `{"zoo.data.images", "numpy", ...}`."""
    found = set()
    package = name_of(path).split(".")[: None if path.stem == "__init__" else -1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:  # `from zoo import training` imports zoo.training
                submodule = f"{module}.{alias.name}"
                found.add(submodule if is_module(submodule) else module)
    return found


def room_of(name):
    """`zoo.data.images` -> `data`; `zoo` -> `zoo`."""
    return (name.split(".") + ["zoo"])[1] if "." in name else name


def wall_of(name):
    own = name.removeprefix("zoo.")
    return WALLS[own if own in WALLS else room_of(name)]


FILES = sorted((HOUSE / "zoo").rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_file_imports_only_what_its_room_may(path):
    name = name_of(path)
    rooms, packages = wall_of(name)
    for imported in imports_of(path):
        top = imported.split(".")[0]
        if top == "zoo":
            room = room_of(imported)
            assert room in rooms | {room_of(name)} | FOR_ALL, f"{name} may not import {imported}"
        else:
            allowed = packages | sys.stdlib_module_names
            assert top in allowed, f"{name} may not use the package {top}"


@pytest.mark.parametrize("room", ["zoo", "recipes", "benchmarks"])
def test_programs_are_imported_by_nothing(room):
    for path in (HOUSE / room).rglob("*.py"):
        inside = ".".join(name_of(path).split(".")[:2])  # the modules of zoo.cli may share
        for imported in imports_of(path):
            for program in IMPORTED_BY_NOTHING - {inside}:
                same = imported == program or imported.startswith(f"{program}.")
                assert not same, f"{name_of(path)} may not import {imported}"


def test_every_room_has_its_line():
    assert {room_of(name_of(path)) for path in FILES} <= set(WALLS)
    for line in WALLS:
        # A room may have its line before it is built; a line for one file needs that file.
        assert "." not in line or is_module(f"zoo.{line}"), f"there is no zoo.{line}"


def test_imports_are_found_wherever_they_stand(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "HOUSE", tmp_path)
    room = tmp_path / "zoo" / "data"
    room.mkdir(parents=True)
    for file in ("zoo/__init__.py", "zoo/data/__init__.py", "zoo/data/images.py"):
        (tmp_path / file).touch()
    lines = ["import os.path, keras", "from zoo import data", "from zoo.data import x"]
    lines += ["def f():", "    from . import images", "    from .. import y"]
    (room / "clips.py").write_text("\n".join(lines))
    found = {"os.path", "keras", "zoo.data", "zoo.data.images", "zoo"}
    assert imports_of(room / "clips.py") == found
