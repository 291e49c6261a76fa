/*
 * What debugging of slots finds, each as the one report that it ends in: which byte, of which
 * object, how far out, and by whom the object was had.  Every misuse runs in a child of its own, on
 * an object of the parent's, so that the address is known.
 */
#include "kernel/base/format.h"
#include "kernel/base/string.h"
#include "mm/page/page.h"
#include "tests/kernel/capture.h"
#include "tests/mm/slab/debug_case.h"

#define BYTES     50u  /* of the objects that are misused */
#define SLOTS_MAX 256u /* of a span of theirs, and more */

static struct kmem_cache *cache;
static uint8_t *object;   /* of it, or of kmalloc(BYTES) if cache is NULL */
static ptrdiff_t written; /* the byte that a misuse writes to */
static char expected[160];

static NOINLINE void *alloc_here(void)
{
    void *p = cache != NULL ? kmem_cache_alloc(cache) : kmalloc(BYTES);

    __asm__ volatile("" : "+r"(p)); /* no tail call: this function is in the backtrace */
    return p;
}

static NOINLINE void free_here(void *p)
{
    if (cache != NULL)
        kmem_cache_free(cache, p);
    else
        kfree(p);
    __asm__ volatile("");
}

static bool begin(struct test *t, const char *checks, void (*ctor)(void *))
{
    cache = debug_cache(checks, "misused", BYTES, 0, ctor);
    if (!EXPECT(t, cache != NULL))
        return false;
    object = alloc_here();
    return EXPECT(t, object != NULL);
}

static void end(void)
{
    free_here(object);
    kmem_cache_destroy(cache);
}

static const char *bounds_text(const char *by, ptrdiff_t byte)
{
    if (byte < 0)
        format_string(expected, sizeof(expected),
                      "panic: %s: %p of 50 bytes: out of bounds: byte %td was written, %td before "
                      "its start\n",
                      by, object, byte, -byte);
    else
        format_string(expected, sizeof(expected),
                      "panic: %s: %p of 50 bytes: out of bounds: byte %td was written, %td behind "
                      "its end\n",
                      by, object, byte, byte - 49);
    return expected;
}

static const char *written_text(const char *by, ptrdiff_t byte)
{
    format_string(expected, sizeof(expected),
                  "panic: %s: %p was written after it was freed: byte %td\n", by, object, byte);
    return expected;
}

/* ---- Out of bounds ---- */

static void write_and_free(void *unused)
{
    (void)unused;
    object[written] ^= 1;
    free_here(object);
}

TEST(slab_debug_misuse, every_byte_of_a_red_zone)
{
    if (!begin(t, "r", NULL))
        return;
    for (written = -16; written < BYTES + 16; written++) {
        if (written == 0)
            written = BYTES;
        EXPECT_PANIC(t, write_and_free, NULL, bounds_text("kmem_cache_free", written));
    }
    end();
}

/* With a constructor, and with everything on. */
static void construct(void *p)
{
    memset(p, 7, BYTES);
}

TEST(slab_debug_misuse, bounds_under_every_check)
{
    static const char *const checks[] = {"r", "rp", "rq", "rpqt"};

    for (unsigned i = 0; i < 2 * ARRAY_COUNT(checks); i++) {
        if (!begin(t, checks[i / 2], i % 2 == 0 ? NULL : construct))
            return;
        for (written = -1; written <= BYTES; written += BYTES + 1)
            EXPECT_PANIC(t, write_and_free, NULL, bounds_text("kmem_cache_free", written));
        end();
    }
}

/* kmalloc(50) has a slot of 64: what was not asked for is red zone, and what krealloc gave up. */
static void write_and_resize(void *unused)
{
    (void)unused;
    object[written] ^= 1;
    (void)krealloc(object, BYTES + 3);
}

static void write_and_move(void *unused)
{
    (void)unused;
    object[written] ^= 1;
    (void)krealloc(object, 500);
}

static void write_and_free_sized(void *unused)
{
    (void)unused;
    object[written] ^= 1;
    kfree_sized(object, BYTES);
}

static void write_and_free_bulk(void *unused)
{
    (void)unused;
    object[written] ^= 1;
    kfree_bulk(1, (void **)&object);
}

static void write_and_check(void *unused)
{
    (void)unused;
    object[written] ^= 1;
    mm_check();
}

TEST(slab_debug_misuse, kmalloc_has_the_bytes_asked_for)
{
    static const struct {
        void (*misuse)(void *);
        const char *by;
    } cases[] = {
        {write_and_free, "kfree"},           {write_and_resize, "krealloc"},
        {write_and_move, "krealloc"},        {write_and_free_sized, "kfree_sized"},
        {write_and_free_bulk, "kfree_bulk"}, {write_and_check, "slab_check"},
    };
    static const ptrdiff_t bytes[] = {-1, 50, 63, 64, 79};

    if (!needs_debug(t, SLAB_DEBUG_REDZONE))
        return;
    cache = NULL;
    object = krealloc(kmalloc(BYTES + 9), BYTES);
    REQUIRE(t, object != NULL);
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
        for (unsigned j = 0; j < ARRAY_COUNT(bytes); j++) {
            written = bytes[j];
            EXPECT_PANIC(t, cases[i].misuse, NULL, bounds_text(cases[i].by, written));
        }
    }
    kfree(object);
}

static void free_sized_wrongly(void *bytes)
{
    kfree_sized(object, *(size_t *)bytes);
}

/* The sizes of its class, all but the one asked for. */
TEST(slab_debug_misuse, kfree_sized_is_exact)
{
    static size_t wrong[] = {49, 51, 64};

    if (!needs_debug(t, SLAB_DEBUG_REDZONE))
        return;
    cache = NULL;
    REQUIRE(t, (object = kmalloc(BYTES)) != NULL);
    for (unsigned i = 0; i < ARRAY_COUNT(wrong); i++)
        EXPECT_PANIC(t, free_sized_wrongly, &wrong[i], "is not an object of that size");
    kfree_sized(object, BYTES);
}

/* Past the red zone, over the record: from the object's first byte out of bounds on, or only there. */
static void write_over_record(void *from)
{
    memset(object + *(ptrdiff_t *)from, 0, cache->central->record_offset + 40 - *(ptrdiff_t *)from);
    free_here(object);
}

TEST(slab_debug_misuse, record_written_over)
{
    static ptrdiff_t end_of_object = BYTES, record;

    if (!begin(t, "rt", NULL))
        return;
    record = cache->central->record_offset;
    EXPECT_PANIC(t, write_over_record, &end_of_object, "out of bounds: byte 50 was written, ");
    format_string(expected, sizeof(expected),
                  "panic: kmem_cache_free: %p: its record, %td bytes behind its start, was written "
                  "over\n",
                  (void *)object, record);
    EXPECT_PANIC(t, write_over_record, &record, expected);
    end();
}

/* ---- Written after free ---- */

static void write_freed_and_alloc(void *unused)
{
    (void)unused;
    free_here(object);
    object[written] ^= 1;
    for (unsigned i = 0; i < 1000; i++)
        alloc_here();
}

/* The object's span has others in use, so that it stays when mm/ drains: the quarantine ends. */
static void write_freed_and_drain(void *unused)
{
    (void)unused;
    alloc_here();
    free_here(object);
    object[written] ^= 1;
    mm_drain();
}

static void write_freed_and_check(void *unused)
{
    (void)unused;
    alloc_here();
    free_here(object);
    object[written] ^= 1;
    mm_check();
}

TEST(slab_debug_misuse, write_after_free)
{
    static const ptrdiff_t bytes[] = {-16, -1, 0, 7, 25, 49, 50, 65};

    if (!begin(t, "rp", NULL))
        return;
    for (unsigned i = 0; i < ARRAY_COUNT(bytes); i++) {
        written = bytes[i];
        EXPECT_PANIC(t, write_freed_and_alloc, NULL, written_text("slab", written));
        EXPECT_PANIC(t, write_freed_and_check, NULL, written_text("slab_check", written));
    }
    end();
    if (slab_quarantine_stats().limit_bytes == 0 || !begin(t, "rpq", NULL))
        return;
    for (unsigned i = 0; i < ARRAY_COUNT(bytes); i++) {
        written = bytes[i];
        EXPECT_PANIC(t, write_freed_and_drain, NULL, written_text("slab", written));
    }
    end();
}

/* It is the last of its span, which goes back to the page heap. */
static void write_freed_and_retire(void *unused)
{
    (void)unused;
    free_here(object);
    object[written] ^= 1;
    mm_drain();
}

TEST(slab_debug_misuse, write_after_free_in_a_span_that_goes)
{
    if (!begin(t, "p", NULL))
        return;
    for (written = 0; written < BYTES; written += BYTES - 1)
        EXPECT_PANIC(t, write_freed_and_retire, NULL, written_text("slab", written));
    end();
}

