# `make` lists what there is to make. Everything lands below target/, and `make install` below PREFIX.

SHELL := /bin/sh
PREFIX ?= /usr/local
CARGO ?= cargo

TARGET := $(or $(CARGO_TARGET_DIR),target)
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
# Where both binaries stand once they are built.
DIST = $(TARGET)/dist

.PHONY: help demo test check fuzz bench siege build built man completions install clean
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

demo: ## a simulated org, a key made by openssl, a token, a query
	@tests/demo/demo.sh

test: ## every suite; installs what they need and says so
	@.ci/test

check: ## what is quick: format, rules, spelling, clippy, unit tests
	@.ci/lint
	$(CARGO) test --quiet --workspace --lib --bins

SECONDS_EACH ?= 600

fuzz: ## every parser of foreign bytes, SECONDS_EACH=600 each
	@tests/fuzz/run.sh $(SECONDS_EACH)

bench: build ## what sfkey costs, as ratios against references of the same run
	$(CARGO) build --quiet --release --workspace --bins
	SFKEY_CLIENT=$(abspath $(DIST)/sfkey) $(CARGO) bench --workspace --bench promises

siege: ## how long others wait for an agent under attack, built for release: at most 100 ms
	$(CARGO) build --quiet --release --workspace --bins
	SFKEY_LONGEST_WAIT_MS=100 $(CARGO) test --release --workspace --test abuse -- --nocapture --test-threads=1

# The client is linked statically: it starts for every token, and loading shared libraries is a good part of what
# starting costs. An explicit --target keeps the flag away from build scripts and procedural macros, which cannot
# be static.
build: ## sfkey-agent, and sfkey linked statically, for release
	$(CARGO) build --release --package sfkey-agent
	RUSTFLAGS="$$RUSTFLAGS -C target-feature=+crt-static" \
		$(CARGO) build --release --package sfkey --bin sfkey --target $(HOST)
	@install -D $(TARGET)/release/sfkey-agent $(DIST)/sfkey-agent
	@install -D $(TARGET)/$(HOST)/release/sfkey $(DIST)/sfkey
	@ldd $(DIST)/sfkey 2>&1 | grep -q -E 'statically linked|not a dynamic executable' || \
		{ echo 'error: $(DIST)/sfkey is linked dynamically' >&2; exit 1; }
	@$(MAKE) --no-print-directory man completions
	@ls -l $(DIST)/sfkey-agent $(DIST)/sfkey

# The client writes its own pages. The agent carries no writer of pages: its page is its help.
man: built ## manual pages of both programs, from what was built
	@rm -rf $(DIST)/man && $(DIST)/sfkey manual $(DIST)/man
	@$(DIST)/sfkey-agent --help | sed -e 's/\\/\\e/g' -e 's/-/\\-/g' -e 's/^\./\\\&./' | \
		sed -e '1i .TH sfkey\\-agent 1' -e '1i .SH NAME' \
			-e '1i sfkey\\-agent \\- holds Salesforce private keys and serves access tokens' \
			-e '1i .SH DESCRIPTION' -e '1i .nf' >$(DIST)/man/sfkey-agent.1

completions: built ## completion scripts for bash, zsh and fish, from what was built
	@mkdir -p $(DIST)/completions
	@$(DIST)/sfkey completions bash >$(DIST)/completions/sfkey
	@$(DIST)/sfkey completions zsh >$(DIST)/completions/_sfkey
	@$(DIST)/sfkey completions fish >$(DIST)/completions/sfkey.fish

built:
	@test -x $(DIST)/sfkey && test -x $(DIST)/sfkey-agent || \
		{ echo 'error: nothing is built yet' >&2; echo 'try: make build' >&2; exit 1; }

# Under sudo only what was built before is copied: root should build nothing in a user's tree.
# The units start the agent where it is installed. systemd reads those below /usr and /usr/local; a user's own are
# written by `sfkey service install`.
UNITS = $(PREFIX)/lib/systemd

install: $(if $(SUDO_UID),built,build) ## programs, units, manual pages and completions below PREFIX; DESTDIR as usual
	install -D -m 0755 $(DIST)/sfkey $(DESTDIR)$(PREFIX)/bin/sfkey
	install -D -m 0755 $(DIST)/sfkey-agent $(DESTDIR)$(PREFIX)/bin/sfkey-agent
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/man/man1 $(DIST)/man/*.1
	install -D -m 0644 $(DIST)/completions/sfkey $(DESTDIR)$(PREFIX)/share/bash-completion/completions/sfkey
	install -D -m 0644 $(DIST)/completions/_sfkey $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_sfkey
	install -D -m 0644 $(DIST)/completions/sfkey.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/sfkey.fish
	install -D -m 0644 systemd/user/confirm.conf $(DESTDIR)$(PREFIX)/share/sfkey/confirm.conf
	@set -e; for unit in user/sfkey-agent.service user/sfkey-agent.socket user/sfkey-token.socket \
			system/sfkey-agent@.service system/sfkey-agent@.socket \
			system/sfkey-token@.socket system/sfkey-load@.service; do \
		echo "install $$unit"; \
		install -d "$(DESTDIR)$(UNITS)/$${unit%/*}"; \
		sed 's#^ExecStart=sfkey#ExecStart=$(PREFIX)/bin/sfkey#' "systemd/$$unit" >"$(DESTDIR)$(UNITS)/$$unit"; \
		chmod 0644 "$(DESTDIR)$(UNITS)/$$unit"; \
	done

clean: ## remove what was built and installed for tests
	$(CARGO) clean
