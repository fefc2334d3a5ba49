# Everything a person or CI types. Each target sets up what it needs.
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: install demo test test-all test-cluster smoke check format bench ray slurm slurm-up slurm-down slurmdbd postgres clean

install: $(STAMP)

# torch first and pinned: left to itself it would bring gigabytes of accelerator libraries.
$(STAMP): pyproject.toml constraints.txt
	test -x $(PY) || python3 -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,serve,dev]'
	touch $@

demo: install
	$(PY) examples/demo.py

# Two at a time, a file on one worker: most of a test of real processes is waiting. What runs on a cluster's
# real daemons for minutes has a target of its own.
test: check
	$(PY) -m pytest -n 2 --dist loadfile -m "not slow" --ignore=tests/slurm

test-all: test test-cluster
	$(PY) -m pytest -m slow --ignore=tests/slurm

# Everything on a real Slurm, minutes of kills included; prints their counts. Skips without Slurm, slurmdbd, PostgreSQL.
test-cluster: install
	$(PY) -m pytest -s tests/slurm

# Seeded storms in the simulated world, each twice.
smoke: install
	$(PY) -m pytest tests/twin

check: install
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache
	$(PY) tests/tidy.py

format: install
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

bench: install
	$(PY) -m bench

# Ray, for sweeps on a cluster (80 MB); tests that need it skip without.
ray: install
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ray]'

# A real Slurm (Debian, Ubuntu), for tests, benchmarks and trying out; tests that need it skip without.
SLURM := slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge libslurm-dev gcc libc6-dev
SUDO := $(if $(filter-out 0,$(shell id -u)),sudo)
APT := $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=1 -o Acquire::http::Timeout=20 \
	-o DPkg::Lock::Timeout=60

slurm:
	dpkg -s $(SLURM) >/dev/null 2>&1 || { $(APT) update && $(APT) install -y --no-install-recommends $(SLURM); }

# Its daemons on this machine, NODES nodes of CHIPS chips; docs/guide/slurm.md goes on from here.
NODES := 16
CHIPS := 8

slurm-up: install slurm
	$(PY) -m tools.slurm up --nodes $(NODES) --chips $(CHIPS)

slurm-down: install
	$(PY) -m tools.slurm down

# What Slurm keeps accounts with: tests start one of their own, and skip without.
SLURMDBD := slurmdbd mariadb-server-core mariadb-client-core

slurmdbd: slurm
	dpkg -s $(SLURMDBD) >/dev/null 2>&1 || { $(APT) update && $(APT) install -y --no-install-recommends $(SLURMDBD); }

# A real PostgreSQL server (Debian, Ubuntu): its tests and benchmarks start one of their own, and skip without.
postgres:
	dpkg -s postgresql >/dev/null 2>&1 || { $(APT) update && $(APT) install -y --no-install-recommends postgresql; }

clean:
	rm -rf $(VENV) build out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