TEST(slab_debug_misuse, write_after_free_with_constructor)
{
    if (!begin(t, "rp", construct))
        return;
    format_string(expected, sizeof(expected),
                  "panic: slab: %p, with a constructor, was written after it was freed\n",
                  (void *)object);
    for (written = 0; written < BYTES; written += BYTES - 1)
        EXPECT_PANIC(t, write_freed_and_alloc, NULL, expected);
    end();
}

/* ---- Freed twice, and who had it ---- */

static void free_twice(void *unused)
{
    (void)unused;
    free_here(object);
    free_here(object);
}

/* The first use after free has destroyed what was in the object: the second free is still seen. */
static void free_twice_written(void *unused)
{
    (void)unused;
    free_here(object);
    memset(object, 0, BYTES);
    free_here(object);
}

TEST(slab_debug_misuse, double_free_shows_both_sites)
{
    static const char *const checks[] = {"rpt", "rpqt"};
    static const char *const states[] = {"state: free, in its span",
                                         "state: free, in the quarantine"};

    for (unsigned i = 0; i < ARRAY_COUNT(checks); i++) {
        if (i > 0 && slab_quarantine_stats().limit_bytes == 0)
            return;
        if (!begin(t, checks[i], NULL))
            return;
        free_here(alloc_here()); /* the span stays */
        format_string(expected, sizeof(expected), "panic: kmem_cache_free: double free of %p\n",
                      (void *)object);
        expect_report(t, free_twice, NULL,
                      (const char *const[]){expected, states[i], "  50 bytes asked for\n",
                                            "allocated on CPU ", "alloc_here+0x", "freed on CPU ",
                                            "free_here+0x", NULL});
        EXPECT_PANIC(t, free_twice_written, NULL, expected);
        end();
    }
}

static void destroy_live(void *unused)
{
    (void)unused;
    kmem_cache_destroy(cache);
}

TEST(slab_debug_misuse, destroy_shows_who_has_the_objects)
{
    if (!begin(t, "tq", NULL))
        return;
    expect_report(t, destroy_live, NULL,
                  (const char *const[]){"panic: kmem_cache_destroy: misused has 1 live object\n",
                                        "is in use", "alloc_here+0x", NULL});
    end();
}

/* The innermost frame behind "  WHAT on CPU N by:"; "" if there is none. */
static const char *first_frame(const char *said, const char *what)
{
    static char line[128];
    const char *at = strstr(said, what);
    size_t length = 0;

    at = at == NULL ? NULL : strchr(at, '\n');
    for (; at != NULL && at[1 + length] != '\n' && length < sizeof(line) - 1; length++)
        line[length] = at[1 + length];
    line[length] = '\0';
    return line;
}

static const char *print_record(const void *p)
{
    capture_begin();
    slab_debug_print(central_of(span_of(p)), p);
    return capture_end();
}

/* The object, freed, is handed out again: those that come before it, of the same span, go back. */
static bool object_comes_again(void)
{
    void *others[SLOTS_MAX], *p = NULL;
    size_t count = 0;

    while (p != object && count < SLOTS_MAX && (p = alloc_here()) != NULL)
        if (p != object)
            others[count++] = p;
    while (count > 0)
        free_here(others[--count]);
    return p == object;
}

/* Backtraces start at who called, not inside the slab allocator. */
TEST(slab_debug_misuse, traces_start_at_the_caller)
{
    if (!begin(t, "t", NULL))
        return;

    void *other = alloc_here(); /* the span stays */
    const char *said = print_record(object);

    EXPECT(t, strstr(first_frame(said, "allocated on CPU "), "  #0 0x") != NULL);
    EXPECT(t, strstr(first_frame(said, "allocated on CPU "), " alloc_here+0x") != NULL);
    EXPECT(t, strstr(said, "freed on CPU ") == NULL);
    free_here(object);
    said = print_record(object);
    EXPECT(t, strstr(first_frame(said, "allocated on CPU "), " alloc_here+0x") != NULL);
    EXPECT(t, strstr(first_frame(said, "freed on CPU "), " free_here+0x") != NULL);
    REQUIRE(t, object_comes_again());
    said = print_record(object);
    EXPECT(t, strstr(first_frame(said, "allocated on CPU "), " alloc_here+0x") != NULL);
    EXPECT(t, strstr(said, "freed on CPU ") == NULL);
    free_here(other);
    end();
}
