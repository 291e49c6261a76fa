/*
 * Growing: the handler of page faults; its pages; and shrinking (mm/stack/stack.h).
 *
 * The handler runs on a stack of its own, interrupts off, in the middle of whatever touched the page.
 * Where interrupts were on, that was no code with a lock, and none that is half through with data of
 * this CPU: the page heap can be asked.  Where they were off it may be the page heap itself.  Then pages
 * come from this CPU's reserve:
 *
 *     places of the reserve    page  page  NULL  page ...
 *                              handler: page -> NULL          refill: NULL -> page
 *
 * The handler may interrupt the refill at any instruction.  Only the one makes a full place empty, and
 * only the other makes an empty one full; each looks, then stores, at a place that the other does not
 * touch until then.  That something is missing is said after the place has been emptied, and forgotten
 * before the refill looks: so what is said meanwhile stays said.
 *
 * The refill comes with every switch and tick.  That may be long: a call chain whose deepest calls all have
 * interrupts off takes each of its pages from the reserve.  So when half is used this CPU interrupts itself,
 * which comes true as soon as interrupts are on.
 *
 * Locks: none.
 */
#include "kernel/base/format.h"
#include "mm/page/page.h"
#include "mm/stack/stack_impl.h"

#define STACK_OWN_PAGES 4u /* left below a flow that shrinks its own stack: for what runs here */

static const char *(*stack_name)(void); /* [C] once set */

/* ---- The reserve ---- */

PORT_PERCPU(struct stack_here, stack_here);

static void stack_set_full(bool is_full)
{
    atomic_store_explicit(&port_this_cpu(stack_here)->is_full, is_full, memory_order_relaxed);
}

void stack_refill_slow(void)
{
    struct stack_cpu *cpu = port_this_cpu(stack_cpu);

    if (port_fault_is_armed())
        return;
    stack_set_full(true);
    atomic_signal_fence(memory_order_seq_cst);
    for (unsigned i = 0; i < STACK_RESERVE_PAGES; i++) {
        if (atomic_load_explicit(&cpu->reserve[i], memory_order_relaxed) != NULL)
            continue;

        void *page = page_alloc(1, PAGE_RESERVE);

        if (page == NULL) {
            stack_set_full(false);
            return;
        }
        atomic_store_explicit(&cpu->reserve[i], page, memory_order_relaxed);
    }
}

/* In the handler. */
static void *stack_reserve_take(struct stack_cpu *cpu)
{
    for (unsigned i = 0; i < STACK_RESERVE_PAGES; i++) {
        void *page = atomic_load_explicit(&cpu->reserve[i], memory_order_relaxed);

        if (page == NULL)
            continue;
        atomic_store_explicit(&cpu->reserve[i], NULL, memory_order_relaxed);
        atomic_signal_fence(memory_order_seq_cst);
        stack_set_full(false);
        stack_count(&cpu->reserve_used, 1);
        if (i == STACK_RESERVE_PAGES / 2) /* those before it are empty */
            port_stack_ask_refill();
        return page;
    }
    return NULL;
}

/* ---- Entering ---- */

void stack_flush_here(void)
{
    /* First: later ones may be too late for this flush. */
    port_this_cpu(stack_here)->seen = stack_flush_number();
    port_stack_flush_here();
}

/* ---- The handler ---- */

void stack_named_by(const char *(*name)(void))
{
    stack_name = name;
}

static const char *stack_flow_name(void)
{
    return stack_name != NULL ? stack_name() : "a flow without a name";
}

static size_t stack_limit_kib(const struct stack *stack)
{
    return (stack->top - stack->limit) / KIB;
}

NORETURN static COLD void stack_cannot_grow(const struct stack *stack, bool irq_was_on)
{
    size_t limit = stack_limit_kib(stack);
    size_t backed = (stack->top - atomic_load_explicit(&stack->backed, memory_order_relaxed)) / KIB;

    if (irq_was_on)
        port_panic("stack of %zu KiB of %s cannot grow beyond %zu KiB: memory is exhausted", limit,
                   stack_flow_name(), backed);
    port_panic(
        "stack of %zu KiB of %s cannot grow beyond %zu KiB: interrupts are off, and this CPU's "
        "reserve, STACK_RESERVE_PAGES %u, is used up",
        limit, stack_flow_name(), backed, STACK_RESERVE_PAGES);
}

/* Back one more page; what was backed stays if there is none. */
static void stack_grow(struct stack_cpu *cpu, struct stack *stack, bool irq_was_on)
{
    uintptr_t addr = atomic_load_explicit(&stack->backed, memory_order_relaxed) - PAGE_BYTES;
    void *page = irq_was_on ? page_alloc(1, PAGE_RESERVE) : NULL;

    if (page == NULL)
        page = stack_reserve_take(cpu);
    if (UNLIKELY(page == NULL || !port_stack_map(addr, page)))
        stack_cannot_grow(stack, irq_was_on);
    atomic_store_explicit(&stack->backed, addr, memory_order_relaxed);
    stack_count(&cpu->grown, 1);
}

bool stack_fault(uintptr_t addr, bool irq_was_on)
{
    struct stack_cpu *cpu = port_this_cpu(stack_cpu);
    struct stack *stack = port_this_cpu(stack_here)->current;

    if (stack == NULL || addr < stack->limit ||
        addr >= atomic_load_explicit(&stack->backed, memory_order_relaxed))
        return false;
    if (UNLIKELY(stack_flush_is_due(stack->flush)))
        stack_flush_everywhere();
    while (addr < atomic_load_explicit(&stack->backed, memory_order_relaxed))
        stack_grow(cpu, stack, irq_was_on);
    stack->deepest =
        MIN(stack->deepest, atomic_load_explicit(&stack->backed, memory_order_relaxed));
    stack_count(&cpu->faults, 1);
    return true;
}

bool stack_is_guard(const struct stack *stack, uintptr_t addr)
{
    return addr < stack->limit && addr >= stack->limit - STACK_GUARD_BYTES;
}

bool stack_explain_fault(uintptr_t addr, bool is_write, char *text, size_t bytes)
{
    const struct stack *stack = port_this_cpu(stack_here)->current;

    if (stack == NULL || !stack_is_guard(stack, addr))
        return false;
    format_string(text, bytes, "stack overflow: %s, limit %zu KiB, %zu KiB deep (%s at 0x%lx)",
                  stack_flow_name(), stack_limit_kib(stack), (stack->top - addr + KIB - 1) / KIB,
                  is_write ? "write" : "read", (unsigned long)addr);
    return true;
}

/* ---- Shrinking ---- */

/* What is to stay backed of so many bytes that are. */
static size_t stack_bytes_to_keep(size_t used, size_t backed, bool is_own)
{
    size_t keep = MAX(ALIGN_UP(2 * used, PAGE_BYTES), PAGE_BYTES);

    if (4 * used >= backed)
        return backed;
    if (is_own)
        keep = MAX(keep, ALIGN_UP(used, PAGE_BYTES) + STACK_OWN_PAGES * PAGE_BYTES);
    return MIN(keep, backed);
}

/* Interrupts are off, so that a flow whose own stack it is stays here until this CPU has flushed. */
static void stack_unmap_deep(struct stack *stack, uintptr_t sp, struct stack_pages *pages)
{
    struct stack_cpu *cpu = port_this_cpu(stack_cpu);
    uintptr_t addr = atomic_load_explicit(&stack->backed, memory_order_relaxed);
    bool is_own = port_this_cpu(stack_here)->current == stack;
    size_t keep = stack_bytes_to_keep(stack->top - sp, stack->top - addr, is_own);

    for (; addr < stack->top - keep; addr += PAGE_BYTES)
        stack_pages_add(pages, port_stack_unmap(addr));
    if (pages->count == 0)
        return;
    atomic_store_explicit(&stack->backed, addr, memory_order_relaxed);
    stack_count(&cpu->pages, -(int64_t)pages->count);
    stack->flush = stack_flush_number_next();
    if (is_own)
        stack_flush_here();
}

size_t stack_shrink_to(struct stack *stack, uintptr_t sp)
{
    struct stack_pages pages = {NULL, 0};
    unsigned long irq = port_irq_save();

    stack_unmap_deep(stack, sp, &pages);
    port_irq_restore(irq);

    size_t count = pages.count;

    if (count != 0)
        stack_give_pages(&pages);
    return count;
}
