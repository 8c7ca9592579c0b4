# make test and make demo work in a fresh clone: they install what is missing (Debian, Ubuntu) or say what to install.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup build portable test test-interop demo bench bench-peers check-kernels sanitize ci format clean

help:
	@echo 'make setup          install the missing system packages, or say which'
	@echo 'make build          build .build/release/rld'
	@echo 'make portable       pack rld for machines without Swift or CLBlast into .build/portable'
	@echo 'make test           build and run all tests'
	@echo 'make test-interop   check files against onnxruntime, safetensors, NumPy, Pillow and TensorBoard, in a Python environment of its own'
	@echo 'make demo           train a teacher and its students on Fashion-MNIST and print the comparison'
	@echo 'make bench          time kernels, steps and epochs, and append the figures to benchmarks/results'
	@echo 'make bench-peers    time the RLD loss, the training step and epochs beside PyTorch (from PyPI, into .build/peers)'
	@echo 'make check-kernels  run every kernel under Oclgrind: accesses outside buffers, data races'
	@echo 'make sanitize       run tests in debug under the address and the thread sanitizer'
	@echo 'make ci             test with a device required and with none, then test-interop, check-kernels, sanitize and portable'
	@echo 'make format         format the Swift sources'
	@echo 'make clean          remove build products'

setup:
	@.ci/setup

build: setup
	swift build -c release --product rld

portable: setup
	@.ci/portable

# One flavour for building and testing: release, internals reached through package access.
test: setup
	swift build -c release --build-tests
	@.ci/test

test-interop: setup
	@Tests/Interop/run

demo: build
	.build/release/rld demo

bench: build
	@benchmarks/run

bench-peers: build
	@benchmarks/peers/run

check-kernels:
	@.ci/check-kernels

sanitize:
	@.ci/sanitize

ci:
	RLD_REQUIRE_DEVICE=1 $(MAKE) test
	OCL_ICD_VENDORS=/nonexistent .ci/test
	$(MAKE) test-interop
	$(MAKE) check-kernels
	$(MAKE) sanitize
	$(MAKE) portable

format:
	swift format --in-place --parallel --recursive Package.swift Sources Tests Plugins kernels benchmarks

clean:
	swift package clean
	rm -rf .build/sanitize-*
