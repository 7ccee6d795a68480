# make            build the programs
# make demo       a zone from its first line of configuration to its removal (root)
# make test       everything that is checked before a change goes in
# make bench      how fast, beside other programs that start containers (root)
# make install    programs, manual, completions, units, templates
# make install-compat  links where tools for Solaris look: /usr/sbin/zoneadm and the like
# make uninstall  removes exactly what these have put there
#
# With real ZFS, in a virtual machine that is built once (see tests/vm/vm.mk); make test does the tests:
# make demo-zfs        a zone's life on ZFS, to be watched
# make bench-zfs       how fast, beside the zfs and mount commands
# make test-zfs        the calls of zones::zfs, beside the Python binding
# make test-zfs-zones  ZFS in real zones (SCRIPT=files: one of tests/zfs-zone)
# make test-zfs-without each part of the engine that knows ZFS taken out in turn: the case of it must fail
# make test-naive      each defence left out in turn: the test of its attack must fail
# make vm              a shell in that machine

CARGO   ?= cargo
DESTDIR ?=
PREFIX  ?= /usr/local

BINDIR  = $(PREFIX)/bin
SBINDIR = $(PREFIX)/sbin
MANDIR  = $(PREFIX)/share/man
UNITDIR = $(PREFIX)/lib/systemd/system
TMPFILESDIR = $(PREFIX)/lib/tmpfiles.d
HELPDIR = $(PREFIX)/lib/zones
BASHDIR = $(PREFIX)/share/bash-completion/completions
ZSHDIR  = $(PREFIX)/share/zsh/site-functions
FISHDIR = $(PREFIX)/share/fish/vendor_completions.d
# The programs look for templates here and nowhere else, whatever PREFIX is.
TEMPLATEDIR = /usr/share/zones/zones.d

RELEASE    = $(or $(CARGO_TARGET_DIR),target)/release
BINS       = zlogin zonename zonestat
SBINS      = zonecfg zoneadm zoneadmd zonesd
MAN1       = $(notdir $(wildcard man/*.1))
MAN5       = $(notdir $(wildcard man/*.5))
MAN7       = $(notdir $(wildcard man/*.7))
MAN8       = $(notdir $(wildcard man/*.8))
COMPLETED  = zonecfg zoneadm zlogin
UNITS      = zones.service zones.target zone@.service zones-broker.socket zones-broker.service
TEMPLATES  = $(notdir $(wildcard zones.d/*.toml))

.PHONY: all check test demo demo-zfs bench bench-zfs install install-compat uninstall clean

# sudo often hides cargo, which lives in a user's home: then what that user has built is taken.
all:
	@if command -v $(CARGO) >/dev/null 2>&1 || ! test -x $(RELEASE)/zoneadm; then \
	    set -x; $(CARGO) build --release --locked; \
	else echo "$(CARGO) is not in PATH: taking the programs that are built already"; fi

check:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --quiet

test:
	.ci/setup
	.ci/images $(MAKE) --no-print-directory check tests

.PHONY: tests test-naive
tests:
	.ci/tests

test-naive:
	tests/escapes/naive

demo: all
	demo/demo.sh $(RELEASE)

bench: all
	bench/bench $(RELEASE)
	bench/networks $(RELEASE)
	@if [ -n "$(VM_IMAGE)" ] && $(VM) built $(VM_IMAGE) 2>/dev/null; then $(MAKE) --no-print-directory bench-zfs; \
	else echo "ZFS is not measured: build its machine with 'make vm-image', then run 'make bench-zfs'"; fi

# What goes into the machine with real ZFS, where the programs lie in the script's own folder.
RELEASED = $(addprefix $(RELEASE)/,$(BINS) $(SBINS))

demo-zfs: all vm-image
	$(VM) run $$([ -t 1 ] && echo --arg=--colour) $(VM_IMAGE) demo/zfs.sh $(RELEASED)

bench-zfs: all vm-image
	$(VM) run --memory 6144 --timeout 3600 $(VM_IMAGE) bench/zfs-bench $(RELEASED)

install:
	@for p in $(BINS) $(SBINS); do \
	    test -x $(RELEASE)/$$p || { echo "make install: $(RELEASE)/$$p is missing: run make first" >&2; exit 1; }; done
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(SBINDIR) $(DESTDIR)$(HELPDIR) $(DESTDIR)$(UNITDIR) $(DESTDIR)$(TMPFILESDIR) \
	    $(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(MANDIR)/man5 $(DESTDIR)$(MANDIR)/man7 $(DESTDIR)$(MANDIR)/man8 \
	    $(DESTDIR)$(BASHDIR) $(DESTDIR)$(ZSHDIR) $(DESTDIR)$(FISHDIR) $(DESTDIR)$(TEMPLATEDIR)
	install -m 0755 $(BINS:%=$(RELEASE)/%) $(DESTDIR)$(BINDIR)
	install -m 0755 $(SBINS:%=$(RELEASE)/%) $(DESTDIR)$(SBINDIR)
	install -m 0644 $(MAN1:%=man/%) $(DESTDIR)$(MANDIR)/man1
	install -m 0644 $(MAN5:%=man/%) $(DESTDIR)$(MANDIR)/man5
	install -m 0644 $(MAN7:%=man/%) $(DESTDIR)$(MANDIR)/man7
	install -m 0644 $(MAN8:%=man/%) $(DESTDIR)$(MANDIR)/man8
	for p in $(COMPLETED); do \
	    install -m 0644 completions/$$p.bash $(DESTDIR)$(BASHDIR)/$$p && \
	    install -m 0644 completions/$$p.zsh $(DESTDIR)$(ZSHDIR)/_$$p && \
	    install -m 0644 completions/$$p.fish $(DESTDIR)$(FISHDIR)/$$p.fish || exit 1; done
	for u in $(UNITS); do \
	    sed -e 's,@SBINDIR@,$(SBINDIR),g' -e 's,@HELPDIR@,$(HELPDIR),g' systemd/$$u > $(DESTDIR)$(UNITDIR)/$$u && \
	    chmod 0644 $(DESTDIR)$(UNITDIR)/$$u || exit 1; done
	sed -e 's,@SBINDIR@,$(SBINDIR),g' systemd/zones-autoboot > $(DESTDIR)$(HELPDIR)/zones-autoboot
	chmod 0755 $(DESTDIR)$(HELPDIR)/zones-autoboot
	install -m 0644 systemd/zones.conf $(DESTDIR)$(TMPFILESDIR)/zones.conf
	install -m 0644 $(TEMPLATES:%=zones.d/%) $(DESTDIR)$(TEMPLATEDIR)

# Tools for Solaris call these by their full paths. What is there and is not ours is left alone.
COMPAT = /usr/sbin/zonecfg:$(SBINDIR)/zonecfg /usr/sbin/zoneadm:$(SBINDIR)/zoneadm \
    /usr/sbin/zlogin:$(BINDIR)/zlogin /usr/bin/zonename:$(BINDIR)/zonename

install-compat:
	@for pair in $(COMPAT); do \
	    path=$${pair%%:*}; program=$${pair#*:}; link=$(DESTDIR)$$path; \
	    test "$$path" = "$$program" || ! { test -e "$$link" || test -L "$$link"; } || \
	    test "$$(readlink "$$link")" = "$$program" || \
	    { echo "make install-compat: $$link is there and is no link to $$program: move it away first" >&2; exit 1; }; done
	install -d $(DESTDIR)/usr/sbin $(DESTDIR)/usr/bin
	@for pair in $(COMPAT); do \
	    path=$${pair%%:*}; program=$${pair#*:}; link=$(DESTDIR)$$path; \
	    test "$$path" = "$$program" || test -L "$$link" || \
	    { echo "ln -s $$program $$link"; ln -s "$$program" "$$link"; } || exit 1; done

# Folders that others may use stay, unless they are ours and empty.
uninstall:
	for pair in $(COMPAT); do \
	    link=$(DESTDIR)$${pair%%:*}; \
	    test "$$(readlink "$$link")" != "$${pair#*:}" || rm -f "$$link" || exit 1; done
	rm -f $(BINS:%=$(DESTDIR)$(BINDIR)/%) $(SBINS:%=$(DESTDIR)$(SBINDIR)/%)
	rm -f $(MAN1:%=$(DESTDIR)$(MANDIR)/man1/%) $(MAN5:%=$(DESTDIR)$(MANDIR)/man5/%) \
	    $(MAN7:%=$(DESTDIR)$(MANDIR)/man7/%) $(MAN8:%=$(DESTDIR)$(MANDIR)/man8/%)
	rm -f $(COMPLETED:%=$(DESTDIR)$(BASHDIR)/%) $(COMPLETED:%=$(DESTDIR)$(ZSHDIR)/_%) \
	    $(COMPLETED:%=$(DESTDIR)$(FISHDIR)/%.fish)
	rm -f $(UNITS:%=$(DESTDIR)$(UNITDIR)/%) $(DESTDIR)$(HELPDIR)/zones-autoboot
	rm -f $(DESTDIR)$(TMPFILESDIR)/zones.conf
	rm -f $(TEMPLATES:%=$(DESTDIR)$(TEMPLATEDIR)/%)
	-rmdir $(DESTDIR)$(HELPDIR) $(DESTDIR)$(TEMPLATEDIR) $(DESTDIR)$(dir $(TEMPLATEDIR)) 2>/dev/null

clean:
	$(CARGO) clean

include tests/vm/vm.mk
