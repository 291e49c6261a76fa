# What tests are made of; included by the Makefile.

# ---- Traces: kept compressed; all of them are modules where tests and benchmarks boot ----

TRACES := $(patsubst tests/traces/%.xz,build/traces/%,$(wildcard tests/traces/*.kmt.xz))
INITRD := build/traces/all.cpio

$(TRACES): build/traces/%: tests/traces/%.xz
	$(call say,XZ)
	@mkdir -p $(@D)
	@xz -dc $< >$@

$(INITRD): $(TRACES) boot/make-initrd.sh
	$(call say,CPIO)
	@boot/make-initrd.sh $@ $(TRACES)

# ---- Fuzz targets: one per file, each on those of the pure parts that it calls ----

FUZZERS := $(patsubst tests/fuzz/fuzz_%.c,build/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_PARTS := $(BOOT_PURE_SRCS) $(ARCH_PURE_SRCS) tests/replay/trace.c mm/page/ranges.c \
              $(filter-out kernel/base/string.c,$(wildcard kernel/base/*.c))
FUZZ_CFLAGS := -std=gnu11 -O2 -g -I. $(WARNINGS) -fno-omit-frame-pointer -fno-strict-aliasing \
               -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all

# That of the slab allocator has a whole machine.
build/fuzz/slab: build/fuzz/tests/fuzz/fuzz_slab.c.o build/hosted-fuzz/libspandrel.a
	$(call say,LD)
	@$(CLANG) $(FUZZ_CFLAGS) -pthread -o $@ $^

$(filter-out build/fuzz/slab,$(FUZZERS)): build/fuzz/%: build/fuzz/tests/fuzz/fuzz_%.c.o \
  build/fuzz/parts.a
	$(call say,LD)
	@$(CLANG) $(FUZZ_CFLAGS) -o $@ $^

build/fuzz/parts.a: $(FUZZ_PARTS:%=build/fuzz/%.o)
	@rm -f $@ && ar rcs $@ $^

build/fuzz/%.o: %
	$(call say,CC)
	@mkdir -p $(@D)
	@$(CLANG) $(FUZZ_CFLAGS) $(DEPFLAGS) -c -o $@ $<

-include $(FUZZ_PARTS:%=build/fuzz/%.o.d) $(FUZZERS:build/fuzz/%=build/fuzz/tests/fuzz/fuzz_%.c.o.d)

# ---- Lift: mm/ and kernel/base by themselves, on another port ----

LIFT_SOURCES := $(wildcard mm/*.[ch] mm/*/*.[ch] kernel/base/*.[ch])
LIFT_COPIES  := $(filter-out build/lift/mm/port.h,$(LIFT_SOURCES:%=build/lift/%))

$(LIFT_COPIES): build/lift/%: %
	@mkdir -p $(@D)
	@cp $< $@

build/lift/mm/port.h: tests/lift/port.h
	@mkdir -p $(@D)
	@cp $< $@

build/lift/lift: $(LIFT_COPIES) build/lift/mm/port.h $(wildcard tests/lift/*.c)
	$(call say,LIFT)
	@cd build/lift && $(CC) -std=gnu11 -O2 -g -pthread -I. $(WARNINGS) -o lift \
	  $(patsubst build/lift/%,%,$(filter-out %/string.c,$(filter build/lift/%.c,$^))) \
	  $(patsubst %,$(CURDIR)/%,$(filter tests/lift/%.c,$^))

# ---- Lint: every source under both compilers; gcc's part is the images and the library ----

LINT_KERNEL := $(patsubst %,build/lint/kernel/%.ok,$(filter %.c,$(KERNEL_SOURCES)))
LINT_HOSTED := $(HOSTED_SOURCES:%=build/lint/hosted/%.ok) \
               $(HOSTED_TEST_SOURCES:%=build/lint/hosted/%.ok) \
               $(patsubst %,build/lint/hosted/%.ok,$(wildcard $(NATIVE_DIR)/*.c))

$(LINT_KERNEL): build/lint/kernel/%.ok: %
	$(call say,LINT)
	@mkdir -p $(@D)
	@$(CLANG) $(KERNEL_CFLAGS) -DCONFIG_DEBUG=1 $(DEPFLAGS) -fsyntax-only $< && touch $@

$(LINT_HOSTED): build/lint/hosted/%.ok: %
	$(call say,LINT)
	@mkdir -p $(@D)
	@$(CLANG) $(HOSTED_CFLAGS) $(DEPFLAGS) -fsyntax-only $< && touch $@

-include $(LINT_KERNEL:%=%.d) $(LINT_HOSTED:%=%.d)

LINT_PARTS := $(LINT_KERNEL) $(LINT_HOSTED) $(KERNEL) $(DEBUG) $(LOADER) build/hosted/tests $(NATIVE)

# ---- What tests/run.sh needs ----

TEST_PARTS := $(LINT_PARTS) $(OVMF) $(TRACES) $(INITRD) $(FUZZERS) build/lift/lift \
              $(foreach variant,hosted hosted-address hosted-thread, \
                build/$(variant)/tests build/$(variant)/lifecycle)
