# The commands of README.md and CONTRIBUTING.md by short names; a test holds them to those pages.
.PHONY: setup quick test nightly lint docs bench

setup:
	pip install -c constraints.txt -e '.[dev]'

quick:
	pytest -m "not slow"

test:
	pytest

nightly:
	pytest -m nightly

lint:
	ruff check .
	ruff format --check .
	mypy
	lint-imports

docs:
	pip install -c constraints.txt mkdocs-material
	mkdocs build --strict

bench:
	python benchmarks/bench_generate.py passes state.jsonl && python benchmarks/bench_generate.py report state.jsonl
