/*
 * What a port owes the kernel, and what the kernel owes a port.
 *
 * A port (arch/x86_64, arch/hosted) implements every arch_* function below and calls the
 * kernel_* functions at the end.  The inline ones stand in its arch_inline.h.  A port never
 * includes mm/ and includes nothing of kernel/ but kernel/base.
 *
 * Contexts: "any" includes NMI; "irq" is ordinary code and interrupt handlers, not NMI;
 * "ordinary" is a CPU's own flow with interrupts on.
 */
#pragma once

#include "boot/boot_info.h"
#include "kernel/base/base.h"

#define ARCH_CPU_MAX    64
#define ARCH_PAGE_BYTES 4096ul
#define ARCH_LINE_BYTES 64ul
#define ARCH_NODE_MAX   64

struct trap_frame; /* registers at a trap or interrupt; its layout is the port's */

/*
 * Inline, from arch_inline.h (all: any context, a few instructions):
 *
 *   unsigned  arch_cpu_id(void)             index of this CPU, 0 .. arch_cpu_count() - 1; the
 *                                           CPU that boots is 0.  Only stable while interrupts
 *                                           are off or the CPU is otherwise pinned
 *   uintptr_t arch_percpu_offset(void)      added to the address of a percpu variable gives this
 *                                           CPU's copy (kernel/percpu.h); 0 on CPU 0
 *   unsigned long arch_irq_save(void)       interrupts off; returns the state before
 *   void      arch_irq_restore(unsigned long state)
 *   bool      arch_irq_enabled(void)
 *   void      arch_irq_enable(void), arch_irq_disable(void)
 *   void      arch_relax(void)              hint in a spin loop; on hosted also takes interrupts
 *                                           that are due and allowed
 *   uint64_t  arch_ticks(void)              the time stamp counter; under QEMU's -icount shift=0
 *                                           it counts instructions
 *   uintptr_t arch_direct_base(void)        address of physical byte 0 in the direct map
 *   void      arch_percpu_increment(uint32_t *), arch_percpu_decrement(uint32_t *), and
 *   uintptr_t arch_percpu_word(const uintptr_t *) of this CPU's copy of a percpu variable, in one step: a
 *                                           flow that is moved to another CPU in between sees one
 *                                           of the two.  Any context
 *   bool      arch_percpu_is_zero(const uint32_t *)  likewise
 *   void      arch_own_add(_Atomic uint32_t *, uint32_t)  release; to what nobody else writes meanwhile:
 *                                           it need not be atomic, which costs
 *   bool      arch_idle_is_wanted(void)     this CPU's own flow (hosted: its idle thread) shall run
 *                                           soon, whatever else there is to run; interrupts off
 *
 * and, where the port has restartable sequences, ARCH_SEQUENCES (arch/sequence.h).
 */
#if __STDC_HOSTED__
#include "arch/hosted/arch_inline.h"
#else
#include "arch/x86_64/arch_inline.h"
#endif

/*
 * arch_window_take_one, _take_run, _give_one, _give_run: fast paths on this CPU's own data, as
 * restartable sequences or in C.  Their contract stands in arch/sequence.h.
 */
#include "arch/sequence.h"

/* ---- Start-up, on the CPU that boots, in the order in which kernel_init calls them ---- */

/*
 * arch_boot_cpu_init -- console, this CPU's tables and traps, so that printk, CHECK and panic
 * report; interrupts stay off.  Uses only static memory.  First call of all.
 */
void arch_boot_cpu_init(const struct boot_info *info);

/*
 * arch_paging_init -- the kernel's own page tables: image W^X with guard pages around static
 * stacks, direct map of all `ranges` of RAM (kinds other than RESERVED) NX, nothing else.
 *   take_page  gives one zeroed page (direct-map address), never NULL
 */
void arch_paging_init(const struct boot_range *ranges, size_t count, void *(*take_page)(void));

/*
 * arch_node_init -- find the firmware's tables, and in them the nodes (ACPI SRAT, SLIT): memory and
 * CPUs that are near each other.  Without them, or with a fault in them, which is logged: one node.
 *   rsdp  physical address, 0: none; then one CPU too
 */
