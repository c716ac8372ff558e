# Each target makes its own environment in .venv when there is none. PYTHON=python3.12 chooses another Python.
PYTHON ?= python3
BIN := .venv/bin
JAX_TESTS := $(addprefix tests/test_,activity_recognizer.py captioner.py confidence.py constraints.py decoding.py every_frame.py fused.py layers.py pair_scores.py role_crf.py sampling.py sequence_decoder.py video_describer.py)
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo test test-fast test-jax test-slow lint bench clean

demo: .venv/installed
	$(BIN)/lrcn demo
	$(BIN)/python recipes/activity_recognition.py train --dataset moving_digits --run demo/moving_digits

test: lint test-fast test-jax

# A thread a process: the processes of two workers would take them from each other.
test-fast: .venv/installed
	OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

# The networks and the decoding once more, where TensorFlow is not installed.
test-jax: .venv-jax/installed
	KERAS_BACKEND=jax JAX_DISABLE_MOST_OPTIMIZATIONS=1 .venv-jax/bin/python -m pytest -n 2 --dist loadfile -o addopts="" $(JAX_TESTS)

test-slow: .venv/installed .venv-tf-2.20/installed
	$(BIN)/python -m pytest -m slow

# Half an hour, on a machine that has nothing else to do.
BENCHMARKS := captioner recognizer cold_start photographs clips captions growth serving retrieval
bench: .venv/bench
	set -e; for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py; done

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# uv installs the packages in a quarter of pip's time. $(call install,VENV) takes what follows.
define install
$(1)/bin/python -m pip install --quiet --disable-pip-version-check "uv>=0.9"
$(1)/bin/python -m uv pip install --quiet --python $(1)/bin/python
endef

.venv/installed: setup.py
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(call install,.venv) --editable ".[test]"
	touch $@

# PyTorch as it is installed already, such as its CPU build; otherwise what pip chooses.
.venv/bench: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test,bench]"
	touch $@

.venv-jax/installed: setup.py
	test -x .venv-jax/bin/python || $(PYTHON) -m venv .venv-jax
	$(call install,.venv-jax) "keras>=3.15,<3.16" "jax>=0.10,<0.11" pytest pytest-xdist
	.venv-jax/bin/python -m uv pip install --quiet --python .venv-jax/bin/python --no-deps --editable .
	touch $@

# What the newest published model server is built on: shared libraries, for tests/c_api.py alone.
.venv-tf-2.20/installed:
	test -x .venv-tf-2.20/bin/python || $(PYTHON) -m venv .venv-tf-2.20
	$(call install,.venv-tf-2.20) --no-deps "tensorflow-cpu>=2.20,<2.21" "numpy>=2,<3"
	touch $@

clean:
	rm -rf .venv .venv-jax .venv-tf-2.20
