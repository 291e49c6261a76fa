/*
 * Stacks: creating and destroying (mm/stack/stack.h).
 *
 * A stack of default size of which one page is backed, and of which no CPU believes more, is kept
 * whole: 16 by each CPU, last in, first out, without a lock; 64 for all (stack_wait.c).  What has
 * grown gives its deeper pages back and waits for a flush first.
 *
 * Locks: STACKS, on slow paths.
 */
#include "mm/page/page.h"
#include "mm/page/shrink.h"
#include "mm/stack/stack_impl.h"

PORT_PERCPU(struct stack_cpu, stack_cpu);
PORT_STAT(stack, create_failed);

/* ---- Create, destroy ---- */

static void stack_count_live(int64_t stacks, size_t bytes)
{
    unsigned long irq = port_irq_save();
    struct stack_cpu *cpu = port_this_cpu(stack_cpu);

    stack_count(&cpu->stacks, stacks);
    stack_count(&cpu->slots, stacks * (int64_t)(bytes / STACK_DEFAULT_BYTES));
    port_irq_restore(irq);
}

static void stack_count_pages(int64_t pages)
{
    unsigned long irq = port_irq_save();

    stack_count(&port_this_cpu(stack_cpu)->pages, pages);
    port_irq_restore(irq);
}

static void stack_fill(struct stack *stack, uintptr_t top, size_t bytes)
{
    stack->top = top;
    stack->limit = top - bytes + STACK_GUARD_BYTES;
    atomic_store_explicit(&stack->backed, top - PAGE_BYTES, memory_order_relaxed);
    stack->deepest = top - PAGE_BYTES;
    stack->flush = 0;
}

static size_t stack_bytes(const struct stack *stack)
{
    return stack->top - stack->limit + STACK_GUARD_BYTES;
}

/* Addresses of a new stack; 0: none, or no memory for tables. */
static uintptr_t stack_space_take(size_t bytes)
{
    unsigned long irq = port_lock(&stack_lock);
    uintptr_t base = stack_space_take_locked(bytes);

    if (base == 0)
        stack_flush_locked(STACK_POOL_MAX);
    stack_unlock(irq);
    return base;
}

static bool stack_create_new(struct stack *stack, size_t bytes)
{
    void *page = page_alloc(1, 0);
    uintptr_t base;

    if (page == NULL)
        return false;
    base = stack_space_take(bytes);
    if (base == 0)
        goto give_page;
    if (!port_stack_map(base + bytes - PAGE_BYTES, page))
        goto give_space;
    stack_count_pages(1);
    stack_count_live(1, bytes);
    stack_fill(stack, base + bytes, bytes);
    return true;

give_space:;
    unsigned long irq = port_lock(&stack_lock);

    stack_wait_locked(base + bytes, bytes);
    stack_unlock(irq);
give_page:
    page_free(page, 1);
    return false;
}

static COLD bool stack_create_slow(struct stack *stack, size_t bytes)
{
    bool is_armed = port_fault_is_armed();
    uintptr_t top = 0;

    if (bytes > STACK_MAX_BYTES) {
        port_stat_inc(stack, create_failed);
        return false;
    }
    if (bytes <= STACK_DEFAULT_BYTES) {
        bytes = STACK_DEFAULT_BYTES;
        top = is_armed ? 0 : stack_pool_take();
    } else {
        bytes = (size_t)1 << (64 - __builtin_clzll(bytes - 1));
    }
    if (top != 0) {
        stack_count_live(1, bytes);
        stack_fill(stack, top, bytes);
        return true;
    }
    if (stack_create_new(stack, bytes))
        return true;
    /* Page tables are taken with the lock held, where nothing can be shrunk. */
    if (!is_armed && page_shrink(bytes / PORT_STACK_UNIT + 1) && stack_create_new(stack, bytes))
        return true;
    port_stat_inc(stack, create_failed);
    return false;
}

bool stack_create(struct stack *stack, size_t bytes)
{
    unsigned long irq = port_irq_save();
    struct stack_cpu *cpu = port_this_cpu(stack_cpu);

    if (LIKELY(bytes <= STACK_DEFAULT_BYTES && cpu->kept_count != 0)) {
        uintptr_t top = cpu->kept[--cpu->kept_count];

        stack_count(&cpu->stacks, 1);
        stack_count(&cpu->slots, 1);
        port_irq_restore(irq);
        stack_fill(stack, top, STACK_DEFAULT_BYTES);
        return true;
    }
    port_irq_restore(irq);
    return stack_create_slow(stack, bytes);
}

/* It has grown, is not of default size, or some CPU believes that it is deeper. */
static COLD void stack_destroy_slow(struct stack *stack)
{
    uintptr_t backed = atomic_load_explicit(&stack->backed, memory_order_relaxed);
    struct stack_pages pages = {NULL, 0};

    for (uintptr_t addr = backed; addr < stack->top - PAGE_BYTES; addr += PAGE_BYTES)
        stack_pages_add(&pages, port_stack_unmap(addr));
    stack_count_pages(-(int64_t)pages.count);
    stack_count_live(-1, stack_bytes(stack));

    unsigned long irq = port_lock(&stack_lock);

    stack_wait_pages_locked(&pages);
    stack_wait_locked(stack->top, stack_bytes(stack));
    stack_unlock(irq);
}

void stack_destroy(struct stack *stack)
{
    bool is_small =
        stack->top - atomic_load_explicit(&stack->backed, memory_order_relaxed) == PAGE_BYTES &&
        stack_bytes(stack) == STACK_DEFAULT_BYTES;

    if (UNLIKELY(!is_small || stack_flush_is_due(stack->flush) || port_fault_is_armed())) {
        stack_destroy_slow(stack);
        return;
    }

    unsigned long irq = port_irq_save();
    struct stack_cpu *cpu = port_this_cpu(stack_cpu);

    if (UNLIKELY(cpu->kept_count == STACK_KEPT_MAX))
        stack_kept_give(STACK_KEPT_MAX / 2);
    cpu->kept[cpu->kept_count++] = stack->top;
    stack_count(&cpu->stacks, -1);
    stack_count(&cpu->slots, -1);
    port_irq_restore(irq);
}

void stack_init(void)
{
    static struct page_shrinker shrinker = {.name = "stacks", .shrink = stack_shrink_memory};

    stack_space_init();
    page_shrinker_register(&shrinker);
    port_explain_faults(stack_explain_fault);
    port_page_faults(stack_fault);
    stack_refill();
}

/* ---- Accounts ---- */

struct stack_stats stack_stats(void)
{
    int64_t stacks = 0, pages = 0, faults = 0, reserve_used = 0;
    size_t kept = 0, reserve = 0;

    for (unsigned i = 0; i < port_cpu_count(); i++) {
        struct stack_cpu *cpu = port_cpu(stack_cpu, i);

        stacks += atomic_load_explicit(&cpu->stacks, memory_order_relaxed);
        pages += atomic_load_explicit(&cpu->pages, memory_order_relaxed) +
                 atomic_load_explicit(&cpu->grown, memory_order_relaxed);
        faults += atomic_load_explicit(&cpu->faults, memory_order_relaxed);
        reserve_used += atomic_load_explicit(&cpu->reserve_used, memory_order_relaxed);
        kept += cpu->kept_count;
        for (unsigned place = 0; place < STACK_RESERVE_PAGES; place++)
            reserve += atomic_load_explicit(&cpu->reserve[place], memory_order_relaxed) != NULL;
    }

    unsigned long irq = port_lock(&stack_lock);
    struct stack_stats stats = {
        .stacks = (size_t)stacks,
        .kept = kept,
        .table_bytes = stack_space_table_pages_locked() * PAGE_BYTES,
        .reserve_bytes = reserve * PAGE_BYTES,
        .faults = (uint64_t)faults,
        .reserve_used = (uint64_t)reserve_used,
    };

    stack_shared_stats_locked(&stats);
    stats.backed_bytes = ((size_t)pages - stats.kept) * PAGE_BYTES;
    stack_unlock(irq);
    return stats;
}

size_t stack_page_bytes(void)
{
    struct stack_stats stats = stack_stats();

    return stats.backed_bytes + stats.kept * PAGE_BYTES + stats.table_bytes + stats.waiting_bytes +
           stats.reserve_bytes;
}

static void stack_check_top(uintptr_t top, size_t bytes)
{
    if (!stack_space_is_taken_locked(top - bytes, bytes))
        port_panic("stack: S5: the kept stack below %#lx has no addresses", top);
}

/*
 * S1 .. S4 are the addresses'.  S5: what is kept has addresses.  S6: all that are taken are of stacks
 * in use, or kept.
 */
void stack_check(void)
{
    unsigned long irq = port_lock(&stack_lock);
    size_t taken = stack_space_check_locked(), known = 0;
    int64_t slots = 0;

    for (unsigned i = 0; i < port_cpu_count(); i++) {
        struct stack_cpu *cpu = port_cpu(stack_cpu, i);

        for (unsigned each = 0; each < cpu->kept_count; each++)
            stack_check_top(cpu->kept[each], STACK_DEFAULT_BYTES);
        known += cpu->kept_count;
        slots += atomic_load_explicit(&cpu->slots, memory_order_relaxed);
    }
    known += stack_shared_each_locked(stack_check_top);
    if (known + (size_t)slots != taken)
        port_panic("stack: S6: %zu slots are taken, %zu known", taken, known + (size_t)slots);
    stack_unlock(irq);
}

/* ---- Pages ---- */

void stack_each_page(const struct stack *stack, stack_page_fn *fn, void *arg)
{
    uintptr_t addr = atomic_load_explicit(&stack->backed, memory_order_relaxed);

    for (; addr < stack->top; addr += PAGE_BYTES)
        stack_page(port_stack_page(addr), fn, arg);
}

void stack_each_kept_page(stack_page_fn *fn, void *arg)
{
    for (unsigned i = 0; i < port_cpu_count(); i++) {
        struct stack_cpu *cpu = port_cpu(stack_cpu, i);

        for (unsigned each = 0; each < cpu->kept_count; each++)
            stack_page(port_stack_page(cpu->kept[each] - PAGE_BYTES), fn, arg);
        for (unsigned each = 0; each < STACK_RESERVE_PAGES; each++)
            stack_page(atomic_load_explicit(&cpu->reserve[each], memory_order_relaxed), fn, arg);
    }
    stack_wait_each_page(fn, arg);
}
