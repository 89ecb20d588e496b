.PHONY: check test demo format clean

check:
	./run check

test:
	./run test

demo:
	./run demo

format:
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

clean:
	rm -rf .venv .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist
