# make crops DATA=photos     make train DATA=photos RUN=first     (no DATA: the drawn demo set)
PYTHON ?= python3
DATA ?=
RUN ?=
MODEL ?=
WEIGHTS ?=
ARGS ?=
# What the demo set is drawn with, like --images 2000.
DEMO_ARGS ?=

BIN := .venv/bin
STAGES := roi cache data classifier
LINKS := $(addprefix roi_cls/,$(STAGES) recipes)
DEMO := artifacts/demo
# Recipes read these as "$$DATA": a path with spaces or quotes stays one word.
export PYTHON DATA RUN MODEL WEIGHTS
# Another model is another run; after other changes of settings or data, give RUN=NAME.
RUN_MODEL := $(addprefix -,$(MODEL))

# The links go first: else setuptools relies on them, and the stages were gone with the links.
install = rm -f $(LINKS) && $(BIN)/python -m pip install --quiet --disable-pip-version-check \
  -c constraints.txt --editable '$(1)'

.DELETE_ON_ERROR:
.PHONY: help setup demo crops train test coverage check lint types links bench bench-train bench-predict bench-serve bench-gpu results docs-test reference house floor-plan clean

help:  ## list the targets
	@echo "make TARGET [DATA=FOLDER] [RUN=NAME] [MODEL=NAME] [WEIGHTS=auto|hub|none|PATH] [ARGS='--option …']"
	@echo "Places and devices for all commands: ROI_CLS_CACHE, ROI_CLS_RUNS, ROI_CLS_DEVICE, ROI_CLS_WORKERS"
	@sed -n 's/^\([a-z][a-z-]*\):[^#]*## /  \1	/p' $(firstword $(MAKEFILE_LIST))

setup: .venv/.checked links  ## install what running needs into .venv, once
	@echo "Ready: $(BIN)/roi-cls --help"

demo: .venv/.checked  ## draw the demo set (artifacts/demo)
	@$(BIN)/roi-cls data demo $(DEMO) $(DEMO_ARGS)

crops: .venv/.checked $(if $(DATA),,demo)  ## find and cut the faces of DATA
	@$(BIN)/roi-cls crops "$${DATA:-$(DEMO)}" $(ARGS) || [ $$? -eq 3 ]

train: .venv/.checked $(if $(DATA),,demo)  ## train on DATA, then open its test set
	@data="$${DATA:-$(DEMO)}"; run="$${RUN:-$$(basename "$$data" .csv)$(RUN_MODEL)}"; \
	$(BIN)/roi-cls train "$$data" --run "$$run" --resume \
	  $${MODEL:+--model "$$MODEL"} $${WEIGHTS:+--weights "$$WEIGHTS"} $(ARGS) || \
	  [ $$? -eq 3 ] || exit 1; \
	$(BIN)/roi-cls evaluate "$$data" --run "$$run" || [ $$? -eq 3 ]

# A file's tests stay together: many share what is slow to make. tests/conftest.py orders the files.
ON_ALL_CORES := -n auto --dist loadfile --no-loadscope-reorder
test: .venv/.complete  ## run the tests on all cores
	@$(BIN)/pytest -q $(ON_ALL_CORES) $(ARGS)

coverage: .venv/.complete  ## the same, and which lines and branches no test reaches
	@$(BIN)/pytest -q $(ON_ALL_CORES) --cov=roi_cls $(addprefix --cov=roi_cls.,$(STAGES)) --cov-branch \
	  --cov-report=term:skip-covered $(ARGS)

check: lint types  ## check style and types (`make test` runs the tests)

lint: .venv/.complete  ## check style
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: .venv/.complete links  ## check types
	@$(BIN)/mypy && $(BIN)/mypy --explicit-package-bases tests

# Editors and type checkers cannot follow the folder mapping in pyproject.toml; these links in
# roi_cls show it to them. Whatever is right stays: two processes may do this at once.
links:
	@for link in $(LINKS); do \
	  stage="$${link#roi_cls/}"; \
	  [ "$$link" -ef "$$stage" ] || ln -sfn "../$$stage" "$$link" 2>/dev/null || \
	  [ "$$link" -ef "$$stage" ] || { echo "Cannot make the link $$link" >&2; exit 1; }; \
	done

bench: .venv/.checked  ## measure the crop stage's speed (benchmarks/crops/results.json)
	@$(BIN)/python -m benchmarks.crops.run $(ARGS)

bench-train: .venv/.checked  ## measure training's speed (benchmarks/training/results.json)
	@$(BIN)/python -m benchmarks.training.run --json benchmarks/training/results.json $(ARGS)

bench-predict: .venv/.checked  ## measure prediction's start and speed (benchmarks/predicting/results.json)
	@$(BIN)/python -m benchmarks.predicting.run --json benchmarks/predicting/results.json $(ARGS)

bench-serve: .venv/.checked .venv/.complete  ## measure the server under load
	@$(BIN)/python -m benchmarks.serving --run "$${RUN:-demo}" $(ARGS)

# Neither a network nor mediapipe's models are needed once this is installed.
bench-gpu: .venv/.complete  ## prove on a GPU what only a GPU can prove, in 8 minutes (artifacts/bench/gpu)
	@$(BIN)/python -m benchmarks.gpu.run $(ARGS)

# Knobs: ARGS='--images 700 --size 96 --epochs 6 --seeds 2', and WEIGHTS as for train.
results: .venv/.checked .venv/.complete  ## compare all recipes on a small demo set (docs/results.md)
	@$(BIN)/python -m benchmarks.training.results_page $${WEIGHTS:+--weights "$$WEIGHTS"} $(ARGS)

docs-test: .venv/.checked .venv/.complete  ## run every command in README.md and docs, compare what they print
	@$(BIN)/python -m docs.tools.run_commands $(ARGS)

reference: .venv/.installed  ## write docs/reference.md from the code
	@$(BIN)/python -m docs.tools.make_reference

house: .venv/.installed  ## measure how the code is laid out (ARGS=PATH: another checkout)
	@$(BIN)/python -m docs.tools.house $(ARGS)

floor-plan: .venv/.installed  ## draw docs/pictures/floor-plan.svg from the imports
	@$(BIN)/python -m docs.tools.floor_plan

clean:  ## remove what the tools made; .venv and artifacts stay
	@rm -rf build dist .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis

# A Python given as PYTHON=… is taken or refused; the default may be replaced by a newer one.
.venv/.installed: pyproject.toml constraints.txt
	@new_enough() { "$$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }; \
	chosen=; \
	for python in "$$PYTHON" $(if $(filter file default,$(origin PYTHON)),python3.13 python3.12 python3.11); do \
	  if new_enough "$$python"; then chosen="$$python"; break; fi; \
	done; \
	if [ -z "$$chosen" ]; then \
	  echo "Cannot install: $$PYTHON is not Python 3.11 or newer ($$("$$PYTHON" --version 2>&1 | head -n 1))." \
	    "Install one, or name it: make setup PYTHON=/path/to/python3.12" >&2; \
	  exit 1; \
	fi; \
	if ! new_enough $(BIN)/python || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  "$$chosen" -m venv --clear .venv || { \
	    echo "Cannot make .venv. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }; \
	fi
	@echo "Installing (once; half a minute to a few minutes, without a word)…"
	@$(call install,.[serve])
	@touch $@

# What tests, checks and benchmarks need beside: half as much again.
.venv/.complete: .venv/.installed
	@echo "Installing what the tests need (once)…"
	@$(call install,.[dev])
	@touch $@

# Faults are shown and do not stop the work: a machine offline can still train on whole pictures.
.venv/.checked: .venv/.installed
	@echo "Checking this machine, fetching the face detectors (once)…"
	@if $(BIN)/roi-cls doctor --fetch >.venv/doctor.txt 2>&1; then touch $@; else cat .venv/doctor.txt >&2; fi
