# The commands of CONTRIBUTING.md, in an environment with: pip install -c constraints.txt -e ".[all]"
.PHONY: test search fuzz kills style types docs serve pictures ci

test:
	python -m pytest -n auto
search:
	HYPOTHESIS_PROFILE=search python -m pytest -n auto
fuzz:
	HYPOTHESIS_PROFILE=search python -m pytest -s tests/project/test_fuzz.py
kills:
	python -m pytest -m slow -s tests/slow
style:
	ruff check
	ruff format
types:
	mypy
docs:
	mkdocs build --strict
serve:
	mkdocs serve
pictures:
	python docs/pictures.py $(NAME)
ci:
	.ci/run
