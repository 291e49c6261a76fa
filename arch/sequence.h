/*
 * Restartable sequences: fast paths on this CPU's own data without lock, atomic or cli/sti.
 *
 * Contract.  A sequence is a few instructions that find this CPU's copy of a percpu variable, read
 * it, compute, and end in one store, the commit.  On an interrupt whose saved RIP lies in a
 * sequence, first instruction to commit, the commit not yet done, the entry code sets RIP back to
 * the first instruction before any handler runs.  So what a sequence commits was computed from
 * data that nothing else on its CPU has touched since, on the CPU on which the commit takes place:
 * it is atomic against interrupt handlers, and against the thread's being stopped there and going
 * on elsewhere.  It is not atomic against other CPUs, which may at most look.
 *
 * What may be in one:
 *   - stores before the commit only of what means nothing until the commit (seq_window.h,
 *     seq_magazine.h);
 *   - no call, no stack, no change of an input register, no memory that may fault;
 *   - a jump out of it at any point before the commit: it has done nothing, the caller takes a
 *     slow path.
 * NMIs do not rewind, so an NMI handler touches no data of sequences.  Nor do exceptions, which a
 * sequence does not raise; a report shows where it was.
 *
 * Where they are.  A sequence is inline in a function of the linker section "restartable" (the
 * attribute RESTARTABLE), and notes its bounds in the section "restart_table".  So most
 * interrupts cost two comparisons.
 *
 * A port that has sequences says so in its arch_inline.h: ARCH_SEQUENCES is the header that defines
 * the operations below.  All for x86-64 stand in arch/sequence_x86.h, which both ports use;
 * they differ in how this CPU's copy is found and in where the saved RIP is.  A port without, and
 * any build with CONFIG_SEQUENCES 0, does the same in C with interrupts off, and needs nothing but
 * this file.  Slow paths may use that C too: with interrupts off, no sequence of this CPU is under
 * way.
 *
 * Source: Bershad, Redell, Ellis, "Fast mutual exclusion for uniprocessors", ASPLOS 1992; Linux
 * rseq; TCMalloc.
 */
#pragma once

#include "arch/arch.h"
#include "kernel/base/config.h"
#include "kernel/base/seq_log.h"
#include "kernel/base/seq_magazine.h"
#include "kernel/base/seq_window.h"

#define RESTARTABLE NOINLINE SECTION("restartable")

struct sequence_bounds {
    int32_t start; /* first instruction, from here */
    int32_t end;   /* behind the commit, from here */
};

/* From the linker; weak: a build may be without. */
extern const char __start_restartable[] __attribute__((weak));
extern const char __stop_restartable[] __attribute__((weak));
extern const struct sequence_bounds __start_restart_table[] __attribute__((weak));
extern const struct sequence_bounds __stop_restart_table[] __attribute__((weak));

/*
 * sequence_rewind -- where to go on after an interrupt at `pc`: at the start of the sequence that
 * it lies in, else at pc.  The port's interrupt entry calls it before any handler.  Any context.
 */
static inline uintptr_t sequence_rewind(uintptr_t pc)
{
    if (LIKELY(pc - (uintptr_t)__start_restartable >=
               (uintptr_t)(__stop_restartable - __start_restartable)))
        return pc;

    const struct sequence_bounds *bounds = __start_restart_table;

    for (; bounds < __stop_restart_table; bounds++) {
        uintptr_t start = (uintptr_t)&bounds->start + (uintptr_t)(intptr_t)bounds->start;
        uintptr_t end = (uintptr_t)&bounds->end + (uintptr_t)(intptr_t)bounds->end;

        if (pc >= start && pc < end)
            return start;
    }
    return pc;
}

/* This CPU's copy of a percpu window; interrupts are off. */
static ALWAYS_INLINE struct seq_window *sequence_window_here(struct seq_window *window)
{
    return (struct seq_window *)((uintptr_t)window + arch_percpu_offset());
}

/*
 * The operations of kernel/base/seq_window.h on this CPU's copy.
 *   window   a percpu variable or a member of one: the address of CPU 0's copy
 *   returns  false: a miss, nothing has changed; for a take *addr is the run otherwise
 *   context  irq; any number of instructions below 25; only in functions that are RESTARTABLE
 */
static ALWAYS_INLINE bool arch_window_take_one(struct seq_window *window, void **addr);
static ALWAYS_INLINE bool arch_window_take_run(struct seq_window *window, size_t pages,
                                               void **addr);
static ALWAYS_INLINE bool arch_window_give_one(struct seq_window *window, void *addr);
static ALWAYS_INLINE bool arch_window_give_run(struct seq_window *window, void *addr, size_t pages);

/*
 * The operations of kernel/base/seq_magazine.h on this CPU's copy.
 *   tops     a percpu array of tops, the address of CPU 0's copy
 *   index    which of them
 *   token    seq_token(slot)
 *   returns  false: a miss, nothing has changed but that a push may have written the token
 *   context  as above
 */
static ALWAYS_INLINE bool arch_magazine_pop(uintptr_t *tops, uintptr_t index, void **slot);
static ALWAYS_INLINE bool arch_magazine_push(uintptr_t *tops, uintptr_t index, void *slot,
                                             uint64_t token);

/*
 * arch_store_unless -- *slot = value if *flag is false, as one step: whoever sets the flag, and then has
 * this CPU take an interrupt, has all of its flows, those that it has put aside too, see the flag.
 *   returns  false: it is true; nothing has been stored
 *   context  irq; 3 instructions; only in functions that are RESTARTABLE
 */
static ALWAYS_INLINE bool arch_store_unless(const _Atomic bool *flag, void *slot, void *value);

/*
 * arch_store_logged -- seq_log_store on this CPU's log (kernel/base/seq_log.h), as one step likewise.
 *   log      a percpu variable or a member of one: the address of CPU 0's copy
 *   returns  false: the flag is not set, or the log is full; nothing has been stored
 *   context  irq; 10 instructions; only in functions that are RESTARTABLE
 */
static ALWAYS_INLINE bool arch_store_logged(const _Atomic bool *flag, struct seq_log *log,
                                            void *_Atomic *slot, void *value);

#if CONFIG_SEQUENCES && defined(ARCH_SEQUENCES)

#include ARCH_SEQUENCES
#define ARCH_HAS_SEQUENCES 1

#else

#define ARCH_HAS_SEQUENCES 0

static ALWAYS_INLINE bool arch_window_take_one(struct seq_window *window, void **addr)
{
    unsigned long irq_state = arch_irq_save();

    *addr = seq_window_take_one(sequence_window_here(window));
    arch_irq_restore(irq_state);
    return *addr != NULL;
}

static ALWAYS_INLINE bool arch_window_take_run(struct seq_window *window, size_t pages, void **addr)
{
    unsigned long irq_state = arch_irq_save();

    *addr = seq_window_take_run(sequence_window_here(window), pages);
    arch_irq_restore(irq_state);
    return *addr != NULL;
}

static ALWAYS_INLINE bool arch_window_give_one(struct seq_window *window, void *addr)
{
    unsigned long irq_state = arch_irq_save();
    bool is_done = seq_window_give_one(sequence_window_here(window), addr);

    arch_irq_restore(irq_state);
    return is_done;
}

static ALWAYS_INLINE bool arch_window_give_run(struct seq_window *window, void *addr, size_t pages)
{
    unsigned long irq_state = arch_irq_save();
    bool is_done = seq_window_give_run(sequence_window_here(window), addr, pages);

    arch_irq_restore(irq_state);
    return is_done;
}

static ALWAYS_INLINE bool arch_magazine_pop(uintptr_t *tops, uintptr_t index, void **slot)
{
    unsigned long irq_state = arch_irq_save();

    *slot = seq_magazine_pop((uintptr_t *)((uintptr_t)&tops[index] + arch_percpu_offset()));
    arch_irq_restore(irq_state);
    return *slot != NULL;
}

static ALWAYS_INLINE bool arch_store_logged(const _Atomic bool *flag, struct seq_log *log,
                                            void *_Atomic *slot, void *value)
{
    unsigned long irq_state = arch_irq_save();
    struct seq_log *here = (struct seq_log *)((uintptr_t)log + arch_percpu_offset());
    bool is_done = seq_log_store(here, flag, slot, value);

    arch_irq_restore(irq_state);
    return is_done;
}

static ALWAYS_INLINE bool arch_store_unless(const _Atomic bool *flag, void *slot, void *value)
{
    unsigned long irq_state = arch_irq_save();
    bool is_set = atomic_load_explicit(flag, memory_order_relaxed);

    if (!is_set)
        __atomic_store_n((void **)slot, value, __ATOMIC_RELEASE);
    arch_irq_restore(irq_state);
    return !is_set;
}

static ALWAYS_INLINE bool arch_magazine_push(uintptr_t *tops, uintptr_t index, void *slot,
                                             uint64_t token)
{
    unsigned long irq_state = arch_irq_save();
    uintptr_t *top = (uintptr_t *)((uintptr_t)&tops[index] + arch_percpu_offset());
    bool is_done = seq_magazine_push(top, slot, token);

    arch_irq_restore(irq_state);
    return is_done;
}

#endif
