.PHONY: check test chaos demo bench format clean

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

format:
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

clean:
	rm -rf .venv .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist
