# The UEFI loader and the firmware that tests boot it on.  Included by the Makefile, whose CC,
# WARNINGS and `say` it uses.  Images of a disk and of an initrd: boot/make-esp.sh,
# boot/make-initrd.sh; starting QEMU: boot/qemu.sh.

LOADER := build/boot/BOOTX64.EFI
OVMF   := build/ovmf.fd

# What boot/ shares with the kernel image, and what is pure: hosted tests and fuzzers link it.
BOOT_PURE_SRCS   := boot/cpio.c boot/elf.c boot/handover.c boot/tables.c
BOOT_KERNEL_SRCS := boot/com1.c boot/cpio.c boot/handover.c boot/tables.c boot/pvh/entry.S \
                    boot/pvh/main.c boot/pvh/modules.c

LOADER_SRCS := $(wildcard boot/uefi/*.[cS]) boot/com1.c boot/elf.c boot/handover.c boot/tables.c \
               kernel/base/format.c kernel/base/string.c
LOADER_OBJS := $(LOADER_SRCS:%=build/boot/%.o)

# GNU-EFI: position-independent code, linked as a shared object that its crt0 relocates, converted
# to PE.  EFI's calling convention is in the prototypes (GNU_EFI_USE_MS_ABI).
EFI_LIB      := /usr/lib
EFI_CFLAGS   := -std=gnu11 -O2 -g -I. -isystem /usr/include/efi -isystem /usr/include/efi/x86_64 \
                $(WARNINGS) -ffreestanding -fpic -fshort-wchar -mno-red-zone -mgeneral-regs-only \
                -fno-stack-protector -fno-strict-aliasing -maccumulate-outgoing-args \
                -fno-asynchronous-unwind-tables -DGNU_EFI_USE_MS_ABI
EFI_LDFLAGS  := -nostdlib -shared -Bsymbolic -znocombreloc -znoexecstack --no-undefined \
                --no-warn-rwx-segments -T $(EFI_LIB)/elf_x86_64_efi.lds -L $(EFI_LIB)
EFI_SECTIONS := $(addprefix -j ,.text .sdata .data .rodata .dynamic .dynsym .rel .rela .rel.* \
                .rela.* .reloc)

build/boot/%.o: %
	$(call say,EFI)
	@mkdir -p $(@D)
	@$(CC) $(EFI_CFLAGS) $(DEPFLAGS) -c -o $@ $<

build/boot/loader.so: $(LOADER_OBJS)
	@$(LD) $(EFI_LDFLAGS) -o $@ $(EFI_LIB)/crt0-efi-x86_64.o $^ -lefi -lgnuefi

$(LOADER): build/boot/loader.so
	$(call say,PE)
	@objcopy $(EFI_SECTIONS) --target efi-app-x86_64 --subsystem=10 $< $@

# Debian's firmware, padded in front with 0xff until it reaches down to 0xfed40000: there it looks
# for a TPM and waits 1.5 s for one unless all reads give 0xff.
$(OVMF): boot/make-ovmf.sh
	$(call say,OVMF)
	@mkdir -p $(@D)
	@sh $< $@

-include $(LOADER_OBJS:%=%.d)
