/*
 * What the port keeps for each CPU.
 */
#pragma once

#include <stdatomic.h>
#include "arch/arch.h"

#define GDT_ENTRIES 5 /* null, code, data, and two for the TSS descriptor */

struct tss {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3;
    uint16_t io_map_base;
} __attribute__((packed));

enum cpu_state {
    CPU_OFF,      /* asleep, or told to go there */
    CPU_STARTING, /* given a stack and woken; it or who waits for it makes the next step */
    CPU_ONLINE,   /* takes interrupts; for good */
};

/* Lock letters: [C] constant once the CPU runs, [A] atomic, [P] this CPU only. */
struct cpu_block {
    uintptr_t percpu_offset;     /* [C] arch_percpu_offset() there */
    uint32_t cpu;                /* [C] index, arch_cpu_id() there */
    uint32_t apic_id;            /* [C] */
    uintptr_t stacks;            /* [C] lowest address of its stack block (layout.h), 0: none yet */
    uintptr_t stack_pages;       /* [C] what backs it, in the direct map; 0: the image */
    _Atomic uint32_t state;      /* [A] enum cpu_state; acq_rel */
    _Atomic bool nmi_asked;      /* [A] kernel_nmi() is due, its NMI sent; acq_rel */
    _Atomic bool flush_asked;    /* [A] a TLB flush is due, its NMI sent; acq_rel */
    bool nmi_may_repeat;         /* [P] one NMI without a reason may follow (trap.c) */
    _Atomic uint32_t flush_seen; /* [A] last TLB flush done; release, acquire (tlb.c) */
    _Atomic uint64_t tick_count; /* [A] ticks taken; relaxed, written by this CPU only */
    uint32_t tick_hz;            /* [P] ticks per second, 0: off */
    uint64_t tick_period;        /* [P] in arch_ticks(), deadline timer only */
    uint64_t tick_next;          /* [P] in arch_ticks(), deadline timer only */
    uint64_t gdt[GDT_ENTRIES];   /* [C] */
    struct tss tss;              /* [C] */
} __attribute__((aligned(ARCH_LINE_BYTES)));

extern struct cpu_block cpu_blocks[ARCH_CPU_MAX];

static inline bool cpu_is_online(const struct cpu_block *block)
{
    return atomic_load_explicit(&block->state, memory_order_acquire) == CPU_ONLINE;
}

static inline struct cpu_block *cpu_block_this(void)
{
    return &cpu_blocks[arch_cpu_id()];
}
