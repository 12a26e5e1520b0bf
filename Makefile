# The verbs that people use. `make run` and `make test` need nothing installed by hand on a
# Debian machine with cargo, as root; `setup` is quick when everything is there already.

.PHONY: setup run test lint bench deny fuzz

CARGO ?= cargo
export RUST_BACKTRACE ?= 1

setup:
	@./setup.sh build

run: setup
	$(CARGO) run --release -- up

test:
	@./setup.sh test
	$(CARGO) test --workspace --locked
	cd e2e && npm test

lint:
	@./setup.sh build
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	@./setup.sh deny
	$(CARGO) deny --locked check bans licenses sources

# All benches: report/report.html and report/report.json (15 minutes; as root, also those that make networks).
bench:
	@./setup.sh bench
	$(CARGO) run --release --locked -- bench report --out report

fuzz:
	cd fuzz && ./run.sh
