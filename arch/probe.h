/*
 * A load that may fault: where it does, execution goes on elsewhere.
 *
 * Idea.  The instruction notes, in the section "probe_table", its own address and where to go on.
 * The port's handler of memory faults looks the faulting RIP up there (probe_landing), and sets RIP
 * to the landing.  So a load that does not fault costs one instruction and no branch.
 *
 * A port that has it says so by ARCH_PROBES; without, a probe is a plain load.
 *
 * Source: Linux's exception tables.
 */
#pragma once

#include "arch/arch.h"

struct probe_bounds {
    int32_t load;    /* the instruction, from here */
    int32_t landing; /* where to go on, from here */
};

/* From the linker; weak: a build may be without. */
extern const struct probe_bounds __start_probe_table[] __attribute__((weak));
extern const struct probe_bounds __stop_probe_table[] __attribute__((weak));

/* Where to go on after a memory fault at `pc`; 0: it is no probe.  Any context. */
static inline uintptr_t probe_landing(uintptr_t pc)
{
    const struct probe_bounds *bounds = __start_probe_table;

    for (; bounds < __stop_probe_table; bounds++) {
        if ((uintptr_t)&bounds->load + (uintptr_t)(intptr_t)bounds->load == pc)
            return (uintptr_t)&bounds->landing + (uintptr_t)(intptr_t)bounds->landing;
    }
    return 0;
}

/* Load a word; false: its address cannot be read.  Any context that may take the port's faults. */
static ALWAYS_INLINE bool arch_probe(const uint64_t *word, uint64_t *out)
{
#ifdef ARCH_PROBES
    uint64_t value;

    __asm__ volatile goto("771:\tmovq %[word], %[value]\n\t"
                          ".pushsection probe_table, \"a\", @progbits\n\t"
                          ".long 771b - ., %l[fault] - .\n\t"
                          ".popsection"
                          : [value] "=r"(value)
                          : [word] "m"(*word)
                          :
                          : fault);
    __asm__ volatile("");
    *out = value;
    return true;
fault:
    return false;
#else
    *out = *word;
    return true;
#endif
}
