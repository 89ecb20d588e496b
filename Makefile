.PHONY: release check test chaos demo bench recovery docs docs-site format clean pictures lock lowest httpx2

check:
	./run check

test:
	./run test

# All faults, in under twenty minutes; CHAOS_SEED=… replays.
chaos:
	CHAOS=full ./run test tests/chaos --timeout 300

demo:
	./run demo

# Ten minutes; `.venv/bin/python benchmarks/peers.py install` beforehand adds celery-director and Prefect.
bench:
	./run bench

# How soon a lost worker's actions run elsewhere, and what looking after executions costs; seven minutes.
recovery:
	.venv/bin/python benchmarks/recovery.py

# What the pages of docs/reference take from the code: fields, commands, settings, docstrings.
docs:
	.venv/bin/python docs/build/tables.py

# The pages as a site with search, in build/site. A warning is an error. It needs the extra `docs`.
docs-site:
	.venv/bin/python -m sphinx -q -W --keep-going -c docs/build -d build/site-cache . build/site
	@echo build/site/index.html

# The pictures in docs/pictures, of real runs.
pictures:
	.venv/bin/python docs/build/pictures.py

# uv, apart from everything else: only these two targets need it.
UV = .venv-uv/bin/uv
$(UV):
	python3 -m venv .venv-uv
	.venv-uv/bin/python -m pip install --quiet uv

# The newest versions of all that is needed, for every Python from 3.11 on: what ./run installs.
lock: $(UV)
	$(UV) pip compile pyproject.toml --all-extras --universal --python-version 3.11 --upgrade --quiet \
	    --no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' \
	    --output-file constraints.txt

# The oldest versions that pyproject.toml allows, with the oldest Python. TESTS=… names others.
TESTS = tests/unit tests/integration tests/acceptance/running/test_execution.py tests/acceptance/commands/test_cli.py \
    tests/acceptance/page/test_web.py
lowest: $(UV)
	$(UV) venv --quiet --clear --python 3.11 .venv-lowest
	$(UV) pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct --editable '.[dev]'
	.venv-lowest/bin/python -m pytest -n 2 --dist worksteal $(TESTS)

# What sends requests, by the successor of httpx (docs/internals/decisions/0046).
httpx2:
	WORKFLOW_STATE_HTTP_LIBRARY=httpx2 ./run test -n 2 tests/unit/actions tests/integration/actions \
	    tests/acceptance/running/test_execution.py

# Version, changelog, build, check of both files, tag; nothing is pushed. VERSION=0.2.0 names it.
release:
	.venv/bin/python tools/release.py $(VERSION)

format:
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

clean:
	rm -rf build .venv .venv-uv .venv-lowest .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist
