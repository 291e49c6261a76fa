/* Spans: found by any of their addresses, given back whole, every failure unwound. */
#include "mm/span/span.h"
#include "kernel/cpus.h"
#include "kernel/fault.h"
#include "tests/test.h"

#define SPANS 200u

/* Spans of each size class belong to one of these, with keys as a kmem_cache's. */
static struct span_owner owners[SIZE_CLASS_COUNT];

static struct span *create_class(unsigned class)
{
    owners[class] = (struct span_owner){
        .layout = size_class_layout[class],
        .key = class * SPAN_KEY_UNIT,
        .index = (uint16_t) class,
        .span_class = (uint8_t) class,
    };
    return span_create_slots(&owners[class], 0, 0);
}

/* Fail the 1st, then the 2nd, ... acquisition until a run needs none. */
TEST(span, create_slots_unwinds_every_failure)
{
    for (unsigned nth = 1;; nth++) {
        span_drain();

        size_t free_before = page_free_count();

        fault_fail_nth(nth);
        struct span *span = create_class(11);
        bool fired = fault_disarm();

        EXPECT(t, (span == NULL) == fired);
        if (span != NULL)
            span_destroy(span);
        span_drain();
        EXPECT(t, page_free_count() == free_before);
        if (!fired)
            return;
        REQUIRE(t, nth < 10);
    }
}

TEST(span, create_large_unwinds_every_failure)
{
    for (unsigned nth = 1;; nth++) {
        span_drain();

        size_t free_before = page_free_count();

        fault_fail_nth(nth);
        struct span *span = span_create_large(5 * GRANULE_BYTES - 1, 16, PAGE_ZERO);
        bool fired = fault_disarm();

        EXPECT(t, (span == NULL) == fired);
        if (span != NULL) {
            EXPECT(t, span_granules(span) == 5 && IS_ALIGNED(span->base, 16 * PAGE_BYTES));
            span_destroy(span);
        }
        span_drain();
        EXPECT(t, page_free_count() == free_before);
        if (!fired)
            return;
        REQUIRE(t, nth < 10);
    }
}

TEST(span, too_large_is_refused)
{
    EXPECT(t, span_create_large(SIZE_MAX, 1, 0) == NULL);
    EXPECT(t, span_create_large(MM_PHYS_BYTES, 1, 0) == NULL);
}

TEST(span, every_byte_finds_its_span)
{
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class += 3) {
        struct span *span = create_class(class);

        REQUIRE(t, span != NULL);
        span_check(span);
        for (size_t offset = 0; offset < span_bytes(span); offset += 8) {
            char *addr = (char *)span->base + offset;
            size_t slot_bytes = span_slot_bytes(span), index = offset / slot_bytes;
            bool is_slot = offset % slot_bytes == 0 && index < span_slot_count(span);

            REQUIRE(t, span_of(addr) == span && span_of(addr + 7) == span);
            REQUIRE(t, span->span_class == class && span->index == class);
            REQUIRE(t, span_slot_index(span, addr) == index);
            REQUIRE(t, span_is_any_slot(span, addr) == is_slot);
            REQUIRE(t, !span_is_any_slot(span, addr + 1) && !span_is_any_slot(span, addr + 4));
            for (uint64_t key = 0; key < 512 * SPAN_KEY_UNIT; key += SPAN_KEY_UNIT)
                REQUIRE(t, span_is_slot(span, addr, key) == (is_slot && key == owners[class].key));
        }
        EXPECT(t, span_of((char *)span->base - 1) != span);
        EXPECT(t, span_of((char *)span->base + span_bytes(span)) != span);
        span_destroy(span);
    }
}

