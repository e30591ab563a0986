# SPDX-License-Identifier: GPL-2.0
#
# `make` builds the module, `make demo` shows it, `make check` tests everything; each sets up
# what it needs by itself. The work is in scripts/. Kbuild reads the file Kbuild, not this one.

SHELL := /bin/bash
.DEFAULT_GOAL := module
.PHONY: module demo check check-host check-guest check-lean check-vng check-debug check-long fuzz walk bench lint mutants dkms packages check-packages check-kernels rust-analyzer setup update \
	clean distclean help

# Given on make's command line, these reach the scripts too.
export KDIR KVER JOBS SCALE SEED

module: ## build ipvlan_rs.ko (KDIR=… or KVER=… choose the kernel)
	@scripts/build

demo: ## show the module at work in a guest with the stock kernel
	@scripts/setup
	@scripts/build --stock
	@scripts/demo/run

check: ## run every test; the last line counts them (PARTS=… chooses)
	@scripts/check $(PARTS)

check-host: ## the tests that need no kernel: logic, table, models, the ip plugin
	@scripts/check host

check-guest: ## the same cases on ipvlan and ipvlan_rs in a guest (CASES=… filters by name)
	@scripts/check guest

check-lean: ## what a kernel without IPv6, netfilter and l3mdev can run; it is built once
	@scripts/check lean

check-vng: ## the kernel's own bonding selftest, with ipvlan_rs, under virtme-ng
	@scripts/check vng

check-debug: ## the cases on a kernel with KASAN, lockdep, kmemleak and more; it is built once
	@scripts/check debug

check-long: ## the long versions of the proofs, hours; ends in a table (SCALE=0.01 tries them)
	@scripts/check-long $(PARTS)

fuzz: ## the packet path's decisions under libFuzzer for a minute (SECONDS_OF_FUZZ=… SEED=…)
	@scripts/fuzz

walk: ## a random walk of both kinds, step by step alike (STEPS=… SEED=…)
	@scripts/setup
	@scripts/build --stock
	@scripts/selftests --timeout 14400 st.walk=$(or $(SEED),$$RANDOM):$(or $(STEPS),10000)

bench: ## instructions and ns per packet beside ipvlan, macvlan, veth and netkit (QUICK=1 for a first look)
	@scripts/bench $(if $(QUICK),--quick)

lint: ## formatting, clippy, shellcheck and the rules of the layers
	@scripts/check lint

mutants: ## apply each wrong patch and see it caught (MUTANTS=… filters by name)
	@scripts/mutants $(MUTANTS)

dkms: ## the module's source as DKMS wants it, in dist/
	@scripts/dkms-tree

packages: ## Debian packages of all this, and the Rust metadata of KERNELS=…, in dist/
	@scripts/packaging/build --lintian $(KERNELS)

check-packages: ## the packages in a machine with Debian 13: install, upgrade, containers, purge
	@scripts/packaging/check

check-kernels: ## build and try the module on every Debian kernel with Rust (KERNELS=… chooses)
	@scripts/check-kernels $(KERNELS)

rust-analyzer: ## write rust-project.json for an editor
	@scripts/rust-analyzer

setup: ## fetch and prepare everything in the cache, building nothing of ours
	@scripts/setup

update: ## look for a newer stock kernel, and set it up
	@scripts/setup --update

clean: ## remove what was built, keep the environment
	@scripts/clean

distclean: ## remove the whole cache too
	@scripts/clean --all

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile
