# make demo    recognise people in real photographs
# make serve   the page on http://127.0.0.1:8000, until Ctrl-C
# make test    check and test everything; with -j2, the checks beside the tests
# make format  write Python and JavaScript in the house's form
# make coverage  run the tests, and fail where they reach too few lines of mien
# make api     compare the public names with those of the last version
# make wheel   build what goes to PyPI, in dist/, and try it alone
# make docs    make a site of docs/, in site/; any warning fails
# make readme  run the commands of the README and of docs/, and put what they print into them
# make page    fetch ONNX Runtime Web with npm, for recognition in the browser itself
# make browser try the page in Chromium, which must be installed, as must npm; and clients that others'
#              generators make
# make screenshots  the same, and picture its views for docs/serve.md
# make faults  kill mien at thousands of random moments, and look for what is lost
# make fuzz    feed damaged files to each reader of files, random folders and lines, for SECONDS each
# make picture make the README's picture and those of docs/ again

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

SECONDS ?= 600
ORT := mien/serve/page/ort
BIOME := npx --yes --prefer-offline @biomejs/biome@~2.6

.PHONY: demo serve test style types js tests format coverage api wheel docs page browser screenshots photos readme picture faults fuzz clean

demo: .venv/installed
	$(BIN)/python demo.py

serve: .venv/serve
	$(BIN)/mien serve

test: style types $(if $(shell command -v npx),js) tests

style: .venv/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: .venv/ready
	$(BIN)/mypy

js:
	$(BIOME) ci

format: .venv/ready
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(if $(shell command -v npx),$(BIOME) check --write)

# A file's tests share what is slow to make, so they stay in one process.
tests: export OMP_NUM_THREADS = 1
tests: .venv/ready photos
	$(BIN)/pytest --numprocesses auto --dist loadfile

coverage: .venv/ready photos
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage report

# Until there is a version, against main.
AGAINST ?= $(shell git describe --tags --abbrev=0 2>/dev/null || echo main)
api: .venv/ready
	$(BIN)/griffe check mien --search . --against $(AGAINST) $(if $(GITHUB_ACTIONS),--format github)

# Outside the checkout, whose mien must not answer in the wheel's place.
wheel: .venv/bin/python
	$(PIP) 'build[virtualenv]' twine
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	$(BIN)/virtualenv --quiet --clear .venv/bare
	.venv/bare/bin/python -m pip install --quiet dist/*.whl
	cd dist && ../.venv/bare/bin/mien compare ../docs/astronaut.jpg ../docs/astronaut.jpg

photos: .venv/installed
	$(BIN)/python demo.py fetch

docs: .venv/ready
	$(BIN)/zensical build --strict --clean

readme: .venv/ready photos
	$(BIN)/python tests/pages.py

page: $(ORT)/ort-wasm-simd-threaded.wasm

# The package's other 120 MB are for graphics processors and for older browsers.
$(ORT)/ort-wasm-simd-threaded.wasm:
	mkdir -p $(ORT)
	npm pack --silent --pack-destination $(ORT) onnxruntime-web@~1.30
	tar -xzmf $(ORT)/onnxruntime-web-*.tgz -C $(ORT) --strip-components=2 \
		package/dist/ort.wasm.bundle.min.mjs package/dist/$(@F)
	rm $(ORT)/onnxruntime-web-*.tgz

browser: .venv/ready photos page
	$(PIP) playwright virtualenv
	$(BIN)/virtualenv --quiet .venv/clients
	.venv/clients/bin/python -m pip install --quiet 'openapi-python-client>=0.29,<0.30'
	npm install --silent --no-save --no-package-lock axe-core \
		openapi-typescript@^7.13 openapi-fetch@^0.17 typescript@^5.9 @types/node@^20
	$(BIN)/pytest tests/serve/test_page.py tests/serve/test_clients.py

screenshots: export MIEN_SCREENSHOTS := docs/page
screenshots: browser

faults: .venv/ready
	$(BIN)/python tests/faults.py --kills 1000

# Atheris has wheels for Linux alone, and not for every Python.
fuzz: .venv/ready
	$(PIP) atheris
	@for target in image facebank people model verification records; do \
		$(BIN)/python tests/fuzz $$target $(SECONDS) || exit 1; done
	$(BIN)/python tests/fuzz/pictures.py --seconds $(SECONDS)
	$(BIN)/python tests/fuzz/folders.py $(SECONDS)
	$(BIN)/python tests/fuzz/lines.py $(SECONDS)

picture: .venv/ready photos
	$(BIN)/python demo.py picture
	$(BIN)/python recipes/pictures.py

clean:
	rm -rf .venv .cache demo site $(ORT)

# Debian's Python comes without what venv needs; uv does without.
.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "mien needs Python 3.11 or later" >&2; exit 1; }
	$(PYTHON) -m venv .venv \
		|| { rm -rf .venv; uv venv --seed --python $(PYTHON) .venv; } \
		|| { echo "apt install python3-venv, or install uv" >&2; exit 1; }

.venv/installed: pyproject.toml | .venv/bin/python
	$(PIP) --editable .
	touch $@

.venv/serve: .venv/installed
	$(PIP) --editable '.[serve]'
	touch $@

# Torch first and in one version, so that its dependents take what is there.  The development group
# goes through a file: pip before 25.1 does not know groups.
.venv/ready: .venv/installed
	$(PIP) torch==2.13.0
	$(BIN)/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))[\
	'dependency-groups']['dev'], sep='\n')" > .venv/dev.txt
	$(PIP) --editable '.[train,evaluate,encryption,serve,video,heic,jxl,raw]' --requirement .venv/dev.txt
	touch $@