void arch_node_init(uint64_t rsdp);

/*
 * arch_interrupt_init -- interrupt controller, console input, IPIs, the time stamp counter's
 * frequency; finds the CPUs (ACPI MADT).  On return interrupts can be enabled.
 */
void arch_interrupt_init(void);

unsigned arch_cpu_count(void); /* CPUs found; 1 before arch_interrupt_init; at most ARCH_CPU_MAX */

/*
 * arch_cpu_start -- start CPU `cpu` (1 .. arch_cpu_count() - 1) and wait until it has arrived in
 * kernel_cpu_main(cpu) or a second has passed.
 *   percpu_offset  what arch_percpu_offset() gives there
 *   take_pages     gives n contiguous pages (direct map, contents undefined) or NULL
 *   returns        false when it did not arrive or memory ran out (then nothing is kept)
 */
bool arch_cpu_start(unsigned cpu, uintptr_t percpu_offset, void *(*take_pages)(size_t n));

void arch_tick_start(unsigned hz); /* periodic kernel_tick() on this CPU; 0 stops it; irq */

/*
 * arch_tick_once -- in place of periodic ticks, one kernel_tick() on this CPU when so many of
 * arch_ticks() have passed, or a little later; where that is more than a second away, it may come
 * after a second.  Until arch_tick_start.  irq
 */
void arch_tick_once(uint64_t ticks);

/*
 * Nodes.  Any context, after arch_node_init.  arch_cpu_node of a CPU other than 0 is right after
 * arch_interrupt_init.  Distances are relative: local memory is at 10, the farther the larger.
 */
#define ARCH_NODE_DISTANCE_LOCAL  10u
#define ARCH_NODE_DISTANCE_REMOTE 20u /* where the firmware does not say */
#define ARCH_NODE_RANGE_MAX       256

struct arch_node_range {
    uint64_t base, bytes; /* physical, whole pages */
    unsigned node;
};

unsigned arch_node_count(void); /* at most ARCH_NODE_MAX; a node may lack memory, or CPUs */
unsigned arch_cpu_node(unsigned cpu);
unsigned arch_node_distance(unsigned from, unsigned to);

/*
 * What the firmware says of addresses, RAM or not: ascending and disjoint.  Returns how many, at
 * most ARCH_NODE_RANGE_MAX.
 */
size_t arch_node_ranges(const struct arch_node_range **ranges);

/* ---- Running ---- */

/*
 * arch_idle -- called with interrupts off: enable them and wait for one, as one step (sti; hlt), so
 * that an interrupt sent after the caller's last check is never slept through.  Returns with
 * interrupts on; may return without one.
 */
void arch_idle(void);

/*
 * arch_idle_poll -- what arch_idle does, but the wait: for an idle loop that has found something to
 * do.  Enables interrupts; a hosted CPU's idle thread hands the CPU over where one is wanted.
 */
void arch_idle_poll(void);

/* Run kernel_ipi() on `cpu` soon, once for one or several sends.  Any context. */
void arch_ipi_send(unsigned cpu);

/* Run kernel_nmi() on `cpu` even if it has interrupts off.  Any context. */
void arch_nmi_send(unsigned cpu);

uint64_t arch_ticks_per_second(void); /* of arch_ticks(); 0 before arch_interrupt_init */

/* ---- Memory ---- */

/*
 * arch_table_reserve -- a range of addresses, page-aligned, `bytes` long (up to TiB), which reads
 * as zero and faults on a write until committed.  Boot CPU, after arch_paging_init; costs no
 * memory per byte.  NULL when the region is used up.
 */
void *arch_table_reserve(size_t bytes);

/*
 * arch_table_commit -- back [addr, addr + bytes) of a reserved range with zeroed pages.
 *   addr, bytes  whole pages; a page already backed keeps its contents
 *   take_page    gives one zeroed page (direct map) or NULL; pages are also used for page tables
 *   returns      false when take_page gave NULL (what was backed stays backed and reads as zero)
 * Boot CPU before others start, or with the caller's lock held.
 */
bool arch_table_commit(void *addr, size_t bytes, void *(*take_page)(void));

/*
 * arch_table_back, arch_table_flush -- arch_table_commit in two steps, for many ranges at once: what
 * arch_table_back has backed may not be touched until arch_table_flush has returned, after which
 * every CPU may.  The first as arch_table_commit; the second: irq, any CPU that knows of the first.
 */
bool arch_table_back(void *addr, size_t bytes, void *(*take_page)(void));
void arch_table_flush(void);

/*
 * The guard pool: one range of addresses, ARCH_GUARD_BYTES long and outside the direct map, in which
 * single pages come and go; an access to any other address of it is a trap.
 *
 * arch_guard_reserve -- its first byte, page-aligned; nothing is mapped.  NULL: the port has none.
 * Boot CPU, once, after arch_paging_init.
 */
#define ARCH_GUARD_BYTES (512 * ARCH_PAGE_BYTES)
void *arch_guard_reserve(void);

/*
 * arch_guard_map -- from here on the page at `addr` can be read and written; contents undefined.
 *   addr     page-aligned, in the pool, not mapped
 *   page     what backs it, in the direct map; for one addr always the same
 *   returns  false: the host has no room for one more mapping, nothing changed; only on hosted
 *   context  irq; different pages on several CPUs at once
 */
bool arch_guard_map(void *addr, void *page);

/*
 * arch_guard_unmap -- from here on accesses by this CPU trap.  Another CPU that has used the page
 * lately may reach it for a while longer: no other CPU is interrupted.  It reaches `page` and nothing
 * else, so an access there goes unseen at most.  irq
 */
void arch_guard_unmap(void *addr);

/*
 * arch_zero_pages -- clear whole pages, with what the CPU says is its fastest instruction for that.
 * Any context.
 */
void arch_zero_pages(void *addr, size_t pages);

/* Memory that nobody has written to since the machine started reads as zero. */
#define ARCH_FRESH_IS_ZERO (__STDC_HOSTED__ != 0)

/*
 * arch_boot_release -- unmap [start, end) of the kernel image (boot-only code, page-aligned, link
 * addresses); the pages stay reachable through the direct map.
 */
void arch_boot_release(uintptr_t start, uintptr_t end);

/*
 * arch_ram_release -- where RAM is a process's: give the host back what backs [addr, addr + bytes),
 * whole pages of the direct map; they read as zero afterwards.
 *   returns  false where RAM is a machine's, and nothing has happened; (NULL, 0) asks that
 *   context  ordinary
 */
bool arch_ram_release(void *addr, size_t bytes);

/*
 * Where pointers may stand, for who looks for objects that nobody points to.  arch_range_fn is
 * called with [start, end) of memory that can be read.
 *
 * arch_data_ranges -- the image's static variables; CPU 0's per-CPU variables are among them.  Any
 * context.
 *
 * arch_stack_pages -- the pages, in the direct map, that stacks of CPUs are made of, where they come
 * from take_pages.  Any context.
 *
 * arch_stack_ranges -- of this CPU's stacks what is live: from `sp`, an address on the current one,
 * to its top, and those that were interrupted, from where they were.  Any context.
 *   returns  how many stand in out[], at most ARCH_STACK_RANGES
 *
 * arch_registers_save (inline, from arch_inline.h) -- the registers that a function call leaves as
 * they are, into words on the caller's stack.
 */
typedef void arch_range_fn(uintptr_t start, uintptr_t end, void *arg);

#define ARCH_STACK_RANGES 6

struct arch_range {
    uintptr_t start, end;
};

void arch_data_ranges(arch_range_fn *fn, void *arg);
void arch_stack_pages(arch_range_fn *fn, void *arg);
size_t arch_stack_ranges(uintptr_t sp, struct arch_range out[ARCH_STACK_RANGES]);

/* ---- Flows: what runs on a CPU, and can be left and gone on with ---- */

/*
 * struct arch_flow (arch_inline.h): what a flow that does not run was left with.  A flow begins on a
 * stack of its own (arch_flow_init) or is a CPU's own: the one that it was started with
 * (arch_flow_adopt).
 *
 * Its member `sp` is its stack pointer while it does not run.  The registers that a function call
 * leaves as they are stand on its stack, from `sp` on; where a flow was interrupted, all of them do.
 * So [sp, the stack's top) is all that it lives on.
 */
#define ARCH_HAS_IDLE_FLOW (__STDC_HOSTED__ != 0) /* on CPU 0 too, besides the flow that boots */

/*
 * arch_flow_init -- a flow that begins with entry(arg), interrupts off, when it is switched to first.
 *   low, top  its stack: lowest address that it may ever use, and the end, page-aligned; the page
 *             below top is backed
 *   entry     does not return
 *   pairs     arch_flow_end, on the same stack, when it will not run again and another flow runs
 *   context   irq
 */
void arch_flow_init(struct arch_flow *flow, uintptr_t low, uintptr_t top, void (*entry)(void *arg),
                    void *arg);
void arch_flow_end(struct arch_flow *flow);

/* The flow that calls is one of a CPU's own, and this is where it is kept.  Once; irq. */
void arch_flow_adopt(struct arch_flow *flow);

/* The top of the stack of a flow that is a CPU's own and has been left by a switch; 0: not known.  irq */
uintptr_t arch_flow_top(const struct arch_flow *flow);

/*
 * void arch_flow_switch(struct arch_flow *from, struct arch_flow *to), in arch_inline.h -- leave
 * `from`, which runs here, and go on with `to`, which runs nowhere.  Returns when somebody switches to
 * `from`, on whatever CPU; a flow that is a CPU's own only on that CPU.  Interrupts off, before and
 * after.
 */

/*
 * arch_preempt_ask -- call kernel_preempt() on this CPU, on the stack of the flow that runs, when its
 * interrupts are on next: at the end of the interrupt that this is called in.  Hosted: where they are
 * turned on again.  Interrupts off, on this CPU; not for NMI handlers.
 */
void arch_preempt_ask(void);

/* ---- Addresses for stacks ---- */

/*
 * A region of addresses, in which single pages come and go.  Tables first: pages can be mapped where
 * [addr, addr + bytes), multiples of ARCH_STACK_UNIT, has been opened.
 *
 * A CPU may see a page for a while longer after arch_stack_unmap, and a table after arch_stack_close:
 * until it has called arch_stack_flush_here, or some CPU arch_stack_flush_all, since.  Until then who
 * uses that address there must not run, and neither page nor table may be used for anything else.
 *
 *   arch_stack_region     its first byte, and how long it is; never changes
 *   arch_stack_open       false: take_page, which gives zeroed pages, gave NULL; to be closed then
 *   arch_stack_close      nothing is mapped there; the tables that nobody needs go to give_page.  While
 *                         they wait, their words may hold anything whose lowest bit is 0
 *   arch_stack_map        one page, at an address that is opened and has none; in a handler of page
 *                         faults too.  The page's contents are kept.  Hosted: false where the process
 *                         may have no more mappings
 *   arch_stack_unmap      the page that was mapped there; NULL: none was
 *   context               irq; open and close: one CPU at a time, the others: one for a stack
 */
#define ARCH_STACK_UNIT (512 * ARCH_PAGE_BYTES)

/*
 * False: no page fault asks for a page; what is opened can be used as a whole.  So under the thread
 * sanitizer, whose own code runs on the stack of who calls it, holds locks there that a handler would
 * need too, and can be interrupted by no fault.
 */
#if __STDC_HOSTED__
#define ARCH_STACK_FAULTS (!HOSTED_THREAD_SANITIZER)
#else
#define ARCH_STACK_FAULTS true
#endif

uintptr_t arch_stack_region(size_t *bytes);
bool arch_stack_open(uintptr_t addr, size_t bytes, void *(*take_page)(void));
void arch_stack_close(uintptr_t addr, size_t bytes, void (*give_page)(void *page));
bool arch_stack_map(uintptr_t addr, void *page);
void *arch_stack_unmap(uintptr_t addr);
void *arch_stack_page(uintptr_t addr); /* what is mapped there; NULL: nothing.  Any context */
void arch_stack_flush_here(void);
void arch_stack_flush_all(void); /* waits for all CPUs, whatever they hold; irq */

