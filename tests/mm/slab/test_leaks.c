/*
 * Leaks.  Objects whose only reference stands in one kind of place are not reported, whichever kind
 * it is; objects to which none is left are, once each.
 */
#include "kernel/base/string.h"
#include "kernel/command.h"
#include "kernel/fault.h"
#include "mm/mm.h"
#include "mm/page/page.h"
#include "mm/port.h"
#include "mm/slab/guard.h"
#include "tests/kernel/capture.h"
#include "tests/mm/slab/debug_case.h"
#include "tests/mm/slab/lost.h"

TEST(leaks, what_nothing_refers_to_is_reported_once)
{
    EXPECT(t, find(t, NULL) == 0);
    REQUIRE(t, lose(t, 72, LOST));
    expect_lost(t, LOST);
    EXPECT(t, found.bytes == found.count * ksize(reveal(lost[0])));
    expect_lost(t, LOST); /* to be found changes nothing */
    mm_check();
    lost_free();
    EXPECT(t, find(t, NULL) == 0);
}

TEST(leaks, static_variables_hold)
{
    REQUIRE(t, lose(t, 72, LOST));
    for (size_t offset = 0; offset < 72; offset += offset < 70 ? 10 : 1) {
        lost_refer(held, LOST, offset);
        EXPECT(t, find(t, "lost") == 0);
    }
    memset(held, 0, sizeof(held) / 2);
    expect_lost(t, LOST / 2);
    lost_free();
}

static NOINLINE void expect_held_by_stack(struct test *t)
{
    void *objects[LOST];

    lost_refer(objects, LOST, 0);
    EXPECT(t, find(t, "lost") == 0);
    EXPECT(t, objects[LOST / 2] == reveal(lost[LOST / 2]));
    memset(objects, 0, sizeof(objects));
}

TEST(leaks, the_stack_holds)
{
    REQUIRE(t, lose(t, 72, LOST));
    expect_held_by_stack(t);
    stack_clean();
    expect_lost(t, LOST);
    lost_free();
}

/* ---- A register holds ---- */

static void find_in_asm(void)
{
    (void)kmem_leaks(found_one, NULL);
}

/* As find_in_asm, while the object stands in r12 and nowhere else. */
static NOINLINE void find_with_register(uintptr_t word)
{
    register uintptr_t held_here __asm__("r12") = word;

    __asm__ volatile("movq %%rsp, %%rbx\n\t"
                     "subq $128, %%rsp\n\t"
                     "andq $-16, %%rsp\n\t"
                     "xorq %[key], %%r12\n\t"
                     "call *%[find]\n\t"
                     "movq %%rbx, %%rsp\n\t"
                     "xorl %%r12d, %%r12d"
                     : "+r"(held_here)
                     : [key] "r"(LOST_KEY), [find] "r"(find_in_asm)
                     : "rbx", "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "cc",
                       "memory");
}

TEST(leaks, a_register_holds)
{
    unsigned without = 0;

    REQUIRE(t, lose(t, 72, LOST));
    for (unsigned i = 0; i < LOST; i += 20) {
        found_begin("lost");
        stack_clean();
        find_with_register(lost[i]);
        EXPECT(t, found.times[i] == 0);
        expect_found(t, LOST - 1);
        find(t, "lost");
        without += found.times[i];
    }
    EXPECT(t, without >= LOST / 20 - LOST_STRAY);
    lost_free();
}

static PORT_PERCPU(void *, held_by_cpu);

TEST(leaks, percpu_variables_hold)
{
    REQUIRE(t, lose(t, 72, LOST));
    for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++)
        *port_cpu(held_by_cpu, cpu) = reveal(lost[cpu]);
    find(t, "lost");
    expect_found(t, LOST - port_cpu_count());
    for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++) {
        EXPECT(t, found.times[cpu] == 0);
        *port_cpu(held_by_cpu, cpu) = NULL;
    }
    expect_lost(t, LOST);
    lost_free();
}

/* ---- Memory holds ---- */

/* References to all that is lost, from the first to the last of so many words. */
static NOINLINE void lost_spread(void **to, size_t words)
{
    for (unsigned i = 0; i < LOST; i++)
        to[words - 1 - i * (words / LOST)] = reveal(lost[i]);
}

TEST(leaks, pages_hold)
{
    static const size_t runs[] = {1, 3, 40, 600};

    REQUIRE(t, lose(t, 72, LOST));
    for (unsigned i = 0; i < ARRAY_COUNT(runs); i++) {
        size_t words = runs[i] * PAGE_BYTES / sizeof(void *);
        void **run = page_alloc(runs[i], PAGE_ZERO);

        REQUIRE(t, run != NULL);
        lost_spread(run, words);
        EXPECT(t, find(t, "lost") == 0);
        page_free(run, runs[i]); /* what a free page holds is nothing */
        expect_lost(t, LOST);
    }
    lost_free();
}

/* An object whose words hold all that is lost; as long as something holds it. */
static void expect_held_by(struct test *t, void **holder, size_t bytes)
{
    size_t words = bytes / sizeof(void *);

    memset(holder, 0, ksize(holder));
    lost_spread(holder, words);
    held[0] = holder;
    EXPECT(t, find(t, "lost") == 0 && found.others == 0);
}

TEST(leaks, objects_hold)
{
    static const size_t sizes[] = {1600, 4096, 32768, 32769, 300000, 1200000};

    REQUIRE(t, lose(t, 72, LOST));
    for (unsigned i = 0; i < ARRAY_COUNT(sizes); i++) {
        void **holder = kmalloc(sizes[i]);

        REQUIRE(t, holder != NULL);
        expect_held_by(t, holder, sizes[i] / 8 * 8);
        held[0] = NULL;
        kfree(holder); /* what a free slot holds is nothing */
        expect_lost(t, LOST);
    }
    lost_free();
}

static void construct_zero(void *object)
{
    memset(object, 0, LOST * sizeof(void *));
}

TEST(leaks, constructed_objects_hold_while_in_use)
{
    struct kmem_cache *cache =
        kmem_cache_create("holders", LOST * sizeof(void *), 0, construct_zero, 0);
    void **holder;

    REQUIRE(t, cache != NULL && lose(t, 72, LOST));
    holder = kmem_cache_alloc(cache);
    REQUIRE(t, holder != NULL);
    expect_held_by(t, holder, LOST * sizeof(void *));
    held[0] = NULL;
    kmem_cache_free(cache, holder);
    expect_lost(t, LOST);
    kmem_cache_destroy(cache);
    lost_free();
}

TEST(leaks, guarded_objects_hold_while_in_use)
{
    void **holder = guard_alloc("holders", NULL, LOST * sizeof(void *), sizeof(void *));

    if (holder == NULL) {
        test_skip(t, "no guard pool");
        return;
    }
    REQUIRE(t, lose(t, 72, LOST));
    memset(holder, 0, LOST * sizeof(void *));
    lost_spread(holder, LOST);
    EXPECT(t, find(t, "lost") == 0 && found.others == 0);
    guard_free("test", NULL, holder);
    expect_lost(t, LOST);
    lost_free();
}

/* Each refers to the next, the last to the first; or of each two one to the other. */
static NOINLINE void lost_chain(bool in_pairs)
{
    for (unsigned i = 0; i < LOST; i++)
        *(void **)reveal(lost[i]) = reveal(lost[in_pairs ? i ^ 1 : (i + 1) % LOST]);
}

TEST(leaks, chains_and_cycles)
{
    REQUIRE(t, lose(t, 72, LOST));
    lost_chain(false);
    lost_refer(held, 1, 0);
    EXPECT(t, find(t, "lost") == 0);
    held[0] = NULL;

    /* If a stray word holds one it holds all: cut the cycle into pieces of two. */
    lost_chain(true);
    expect_lost(t, LOST);
    lost_refer(held, 1, 0);
    find(t, "lost");
    EXPECT(t, found.times[0] == 0 && found.times[1] == 0);
    expect_found(t, LOST - 2);
    held[0] = NULL;
    lost_free();
}

TEST(leaks, large_objects_are_reported)
{
    enum { LARGE = 16, LARGE_BYTES = 40000 };

    REQUIRE(t, lose(t, LARGE_BYTES, LARGE));
    expect_lost(t, LARGE);
    EXPECT(t, found.bytes == found.count * ksize(reveal(lost[0])));
    lost_refer(held, LARGE, LARGE_BYTES - 1);
    EXPECT(t, find(t, NULL) == 0);
    memset(held, 0, sizeof(held));
    expect_lost(t, LARGE);
    lost_free();
    mm_check();
}

/* ---- Exhaustion ---- */

TEST(leaks, fails_whole_when_memory_does)
{
    unsigned nth = 0;

    REQUIRE(t, lose(t, 72, LOST));
    for (bool fired = true; fired;) {
        mm_drain();
        fault_fail_nth(++nth);

        size_t free_pages = page_free_count();
        size_t count;

        found_begin(NULL);
        count = kmem_leaks(found_one, NULL);
        fired = fault_disarm();
        EXPECT(t, (count == KMEM_LEAKS_FAILED) == fired);
        EXPECT(t, !fired || found.count == 0);
        EXPECT(t, page_free_count() == free_pages);
    }
    EXPECT(t, nth >= 4); /* the table, a piece, the holes */
    mm_check();
    expect_lost(t, LOST);
    lost_free();
}

/* ---- Where they come from ---- */

static NOINLINE void *allocate_from_cache(struct kmem_cache *cache)
{
    void *object = kmem_cache_alloc(cache);

    __asm__ volatile("" : "+r"(object)); /* no tail call: this function is the site */
    return object;
}

/* Is it printed with a frame in `function`, or without any if that is NULL? */
static void expect_printed(struct test *t, const void *object, const char *name,
                           const char *function)
{
    struct kmem_leak leak = {object, 72, name};
    const char *text;

    capture_begin();
    kmem_leak_print(&leak);
    text = capture_end();
    EXPECT(t, strstr(text, ", 72 bytes, ") != NULL && strstr(text, name) != NULL);
    if (function == NULL)
        EXPECT(t, strstr(text, "site not recorded\n") != NULL && strstr(text, "#0") == NULL);
    else
        EXPECT(t, strstr(text, "allocated by\n  #0 ") != NULL && strstr(text, function) != NULL);
}

/* An object of a cache with these checks has `least` to `most` frames. */
static void expect_frames(struct test *t, const char *checks, size_t least, size_t most)
{
    struct kmem_cache *cache = debug_cache(checks, "leak_site", 72, 0, NULL);
    uintptr_t pcs[SLAB_TRACE_FRAMES];
    void *object;
    size_t count;

    REQUIRE(t, cache != NULL);
    object = allocate_from_cache(cache);
    REQUIRE(t, object != NULL);
    count = kmem_leak_site(object, pcs, ARRAY_COUNT(pcs));
    EXPECT(t, count >= least && count <= most);
    EXPECT(t, kmem_leak_site(object, pcs, 1) == MIN(count, 1u));
    EXPECT(t, kmem_leak_site(object, pcs, 0) == 0);
    expect_printed(t, object, "leak_site", most > 0 ? "allocate_from_cache" : NULL);
    kmem_cache_free(cache, object);
    kmem_cache_destroy(cache);
}

TEST(leaks, site_is_the_backtrace)
{
    expect_frames(t, "t", 2, SLAB_TRACE_FRAMES);
    expect_frames(t, "rp", 0, 0);
    expect_frames(t, "0", 0, 0);
}

TEST(leaks, site_is_where_it_is_counted)
{
    if (!needs_debug(t, SLAB_DEBUG_SITES))
        return;
    expect_frames(t, "s", 1, 1);
    expect_frames(t, "ts", 2, SLAB_TRACE_FRAMES);
}

static NOINLINE void *allocate_large(void)
{
    void *object = kmalloc(KMALLOC_SMALL_MAX + 1);

    __asm__ volatile("" : "+r"(object));
    return object;
}

TEST(leaks, site_of_a_large_object)
{
    bool has_site = slab_debug_flags("kmalloc-large") & SLAB_DEBUG_SITES;
    void *object = allocate_large();
    uintptr_t pcs[2];

    REQUIRE(t, object != NULL);
    EXPECT(t, kmem_leak_site(object, pcs, ARRAY_COUNT(pcs)) == has_site);
    expect_printed(t, object, "kmalloc-large", has_site ? "allocate_large" : NULL);
    kfree(object);
}

/* ---- The command ---- */

static void expect_command(struct test *t, const char *says, int result)
{
    char word[] = "leaks", *words[] = {word, NULL};
    const struct command *command = command_find(words[0]);

    REQUIRE(t, command != NULL);
    stack_clean();
    capture_begin();

    int got = command->run(1, words);
    const char *text = capture_end();

    if (!EXPECT(t, got == result && strstr(text, says) != NULL))
        port_print("%s\n", text);
}

TEST(leaks, command_shows_some_and_counts_all)
{
    expect_command(t, "0 leaked objects\n", 0);
    REQUIRE(t, lose(t, 72, LOST));
    expect_command(t,
                   slab_debug_flags("lost") & (SLAB_DEBUG_TRACE | SLAB_DEBUG_SITES)
                       ? " bytes, lost, allocated by\n  #0 "
                       : " bytes, lost, site not recorded\n",
                   1);
    expect_command(t, "more\n  lost       ", 1);
    expect_lost(t, LOST); /* the command keeps no references */
    lost_free();
}
