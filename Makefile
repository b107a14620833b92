# What a person types: `make demo` or `make test` first; both make their own environment.
#
#   PYTHON=python3.12     another interpreter to make it from
#   INSTALL=no            use PYTHON and the ortho-kernels installed there as they are, install nothing
#   PIP_FLAGS=...         more for pip, such as the index of torch's CPU builds, which are gigabytes smaller
#   ORTHO_CUDA=... etc.   as setup.py explains
PYTHON ?= python3
INSTALL ?= yes
VENV ?= .venv
PIP_FLAGS ?=
PYTEST_FLAGS ?=
DEMO_FLAGS ?=
BENCH_FLAGS ?=

ifeq ($(INSTALL),no)
  RUN := $(PYTHON)
  READY :=
  BIN := $(dir $(shell command -v $(PYTHON)))
else
  RUN := $(VENV)/bin/python
  READY := $(VENV)/.ready
  BIN := $(abspath $(VENV))/bin/
endif
export PATH := $(abspath $(BIN)):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

CXX_FILES := $(sort $(shell find csrc -name '*.c' -o -name '*.cc' -o -name '*.cu' -o -name '*.h'))
EXTRAS := test,demo,bench,dev
SETUP_FILES := pyproject.toml setup.py requirements/constraints.txt
BUILD_FILES := CMakeLists.txt $(wildcard cmake/*) $(filter-out csrc/tests/%,$(CXX_FILES))

.DEFAULT_GOAL := help
.PHONY: help demo test ctest asan mutate-cuda lint format bench bench-products dist clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(READY) ## train a small network on real images, plain and orthogonalised, and compare
	$(RUN) -m demo $(DEMO_FLAGS)

test: $(READY) ## the whole suite: the C++ tests, then pytest
ifneq ($(INSTALL),no)
	$(MAKE) ctest
endif
	$(RUN) -m pytest $(PYTEST_FLAGS)

ctest: $(READY) ## the C and C++ tests
	cmake --preset cpu
	cmake --build --preset cpu
	ctest --preset cpu

asan: $(READY) ## the C and C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer
	cmake --preset asan
	cmake --build --preset asan
	ctest --preset asan

mutate-cuda: $(READY) ## break the CUDA kernels one way after the other, and see which test notices
	$(RUN) csrc/tests/mutate.py docs/mutants.md

lint: $(READY) ## ruff, mypy --strict, clang-format, compiler warnings as errors
	ruff check .
	ruff format --check .
	mypy
	clang-format --dry-run -Werror $(CXX_FILES)
	cmake --preset cpu -B build/lint -D ORTHO_WERROR=ON -D ORTHO_CUDA=auto \
	  -D ORTHO_PYTHON=ON -D Python_EXECUTABLE="$$($(RUN) -c 'import sys; print(sys.executable)')"
	cmake --build build/lint

format: $(READY) ## rewrite Python and C++ files the way lint wants them
	ruff check --fix .
	ruff format .
	clang-format -i $(CXX_FILES)

bench: $(READY) ## what orthogonalisation costs on this machine
	$(RUN) -m bench.door
	$(RUN) -m pytest bench/polar.py $(BENCH_FLAGS)

bench-products: $(READY) ## matrix products against the multiply-adds of registers alone
	cmake --preset cpu
	cmake --build --preset cpu --target bench_products
	build/cpu/csrc/bench/bench_products

dist: $(READY) ## sdist and wheel in dist/
	$(RUN) -m build

clean: ## everything that make made
	rm -rf $(VENV) build dist *.egg-info ortho_kernels/_native*.so ortho_kernels/include

# ---- The environment -------------------------------------------------------------------------------
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "make: ortho-kernels needs Python 3.10 or newer: make PYTHON=python3.11 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "make: $(PYTHON) cannot make a venv (Debian: apt install python3-venv)"; exit 1; }

# When only the native part changed it alone is built again, and only what changed in it.
$(VENV)/.ready: $(SETUP_FILES) $(BUILD_FILES) | $(VENV)/bin/python
	$(RUN) -m pip install $(PIP_FLAGS) $(if $(filter $(SETUP_FILES),$?), \
	  -c requirements/constraints.txt -e '.[$(EXTRAS)]', \
	  --no-build-isolation --no-deps -e .)
	touch $@