/* ---- Devices ---- */

/*
 * PCI configuration space, one aligned register of 32 bits; all ones where there is nothing.
 *   function  bus << 8 | device << 3 | function
 *   offset    in bytes, below 256
 *   context   any, one CPU at a time
 */
uint32_t arch_pci_read(unsigned function, unsigned offset);
void arch_pci_write(unsigned function, unsigned offset, uint32_t value);

/* ---- Console: the serial line ---- */

void arch_console_write(const char *bytes, size_t n); /* any; waits for the device; caller locks */
int arch_console_read(void); /* irq; the next byte typed, or -1 when there is none */

/* ---- Traps, backtraces ---- */

/*
 * arch_backtrace -- return addresses of the callers, innermost first; any context.  `from` NULL:
 * the caller's own; else at that trap.  Checks each frame before it reads it.
 */
size_t arch_backtrace(const struct trap_frame *from, uintptr_t *pcs, size_t max);

/* The function that holds `pc`: false when not known.  Any context. */
bool arch_symbol(uintptr_t pc, const char **name, size_t *offset);

/* Where the function of that name begins, of several the first; 0: there is none.  Walks over all.  Any
 * context. */
uintptr_t arch_symbol_find(const char *name);

/*
 * arch_line -- the source line of the instruction that holds byte `pc`; of inlined code the
 * innermost.  `file` is relative to the root.  False when not known: x86_64 knows all code of its
 * image, hosted knows none.  Any context.
 */
bool arch_line(uintptr_t pc, const char **file, unsigned *line);

/* Give a frame's registers, a line at a time, to `line`.  Any context. */
void arch_trap_dump(const struct trap_frame *frame, void (*line)(const char *text));

/*
 * arch_trap_fault -- was this trap an access to a page that is not there, or without the right to?
 *   addr, is_write  out: to what; false: a read, or an execute
 *   context         any, in the trap's handler
 */
bool arch_trap_fault(const struct trap_frame *frame, uintptr_t *addr, bool *is_write);

/*
 * arch_exit -- end the machine: 0 powers off (QEMU exits with 0); any other status ends QEMU with
 * a status that is not 0 (isa-debug-exit), or powers off where there is no such device.
 */
NORETURN void arch_exit(unsigned status);

/* ---- What the kernel owes a port (kernel/, called by the port) ---- */

void kernel_init(const struct boot_info *info); /* the boot order, up to every CPU running */
NORETURN void kernel_run(void);                 /* do what the command line says; boot CPU */
NORETURN void kernel_cpu_main(unsigned cpu);    /* another CPU has started; interrupts off */
void kernel_ipi(void);                          /* interrupt context, interrupts off */
void kernel_tick(void);                         /* interrupt context, interrupts off */
void kernel_nmi(struct trap_frame *frame);      /* may return */
void kernel_console_input(void); /* interrupt context: arch_console_read has something */

/*
 * An access to a page that is not there.  True: it is now, go on.  On a stack of its own, interrupts
 * off; irq_was_on: what was interrupted had them on.
 */
bool kernel_page_fault(uintptr_t addr, bool irq_was_on);

/* See arch_preempt_ask: on the interrupted flow's stack, interrupts off; may switch flows. */
void kernel_preempt(void);

/*
 * Hosted: the flow that runs on this CPU is from now on that of a thread that has entered (true), or
 * the CPU's own again.  Interrupts off.
 */
void kernel_flow_changed(bool has_entered);

/*
 * The stack that this CPU's flow runs on, if it is one that arch_flow_init was given and holds
 * `addr`: [*low, *top) can be read.  False: not so, or not known.  Any context.
 */
bool kernel_stack_bounds(uintptr_t addr, uintptr_t *low, uintptr_t *top);

/* A trap that the port cannot resolve; `what` as the report's first line shall name it. */
NORETURN void kernel_trap(struct trap_frame *frame, const char *what);

/* One message line from the port, printf-like with base/format.h's conversions. */
void kernel_log(const char *format, ...) PRINTF_LIKE(1, 2);
NORETURN void kernel_panic(const char *format, ...) PRINTF_LIKE(1, 2);
