# The machine with real ZFS. Included by the Makefile; works by itself, too: make -f tests/vm/vm.mk vm

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
