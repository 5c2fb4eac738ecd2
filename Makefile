# make demo   shows what wcodec does, on a machine that has Python >= 3.11, pip and a C compiler
# make test   all tests              make check  ruff and mypy
# make test-thorough  the long forms of the same tests, an hour or more
# make fuzz   20,000 changed model files, in bounds of memory and time (CASES=100000)
# make docs   the guide of docs/ as pages in out/docs
# make wheel  builds the wheel and the source distribution into out/wheel, and tries the wheel without a compiler
# make bench  the benchmarks         make clean  removes what these made
#             (NNCODEC='figures.csv hed minilm lenet300=lenet300.h5 ...' adds NNCodec to the one with k-means)
# make slim-bench FASHION=fashion_mnist.npz  slimmed networks, an hour or more; NETWORKS='resnet_bn vit ...'
# make framework-bench FASHION=fashion_mnist.npz  networks of ONNX and PyTorch with inputs, ten minutes
# make calibration-bench FASHION=fashion_mnist.npz  what inputs buy for six networks, half an hour
# make budget-bench FASHION=fashion_mnist.npz  how often a budget is kept, an hour
# make compare  the tools that people use instead: GGUF, TFLite, plain rounding, zstd, ... half an hour
# make paper  the starting paper's experiment, and Deep Compression's, beside wcodec's, a quarter of an hour
# make paper-claims  claims of the papers, each with the figure here, six minutes of one core
# make product-bench FASHION=fashion_mnist.npz  product codebooks beside scalar ones and uniform steps; goes on after a stop
# make records  trains and codes samples/records (under an hour on two cores)
#
# Everything is installed into .venv, once; PYTHON=python3.12 chooses another interpreter.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT := out/demo
PIP := $(BIN)/pip --disable-pip-version-check --quiet --quiet
SOURCES := pyproject.toml setup.py $(shell find wcodec -name '*.py' -o -name '*.py[xi]' -o -name '*.pxd' -o -name '*.dict')

FASHION ?= fashion_mnist.npz
KINDS := gru_embed vit inverted_residual vgg_bn
NETWORKS ?= resnet_bn inverted_residual vgg_bn vit lstm gru_embed

PYTEST := $(BIN)/pytest -n 2 --dist loadfile --durations=15

.PHONY: demo test test-thorough docs check fuzz bench wheel framework-bench calibration-bench budget-bench slim-bench compare paper paper-claims product-bench records clean
.DELETE_ON_ERROR:

demo: $(VENV)/installed
	@mkdir -p $(OUT)
	$(BIN)/wcodec encode samples/lenet300.h5 -o $(OUT)/lenet300.h5.wcz -f
	$(BIN)/wcodec inspect $(OUT)/lenet300.h5.wcz
	$(BIN)/wcodec decode $(OUT)/lenet300.h5.wcz -o $(OUT)/lenet300.h5 -f
	@$(BIN)/wcodec evaluate $(OUT)/lenet300.h5.wcz --data samples/mnist.npz:test --baseline samples/lenet300.h5 --json > $(OUT)/evaluate.json
	@$(BIN)/python -c 'import json; print("lenet300.h5: {source_bytes:,} -> {file_bytes:,} bytes, {ratio:.1f} times smaller; accuracy {baseline_accuracy:.2f} % -> {accuracy:.2f} %".format(**json.load(open("$(OUT)/evaluate.json"))))'

test: $(VENV)/installed-dev
	$(PYTEST)

test-thorough: $(VENV)/installed-dev
	THOROUGH=1 $(PYTEST)

fuzz: $(VENV)/installed-dev
	PYTHONPATH=tests $(BIN)/python tests/attack/model_storm.py $(or $(CASES),20000)

docs: $(VENV)/installed-dev
	$(PIP) install 'mkdocs>=1.6'
	$(BIN)/python docs/build.py
	$(BIN)/mkdocs build --quiet

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/installed-dev
	$(BIN)/python benchmarks/preset_table.py samples/lenet300.h5 samples/lenet5.keras samples/tutorial_cnn.h5 --data samples/mnist.npz:test
	$(BIN)/python benchmarks/samples_table.py --out benchmarks/results/samples.md
	$(BIN)/python benchmarks/aligned_codes.py --out benchmarks/results/aligned_codes.md
	$(BIN)/python benchmarks/speed.py --out benchmarks/results/speed.md
	$(BIN)/python benchmarks/decoding.py hed minilm --out benchmarks/results/decoding.md
	$(BIN)/python benchmarks/frontier.py benchmarks/results/frontier.md
	$(BIN)/python benchmarks/hot_spots.py --out benchmarks/results/profile.md
	$(BIN)/python benchmarks/lossless.py --out benchmarks/results/lossless.md
	$(BIN)/python benchmarks/identical_files.py --out benchmarks/results/identical.md
	$(BIN)/python benchmarks/versions.py --out benchmarks/results/versions.md
	$(BIN)/python benchmarks/against_nncodec.py $(NNCODEC) --out benchmarks/results/nncodec.md

