# The commands of the book by name; `make` alone lists them.
VENV ?= .venv
SCALE ?= classroom
DATA ?=
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export HF_HUB_OFFLINE ?= 1

.PHONY: help setup reproduce test benchmark lint pages sheets book readme lock clean

help:  ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

$(VENV)/.done: requirements.txt pyproject.toml
	@echo "setting up $(VENV) (some minutes, about 6 GB)"
	python3 -m venv $(VENV)
	$(VENV)/bin/python -m pip install -q -r requirements.txt
	$(VENV)/bin/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

setup: $(VENV)/.done  ## make the Python environment

reproduce: setup  ## run the whole pipeline; SCALE=classroom|real|paper, DATA=folder of photos
ifeq ($(SCALE),classroom)
	@echo "dvc repro: photos, all chapters, figures, pages"
	dvc repro
else
	@echo "dvc repro at scale $(SCALE) in runs/$(SCALE)"
	python -m miewid_lib.scales $(SCALE) $(if $(DATA),--data "$(DATA)")
endif
	python -m miewid_lib.readme

test: setup  ## all tests, a tiny run of the whole pipeline included
	pytest -q

.venv-benchmark/.done: benchmarks/requirements.txt $(VENV)/.done
	@echo "setting up .venv-benchmark, peers on top of $(VENV)"
	$(VENV)/bin/python -m venv .venv-benchmark
	$(VENV)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" \
		> "$$(.venv-benchmark/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/book.pth"
	.venv-benchmark/bin/python -m pip install -q --no-deps -r benchmarks/requirements.txt
	@touch $@

benchmark: .venv-benchmark/.done  ## time ours beside its peers; LARGE=1 for the large sizes
	PYTHONPATH="$(CURDIR)" .venv-benchmark/bin/python -m benchmarks.harness $(if $(LARGE),--large)

lint: setup  ## style of code and pages
	ruff check . && ruff format --check . && python -m miewid_lib.notebooks pair --check notebooks/*.py
	python -m miewid_lib.sheets --check

pages: setup  ## bring notebooks/*.ipynb in step with notebooks/*.py
	python -m miewid_lib.notebooks pair notebooks/*.py

sheets: setup  ## make the exercise sheets from the solved notebooks
	python -m miewid_lib.sheets

book: setup  ## the static book from reports/, in build/book; runs nothing again
	python -m miewid_lib.book build/book

lock: setup  ## resolve requirements.txt from the ranges in pyproject.toml (needs uv)
	uv pip compile --universal --fork-strategy fewest --python-version 3.11 --extra test --extra docs \
		--no-header --no-annotate -o requirements.txt pyproject.toml

clean:  ## remove what can be made again; the environment and the DVC cache stay
	rm -rf build runs data/photos data/models data/*.csv data/*.npz data/*.npy
