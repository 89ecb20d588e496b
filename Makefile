.PHONY: check test demo bench format clean

check:
	./run check

test:
	./run test

demo:
	./run demo

bench:
	.venv/bin/python benchmarks/overhead.py

format:
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

clean:
	rm -rf .venv .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist
