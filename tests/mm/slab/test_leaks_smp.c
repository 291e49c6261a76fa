/*
 * Leaks, with several CPUs: references on another CPU's stack and in its registers hold, slots in its
 * magazines are no objects.  Interleavings provoked: CPUs stopped at any instruction of allocating,
 * resizing and freeing; all CPUs that want to stop all others.
 */
#include "kernel/base/config.h"
#include "kernel/base/string.h"
#include "kernel/cpus.h"
#include "mm/mm.h"
#include "mm/port.h"
#include "mm/slab/debug.h"
#include "tests/mm/slab/lost.h"
#include "tests/mm/slab/objects.h"

/* ---- Another CPU holds ---- */

static _Atomic bool holder_is_ready, holder_may_go;

/* Spin with an address in a register that any call would lose. */
static NOINLINE void hold_in_register(uintptr_t word)
{
    register uintptr_t held_here __asm__("r11") = word;

    __asm__ volatile("xorq %[key], %%r11\n\t"
                     "movb $1, %[ready]\n"
                     "1:\tpause\n\t"
                     "cmpb $0, %[go]\n\t"
                     "je 1b\n\t"
                     "xorl %%r11d, %%r11d"
                     : "+r"(held_here), [ready] "=m"(holder_is_ready)
                     : [key] "r"(LOST_KEY), [go] "m"(holder_may_go)
                     : "cc", "memory");
}

/* Until CPU 0 has found what there is, with no address in any register. */
static NOINLINE void hold_nothing(void)
{
    atomic_store(&holder_is_ready, true);
    while (!atomic_load(&holder_may_go)) {
        __asm__ volatile("xorl %%eax, %%eax\n\txorl %%ebx, %%ebx\n\t"
                         "xorl %%ecx, %%ecx\n\txorl %%edx, %%edx\n\t"
                         "xorl %%esi, %%esi\n\txorl %%edi, %%edi\n\t"
                         "xorl %%r8d, %%r8d\n\txorl %%r9d, %%r9d\n\t"
                         "xorl %%r10d, %%r10d\n\txorl %%r11d, %%r11d\n\t"
                         "xorl %%r12d, %%r12d\n\txorl %%r13d, %%r13d\n\t"
                         "xorl %%r14d, %%r14d\n\txorl %%r15d, %%r15d"
                         :
                         :
                         : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11",
                           "r12", "r13", "r14", "r15", "cc", "memory");
        port_relax();
    }
}

static NOINLINE void hold_on_stack(uintptr_t word)
{
    void *volatile object = (void *)(word ^ LOST_KEY);

    hold_nothing();
    object = NULL;
    (void)object;
}

struct holder {
    struct test *t;
    void (*hold)(uintptr_t word);
};

static void hold_or_find(void *arg)
{
    struct holder *holder = arg;

    if (arch_cpu_id() != 0) {
        holder->hold(lost[7]);
        return;
    }
    while (!atomic_load(&holder_is_ready))
        port_relax();
    find(holder->t, "lost");
    EXPECT(holder->t, found.times[7] == 0);
    expect_found(holder->t, LOST - 1);
    atomic_store(&holder_may_go, true);
}

/* On CPU 0 find, on another hold one. */
static void expect_held_elsewhere(struct test *t, void (*hold)(uintptr_t word))
{
    struct holder holder = {t, hold};

    REQUIRE(t, lose(t, 72, LOST));
    atomic_store(&holder_is_ready, false);
    atomic_store(&holder_may_go, false);
    cpu_run_all(2, hold_or_find, &holder);
    expect_lost(t, LOST);
    lost_free();
}

TEST(leaks, another_cpus_stack_holds)
{
    if (cpus_online() < 2) {
        test_skip(t, "one CPU");
        return;
    }
    expect_held_elsewhere(t, hold_on_stack);
}

TEST(leaks, another_cpus_register_holds)
{
    if (cpus_online() < 2 || !CONFIG_SEQUENCES) {
        test_skip(t, "one CPU, or signals that wait for a call");
        return;
    }
    expect_held_elsewhere(t, hold_in_register);
}

/* ---- Dead stacks ---- */

static NOINLINE void leave_references(void)
{
    void *volatile dead[LOST];

    for (unsigned i = 0; i < LOST; i++)
        dead[i] = reveal(lost[i]);
    (void)dead[0];
}

/* Below what an interrupt puts there. */
static NOINLINE void leave_references_deep(void *unused)
{
    volatile char space[12 * KIB];

    (void)unused;
    space[0] = 0;
    leave_references();
    space[sizeof(space) - 1] = space[0];
}

TEST(leaks, what_is_below_a_stack_pointer_holds_nothing)
{
    if (!CONFIG_SEQUENCES) {
        test_skip(t, "the thread sanitizer puts frames of any size above a signal handler's");
        return;
    }
    REQUIRE(t, lose(t, 72, LOST));
    cpu_run_all(cpus_online(), leave_references_deep, NULL);
    expect_lost(t, LOST);
    lost_free();
}

/* ---- Free slots ---- */

static NOINLINE void free_and_alloc_again(struct test *t, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        kmem_cache_free(lost_cache, reveal(lost[i]));
    for (unsigned i = count; i-- > 0;) {
        void *object = object_in_slot(lost_cache);

        REQUIRE(t, object != NULL);
        memset(object, 0, ksize(object));
        lost[i] = hide(object);
    }
}

/* They came out of a magazine last, whose unused part has their addresses still. */
TEST(leaks, magazines_hold_nothing)
{
    if (slab_debug_flags("lost") != 0 || slab_sample_is_dense()) {
        test_skip(t, "no magazines");
        return;
    }
    REQUIRE(t, lose(t, 72, LOST));
    free_and_alloc_again(t, 12);
    expect_lost(t, LOST);
    lost_free();
}

static void free_share(void *unused)
{
    unsigned cpu = arch_cpu_id();

    (void)unused;
    for (unsigned i = cpu; i < LOST; i += cpus_online())
        kmem_cache_free(lost_cache, reveal(lost[i]));
}

/* Wherever they are: in the magazines of all CPUs, in spans. */
TEST(leaks, free_slots_are_never_reported)
{
    REQUIRE(t, lose(t, 72, LOST));
    cpu_run_all(cpus_online(), free_share, NULL);
    EXPECT(t, find(t, NULL) == 0);
    lost_refer(held, LOST, 0); /* nor does a reference make them anything else */
    EXPECT(t, find(t, NULL) == 0);
    mm_drain();
    EXPECT(t, find(t, NULL) == 0);
    kmem_cache_destroy(lost_cache);
    lost_forget();
}

/* ---- While other CPUs allocate and free ---- */

#define BUSY_SLOTS 64u
#define BUSY_FINDS (CONFIG_DEBUG ? 20u : 60u)

struct busy {
    struct test *t;
    struct kmem_cache *cache;
    _Atomic bool is_done;
};

static void *busy_slots[PORT_CPU_MAX][BUSY_SLOTS];

static void *busy_alloc(struct kmem_cache *cache, uint64_t random)
{
    switch (random % 8) {
    case 0:
        return kmalloc(KMALLOC_SMALL_MAX + random % 100000);
    case 1:
    case 2:
        return kmem_cache_alloc(cache);
    case 3:
        return kzalloc(8 + (random >> 8) % 2000);
    default:
        return kmalloc(8 + (random >> 8) % 600);
    }
}

static void busy_bulk(void)
{
    void *objects[40];

    kfree_bulk(kmalloc_bulk(48, ARRAY_COUNT(objects), objects), objects);
}

static void busy_work(struct busy *busy, unsigned cpu)
{
    uint64_t state = cpu + 1;

    while (!atomic_load_explicit(&busy->is_done, memory_order_acquire)) {
        uint64_t random = random_next(&state);
        void **slot = &busy_slots[cpu][random % BUSY_SLOTS];
        void *object = *slot;

        if (object != NULL && random >> 40 & 1) {
            object = krealloc(object, 8 + (random >> 16) % 3000);
            *slot = object != NULL ? object : *slot;
        } else {
            *slot = NULL;
            kfree(object); /* for a moment only in a register */
            *slot = busy_alloc(busy->cache, random >> 8);
        }
        if (random >> 50 & 1)
            busy_bulk();
        port_relax();
    }
    for (unsigned i = 0; i < BUSY_SLOTS; i++) {
        kfree(busy_slots[cpu][i]);
        busy_slots[cpu][i] = NULL;
    }
}

static void busy_or_find(void *arg)
{
    struct busy *busy = arg;
    unsigned cpu = arch_cpu_id();

    if (cpu != 0) {
        busy_work(busy, cpu);
        return;
    }
    for (unsigned i = 0; i < BUSY_FINDS; i++)
        EXPECT(busy->t, find(busy->t, NULL) == 0);
    atomic_store_explicit(&busy->is_done, true, memory_order_release);
}

TEST(leaks, nothing_is_reported_of_what_others_have_in_hand)
{
    struct busy busy = {.t = t, .cache = kmem_cache_create("busy", 200, 0, NULL, 0)};

    REQUIRE(t, busy.cache != NULL);
    cpu_run_all(cpus_online(), busy_or_find, &busy);
    mm_drain();
    mm_check();
    kmem_cache_destroy(busy.cache);
    EXPECT(t, find(t, NULL) == 0);
}

static void find_too(void *arg)
{
    struct test *t = arg;

    for (unsigned i = 0; i < 5; i++)
        EXPECT(t, kmem_leaks(NULL, NULL) == 0);
}

TEST(leaks, all_cpus_ask_at_once)
{
    cpu_run_all(cpus_online(), find_too, t);
    mm_check();
}