TEST(span, addresses_outside_have_none)
{
    static char in_image;
    char on_stack;
    const struct span *near;

    EXPECT(t, span_of(NULL) == NULL);
    EXPECT(t, span_of((void *)1) == NULL);
    EXPECT(t, span_of((void *)UINTPTR_MAX) == NULL);
    EXPECT(t, span_of((void *)(port_direct_base() - 1)) == NULL);
    EXPECT(t, !span_near((void *)0x6b6b6b6b6b6b6b6b, &near));
    EXPECT(t, span_near(NULL, &near) && near == &span_none);
    EXPECT(t, span_of((void *)0x6b6b6b6b6b6b6b6b) == NULL);
    EXPECT(t, span_of((void *)0x800000000000) == NULL);
    EXPECT(t, span_of((void *)0xffff7fffffffffff) == NULL);
    EXPECT(t, span_of((void *)(port_direct_base() + MM_PHYS_BYTES - 1)) == NULL);
    EXPECT(t, span_of(&in_image) == NULL);
    EXPECT(t, span_of(&on_stack) == NULL);
}

TEST(span, tombstones_tell_the_last_slot)
{
    struct span *span = create_class(45); /* 4864 bytes, 5 slots in 3 granules */
    const struct span *near;
    unsigned class = 0;

    REQUIRE(t, span != NULL);

    char *base = (char *)span->base;

    EXPECT(t, !span_last_slot(base, &class));
    EXPECT(t, span_destroy(span));
    EXPECT(t, span_of(base) == NULL && span_of(base + 2 * GRANULE_BYTES) == NULL);
    for (size_t offset = 0; offset < 3 * GRANULE_BYTES; offset += 8)
        EXPECT(t, span_last_slot(base + offset, &class) && class == 45);
    EXPECT(t, span_near(base, &near) && !span_is_slot(near, base, 0));

    span = span_create_large(3 * GRANULE_BYTES, 1, 0);
    REQUIRE(t, span != NULL);
    base = (char *)span->base;
    EXPECT(t, span_destroy(span));
    EXPECT(t, span_last_slot(base, &class) && class == SPAN_CLASS_LARGE);
    EXPECT(t, !span_last_slot(&class, &class));
}

#define DESTROY_ROUNDS 1000u

static struct destroy_race {
    _Atomic(struct span *) span; /* release / acquire; NULL: not made yet */
    _Atomic unsigned here;       /* CPUs that have come to this round; relaxed */
    _Atomic unsigned destroyed;  /* by how many CPUs, all rounds; relaxed */
} destroy_race;

/* CPUs 0 and 1 destroy one span as nearly at once as they can; CPU 0 makes them. */
static void destroy_at_once(void *unused)
{
    struct destroy_race *race = &destroy_race;

    (void)unused;
    for (unsigned round = 0; round < DESTROY_ROUNDS; round++) {
        struct span *span;

        if (port_cpu_id() == 0)
            atomic_store_explicit(&race->span, span_create_large(1, 1, 0), memory_order_release);
        while ((span = atomic_load_explicit(&race->span, memory_order_acquire)) == NULL)
            arch_relax();
        atomic_fetch_add_explicit(&race->here, 1, memory_order_relaxed);
        while (atomic_load_explicit(&race->here, memory_order_relaxed) < 4 * round + 2)
            arch_relax();
        if (span_destroy(span))
            atomic_fetch_add_explicit(&race->destroyed, 1, memory_order_relaxed);
        atomic_store_explicit(&race->span, NULL, memory_order_relaxed);
        atomic_fetch_add_explicit(&race->here, 1, memory_order_acq_rel);
        while (atomic_load_explicit(&race->here, memory_order_acquire) < 4 * round + 4)
            arch_relax();
    }
}

TEST(span, destroyed_by_two_cpus_is_destroyed_once)
{
    if (cpus_online() < 2) {
        test_skip(t, "needs two CPUs");
        return;
    }
    atomic_store(&destroy_race.here, 0);
    atomic_store(&destroy_race.destroyed, 0);
    cpu_run_all(2, destroy_at_once, NULL);
    EXPECT(t, destroy_race.destroyed == DESTROY_ROUNDS);
    span_check_all();
}

