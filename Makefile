# make demo : virtual environment, install, then the whole way from raw text to a served vector (runs/demo)
# make fuzz : virtual environment, install, damaged inputs for FUZZ_MINUTES; FUZZ_ARGUMENTS="--targets 'text*'" for some
# make test : virtual environment, install, the test suite; lines of the package that it runs: build/coverage.txt
# make test-tpu-wheel: the suite with TensorFlow's build for TPUs, on the CPU, in an environment of its own
# make check: virtual environment, install, then lint, format, types and import layers
# make docs : virtual environment, install, the documentation as a site in build/site; a broken link is an error
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
# CPU builds; the suite checks TensorFlow, JAX and PyTorch against each other.
TORCH ?= torch==2.13.0
# What the suite exercises.
EXTRAS ?= test,docs,jax,torch,data,beam,tfds,parquet,hf,onnx,litert,serving,search,report,mteb,gcs,s3
# The suite with what docs/tpu.md installs on a TPU VM; tests marked `xla` cannot run there.
TPU_VENV ?= .venv-tpu-wheel
DEMO_ARGUMENTS ?=
TEST_ARGUMENTS ?=
FUZZ_MINUTES ?= 30
# Other inputs in every run; a failure is printed with its seed.
FUZZ_SEED ?= $(shell date +%s)
FUZZ_ARGUMENTS ?=

.PHONY: demo test test-tpu-wheel fuzz check docs clean

$(VENV)/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --editable ".[report]"
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(VENV)/bin/pip install --quiet "$(TORCH)"
	$(VENV)/bin/pip install --quiet --editable ".[$(EXTRAS)]"
	touch $@

demo: $(VENV)/installed
	KERAS_BACKEND=tensorflow $(VENV)/bin/python -m infoxlm_keras demo $(DEMO_ARGUMENTS)

test: $(VENV)/installed-test
	mkdir -p build
	KERAS_BACKEND=tensorflow $(VENV)/bin/python -m slipcover --source infoxlm_keras --out build/coverage.txt \
		-m pytest -n 2 --dist loadfile --no-loadscope-reorder $(TEST_ARGUMENTS)
	@awk 'END { print "coverage: " $$4 " % of " $$2 " lines; each file: build/coverage.txt" }' build/coverage.txt

# pip knows `tensorflow-tpu` as another package than `tensorflow`, whose files it replaces; so the one is removed first.
$(TPU_VENV)/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv --clear $(TPU_VENV)
	$(TPU_VENV)/bin/pip install --quiet "$(TORCH)"
	$(TPU_VENV)/bin/pip install --quiet --editable ".[$(EXTRAS)]" "tensorflow==2.20.0" "tensorflow-text==2.20.1"
	$(TPU_VENV)/bin/pip uninstall --quiet --yes tensorflow
	$(TPU_VENV)/bin/pip install --quiet --no-deps "tensorflow-tpu==2.20.0" "libtpu==0.0.21"
	touch $@

# libtpu does not ask Google's metadata server what TPU this machine has, and JAX leaves libtpu, of another version, alone.
test-tpu-wheel: $(TPU_VENV)/installed
	TPU_SKIP_MDS_QUERY=1 JAX_PLATFORMS=cpu KERAS_BACKEND=tensorflow \
		$(TPU_VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(TEST_ARGUMENTS)

fuzz: $(VENV)/installed-test
	cd tests && PYTHONPATH=support $(abspath $(VENV))/bin/python -m fuzz --minutes $(FUZZ_MINUTES) --seed $(FUZZ_SEED) $(FUZZ_ARGUMENTS)

check: $(VENV)/installed-test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

# The variable silences an advertisement of the theme's makers.
docs: $(VENV)/installed-test
	$(VENV)/bin/python docs/paper_lines.py --check
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

clean:
	rm -rf $(VENV) $(TPU_VENV) runs build *.egg-info
