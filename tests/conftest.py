"""What several test modules share: where the real data lies, and small made-up things."""

import os
import pathlib

import pytest

REAL_DATA = pathlib.Path(
    os.environ.get("LRCN_TEST_DATA", pathlib.Path(__file__).parents[2] / "shared" / "data")
)


@pytest.fixture(scope="session")
def real_data():
    """Folder with `flickr8k/`, `coco_mini/`, ...; tests that need it are skipped without it."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real data at {REAL_DATA}; set LRCN_TEST_DATA to a folder that has it")
    return REAL_DATA
