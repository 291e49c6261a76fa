/* The guard pool by itself: where objects lie, which slot is next, when a sample is due. */
#include "kernel/base/string.h"
#include "kernel/command.h"
#include "kernel/fault.h"
#include "kernel/panic.h"
#include "mm/page/page.h"
#include "mm/slab/guard_impl.h"
#include "tests/kernel/capture.h"
#include "tests/mm/slab/objects.h"
#include "tests/test.h"

static const char many_names[GUARD_OBJECTS_MAX + 1]; /* a name each, so a site each */

static bool guard_is_off(struct test *t)
{
    if (guard_stats().slots == 0)
        test_skip(t, "the pool is off");
    return guard_stats().slots == 0;
}

static size_t free_slots(void)
{
    return guard_stats().slots - guard_stats().live;
}

static uintptr_t page_of(const void *p)
{
    return ALIGN_DOWN((uintptr_t)p, PAGE_BYTES);
}

/* ---- Objects ---- */

/* Left: at the page's start.  Right: no other aligned address is nearer to its end. */
TEST(guard, objects_lie_at_an_edge)
{
    static const size_t sizes[] = {1, 7, 8, 15, 100, 1000, 4095, 4096};
    static const size_t aligns[] = {1, 8, 16, 64, 4096};

    if (guard_is_off(t))
        return;
    for (unsigned i = 0; i < 8 * ARRAY_COUNT(sizes) * ARRAY_COUNT(aligns); i++) {
        size_t bytes = sizes[i % ARRAY_COUNT(sizes)];
        size_t align = aligns[i / ARRAY_COUNT(sizes) % ARRAY_COUNT(aligns)];
        char *p = guard_alloc("test", t, bytes, align);

        REQUIRE(t, p != NULL && guard_owns(p) && IS_ALIGNED((uintptr_t)p, align));
        EXPECT(t, (uintptr_t)p == page_of(p) ||
                      page_of(p) + PAGE_BYTES - (uintptr_t)p - bytes < align);
        EXPECT(t, page_of(p) == page_of(p + bytes - 1));
        EXPECT(t, guard_object_bytes("test", p) == bytes && guard_owner("test", p) == t);
        object_fill(p, bytes, i);
        guard_check();
        EXPECT(t, object_holds(p, bytes, i));
        guard_free("test", t, p);
    }
}

TEST(guard, owns_its_pool_only)
{
    if (guard_is_off(t))
        return;
    void *object = page_alloc(1, 0);

    EXPECT(t, guard_owns((void *)guard_base));
    EXPECT(t, guard_owns((void *)(guard_base + PORT_GUARD_BYTES - 1)));
    EXPECT(t, !guard_owns((void *)(guard_base - 1)));
    EXPECT(t, !guard_owns((void *)(guard_base + PORT_GUARD_BYTES)));
    EXPECT(t, !guard_owns(NULL) && !guard_owns(t) && !guard_owns(object));
    page_free(object, 1);
}

TEST(guard, refuses_what_does_not_fit)
{
    EXPECT(t, guard_alloc("test", NULL, 0, 1) == NULL);
    EXPECT(t, guard_alloc("test", NULL, PAGE_BYTES + 1, 1) == NULL);
    EXPECT(t, guard_alloc("test", NULL, SIZE_MAX, 1) == NULL);
    EXPECT(t, guard_alloc("test", NULL, 8, 0) == NULL);
    EXPECT(t, guard_alloc("test", NULL, 8, 24) == NULL);
    EXPECT(t, guard_alloc("test", NULL, 8, 2 * PAGE_BYTES) == NULL);
}

/* Which edges n allocations got: a bit each, 1: right. */
static uint64_t edges_of(struct test *t, unsigned n)
{
    uint64_t edges = 0;

    for (unsigned i = 0; i < n; i++) {
        void *p = guard_alloc("test", NULL, 64, 8);

        if (!EXPECT(t, p != NULL))
            break;
        edges = edges << 1 | ((uintptr_t)p != page_of(p));
        guard_free("test", NULL, p);
    }
    return edges;
}

TEST(guard, edges_come_from_the_seed)
{
    unsigned right = 0;

    if (guard_is_off(t))
        return;
    guard_reseed(1);
    uint64_t edges = edges_of(t, 64);
    guard_reseed(2);
    EXPECT(t, edges_of(t, 64) != edges);
    guard_reseed(1);
    EXPECT(t, edges_of(t, 64) == edges);
    for (unsigned i = 0; i < 16; i++) {
        for (edges = edges_of(t, 64); edges != 0; edges &= edges - 1)
            right++;
    }
    EXPECT(t, right > 448 && right < 576); /* of 1024; four standard deviations are 64 */
    guard_reseed(guard_stats().seed);
}

/* ---- Slots ---- */

/* A freed page comes back when every other free slot has been used. */
TEST(guard, slots_go_out_in_the_order_they_came)
{
    if (guard_is_off(t))
        return;

    void *first = guard_alloc("test", NULL, 64, 8);
    size_t others = free_slots();

    REQUIRE(t, first != NULL);
    guard_free("test", NULL, first);
    for (size_t i = 0; i < others; i++) {
        void *p = guard_alloc("test", NULL, 64, 8);

        REQUIRE(t, p != NULL);
        EXPECT(t, page_of(p) != page_of(first));
        guard_free("test", NULL, p);
    }

    void *again = guard_alloc("test", NULL, 64, 8);

    EXPECT(t, page_of(again) == page_of(first));
    guard_free("test", NULL, again);
}

static unsigned alloc_all(void **objects)
{
    unsigned count = 0;

    while (count < GUARD_OBJECTS_MAX &&
           (objects[count] = guard_alloc(&many_names[count], NULL, 64, 8)) != NULL)
        count++;
    return count;
}

static void free_all(void **objects, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        guard_free("test", NULL, objects[i]);
}

TEST(guard, exhausted_gives_null)
{
    static void *objects[GUARD_OBJECTS_MAX];
    struct guard_stats before = guard_stats();

    if (guard_is_off(t))
        return;
    for (unsigned round = 0; round < 2; round++) {
        unsigned count = alloc_all(objects);

        EXPECT(t, count == before.slots - before.live);
        EXPECT(t, guard_stats().live == before.slots);
        EXPECT(t, guard_alloc("more", NULL, 1, 1) == NULL);
        for (unsigned i = 1; i < count; i++)
            EXPECT(t, page_of(objects[i]) != page_of(objects[i - 1]));
        guard_check();
        free_all(objects, count);
    }
    EXPECT(t, guard_stats().live == before.live);
    EXPECT(t, guard_stats().exhausted >= before.exhausted + 2);
    EXPECT(t, guard_stats().taken == before.taken + 2 * (before.slots - before.live));
    EXPECT(t, guard_stats().bytes == before.bytes);
}

/* Above three quarters a site that has an object gets no other; another site does. */
TEST(guard, crowded_leaves_out_covered_sites)
{
    static void *objects[GUARD_OBJECTS_MAX];
    struct guard_stats before = guard_stats();
    unsigned count = 0;

    if (guard_is_off(t))
        return;
    while ((objects[count] = guard_alloc("test", NULL, 64, 8)) != NULL)
        count++;
    EXPECT(t, before.live + count == before.slots * 3 / 4 + 1);
    EXPECT(t, guard_stats().covered == before.covered + 1);
    EXPECT(t, guard_stats().exhausted == before.exhausted);

    void *other = guard_alloc("other", NULL, 64, 8); /* this line is another site too */

    EXPECT(t, other != NULL);
    guard_free("test", NULL, other);
    free_all(objects, count);
}

