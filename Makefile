# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
#
# A thin front to Meson (build/) and to the programs in tools/.

BUILD = build

help:
	@echo 'make deps     install the Debian packages that are missing (as root)'
	@echo 'make build    build offrampd, offramp and offramp-bench in $(BUILD)/'
	@echo 'make demo     run the main job on a real broker and print the result (as root)'
	@echo 'make test     run all tests (as root); FAST=1: those that take seconds'
	@echo 'make test-all all of that in every mode and at full size: an hour'
	@echo 'make test-differential  random programs, SEEDS=1000 of them from FIRST=1 on; IMPAIR=1: bad wires'
	@echo 'make test-brokers  the system tests with RabbitMQ, ejabberd and aedes (as root)'
	@echo 'make bench    sweep publishers x subscribers x mode (as root)'
	@echo 'make bench-tcp  what the TCP engine costs, by number of connections'
	@echo 'make bench-match  what a match costs, by number of subscriptions'
	@echo 'make bench-forward  what other traffic loses by the editing of MQTT in monitor mode (as root)'
	@echo 'make bench-slow  how long what the broker must answer takes, and what passes costs it, by mode (as root)'
	@echo 'make bench-plugin  what the mosquitto plugin costs mosquitto (as root)'
	@echo 'make install  install what was built (DESTDIR= is respected)'
	@echo 'make clean    remove all build directories'

deps:
	@tools/deps

deps-brokers:
	@tools/deps-brokers

$(BUILD)/build.ninja:
	meson setup $(BUILD)

build: deps
	@$(MAKE) --no-print-directory $(BUILD)/build.ninja
	@ninja -C $(BUILD)

demo: build
	@tools/demo

bench: build
	@tools/bench-sweep

bench-tcp: deps
	@$(MAKE) --no-print-directory $(BUILD)/build.ninja
	@ninja -C $(BUILD) tests/bench/bench-tcp
	@$(BUILD)/tests/bench/bench-tcp --check

bench-match: deps
	@$(MAKE) --no-print-directory $(BUILD)/build.ninja
	@ninja -C $(BUILD) tests/bench/bench-match
	@$(BUILD)/tests/bench/bench-match --check

bench-forward: build
	@tools/bench-forward --check

bench-slow: build
	@tools/bench-slow --check

bench-plugin: build
	@tools/bench-plugin --check

test: deps
	@tools/run-tests $(if $(FAST),--fast)

test-all: deps
	@tools/run-tests --all

# Of the sanitized build, if make test has made one: it can make wires bad and finds more.
test-differential: build
	@OFFRAMP_BUILD=$(firstword $(wildcard build-asan) $(BUILD)) tests/differential/run.py \
		--seeds $(or $(SEEDS),1000) --first $(or $(FIRST),1) $(if $(IMPAIR),--impair)

test-brokers: deps deps-brokers
	@tools/run-tests --brokers

install: build
	meson install -C $(BUILD) --no-rebuild

clean:
	rm -rf build build-asan build-tsan

.PHONY: help deps deps-brokers build demo bench bench-forward bench-match bench-plugin bench-slow bench-tcp test test-all test-brokers \
	test-differential install clean
