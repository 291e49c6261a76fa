/*
 * mm/port.h for a plain POSIX process: what an outsider writes to lift mm/ into another kernel,
 * and the proof that nothing else is needed.  A build copies mm/ and kernel/base, puts this file
 * in the place of mm/port.h and links tests/lift/lift.c.
 *
 * CPUs are threads that call lift_enter(cpu).  "Interrupts off" is holding the CPU's own lock, so
 * another thread runs a function in a CPU's place by taking that lock (port_call_all): correct, at
 * the price of an atomic on every fast path.  RAM is one mapping; physical address 0 is its start.
 *
 * Who looks for leaks sees static variables and the stack of the thread that looks: what other
 * threads have on theirs or in registers counts as leaked.
 *
 * Limits: no interrupt handlers and no NMI, no lock ranks, no backtraces; percpu memory is
 * PORT_CPU_MAX copies whether used or not; tables are the process's memory, and what take_page
 * gives for them stays unused.
 */
#pragma once

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "kernel/base/base.h"
#include "kernel/base/check.h"
#include "kernel/base/seq_magazine.h"
#include "kernel/base/seq_window.h"

#define PORT_CPU_MAX  64
#define PORT_NODE_MAX 1

#define PORT_NODE_PARTS_MAX 1
#define PORT_LINE_BYTES     64

static inline unsigned port_node_count(void)
{
    return 1;
}

static inline unsigned port_cpu_node(unsigned cpu)
{
    (void)cpu;
    return 0;
}

static inline unsigned port_node_distance(unsigned from, unsigned to)
{
    (void)from, (void)to;
    return 0;
}

static inline unsigned port_node_of(uint64_t address, uint64_t *end)
{
    (void)address;
    *end = UINT64_MAX;
    return 0;
}

typedef struct {
    _Atomic uint32_t held; /* [A] 1: taken; acquire / release */
} port_lock_t;

#define PORT_LOCK_INIT(rank) \
    {                        \
        0                    \
    }

extern char *lift_ram;                           /* [C] what physical address 0 maps to */
extern unsigned lift_cpus;                       /* [C] CPUs that run */
extern port_lock_t lift_cpu_locks[PORT_CPU_MAX]; /* held: that CPU has interrupts off */
extern _Thread_local unsigned lift_cpu;          /* this thread's CPU */
extern _Thread_local bool lift_irq_off;          /* this thread holds its CPU's lock */
extern _Thread_local unsigned lift_fail_nth;     /* 1: the next acquisition fails; 0: none */

/* lift_start -- map `ram_bytes` of RAM, aligned to 1 GiB; this thread is CPU 0 of `cpus`. */
void lift_start(size_t ram_bytes, unsigned cpus);
void lift_enter(unsigned cpu); /* this thread is CPU `cpu` from now on; no other thread may be */

static inline void lift_lock(port_lock_t *lock)
{
    while (atomic_exchange_explicit(&lock->held, 1, memory_order_acquire) != 0)
        sched_yield();
}

static inline void lift_unlock(port_lock_t *lock)
{
    atomic_store_explicit(&lock->held, 0, memory_order_release);
}

static inline unsigned port_cpu_id(void)
{
    return lift_cpu;
}

static inline unsigned port_cpu_count(void)
{
    return lift_cpus;
}

static inline unsigned long port_irq_save(void)
{
    bool was_off = lift_irq_off;

    if (!was_off)
        lift_lock(&lift_cpu_locks[lift_cpu]);
    lift_irq_off = true;
    return was_off;
}

static inline void port_irq_restore(unsigned long was_off)
{
    if (was_off)
        return;
    lift_irq_off = false;
    lift_unlock(&lift_cpu_locks[lift_cpu]);
}

static inline bool port_can_wait(void)
{
    return !lift_irq_off;
}

#define PORT_PERCPU(type, name) __typeof__(type) name[PORT_CPU_MAX]
#define port_this_cpu(name)     (&(name)[lift_cpu])
#define port_cpu(name, cpu)     (&(name)[cpu])

void port_call(unsigned cpu, void (*fn)(void *arg), void *arg);
void port_call_all(void (*fn)(void *arg), void *arg);

static inline void port_preempt_disable(void)
{
}

static inline void port_preempt_enable(void)
{
}

/* Windows: the plain operations, "interrupts off". */
#define PORT_RESTARTABLE
#define lift_here(expression)                        \
    ({                                               \
        unsigned long irq_state_ = port_irq_save();  \
        __typeof__(expression) result_ = expression; \
        port_irq_restore(irq_state_);                \
        result_;                                     \
    })
#define lift_seq(name) (&port_this_cpu(name)->seq)
#define port_window_take_one(name, out) \
    lift_here((*(out) = seq_window_take_one(lift_seq(name))) != NULL)
#define port_window_take_run(name, pages, out) \
    lift_here((*(out) = seq_window_take_run(lift_seq(name), pages)) != NULL)
#define port_window_give_one(name, addr) lift_here(seq_window_give_one(lift_seq(name), addr))
#define port_window_give_run(name, addr, pages) \
    lift_here(seq_window_give_run(lift_seq(name), addr, pages))

#define port_magazine_pop(name, index, out) \
    lift_here((*(out) = seq_magazine_pop(&port_this_cpu(name)->tops[index])) != NULL)
#define port_magazine_push(name, index, slot, token) \
    lift_here(seq_magazine_push(&port_this_cpu(name)->tops[index], slot, token))

#define port_store_unless(flag, slot, value)                   \
    lift_here(atomic_load_explicit(flag, memory_order_relaxed) \
                  ? false                                      \
                  : (atomic_store_explicit(slot, value, memory_order_release), true))

#define port_store_logged(flag, name, slot, value) \
    lift_here(seq_log_store(&port_this_cpu(name)->log, flag, slot, value))

static inline unsigned long port_lock(port_lock_t *lock)
{
    unsigned long irq_state = port_irq_save();

    lift_lock(lock);
    return irq_state;
}

static inline void port_unlock(port_lock_t *lock, unsigned long irq_state)
{
    lift_unlock(lock);
    port_irq_restore(irq_state);
}

static inline uint32_t port_lock_waits(const port_lock_t *lock)
{
    (void)lock;
    return 0;
}

static inline bool port_lock_is_held(const port_lock_t *lock)
{
    return atomic_load_explicit(&lock->held, memory_order_relaxed) != 0;
}

static inline void port_relax(void)
{
    sched_yield();
}

/* A process has no idle CPUs: nobody calls it, and no memory is released. */
#define PORT_IDLE_WORK(fn) static bool (*const lift_idle_##fn)(void) USED = fn

static inline void port_idle_again(uint64_t ticks)
{
    (void)ticks;
}

static inline uint64_t port_ticks(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static inline uint64_t port_ticks_per_second(void)
{
    return 1000000000;
}

enum port_release { PORT_RELEASE_FAILED, PORT_RELEASED, PORT_RELEASED_AS_ZERO };

static inline enum port_release port_release_pages(void *addr, size_t pages)
{
    (void)addr, (void)pages;
    return PORT_RELEASE_FAILED;
}

static inline uintptr_t port_direct_base(void)
{
    return (uintptr_t)lift_ram;
}

void *port_table_reserve(size_t bytes);
bool port_table_commit(void *addr, size_t bytes, void *(*take_page)(void));

static inline bool port_table_back(void *addr, size_t bytes, void *(*take_page)(void))
{
    return port_table_commit(addr, bytes, take_page);
}

static inline void port_table_flush(void)
{
}

static inline void port_zero_pages(void *addr, size_t pages)
{
    memset(addr, 0, pages * 4096);
}

/* The guard pool: a mapping of its own, where mprotect gives and takes access. */
#define PORT_GUARD_BYTES (512 * 4096ul)

void *port_guard_reserve(void);
bool port_guard_map(void *addr, void *page);
void port_guard_unmap(void *addr);

/* Stacks are the process's: there is no region for others, and nothing is ever opened in it. */
#define PORT_STACK_UNIT   (512 * 4096ul)
#define PORT_STACK_FAULTS true

static inline uintptr_t port_stack_region(size_t *bytes)
{
    *bytes = 0;
    return 0;
}

static inline bool port_stack_open(uintptr_t addr, size_t bytes, void *(*take_page)(void))
{
    (void)addr, (void)bytes, (void)take_page;
    return false;
}

static inline void port_stack_close(uintptr_t addr, size_t bytes, void (*give_page)(void *page))
{
    (void)addr, (void)bytes, (void)give_page;
}

static inline bool port_stack_map(uintptr_t addr, void *page)
{
    (void)addr, (void)page;
    return false;
}

static inline void *port_stack_unmap(uintptr_t addr)
{
    (void)addr;
    return NULL;
}

static inline void *port_stack_page(uintptr_t addr)
{
    (void)addr;
    return NULL;
}

static inline void port_stack_flush_here(void)
{
}

static inline void port_stack_flush_all(void)
{
}

static inline void port_stack_ask_refill(void)
{
}

static inline void port_page_faults(bool (*fn)(uintptr_t addr, bool irq_was_on))
{
    (void)fn;
}

#define PORT_FRESH_IS_ZERO true /* the mapping's pages */

static inline bool port_probe(const uint64_t *word, uint64_t *out)
{
    *out = *word;
    return true;
}

#define PORT_SETTING_AUTO UINT64_MAX

static inline uint64_t port_setting_dmareserve(void)
{
    return PORT_SETTING_AUTO;
}

static inline uint64_t port_setting_reserve(void)
{
    return PORT_SETTING_AUTO;
}

static inline uint64_t port_setting_zeroahead(void)
{
    return 0;
}

static inline uint64_t port_setting_guard_rate(void)
{
    return 20000;
}

static inline uint64_t port_setting_guard_seed(void)
{
    return 1;
}

static inline bool port_setting_page_poison(void)
{
    return false;
}

static inline bool port_setting_slab_random(void)
{
    return true;
}

static inline uint64_t port_setting_seed(void)
{
    return 1;
}

/* Nobody starts the collector here (gc_start). */
#define port_setting_gogc()           100u
#define port_setting_gcassist()       100u
#define port_setting_gcminheap()      (4 * MIB)
#define port_setting_memlimit()       0ul
#define port_setting_gcstoptheworld() 0u
#define port_setting_gctrace()        0u
#define port_setting_gccheckmark()    false
#define port_setting_clobberfree()    false

static inline bool port_setting_page_owner(void)
{
    return false;
}

static inline uint64_t port_setting_quarantine(void)
{
    return PORT_SETTING_AUTO;
}

static inline bool port_setting_slab_debug(char letter, const char *name)
{
    (void)letter, (void)name;
    return false;
}

#define port_print(...) ((void)printf(__VA_ARGS__))
#define port_panic(...) lift_panic(__VA_ARGS__)
NORETURN void lift_panic(const char *format, ...) PRINTF_LIKE(1, 2);

static inline size_t port_backtrace(uintptr_t *pcs, size_t max)
{
    (void)pcs, (void)max;
    return 0;
}

static inline void port_backtrace_print(const uintptr_t *pcs, size_t count)
{
    (void)pcs, (void)count;
}

#define PORT_SYMBOL_BYTES 64
static inline void port_symbol_format(char *text, size_t bytes, uintptr_t return_address)
{
    snprintf(text, bytes, "%p", (void *)return_address);
}

/* The process's own handler of SIGSEGV may call guard_explain_fault; here there is none. */
static inline void port_explain_faults(bool (*fn)(uintptr_t addr, bool is_write, char *text,
                                                  size_t bytes))
{
    (void)fn;
}

static inline uint64_t port_seed(void)
{
    return (uintptr_t)lift_ram ^ (uint64_t)time(NULL);
}

void port_stop_others(void (*fn)(void *arg), void *arg);
void port_each_stack(void (*fn)(uintptr_t start, uintptr_t end, void *arg), void *arg);
void port_each_root(void (*fn)(uintptr_t start, uintptr_t end, void *arg), void *arg);

/* Stacks are the process's. */
static inline void port_each_nonroot(void (*fn)(uintptr_t start, uintptr_t end, void *arg),
                                     void *arg)
{
    (void)fn, (void)arg;
}

static inline bool port_fault(void)
{
    return UNLIKELY(lift_fail_nth != 0) && --lift_fail_nth == 0;
}

static inline bool port_fault_is_armed(void)
{
    return lift_fail_nth != 0;
}

#define PORT_FAULT_HOOK(fn) static USED void (*const lift_hook_##fn)(void) = (fn)

#define PORT_STAT(layer, name) static USED _Atomic uint64_t lift_stat_##layer##_##name
#define port_stat_add(layer, name, n) \
    atomic_fetch_add_explicit(&lift_stat_##layer##_##name, n, memory_order_relaxed)
#define port_stat_inc(layer, name) port_stat_add(layer, name, 1)
