"""The walls of the house: which room of zoo may import which, and which packages it may use."""

import ast
import pathlib
import sys

import pytest

HOUSE = pathlib.Path(__file__).parents[1]

# Room -> (rooms of zoo that it may import, besides itself; packages, besides Python's own).
# A room is a module or a package of zoo. An import inside a function counts like one at the top.
EVERY_ROOM = {"zoo", "models", "decoding", "text", "data", "evaluation", "training"}
EVERY_ROOM |= {"visualization", "presets", "serving", "convert", "inference"}
FOR_ALL = {"files"}  # any room may import it
WALLS = {
    "zoo": ({"models", "presets"}, set()),  # the front door, zoo/__init__.py
    "files": (set(), set()),
    "text": (set(), {"numpy", "tensorflow", "tensorflow_text"}),
    "decoding": ({"text"}, {"keras", "numpy"}),  # gets a step function, never a model
    "models": ({"decoding", "text", "inference"}, {"PIL", "google", "h5py", "keras", "numpy"}),
    "data": (  # no network, no Keras
        {"text"},
        {"av", "cv2", "numpy", "scenedetect", "sklearn", "tensorflow", "tqdm"},
    ),
    "evaluation": ({"text"}, {"numpy", "pycocoevalcap"}),  # gets predictions, never a model
    "visualization": ({"data"}, {"PIL", "matplotlib", "numpy"}),
    "training": (
        {"data", "decoding", "evaluation", "models", "text", "visualization"},
        {"keras", "numpy", "sklearn", "tensorflow"},
    ),
    "presets": ({"models"}, set()),
    "serving": (
        {"models", "data", "decoding", "text", "presets"},
        {"google", "grpc", "grpc_health", "keras", "numpy", "prometheus_client", "starlette"}
        | {"tensorflow", "tensorflow_serving", "uvicorn"},
    ),
    "inference": (
        {"models", "data", "decoding", "text", "presets", "visualization"},
        {"numpy", "tensorflow", "tqdm"},
    ),
    "convert": ({"data", "models", "presets"}, {"keras", "numpy"}),
    "cli": (EVERY_ROOM, {"PIL", "keras", "matplotlib", "numpy", "tensorflow", "tqdm"}),
}
# Room -> rooms that it imports only inside functions, when a user gives a file.
LATE = {"models": {"inference"}}
# What may import them is nobody but the tests.
IMPORTED_BY_NOTHING = {"recipes", "benchmarks", "tests", "zoo.cli"}


def name_of(path):
    """`zoo/data/audit.py` -> `zoo.data.audit`; `zoo/data/__init__.py` -> `zoo.data`."""
    return ".".join(path.relative_to(HOUSE).with_suffix("").parts).removesuffix(".__init__")


def is_module(name):
    path = HOUSE.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def imports_of(path):
    """All that a file imports, wherever in it: `{"zoo.data.images.decode", "numpy", ...}`."""
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
    """`zoo.data.images.decode` -> `data`; `zoo` -> `zoo`."""
    return (name.split(".") + ["zoo"])[1] if "." in name else name


FILES = sorted((HOUSE / "zoo").rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_file_imports_only_what_its_room_may(path):
    name = name_of(path)
    rooms, packages = WALLS[room_of(name)]
    for imported in imports_of(path):
        top = imported.split(".")[0]
        if top == "zoo":
            room = room_of(imported)
            assert room in rooms | {room_of(name)} | FOR_ALL, f"{name} may not import {imported}"
        else:
            allowed = packages | sys.stdlib_module_names
            assert top in allowed, f"{name} may not use the package {top}"


@pytest.mark.parametrize("room", LATE)
def test_some_rooms_are_imported_only_inside_functions(room):
    for path in (HOUSE / "zoo" / room).rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        at_the_top = [ast.unparse(node) for node in tree.body]
        imports = [line for line in at_the_top if line.startswith(("import ", "from "))]
        for late in LATE[room]:
            assert not [line for line in imports if f"zoo.{late}" in line], name_of(path)


@pytest.mark.parametrize("room", ["zoo", "recipes", "benchmarks"])
def test_programs_are_imported_by_nothing(room):
    for path in (HOUSE / room).rglob("*.py"):
        inside = ".".join(name_of(path).split(".")[:2])  # the modules of zoo.cli may share
        for imported in imports_of(path):
            for program in IMPORTED_BY_NOTHING - {inside}:
                same = imported == program or imported.startswith(f"{program}.")
                assert not same, f"{name_of(path)} may not import {imported}"


def test_every_room_has_its_line():
    assert {room_of(name_of(path)) for path in FILES} == set(WALLS)


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