WHEEL := out/wheel
FRESH := $(WHEEL)/fresh

wheel: $(BIN)/python
	rm -rf $(WHEEL)
	$(PIP) install 'build>=1.2'
	$(BIN)/python -m build --outdir $(WHEEL) .
	@! $(BIN)/python -m zipfile -l $(WHEEL)/wcodec-*.whl | grep -E '\.(pyx|pxd|c) '
	$(PYTHON) -m venv $(FRESH)
	env -i PATH=$(abspath $(FRESH))/bin HOME="$$HOME" PIP_CONFIG_FILE="$$PIP_CONFIG_FILE" $(FRESH)/bin/pip install -q --only-binary :all: $(WHEEL)/wcodec-*.whl
	@cp samples/lenet300.h5 $(WHEEL)/ && cd $(WHEEL) && export PATH=$(abspath $(FRESH))/bin && for words in \
	  'encode lenet300.h5 -q' 'inspect lenet300.h5.wcz' 'verify lenet300.h5.wcz' 'decode lenet300.h5.wcz -o back.h5'; do \
	  echo "wcodec $$words"; wcodec $$words || exit 1; done
	@echo 'installed, MB:' && cd $(FRESH)/lib/python*/site-packages && du -sm -- [a-z]*/ | grep -v dist-info | sort -rn

framework-bench: $(VENV)/installed-dev
	$(PIP) install 'torch>=2.4'
	test -e out/torch/vit.onnx || $(BIN)/python benchmarks/torch_networks.py --data $(FASHION) --out out/torch
	$(BIN)/python benchmarks/frameworks.py --data $(FASHION) --networks out/torch --time-limit 15m --out benchmarks/results/frameworks.md

budget-bench: $(VENV)/installed-dev
	$(BIN)/python benchmarks/budgets.py --fashion $(FASHION) --zoo out/zoo --out benchmarks/results/budgets.md
	$(BIN)/python benchmarks/time_limits.py --data $(FASHION) --zoo out/zoo --out benchmarks/results/time_limits.md

calibration-bench: $(VENV)/installed-dev
	test -e out/zoo/vit.keras || $(BIN)/python benchmarks/zoo.py --data $(FASHION) --epochs 4 --out out/zoo $(KINDS)
	rm -f out/calibrated.jsonl
	$(BIN)/python benchmarks/calibrated.py --data samples/mnist.npz --rows out/calibrated.jsonl samples/lenet300.h5 samples/lenet5.keras
	$(BIN)/python benchmarks/calibrated.py --data $(FASHION) --inputs 5000 --drops 0.5 --rows out/calibrated.jsonl \
	  --out benchmarks/results/calibrated.md $(KINDS:%=out/zoo/%.keras)

slim-bench: $(VENV)/installed-dev
	$(BIN)/python benchmarks/slim.py --data $(FASHION) --zoo out/zoo --networks $(NETWORKS) > benchmarks/results/slim.md

compare: $(VENV)/installed-dev
	$(BIN)/python benchmarks/embeddings.py --out benchmarks/results/embeddings.md
	test -e out/lm/lm.keras || $(BIN)/python benchmarks/language_model.py train out/lm --steps 1200
	$(BIN)/python benchmarks/language_peers.py out/lm --out benchmarks/results/language_model.md
	$(BIN)/python benchmarks/wild.py --out benchmarks/results/wild.md
	$(BIN)/python benchmarks/compare.py --out benchmarks/results/compare.md

records: $(VENV)/installed
	$(BIN)/python samples/records.py

paper: $(VENV)/installed
	$(BIN)/python benchmarks/paper.py --out benchmarks/results/paper.md
	$(BIN)/python benchmarks/deep_compression.py --out benchmarks/results/deep_compression.md

paper-claims: $(VENV)/installed
	$(BIN)/python benchmarks/paper_claims.py --out benchmarks/results/paper_claims.md

product-bench: $(VENV)/installed
	$(BIN)/python benchmarks/product.py --data $(FASHION) --zoo out/zoo --rows out/product.jsonl --out benchmarks/results/product.md

clean:
	rm -rf $(VENV) out build wcodec.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find wcodec/kernels -name '*.so' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("wcodec needs Python 3.11 or later, and $(PYTHON) is %d.%d: make PYTHON=... names another" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV) || { echo 'wcodec: python3 -m venv failed (Debian: apt-get install python3-venv)' >&2; rm -rf $(VENV); exit 1; }

$(VENV)/installed: $(SOURCES) | $(BIN)/python
	@echo 'installing wcodec and Keras into $(VENV), once; TensorFlow is large ...'
	@$(PIP) install '.[keras-cpu]'
	@touch $@

$(VENV)/installed-dev: $(SOURCES) | $(BIN)/python
	@echo 'installing wcodec, Keras and the development tools into $(VENV), once; TensorFlow is large ...'
	@$(PIP) install '.[keras-cpu,dev]'
	@touch $@ $(VENV)/installed