TEST(guard, records_what_happened)
{
    struct guard_object object;

    if (guard_is_off(t))
        return;

    char *p = guard_alloc("test", t, 24, 8);
    size_t slot = ((uintptr_t)p - guard_base) / PAGE_BYTES / 2;

    REQUIRE(t, p != NULL && guard_object_at(slot, &object));
    EXPECT(t, object.addr == (uintptr_t)p && object.bytes == 24 && object.owner == t);
    EXPECT(t, object.alloc.number != 0 && object.free.number == 0);
    EXPECT(t, object.alloc.cpu == 0 && object.alloc.frame_count > 1);
    guard_free("test", NULL, p);
    REQUIRE(t, guard_object_at(slot, &object));
    EXPECT(t, object.free.number == object.alloc.number + 1 && object.free.frame_count > 1);
    EXPECT(t, !guard_object_at(guard_stats().slots, &object));
}

TEST(guard, lists_what_an_owner_has)
{
    char line[80];

    if (guard_is_off(t))
        return;

    char *p = guard_alloc("mine", t, 24, 8), *q = guard_alloc("other", NULL, 32, 8);

    REQUIRE(t, p != NULL && q != NULL);
    EXPECT(t, guard_live_count(t) == 1);
    format_string(line, sizeof(line), "guard: object 0x%zx of 24 bytes in mine, slot ", (size_t)p);
    capture_begin();
    guard_live_print(t);
    const char *said = capture_end();
    EXPECT(t, strstr(said, line) == said && strstr(said + 1, "guard: object") == NULL);
    EXPECT(t, strstr(said, " test_guard_lists_what_an_owner_has+0x") != NULL);
    guard_free("test", NULL, p);
    guard_free("test", NULL, q);
    EXPECT(t, guard_live_count(t) == 0);
}

/* What the monitor says of it. */
static const char *command_says(char *line)
{
    capture_begin();
    command_run_line(line);
    return capture_end();
}

TEST(guard, command_lists_objects)
{
    char guard[][16] = {"guard", "guard", "guard all", "guard none"}, row[64];

    if (guard_is_off(t))
        return;

    void *p = guard_alloc("listed", NULL, 24, 8);
    const char *said;

    REQUIRE(t, p != NULL);
    format_string(row, sizeof(row), "  0x%zx %6u %-16s in use ", (size_t)p, 24, "listed");
    said = command_says(guard[0]);
    EXPECT(t, strstr(said, row) != NULL && strstr(said, " KiB\n") != NULL);
    EXPECT(t, strstr(said, "  test_guard_command_lists_objects < ") != NULL);
    guard_free("test", NULL, p);
    format_string(row, sizeof(row), "  0x%zx %6u %-16s freed ", (size_t)p, 24, "listed");
    EXPECT(t, strstr(command_says(guard[1]), "listed") == NULL);
    EXPECT(t, strstr(command_says(guard[2]), row) != NULL);
    if (__STDC_HOSTED__) /* to the kernel a command that fails is something wrong */
        EXPECT(t, strstr(command_says(guard[3]), "accepted: all") != NULL);
}

/* ---- Sampling ---- */

static bool sample(unsigned allocations)
{
    unsigned long irq = port_irq_save();
    bool is_due = guard_sample(allocations);

    port_irq_restore(irq);
    return is_due;
}

/* Allocations, one at a time, up to and with the next sample. */
static uint64_t sample_interval(void)
{
    uint64_t n = 1;

    while (!sample(1))
        n++;
    return n;
}

#define INTERVALS 200u

TEST(guard, samples_at_the_rate_asked_for)
{
    uint64_t rate = guard_stats().rate, sum = 0, intervals[4];

    if (guard_is_off(t))
        return;
    if (rate > 100000) {
        test_skip(t, "a rate that takes too long");
        return;
    }
    guard_reseed(1);
    for (unsigned i = 0; i < INTERVALS; i++) {
        uint64_t n = sample_interval();

        EXPECT(t, n <= 2 * rate - 1);
        sum += n;
        if (i < ARRAY_COUNT(intervals))
            intervals[i] = n;
    }
    /* The mean of 200 deviates by 4 % of the rate; for this seed it is always the same. */
    EXPECT(t, sum > INTERVALS * rate * 85 / 100 && sum < INTERVALS * rate * 115 / 100);
    guard_reseed(1);
    for (unsigned i = 0; i < ARRAY_COUNT(intervals); i++)
        EXPECT(t, sample_interval() == intervals[i]);
    guard_reseed(guard_stats().seed);
}

