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

.PHONY: test-zfs test-zfs-zones
# The image is built for them if it is not there.
ZFS_TEST := ZONES_TEST_REQUIRE=zfs $(CARGO) test --locked --test zfs --

## test-zfs: the calls of zones::zfs in the machine with real ZFS, compared with pyzfs (VM_IMAGE)
test-zfs:
	$(ZFS_TEST) $(VM_IMAGE)::calls

## test-zfs-zones: ZFS in real zones, in the machine (VM_IMAGE, SCRIPT: one of tests/zfs-zone without .sh)
test-zfs-zones:
	$(ZFS_TEST) $(VM_IMAGE)::$(SCRIPT) --skip ::calls

.PHONY: test-zfs-without
## test-zfs-without: each part of the engine taken out in turn; the case of what it keeps must fail (PART: one of them)
test-zfs-without:
	$(VM) build bookworm
	tests/zfs-zone/taken-out $(PART)
