/*
 * All that mm/ needs from the kernel around it.  mm/ includes only mm/, kernel/base and this file:
 * to lift mm/ into another kernel, take mm/ and kernel/base and write this file and mm/port_setting.h anew (a
 * few hundred lines; tests/lift/port.h is one for a POSIX process).
 *
 * Here every name is bound to Spandrel's own arch/ and kernel/.
 *
 * Contexts as in arch/arch.h: "irq" is ordinary code and interrupt handlers, "ordinary" is code
 * with interrupts on and no lock held.
 */
#pragma once

#include "arch/arch.h"
#include "arch/probe.h"
#include "kernel/balloon.h"
#include "kernel/base/base.h"
#include "kernel/base/check.h"
#include "kernel/base/seq_magazine.h"
#include "kernel/base/seq_window.h"
#include "kernel/cmdline.h"
#include "kernel/cpus.h"
#include "kernel/fault.h"
#include "kernel/lock.h"
#include "kernel/nodes.h"
#include "kernel/page_fault.h"
#include "kernel/panic.h"
#include "kernel/percpu.h"
#include "kernel/preempt.h"
#include "kernel/print.h"
#include "kernel/slab_setting.h"
#include "kernel/stat.h"
#include "kernel/stop.h"
#include "kernel/symbol.h"
#include "mm/port_setting.h"

#define PORT_CPU_MAX  ARCH_CPU_MAX /* CPUs at most */
#define PORT_NODE_MAX NODE_MAX     /* nodes at most */

#define PORT_NODE_PARTS_MAX NODE_PARTS_MAX  /* pieces that port_node_of tells apart, at most */
#define PORT_LINE_BYTES     ARCH_LINE_BYTES /* what two CPUs must not share, bytes */

/* ---- CPUs, interrupts; any context ---- */

/* This CPU's index, 0 .. port_cpu_count() - 1; stable only while interrupts are off. */
static inline unsigned port_cpu_id(void)
{
    return arch_cpu_id();
}

/* CPUs that run now; never falls. */
static inline unsigned port_cpu_count(void)
{
    return cpus_online();
}

/* Interrupts off; returns the state before, for port_irq_restore.  Nests. */
static inline unsigned long port_irq_save(void)
{
    return arch_irq_save();
}

static inline void port_irq_restore(unsigned long state)
{
    arch_irq_restore(state);
}

/* True in ordinary context: interrupts on, so that waiting for other CPUs is allowed. */
static inline bool port_can_wait(void)
{
    return arch_irq_enabled();
}

/*
 * A variable per CPU, zero when its CPU starts: [static] PORT_PERCPU(struct x, name); at file scope.
 * port_this_cpu(name) and port_cpu(name, cpu) give pointers to a CPU's copy.
 */
#define PORT_PERCPU(type, name) PERCPU(type, name)
#define port_this_cpu(name)     this_cpu(name)
#define port_cpu(name, cpu)     cpu_var(name, cpu)

/* Run fn(arg) on every CPU, each with interrupts off, and wait for all.  Ordinary context. */
static inline void port_call_all(void (*fn)(void *arg), void *arg)
{
    cpu_call_all(fn, arg);
}

/* From here on this flow stays on its CPU, and no other runs there but interrupts.  Nests; irq. */
static inline void port_preempt_disable(void)
{
    preempt_disable();
}

static inline void port_preempt_enable(void)
{
    preempt_enable();
}

/* Run fn(arg) on one CPU, interrupts off, and wait until it is done.  Ordinary context. */
static inline void port_call(unsigned cpu, void (*fn)(void *arg), void *arg)
{
    cpu_call(cpu, fn, arg);
}

/* ---- Nodes: memory and CPUs that are near each other; any context ---- */

/* Nodes are 0 .. port_node_count() - 1; constant from mm_init on. */
static inline unsigned port_node_count(void)
{
    return node_count();
}

/* The node of a CPU; of one that does not run yet it may not be known. */
static inline unsigned port_cpu_node(unsigned cpu)
{
    return node_of_cpu(cpu);
}

/* How far the memory of node `to` is from the CPUs of node `from`: compare only. */
static inline unsigned port_node_distance(unsigned from, unsigned to)
{
    return node_distance(from, to);
}

/* The node of a physical address; all of [address, *end) is on it.  UINT64_MAX: and all above. */
static inline unsigned port_node_of(uint64_t address, uint64_t *end)
{
    return node_of(address, end);
}

/*
 * ---- Fast paths on this CPU's own data, without lock or atomic ----
 *
 * The operations of kernel/base/seq_window.h, each as one step against whatever else happens on
 * this CPU; irq.  `name` is a PORT_PERCPU variable with a member `seq`, a struct seq_window.  Only
 * in functions that are PORT_RESTARTABLE.  A port that has nothing better does the same with
 * interrupts off.
 */
#define PORT_RESTARTABLE                        RESTARTABLE
#define port_window_take_one(name, out)         arch_window_take_one(&(name).seq, out)
#define port_window_take_run(name, pages, out)  arch_window_take_run(&(name).seq, pages, out)
#define port_window_give_one(name, addr)        arch_window_give_one(&(name).seq, addr)
#define port_window_give_run(name, addr, pages) arch_window_give_run(&(name).seq, addr, pages)

/* Likewise those of kernel/base/seq_magazine.h, on the member `tops` of `name`. */
#define port_magazine_pop(name, index, out) arch_magazine_pop((name).tops, index, out)
#define port_magazine_push(name, index, slot, token) \
    arch_magazine_push((name).tops, index, slot, token)

/*
 * *slot = value if *flag is false, which nothing on this CPU comes between, a thread's being put aside
 * included.  false: it is true, nothing has been stored.  Only in functions that are PORT_RESTARTABLE.
 */
#define port_store_unless(flag, slot, value) arch_store_unless(flag, slot, value)

/* kernel/base/seq_log.h's seq_log_store on the member `log` of a PORT_PERCPU variable; likewise. */
#define port_store_logged(flag, name, slot, value) arch_store_logged(flag, &(name).log, slot, value)

/* ---- Locks: interrupts off while held, ranked by kernel/lock_order.h; irq ---- */

typedef struct spinlock port_lock_t;
#define PORT_LOCK_INIT(rank) SPINLOCK_INIT(rank) /* rank: a name of LOCK_ORDER */

static inline unsigned long port_lock(port_lock_t *lock)
{
    return spin_lock(lock);
}

static inline void port_unlock(port_lock_t *lock, unsigned long irq_state)
{
    spin_unlock(lock, irq_state);
}

/* How often a CPU has had to wait for it; 0 where the port does not count. */
static inline uint32_t port_lock_waits(const port_lock_t *lock)
{
    return atomic_load_explicit(&lock->waits, memory_order_relaxed);
}

/* True while anyone holds it; for CHECKs at the head of *_locked functions. */
static inline bool port_lock_is_held(const port_lock_t *lock)
{
    return spin_is_held(lock);
}

/* ---- Memory ---- */

/* Address of physical byte 0 in the direct map. */
static inline uintptr_t port_direct_base(void)
{
    return arch_direct_base();
}

/* Addresses that read as zero until committed, and their backing: see arch/arch.h. */
static inline void *port_table_reserve(size_t bytes)
{
    return arch_table_reserve(bytes);
}

static inline bool port_table_commit(void *addr, size_t bytes, void *(*take_page)(void))
{
    return arch_table_commit(addr, bytes, take_page);
}

/* The same in two steps: what is backed may be touched after the flush. */
static inline bool port_table_back(void *addr, size_t bytes, void *(*take_page)(void))
{
    return arch_table_back(addr, bytes, take_page);
}

static inline void port_table_flush(void)
{
    arch_table_flush();
}

/*
 * The guard pool: PORT_GUARD_BYTES of addresses, 512 pages, in which single pages come and go; see
 * arch/arch.h.  NULL: there is none.
 */
#define PORT_GUARD_BYTES ARCH_GUARD_BYTES

static inline void *port_guard_reserve(void)
{
    return arch_guard_reserve();
}

/* addr: a page of it; page: what backs it, always the same one; false: it cannot be mapped.  irq */
static inline bool port_guard_map(void *addr, void *page)
{
    return arch_guard_map(addr, page);
}

/* This CPU's accesses trap from here on; another's may do so a while later.  irq */
static inline void port_guard_unmap(void *addr)
{
    arch_guard_unmap(addr);
}

/*
 * Addresses for stacks, in units of PORT_STACK_UNIT: see arch/arch.h.  A region of 0 bytes: there is
 * none.  Pages that are mapped while their stack's flow runs are asked for by the port's handler of
 * page faults, which calls what port_page_faults has been given: fn(addr, interrupts were on).
 */
#define PORT_STACK_UNIT   ARCH_STACK_UNIT
#define PORT_STACK_FAULTS ARCH_STACK_FAULTS /* false: all that is opened can be used */

#define port_stack_region       arch_stack_region
#define port_stack_open         arch_stack_open
#define port_stack_close        arch_stack_close
#define port_stack_map          arch_stack_map
#define port_stack_unmap        arch_stack_unmap
#define port_stack_page         arch_stack_page
#define port_stack_flush_here   arch_stack_flush_here
#define port_stack_flush_all    arch_stack_flush_all
#define port_stack_ask_refill() arch_ipi_send(arch_cpu_id()) /* here, once interrupts are on */
#define port_page_faults        page_fault_resolve_by

/* Clear whole pages, as fast as this CPU can.  Any context. */
static inline void port_zero_pages(void *addr, size_t pages)
{
    arch_zero_pages(addr, pages);
}

/* Memory that nobody has written to since the machine started reads as zero. */
#define PORT_FRESH_IS_ZERO ARCH_FRESH_IS_ZERO

/* Load a word; false: its address cannot be read (a port that cannot tell just loads).  Any context. */
static ALWAYS_INLINE bool port_probe(const uint64_t *word, uint64_t *out)
{
    return arch_probe(word, out);
}

/* ---- Idle CPUs, time ---- */

/*
 * PORT_IDLE_WORK(fn); at file scope: idle CPUs call `bool fn(void)`, in ordinary context, several at
 * once.  It does a bounded piece of work, about 50 us, and returns true if it wants to be called
 * again soon; else it is called again after the CPU's next interrupt, whenever that is.
 */
#define PORT_IDLE_WORK(fn) IDLE_WORK(fn)

/* In such a function: this CPU, if it sleeps, shall call it again after so many of port_ticks(). */
static inline void port_idle_again(uint64_t ticks)
{
    cpu_idle_again(ticks);
}

/* A clock that never goes back; the same on all CPUs.  Any context. */
static inline uint64_t port_ticks(void)
{
    return arch_ticks();
}

/* Of port_ticks(); 0 until the machine's clock is known. */
static inline uint64_t port_ticks_per_second(void)
{
    return arch_ticks_per_second();
}

static inline void port_relax(void) /* in a loop that waits for another CPU */
{
    arch_relax();
}

/* ---- Memory that nobody uses ---- */

enum port_release {
    PORT_RELEASE_FAILED,   /* nothing has changed */
    PORT_RELEASED,         /* contents are undefined */
    PORT_RELEASED_AS_ZERO, /* contents are zero */
};

/*
 * port_release_pages -- a host below this kernel may take what backs [addr, addr + pages), and backs
 * them anew at the next touch.  Ordinary context, one flow at a time.
 */
static inline enum port_release port_release_pages(void *addr, size_t pages)
{
    switch (balloon_report(addr, pages * ARCH_PAGE_BYTES)) {
    case BALLOON_TAKEN:
        return PORT_RELEASED;
    case BALLOON_TAKEN_AS_ZERO:
        return PORT_RELEASED_AS_ZERO;
    default:
        return PORT_RELEASE_FAILED;
    }
}

/* ---- Output and death; any context ---- */

#define port_print(...) printk(__VA_ARGS__)
#define port_panic(...) panic(__VA_ARGS__)

/* Return addresses of the callers, innermost first; returns how many. */
static inline size_t port_backtrace(uintptr_t *pcs, size_t max)
{
    return arch_backtrace(NULL, pcs, max);
}

/* Print such return addresses, one symbolised line each. */
static inline void port_backtrace_print(const uintptr_t *pcs, size_t count)
{
    backtrace_print(pcs, count);
}

/*
 * One such return address as text, "name+0x12 (file:line)" without what is not known: for a line
 * that is printed whole.  PORT_SYMBOL_BYTES hold any.
 */
#define PORT_SYMBOL_BYTES SYMBOL_TEXT_BYTES
static inline void port_symbol_format(char *text, size_t bytes, uintptr_t return_address)
{
    symbol_format(text, bytes, return_address);
}

/* Ask `fn` of every access that faults, before the panic; see kernel/panic.h.  Start-up. */
static inline void port_explain_faults(bool (*fn)(uintptr_t addr, bool is_write, char *text,
                                                  size_t bytes))
{
    panic_explain_faults(fn);
}

/* A number that differs from boot to boot, as far as the machine can tell. */
static inline uint64_t port_seed(void)
{
    return arch_ticks();
}

/* ---- Looking at all of memory at one moment: for debugging aids ---- */

/*
 * port_stop_others -- run fn(arg) here, interrupts off, while all other CPUs stand still in an
 * interrupt, holding no lock.  Ordinary context.
 * port_each_root -- only inside it: call fn for each range that may hold pointers besides what
 * page_alloc has handed out: static variables, live parts of stacks (threads' too, where there are
 * any), registers of all CPUs, saved.
 * port_each_stack -- likewise, for the last two of these only.
 * port_each_nonroot -- call fn for each range of what page_alloc has handed out that is not to be
 * looked at: it holds stacks.
 */
static inline void port_stop_others(void (*fn)(void *arg), void *arg)
{
    stop_others(fn, arg);
}

static inline void port_each_root(void (*fn)(uintptr_t start, uintptr_t end, void *arg), void *arg)
{
    stop_each_root(fn, arg);
}

static inline void port_each_stack(void (*fn)(uintptr_t start, uintptr_t end, void *arg), void *arg)
{
    stop_each_stack(fn, arg);
}

static inline void port_each_nonroot(void (*fn)(uintptr_t start, uintptr_t end, void *arg),
                                     void *arg)
{
    stop_each_nonroot(fn, arg);
}

/* ---- Testing ---- */

/* Asked once where memory is acquired; true: behave as if there were none.  irq */
static inline bool port_fault(void)
{
    return fault_should_fail();
}

/* A fault is armed on this CPU: cache nothing, so that every request acquires.  irq */
static inline bool port_fault_is_armed(void)
{
    return fault_is_armed();
}

/* At file scope: fn() gives back what this CPU has cached, when a fault is armed here. */
#define PORT_FAULT_HOOK(fn) FAULT_HOOK(fn)

/* Event counters: PORT_STAT(page, alloc_failed); at file scope, port_stat_inc(page, alloc_failed). */
#define PORT_STAT(layer, name)        STAT(layer, name)
#define port_stat_inc(layer, name)    stat_inc(layer, name)
#define port_stat_add(layer, name, n) stat_add(layer, name, n)
