/*
 * The monitor's commands on memory, and `panic`, which does on purpose what must never go unseen:
 * each kind ends in a report that tests compare.
 */
#include "kernel/base/parse.h"
#include "kernel/base/string.h"
#include "kernel/command.h"
#include "kernel/commands_panic.h"
#include "kernel/lock.h"
#include "kernel/nodes.h"
#include "kernel/panic.h"
#include "kernel/print.h"
#include "mm/mm.h"
#include "mm/page/page.h"
#include "mm/slab/guard.h"
#include "mm/slab/slab.h"
#include "mm/span/span.h"
#include "mm/stack/stack.h"

static void commands_bytes_print(const char *what, size_t bytes, const char *remark)
{
    printk("  %-22s %12zu KiB  %s\n", what, bytes / KIB, remark);
}

static int commands_mem(int argc, char **argv)
{
    struct mm_stats mm = mm_stats();
    struct page_stats page = page_stats();

    (void)argc, (void)argv;
    commands_bytes_print("usable", mm.ram_bytes, "");
    commands_bytes_print("free", mm.free_bytes, "in the page heap");
    commands_bytes_print("  windows", mm.window_bytes, "of these: in CPUs' windows");
    commands_bytes_print("  pending", mm.pending_bytes, "of these: freed, not collected yet");
    commands_bytes_print("  scavenged", page.scavenged_pages * PAGE_BYTES,
                         "of these: given back to the host");
    commands_bytes_print("  zero", page.zero_pages * PAGE_BYTES,
                         "of these: known to be, in the heap");
    commands_bytes_print("  reserved", page.reserved_pages * PAGE_BYTES,
                         "of these: for devices and PAGE_RESERVE");
    commands_bytes_print("  longest run", page.largest_run * PAGE_BYTES, "");
    commands_bytes_print("pages handed out", mm.page_alloc_bytes, "by page_alloc");
    commands_bytes_print("stacks", mm.stack_bytes, "of threads, with what is kept for more");
    commands_bytes_print("spans", mm.span_bytes, "");
    commands_bytes_print("  objects", mm.object_bytes, "in use");
    commands_bytes_print("  magazines", mm.magazine_bytes, "free, at a CPU");
    commands_bytes_print("  depots", mm.depot_bytes, "free, for all CPUs");
    commands_bytes_print("  central", mm.central_bytes, "free, in spans");
    commands_bytes_print("guard pool", mm.guard_bytes, "pages for sampled objects, and records");
    commands_bytes_print("metadata", mm.meta_bytes, "of all layers");
    printk("  %zu of %zu chunks of 2 MiB are free as a whole; the page heap's lock was taken %lu "
           "times\n",
           page.whole_chunks, page.ram_pages / CHUNK_PAGES, page.heap_locks);
    return 0;
}
COMMAND(mem, "", "where memory is", commands_mem);

static int commands_nodes(int argc, char **argv)
{
    (void)argc, (void)argv;
    nodes_report();
    printk("  %4s %12s %12s %12s %12s\n", "node", "usable KiB", "free KiB", "longest KiB",
           "whole chunks");
    for (unsigned node = 0; node < node_count(); node++) {
        struct page_stats stats = page_node_stats(node);

        printk("  %4u %12zu %12zu %12zu %12zu\n", node, stats.ram_pages * PAGE_BYTES / KIB,
               stats.free_pages * PAGE_BYTES / KIB, stats.largest_run * PAGE_BYTES / KIB,
               stats.whole_chunks);
    }
    return 0;
}
COMMAND(nodes, "", "memory and CPUs by node", commands_nodes);

/* The span that holds one address. */
static int commands_span_at(const char *text)
{
    uint64_t addr;

    if (!parse_u64(text, &addr)) {
        printk("spans: %s: accepted: an address, as in 0xffff800001000000\n", text);
        return 1;
    }
    const struct span *span = span_of((const void *)(uintptr_t)addr);
    if (span == NULL) {
        printk("no span holds 0x%lx\n", addr);
        return 0;
    }
    printk("  span at 0x%lx, %zu KiB, span class %u\n", span->base, span_bytes(span) / KIB,
           span->span_class);
    if (span_slot_count(span) == 0)
        printk("  one large object\n");
    else
        printk("  %u slots of %zu bytes, %u not taken; this is slot %zu\n", span_slot_count(span),
               span_slot_bytes(span), span->free_count,
               span_slot_index(span, (const void *)(uintptr_t)addr));
    return 0;
}

static int commands_spans(int argc, char **argv)
{
    struct span_stats all = span_stats();
    struct slab_class_stats row;
    size_t small_spans = 0, small_bytes = 0;

    if (argc > 1)
        return commands_span_at(argv[1]);
    printk("  %-24s %10s %8s %12s\n", "class", "slot", "spans", "KiB");
    for (size_t i = 0; i < slab_class_count(); i++) {
        if (!slab_class_stats(i, &row) || row.spans == 0)
            continue;
        printk("  %-24s %10zu %8zu %12zu\n", row.name, row.slot_bytes, row.spans,
               row.span_bytes / KIB);
        small_spans += row.spans;
        small_bytes += row.span_bytes;
    }
    printk("  %-24s %10s %8zu %12zu\n", "large objects", "", all.spans - small_spans,
           (all.span_bytes - small_bytes) / KIB);
    printk("  %-24s %10s %8zu %12zu\n", "all", "", all.spans, all.span_bytes / KIB);
    printk("  table %zu KiB, descriptors %zu KiB\n", all.table_bytes / KIB, all.desc_bytes / KIB);
    return 0;
}
COMMAND(spans, "[ADDRESS]", "spans by class, or the span that holds an address", commands_spans);

static int commands_slabs(int argc, char **argv)
{
    struct slab_class_stats row;

    (void)argc, (void)argv;
    printk("  %-24s %8s %9s %9s %9s %8s %10s %10s\n", "class", "slot", "slots", "live", "magazines",
           "depot", "taken", "given");
    for (size_t i = 0; i < slab_class_count(); i++) {
        if (slab_class_stats(i, &row) && (row.spans != 0 || row.taken != 0))
            printk("  %-24s %8zu %9zu %9zu %9zu %8zu %10lu %10lu\n", row.name, row.slot_bytes,
                   row.slots, row.live, row.magazine, row.depot, row.taken, row.given);
    }
    return 0;
}
COMMAND(slabs, "", "slots by class", commands_slabs);

/* An object of the guard pool, and the innermost callers that allocated it. */
static void commands_guard_print(const struct guard_object *object)
{
    char site[100] = "";
    size_t used = 0;

    for (size_t i = 0; i < object->alloc.frame_count && used < sizeof(site); i++) {
        const char *name;
        size_t offset;

        if (arch_symbol(object->alloc.frames[i] - 1, &name, &offset))
            used +=
                format_string(site + used, sizeof(site) - used, "%s%s", i != 0 ? " < " : "", name);
    }
    printk("  0x%lx %6zu %-16s %-7s %3u %8lu  %s\n", object->addr, object->bytes, object->cache,
           object->free.number == 0 ? "in use" : "freed", object->alloc.cpu, object->alloc.number,
           site);
}

static int commands_guard(int argc, char **argv)
{
    struct guard_stats stats = guard_stats();
    bool wants_freed = argc > 1 && strcmp(argv[1], "all") == 0;
    struct guard_object object;

    if (argc > 1 && !wants_freed) {
        printk("guard: %s: accepted: all\n", argv[1]);
        return 1;
    }
    if (stats.slots == 0) {
        printk("guard: off\n");
        return 0;
    }
    printk("  one allocation in %lu, seed %lu; %zu slots, %zu KiB\n", stats.rate, stats.seed,
           stats.slots, stats.bytes / KIB);
    printk("  %zu in use, %zu freed; %lu samples taken, left out: %lu of covered sites, %lu for "
           "want of a slot\n",
           stats.live, stats.freed, stats.taken, stats.covered, stats.exhausted);
    printk("  %-18s %6s %-16s %-7s %3s %8s  %s\n", "object", "bytes", "cache", "state", "cpu",
           "event", "allocated by");
    for (size_t slot = 0; slot < stats.slots; slot++) {
        if (guard_object_at(slot, &object) && (object.free.number == 0 || wants_freed))
            commands_guard_print(&object);
    }
    return 0;
}
COMMAND(guard, "[all]", "objects of the guard pool: those in use, or all", commands_guard);

static int commands_drain(int argc, char **argv)
{
    size_t before = page_free_count();

    (void)argc, (void)argv;
    mm_drain();
    printk("%zu pages came back from caches\n", page_free_count() - before);
    return 0;
}
COMMAND(drain, "", "give back what caches hold", commands_drain);

static int commands_scavenge(int argc, char **argv)
{
    (void)argc, (void)argv;
    if (!page_scavenge_all())
        printk("scavenge: nobody below takes memory\n");
    return 0;
}
COMMAND(scavenge, "", "give all free memory back to the host", commands_scavenge);

/* ---- panic KIND ---- */

static NOINLINE void *panic_hide(void *pointer)
{
    __asm__("" : "+r"(pointer)); /* the compiler shall not see what is wrong with it */
    return pointer;
}

static void panic_null(void)
{
    *(volatile int *)panic_hide(NULL);
}

static void panic_write_text(void)
{
    *(volatile char *)panic_hide((void *)(uintptr_t)commands_mem) = 0;
}

static void panic_exec_data(void)
{
    void (*data)(void) = (void (*)(void))(uintptr_t)panic_hide(kzalloc(64));

    data();
}

static NOINLINE unsigned panic_recurse(volatile unsigned *caller)
{
    volatile unsigned frame[64];

    frame[0] = caller == NULL ? 0 : *caller + 1;
    return frame[0] == UINT32_MAX ? 0 : panic_recurse(frame) + frame[0];
}

static void panic_stack_overflow(void)
{
    panic_recurse(NULL);
}

static void panic_double_free(void)
{
    void *object = kmalloc(100);

    kfree(object);
    kfree(panic_hide(object));
}

static void panic_bad_free(void)
{
    char *object = kmalloc(100);

    kfree(panic_hide(object + 16));
}

static void panic_wrong_size(void)
{
    kfree_sized(kmalloc(100), 1000);
}

static void panic_slab_bounds(void)
{
    char *object = kmalloc(50);

    object[50] = 0;
    kfree(object);
}

static void panic_slab_poison(void)
{
    char *object = kmalloc(100);
    void *next;

    kfree(object);
    ((char *)panic_hide(object))[40] = 0;
    do { /* it comes out again, in time */
        next = kmalloc(100);
        kfree(next);
    } while (next != object);
}

static void panic_page_double_free(void)
{
    void *run = page_alloc(20, 0);

    page_free(run, 20);
    page_free(panic_hide(run), 20);
}

static void panic_page_poison(void)
{
    char *page = page_alloc(1, 0);
    void *next;

    page_free(page, 1);
    page[100] = 1;
    do { /* it comes out again, in time */
        next = page_alloc(1, 0);
    } while (next != page && next != NULL);
}

static void panic_guard_overflow(void)
{
    char *object = guard_alloc("panic", NULL, PAGE_BYTES, 1);

    *(volatile char *)panic_hide(object + PAGE_BYTES) = 1;
}

static void panic_guard_use_after_free(void)
{
    char *object = guard_alloc("panic", NULL, 100, 1);

    guard_free("kfree", NULL, object);
    (void)*(volatile char *)panic_hide(object + 5);
}

static void panic_guard_corruption(void)
{
    char *object = guard_alloc("panic", NULL, 2000, 1);

    *(volatile char *)panic_hide(object + ((uintptr_t)object % PAGE_BYTES == 0 ? 2000 : -1)) = 1;
    guard_free("kfree", NULL, object);
}

static void panic_failed_check(void)
{
    CHECK(panic_hide(NULL) != NULL);
}

static void panic_lock_order(void)
{
    static struct spinlock outer = SPINLOCK_INIT(MONITOR), inner = SPINLOCK_INIT(TEST);

    if (!CONFIG_DEBUG) {
        printk("panic: lock-order: only debug builds keep the order\n");
        return;
    }
    spin_lock(&inner);
    spin_lock(&outer);
}

/* Touch a stack that grows, `bytes` below its top, from the one that runs. */
static NOINLINE void panic_touch_stack(size_t bytes)
{
    struct stack stack;

    if (!stack_create(&stack, 0))
        return;
    (void)arch_irq_save();
    stack_enter(&stack);
    *(volatile char *)panic_hide((void *)(stack.top - bytes)) = 0;
}

static void panic_stack_limit(void)
{
    panic_touch_stack(STACK_DEFAULT_BYTES - 8);
}

static void panic_stack_reserve(void)
{
    panic_touch_stack((STACK_RESERVE_PAGES + 2) * PAGE_BYTES);
}

static void panic_plain(void)
{
    panic("asked for");
}

static const struct panic_kind panic_kinds[] = {
    {"plain", panic_plain},
    {"check", panic_failed_check},
    {"null", panic_null},
    {"write-text", panic_write_text},
    {"exec-data", panic_exec_data},
    {"stack-overflow", panic_stack_overflow},
    {"double-free", panic_double_free},
    {"bad-free", panic_bad_free},
    {"wrong-size", panic_wrong_size},
    {"slab-bounds", panic_slab_bounds},
    {"slab-poison", panic_slab_poison},
    {"page-double-free", panic_page_double_free},
    {"page-poison", panic_page_poison},
    {"lock-order", panic_lock_order},
    {"guard-overflow", panic_guard_overflow},
    {"guard-use-after-free", panic_guard_use_after_free},
    {"guard-corruption", panic_guard_corruption},
    {"stack-limit", panic_stack_limit},
    {"stack-reserve", panic_stack_reserve},
    {NULL, NULL},
};

static const struct panic_kind *const panic_tables[] = {panic_kinds, panic_thread_kinds};

static const struct panic_kind *panic_kind_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(panic_tables); i++) {
        for (const struct panic_kind *kind = panic_tables[i]; kind->name != NULL; kind++) {
            if (strcmp(kind->name, name) == 0)
                return kind;
        }
    }
    return NULL;
}

static int commands_panic(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "plain";
    const struct panic_kind *kind = panic_kind_find(name);

    if (kind != NULL) {
        kind->run();
        printk("panic: %s: went unseen\n", name);
        return 1;
    }
    printk("panic: %s: accepted:\n", name);
    for (size_t i = 0; i < ARRAY_COUNT(panic_tables); i++) {
        for (kind = panic_tables[i]; kind->name != NULL; kind++)
            printk("  %s\n", kind->name);
    }
    return 1;
}
COMMAND(panic, "[KIND]", "do something wrong, to see that it is reported", commands_panic);
