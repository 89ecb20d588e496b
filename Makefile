.PHONY: check test chaos demo bench recovery format clean

check:
	./run check

test:
	./run test

# All faults, in under twenty minutes; CHAOS_SEED=… replays.
chaos:
	CHAOS=full ./run test tests/chaos --timeout 300

demo:
	./run demo

bench:
	.venv/bin/python benchmarks/overhead.py

# How soon a lost worker's actions run elsewhere, and what looking after executions costs; seven minutes.
recovery:
	.venv/bin/python benchmarks/recovery.py

format:
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

clean:
	rm -rf .venv .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist
