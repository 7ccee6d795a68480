# The machine with real ZFS. Included by the Makefile; works by itself, too: make -f tests/vm/vm.mk vm

CARGO ?= cargo
VM := tests/vm/vm
VM_IMAGE ?= bookworm

.PHONY: vm vm-image vm-clean

## vm: a shell in the machine with real ZFS (VM_IMAGE=bookworm or trixie)
vm:
	$(VM) shell $(VM_IMAGE) $(VM_FILES)

## vm-image: builds the machine's image, if it is not there
vm-image:
	$(VM) build $(VM_IMAGE)

## vm-clean: removes every built image
vm-clean:
	$(VM) clean

.PHONY: test-zfs
ZFS_RESULTS := target/zfs-results

## test-zfs: the calls of zones::zfs in the machine with real ZFS, compared with pyzfs (VM_IMAGE)
test-zfs: vm-image
	$(CARGO) test --no-run --test zfs --message-format=json 2>/dev/null \
	    | sed -n 's/.*"executable":"\([^"]*\/zfs-[^"]*\)".*/\1/p' | tail -n 1 >target/zfs-test
	rm -rf $(ZFS_RESULTS)
	$(VM) run --results $(ZFS_RESULTS) $(VM_IMAGE) tests/zfs/run.sh \
	    "$$(cat target/zfs-test)=zfs" tests/zfs/cases.jsonl \
	    tests/zfs/without-library.jsonl tests/zfs/pyzfs.py
	python3 tests/zfs/compare.py tests/zfs/cases.jsonl $(ZFS_RESULTS)

.PHONY: test-zfs-zones
ZONE_BINS := zonecfg zoneadm zoneadmd zlogin zonename zonestat

## test-zfs-zones: ZFS in real zones, in the machine (VM_IMAGE)
test-zfs-zones: vm-image
	$(CARGO) build --bins
	mkdir -p target/zfs-zone
	for b in $(ZONE_BINS); do strip -o target/zfs-zone/$$b target/debug/$$b || exit 1; done
	$(VM) run $(VM_IMAGE) tests/zfs-zone/run.sh $(ZONE_BINS:%=target/zfs-zone/%) \
	    tests/zfs-zone/lib.sh tests/zfs-zone/files.sh tests/zfs-zone/volumes.sh tests/zfs-zone/zonepath.sh