/* Batches count in full: what is over counts for the next interval. */
TEST(guard, samples_count_batches)
{
    uint64_t rate = guard_stats().rate, ones = 0, batches = 0;

    if (guard_is_off(t))
        return;
    if (rate < 31 * 4 || rate > 100000) {
        test_skip(t, "batches of 31 in intervals of another size");
        return;
    }
    guard_reseed(1);
    for (unsigned i = 0; i < INTERVALS / 4; i++)
        ones += sample_interval();
    guard_reseed(1);
    for (unsigned i = 0; i < INTERVALS / 4; batches += 31)
        i += sample(31);
    EXPECT(t, batches >= ones && batches < ones + 31);
    EXPECT(t, sample((unsigned)(2 * rate)));
    guard_reseed(guard_stats().seed);
}

/* ---- Injected faults ---- */

TEST(guard, no_sample_while_a_fault_is_armed)
{
    if (guard_is_off(t))
        return;
    fault_fail_nth(1);
    for (unsigned i = 0; i < 4; i++)
        EXPECT(t, !sample(2 * (unsigned)guard_stats().rate));
    EXPECT(t, !fault_disarm()); /* and asking has not used it up */
    EXPECT(t, sample(1));
}

TEST(guard, alloc_may_fail)
{
    struct guard_stats before = guard_stats();

    if (guard_is_off(t))
        return;
    fault_fail_nth(1);
    EXPECT(t, guard_alloc("test", NULL, 64, 8) == NULL);
    EXPECT(t, fault_disarm());
    EXPECT(t, guard_stats().live == before.live && guard_stats().taken == before.taken);

    void *p = guard_alloc("test", NULL, 64, 8);

    REQUIRE(t, p != NULL);
    guard_free("test", NULL, p);
}

static void init_with_fault(void *nth)
{
    mm_drain();

    size_t before = page_free_count();

    fault_fail_nth(*(unsigned *)nth);
    guard_init();
    panic("fault %d, %zu pages kept", fault_disarm(), before - page_free_count());
}

TEST(guard, init_unwinds_every_failure)
{
    char kept[64];
    unsigned nth = 1;

    if (guard_is_off(t))
        return;
    for (; nth <= 2; nth++) {
        EXPECT_PANIC(t, init_with_fault, &nth, "guard: off: no memory for ");
        EXPECT_PANIC(t, init_with_fault, &nth, "fault 1, 0 pages kept");
    }
    format_string(kept, sizeof(kept), "fault 0, %zu pages kept", guard_stats().bytes / PAGE_BYTES);
    EXPECT_PANIC(t, init_with_fault, &nth, kept);
}

/* ---- Invariants, broken one by one ---- */

static void check_broken(void *invariant)
{
    struct guard_record *record = guard_record_of((uintptr_t)guard_alloc("test", NULL, 64, 16));
    char *page = (char *)ALIGN_DOWN(record->object.addr, PAGE_BYTES);

    switch (*(unsigned *)invariant) {
    case 1:
        guard_pool.records[guard_pool.ring[guard_pool.ring_first]].state = GUARD_LIVE;
        break;
    case 2:
        record->state = GUARD_FREED;
        break;
    case 3:
        record->object.bytes = PAGE_BYTES + 1;
        break;
    default:
        page[2048] = 0;
        break;
    }
    guard_check();
}

TEST(guard, check_names_the_invariant)
{
    static const char *const texts[] = {"G1 broken", "G2 broken", "G3 broken", "G4 broken"};

    if (guard_is_off(t))
        return;
    for (unsigned invariant = 1; invariant <= ARRAY_COUNT(texts); invariant++)
        EXPECT_PANIC(t, check_broken, &invariant, texts[invariant - 1]);
}