TEST(span, slots_go_out_once)
{
    static void *slots[1024 + 1];
    uint64_t state = test_seed(t);

    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++) {
        struct span *span = create_class(class);
        unsigned count, taken = 0;

        REQUIRE(t, span != NULL);
        count = span_slot_count(span);
        for (unsigned n = 1; taken < count; n++) {
            unsigned from = (unsigned)(random_next(&state) % count);

            REQUIRE(t, span_take_slots(span, from, n, slots + taken) == MIN(n, count - taken));
            taken += MIN(n, count - taken);
        }
        EXPECT(t, taken == count && span->free_count == 0);
        EXPECT(t, span_take_slots(span, 0, 1, slots + count) == 0);
        for (unsigned i = 0; i < count; i++) {
            EXPECT(t, span_is_any_slot(span, slots[i]));
            EXPECT(t, !span_slot_is_free(span, i));
            EXPECT(t, span_give_slot(span, i));
            EXPECT(t, !span_give_slot(span, i));
            EXPECT(t, span_slot_is_free(span, i));
        }
        span_check(span);
        span_destroy(span);
    }
}

/* Descriptors come and go by the page, in any order, and the pool keeps none in the end. */
TEST(span, descriptors_come_back)
{
    static struct span *spans[SPANS];
    uint64_t state = test_seed(t);
    size_t free_before;

    span_drain();
    free_before = page_free_count();
    for (unsigned i = 0; i < SPANS; i++)
        REQUIRE(t, (spans[i] = create_class(26)) != NULL);
    span_check_all();
    EXPECT(t, span_stats().desc_bytes >= SPANS * sizeof(struct span));
    for (unsigned left = SPANS; left > 0; left--) {
        unsigned i = (unsigned)(random_next(&state) % left);

        EXPECT(t, span_destroy(spans[i]));
        spans[i] = spans[left - 1];
    }
    span_check_all();
    span_drain();
    EXPECT(t, page_free_count() == free_before);
}

/* ---- Invariants, broken one by one ---- */

static void break_base(void *span)
{
    ((struct span *)span)->base += PAGE_BYTES;
    span_check(span);
}

static void break_slot_count(void *span)
{
    owners[26].layout.slot_count++;
    span_check(span);
}

static void break_magic(void *span)
{
    ((struct span *)span)->magic--;
    span_check(span);
}

static void break_key(void *span)
{
    owners[26].key += SPAN_KEY_UNIT;
    span_check(span);
}

static void break_free_count(void *span)
{
    ((struct span *)span)->free_count--;
    span_check(span);
}

static void break_free_map(void *span)
{
    ((struct span *)span)->free_word |= 1ull << 63;
    span_check(span);
}

static void break_entry(void *span)
{
    struct span copy = *(struct span *)span; /* to which no entry leads */

    span_check(&copy);
}

TEST(span, check_names_the_broken_invariant)
{
    struct span *span = create_class(26); /* 16 slots of 512 bytes */

    REQUIRE(t, span != NULL);
    EXPECT_PANIC(t, break_base, span, "S1 broken");
    EXPECT_PANIC(t, break_slot_count, span, "S2 broken");
    EXPECT_PANIC(t, break_magic, span, "S5 broken");
    EXPECT_PANIC(t, break_key, span, "S5 broken");
    EXPECT_PANIC(t, break_free_count, span, "S3 broken");
    EXPECT_PANIC(t, break_free_map, span, "S3 broken");
    EXPECT_PANIC(t, break_entry, span, "S4 broken");
    span_destroy(span);
}

/* Where the entry for an address would stand that is not canonical, other memory may be. */
TEST(span, not_canonical_is_no_slot_whatever_stands_at_its_entry)
{
    static volatile uint64_t entry = 1ul << 62; /* leads nowhere */
    uintptr_t distance = (uintptr_t)&entry - (uintptr_t)span_table;
    const void *addr = (const void *)(distance * (GRANULE_BYTES / sizeof(entry)));
    unsigned span_class;

    EXPECT(t, entry != 0 && (const volatile void *)span_entry_of(addr) == &entry);
    EXPECT(t, span_of(addr) == NULL && !span_last_slot(addr, &span_class));
}
