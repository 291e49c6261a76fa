# The same sources on a Linux process: libspandrel.a and the hosted tests.
#
#   build/hosted/libspandrel.a            optimised
#   build/hosted-SAN/libspandrel.a        SAN address (with undefined), thread or undefined, by
#                                         clang; CONFIG_DEBUG=1: DCHECKs, lock ranks
#   build/hosted-fuzz/libspandrel.a       as that for address, for libFuzzer to watch
#   .../tests                             the test program on it: tests/hosted/main.c
#   .../lifecycle                         an outsider's program on it: start, stop, start again
#
# The library is one object: tables that the linker gathers (commands, statistics) stay whole.  Its
# .data and .bss get names of their own, by which hosted_stop finds the state to put back.
#
# Needs TEST_SOURCES, WARNINGS, DEPFLAGS and say from the Makefile.

HOSTED_SOURCES := $(wildcard arch/hosted/*.c kernel/*.c kernel/thread/*.c mm/*.c mm/*/*.c) \
                  $(filter-out kernel/base/string.c,$(wildcard kernel/base/*.c))
HOSTED_TEST_SOURCES := $(filter-out %_kernel.c,$(TEST_SOURCES)) $(wildcard tests/hosted/*.c)

HOSTED_CFLAGS := -std=gnu11 -O2 -g -fPIE -fno-omit-frame-pointer -momit-leaf-frame-pointer \
                 -fno-stack-protector -fcf-protection=none -fno-strict-aliasing -pthread -I. \
                 $(WARNINGS)
HOSTED_RENAME := .data=spandrel_data .data.rel=spandrel_data .data.rel.local=spandrel_data \
                 .bss=spandrel_bss

# hosted_variant FOLDER,COMPILER,FLAGS -- rules for FOLDER/libspandrel.a and FOLDER/tests
define hosted_variant
$(1)/libspandrel.a: $(HOSTED_SOURCES:%=$(1)/obj/%.o)
	$$(call say,AR)
	@mm/gc/types.sh $$^
	@ld -r -o $(1)/obj/spandrel.o $$^
	@objcopy $$(HOSTED_RENAME:%=--rename-section %) $(1)/obj/spandrel.o
	@rm -f $$@ && ar rcs $$@ $(1)/obj/spandrel.o

$(1)/tests: $(HOSTED_TEST_SOURCES:%=$(1)/obj/%.o) $(1)/libspandrel.a
	$$(call say,LD)
	@mm/gc/types.sh $$(filter %.o,$$^)
	@$(2) $(3) -pthread -pie -o $$@ $$^

$(1)/lifecycle: $(1)/obj/tests/hosted/outside/lifecycle.c.o $(1)/libspandrel.a
	$$(call say,LD)
	@$(2) $(3) -pthread -pie -o $$@ $$^

$(1)/obj/%.c.o: %.c
	$$(call say,CC)
	@mkdir -p $$(@D)
	@$(2) $$(HOSTED_CFLAGS) $(3) $$(DEPFLAGS) -c -o $$@ $$<

-include $(patsubst %,$(1)/obj/%.o.d,$(HOSTED_SOURCES) $(HOSTED_TEST_SOURCES) \
  tests/hosted/outside/lifecycle.c)
endef

HOSTED_SAN_address   := -fsanitize=address,undefined
HOSTED_SAN_undefined := -fsanitize=undefined
# The thread sanitizer sees C only: so it gets the C that stands in for the sequences.
HOSTED_SAN_thread    := -fsanitize=thread -DCONFIG_SEQUENCES=0

$(eval $(call hosted_variant,build/hosted,$(CC),))
$(foreach san,address undefined thread,$(eval $(call hosted_variant,build/hosted-$(san),$(CLANG),\
    $(HOSTED_SAN_$(san)) -fno-sanitize-recover=all -DCONFIG_DEBUG=1)))
$(eval $(call hosted_variant,build/hosted-fuzz,$(CLANG),\
    -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -DCONFIG_DEBUG=1))

ifneq ($(filter-out address undefined thread,$(SAN)),)
$(error SAN=$(SAN): accepted: address, undefined or thread)
endif

.PHONY: hosted
hosted: build/hosted$(SAN:%=-%)/libspandrel.a
