# The native benchmark, one program for each allocator: build/native/NAME
#
#   spandrel                       on build/hosted/libspandrel.a
#   mimalloc, tcmalloc, jemalloc   on Debian's packages, static where they have that
#
# A program whose library is not on this machine is not made; run.sh says so.  The loops are compiled
# once, and the names of their two calls changed in the object: see native.h.
#
# Needs HOSTED_CFLAGS, DEPFLAGS and say.

NATIVE_DIR := tests/bench/native

# native_library NAME -- the file to link with, static or else shared; none: nothing
native_library = $(firstword $(wildcard $(foreach suffix,a so, \
    $(foreach folder,/usr/lib/$(shell uname -m)-linux-gnu /usr/lib64 /usr/lib /usr/local/lib, \
      $(folder)/lib$(1).$(suffix)))))
NATIVE_LIB_mimalloc := $(call native_library,mimalloc)
NATIVE_LIB_tcmalloc := $(call native_library,tcmalloc_minimal)
NATIVE_LIB_jemalloc := $(call native_library,jemalloc)

NATIVE_FOUND := $(foreach name,mimalloc tcmalloc jemalloc,$(if $(NATIVE_LIB_$(name)),$(name)))
NATIVE       := $(patsubst %,build/native/%,spandrel $(NATIVE_FOUND))

build/native/native-spandrel.o: build/hosted/obj/$(NATIVE_DIR)/native.c.o
	@mkdir -p $(@D)
	@objcopy --redefine-sym subject_alloc=kmalloc --redefine-sym subject_free=kfree $< $@

build/native/native-malloc.o: build/hosted/obj/$(NATIVE_DIR)/native.c.o
	@mkdir -p $(@D)
	@objcopy --redefine-sym subject_alloc=malloc --redefine-sym subject_free=free $< $@

build/native/spandrel: build/native/native-spandrel.o \
    build/hosted/obj/$(NATIVE_DIR)/subject_spandrel.c.o build/hosted/libspandrel.a
	$(call say,LD)
	@$(CC) -pthread -pie -o $@ $^

# An archive of C++ (tcmalloc) needs its run-time library, but not the compiler.
$(NATIVE_FOUND:%=build/native/%): build/native/%: build/native/native-malloc.o \
    build/hosted/obj/$(NATIVE_DIR)/subject_malloc.c.o
	$(call say,LD)
	@$(CC) -pthread -pie -o $@ $^ $(NATIVE_LIB_$*) -Wl,--as-needed -l:libstdc++.so.6 -lm

-include $(patsubst %,build/hosted/obj/$(NATIVE_DIR)/%.c.o.d,native subject_malloc \
  subject_spandrel)
