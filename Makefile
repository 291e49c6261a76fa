# Spandrel.  `make help` lists what there is to make.  Everything that is built goes to build/.

.DELETE_ON_ERROR:
.SUFFIXES:
.DEFAULT_GOAL := help
ifeq ($(filter -j%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(shell nproc)
endif

# What `make run` and its kin can be told; CPUS and MEM are for boot/qemu.sh.
CMDLINE ?=
TRACE   ?= build/traces/files.kmt
BENCH   ?= *
ICOUNT  ?=
HOSTED  ?=
SAN     ?=
export CPUS MEM

# ---- Set-up: before anything is built, install what the goals need ----

SETUP_GOALS := $(filter run test stress bench hosted debug gdb lint fuzz mutants model,$(MAKECMDGOALS))
ifneq ($(SETUP_GOALS),)
ifeq ($(findstring n,$(firstword -$(MAKEFLAGS))),)
$(shell SAN=$(SAN) HOSTED=$(HOSTED) tests/setup.sh $(SETUP_GOALS))
ifneq ($(.SHELLSTATUS),0)
$(error set-up failed)
endif
endif
endif

# ---- Tools and flags ----

ifeq ($(origin CC),default)
CC := gcc
endif
CLANG := clang

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wvla \
            -Wwrite-strings -Werror
# Images hold names of files relative to the root, and none of the machine that built them.
IMAGE_PATHS := -ffile-prefix-map=$(shell $(CC) -print-file-name=include 2>/dev/null)=include \
               -ffile-prefix-map=$(CURDIR)=.
KERNEL_CFLAGS := -std=gnu11 -ffreestanding -O2 -g -I. $(WARNINGS) -mcmodel=kernel -mno-red-zone \
                 -mgeneral-regs-only -fno-pic -fno-pie -fno-stack-protector \
                 -fno-asynchronous-unwind-tables -fno-omit-frame-pointer \
                 -momit-leaf-frame-pointer -fno-strict-aliasing -fno-common -ffunction-sections \
                 $(IMAGE_PATHS)
KERNEL_LDFLAGS := -nostdlib -static -T linker.ld --gc-sections --build-id=none \
                  -z max-page-size=0x1000 -z noexecstack
DEPFLAGS = -MMD -MP -MF $@.d -MT $@

comma := ,
say = @printf '  %-4s %s\n' $(1) $@
# One word of a shell's command line.
quoted = '$(subst ','\'',$(1))'

include boot/boot.mk

# ---- The kernel: two images from the same sources ----

KERNEL := build/kernel/kernel.elf
DEBUG  := build/debug/kernel.elf

# In both kernel images and in the hosted test program: the tests, and what of boot/ and arch/ they
# test.  The other folders of tests/ have uses of their own.
ARCH_PURE_SRCS := arch/x86_64/numa_tables.c
TEST_SOURCES := $(BOOT_PURE_SRCS) $(ARCH_PURE_SRCS) \
                $(filter-out tests/hosted/% tests/fuzz/% tests/lift/% tests/lint/% \
                               tests/bench/native/%, \
                             $(wildcard tests/*.c tests/*/*.c tests/*/*/*.c))
KERNEL_SOURCES := $(sort $(BOOT_KERNEL_SRCS) $(TEST_SOURCES) \
                    $(wildcard arch/x86_64/*.[cS] kernel/*.c kernel/*/*.c mm/*.c mm/*/*.c))

# kernel_image FOLDER,FLAGS -- FOLDER/kernel.elf, linked twice: from the addresses of the first link
# come the tables of functions and lines that backtraces show, which must be right for the second.
define kernel_image
$(1)/kernel.elf: $(KERNEL_SOURCES:%=$(1)/%.o) $(1)/symbols.o linker.ld
	$$(call say,LD)
	@mm/gc/types.sh $$(filter %.o,$$^)
	@$$(LD) $$(KERNEL_LDFLAGS) -o $$@ $$(filter %.o,$$^)
	@arch/x86_64/symbols.sh $$@ | cmp - $(1)/symbols.S

$(1)/symbols.S: $(KERNEL_SOURCES:%=$(1)/%.o) linker.ld \
  $(addprefix arch/x86_64/,symbols.sh symbols.awk lines.awk)
	@$$(LD) $$(KERNEL_LDFLAGS) -o $(1)/nameless.elf $$(filter %.o,$$^)
	@arch/x86_64/symbols.sh $(1)/nameless.elf >$$@

$(1)/symbols.o: $(1)/symbols.S
	@$$(CC) $$(KERNEL_CFLAGS) -c -o $$@ $$<

$(1)/%.o: %
	$$(call say,CC)
	@mkdir -p $$(@D)
	@$$(CC) $$(KERNEL_CFLAGS) $(2) $$(DEPFLAGS) -c -o $$@ $$<

-include $(KERNEL_SOURCES:%=$(1)/%.o.d)
endef
$(eval $(call kernel_image,build/kernel,))
$(eval $(call kernel_image,build/debug,-DCONFIG_DEBUG=1))

include arch/hosted/hosted.mk
include tests/bench/native/native.mk
include tests/tests.mk

# ---- Running ----

# A trace is named from where make was called; the one by default is ours.
trace_from = $(if $(filter file,$(origin TRACE)),$(CURDIR),$(PWD))

.PHONY: run
run: $(KERNEL) $(LOADER) $(OVMF) $(TRACES)
	@boot/run.sh $(LOADER) $(KERNEL) $(call quoted,$(trace_from)) $(call quoted,$(TRACE)) \
	  $(call quoted,$(CMDLINE))

.PHONY: debug
debug: $(DEBUG) $(INITRD)
	@echo "QEMU waits for \`make gdb\` in another terminal; C-a x ends it"
	@boot/qemu.sh pvh $(DEBUG) $(call quoted,$(CMDLINE)) $(INITRD) -s -S

.PHONY: gdb
gdb: $(DEBUG)
	@gdb $(DEBUG) -x kernel/spandrel.gdb -ex 'target remote :1234' -ex 'hbreak kernel_init' \
	  -ex continue

.PHONY: bench
ifeq ($(HOSTED),)
bench: $(KERNEL) $(INITRD)
	@$(if $(ICOUNT),CPUS=$(or $(CPUS),1)) boot/qemu.sh pvh $(KERNEL) \
	  $(call quoted,run=bench bench=$(BENCH) then=poweroff $(CMDLINE)) $(INITRD) \
	  $(if $(ICOUNT),-icount shift=0$(comma)sleep=off -seed 1 -rtc base=2024-01-01$(comma)clock=vm)
else
bench: build/hosted/tests $(TRACES) $(NATIVE)
	$(if $(ICOUNT),$(error ICOUNT=1 counts instructions in QEMU, not with HOSTED=1))
	@case $(call quoted,$(BENCH)) in Native*) ;; \
	  *) build/hosted/tests run=bench bench=$(call quoted,$(BENCH)) $(TRACES:%=module=%) $(CMDLINE) ;; \
	  esac && tests/bench/native/run.sh $(call quoted,$(BENCH))
endif

# ---- Checking ----

.PHONY: test
test: $(TEST_PARTS)
	@tests/run.sh

.PHONY: stress
stress: build/hosted/tests build/hosted-address/tests build/hosted-thread/tests $(DEBUG) $(INITRD)
	@SUITES=stress tests/run.sh

.PHONY: lint
lint: $(LINT_PARTS)
	@tests/lint/lint.sh

.PHONY: fuzz
fuzz: $(FUZZERS)
	@for fuzzer in $^; do tests/fuzz/run.sh $$fuzzer -max_total_time=60 || exit; done

.PHONY: mutants
mutants: build/hosted/tests build/hosted-address/tests build/hosted-thread/tests $(DEBUG)
	@tests/mutants/run.sh

.PHONY: model
model:
	@CC=$(CC) tests/model/run.sh

# ---- The rest ----

.PHONY: compile_commands.json
compile_commands.json:
	$(call say,JSON)
	@{ echo '['; \
	  for source in $(filter %.c,$(KERNEL_SOURCES)); do \
	    echo "$$comma{\"directory\": \"$(CURDIR)\", \"file\": \"$$source\"," \
	         "\"command\": \"$(CC) $(KERNEL_CFLAGS) -c $$source\"}"; comma=,; \
	  done; echo ']'; } >$@

.PHONY: clean
clean:
	@rm -rf build compile_commands.json

define HELP
make run      boot in QEMU with OVMF on this terminal, replay a recorded trace, end in the monitor
              CPUS=2 MEM=512M CMDLINE='key=value ...' TRACE=path
make test     all tests; the last line is "N passed, N failed"
make stress   the slab allocator's soak on all kinds of machine, about an hour; SEED=N
make bench    Go benchmark lines: BENCH=GLOB; ICOUNT=1 counts instructions, on one CPU if CPUS=
              does not say otherwise; HOSTED=1 runs natively, then
              Debian's mimalloc, tcmalloc and jemalloc in turn with kmalloc (Native*)
make hosted   build/hosted/libspandrel.a, the same sources on a Linux process
              SAN=address|thread|undefined: in build/hosted-SAN/
make debug    boot the debug image, waiting for gdb; CPUS= MEM= CMDLINE=
make gdb      attach to it; `help spandrel` lists the project's commands
make lint     layers, format, warnings under gcc and clang
make fuzz     every fuzz target for a minute
make model    check the collector's protocol with spin, and that each part of it is needed
make mutants  break one check after another and see that the tests notice
make clean    remove build/
make compile_commands.json    for editors
endef

.PHONY: help
help:
	$(info $(HELP))
	@:
