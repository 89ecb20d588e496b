.PHONY: check test chaos demo bench recovery docs docs-site format clean pictures

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

format:
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

clean:
	rm -rf build .venv .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist
