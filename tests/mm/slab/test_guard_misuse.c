/*
 * Misuse of guarded objects: one report each, of the right kind, with the right addresses, and the
 * functions that allocated and freed.
 */
#include "kernel/base/string.h"
#include "kernel/cpus.h"
#include "mm/slab/guard_impl.h"
#include "tests/test.h"

#define TRIES_MAX 64u /* objects until one lies at a given edge; all fail once in 2^64 */

static int owner_mine, owner_other; /* two caches, as far as the pool is concerned */

static bool guard_is_off(struct test *t)
{
    if (guard_stats().slots < TRIES_MAX)
        test_skip(t, "the pool is off, or small");
    return guard_stats().slots < TRIES_MAX;
}

static NOINLINE char *alloc_site(size_t bytes, size_t align)
{
    char *p = guard_alloc("mine", &owner_mine, bytes, align);

    __asm__ volatile("" : : : "memory"); /* a call, not a jump */
    return p;
}

static NOINLINE void free_site(void *p)
{
    guard_free("kfree", NULL, p);
    __asm__ volatile("" : : : "memory");
}

enum edge { LEFT, RIGHT };

static bool is_at(const char *p, enum edge edge)
{
    return IS_ALIGNED((uintptr_t)p, PAGE_BYTES) == (edge == LEFT);
}

/* An object at an edge of its page. */
static char *alloc_at(size_t bytes, size_t align, enum edge edge)
{
    char *objects[TRIES_MAX], *found = NULL;
    unsigned count = 0;

    while (found == NULL && count < TRIES_MAX) {
        objects[count] = alloc_site(bytes, align);
        if (objects[count] == NULL)
            break;
        if (is_at(objects[count], edge))
            found = objects[count];
        else
            count++;
    }
    while (count > 0)
        guard_free("test", NULL, objects[--count]);
    return found;
}

/* ---- What a report says ---- */

static unsigned count_of(const char *report, const char *text)
{
    unsigned count = 0;

    for (; (report = strstr(report, text)) != NULL; report++)
        count++;
    return count;
}

/* Behind the line that starts with `event`, is the innermost caller this function? */
static bool is_by(const char *report, const char *event, const char *function)
{
    const char *at = strstr(report, event), *name, *end;

    if (at == NULL || (at = strstr(at, "\n  #0 0x")) == NULL)
        return false;
    end = strchr(at + 1, '\n');
    name = strstr(at, function);
    return name != NULL && end != NULL && name < end;
}

/* fn(arg) panics with this first line, about an object that was allocated, and freed or not. */
static void expect_report(struct test *t, void (*fn)(void *), void *arg, const char *object,
                          size_t bytes, bool is_freed, const char *first_line)
{
    const char *report = PANIC_REPORT(t, fn, arg);
    char text[200];

    if (report == NULL)
        return;
    format_string(text, sizeof(text), "panic: guard: %s\n", first_line);
    if (!EXPECT(t, strstr(report, text) != NULL))
        test_failed(t, first_line, __FILE__, __LINE__);
    EXPECT(t, count_of(report, "panic: ") == 1 && count_of(report, "panic inside") == 0);
    EXPECT(t, count_of(report, "guard: object ") == (object != NULL));
    if (object == NULL)
        return;
    format_string(text, sizeof(text), "guard: object 0x%zx of %zu bytes in mine, slot %zu of ",
                  (size_t)object, bytes, ((uintptr_t)object - guard_base) / PAGE_BYTES / 2);
    EXPECT(t, count_of(report, text) == 1);
    EXPECT(t, is_by(report, "  allocated on CPU 0, event ", " alloc_site"));
    EXPECT(t, count_of(report, "  freed on CPU ") == is_freed);
    EXPECT(t, !is_freed || is_by(report, "  freed on CPU 0, event ", " free_site"));
}

/* "KIND 0xADDR: PLACE object 0xOBJECT, BYTES bytes, mine" */
static const char *first_line(const char *kind, const char *addr, const char *place,
                              const char *object, size_t bytes)
{
    static char text[160];

    format_string(text, sizeof(text), "%s 0x%zx: %s object 0x%zx, %zu bytes, mine", kind,
                  (size_t)addr, place, (size_t)object, bytes);
    return text;
}

/* ---- Accesses that trap ---- */

static void read_byte(void *addr)
{
    (void)*(volatile char *)addr;
}

static void write_byte(void *addr)
{
    *(volatile char *)addr = 1;
}

TEST(guard_misuse, out_of_bounds)
{
    static const struct {
        size_t bytes, align;
        enum edge edge;
        long offset; /* of the access from the object's start */
        const char *place;
    } cases[] = {
        {100, 1, RIGHT, 100, "1 byte behind"},       {100, 1, RIGHT, 107, "8 bytes behind"},
        {100, 16, RIGHT, 112, "13 bytes behind"},    {100, 1, LEFT, -1, "1 byte before"},
        {100, 16, LEFT, -4096, "4096 bytes before"}, {4096, 1, LEFT, 4096, "1 byte behind"},
        {4096, 1, LEFT, -8, "8 bytes before"},
    };

    if (guard_is_off(t))
        return;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        size_t bytes = cases[i].bytes;
        char *p = alloc_at(bytes, cases[i].align, cases[i].edge), *addr = p + cases[i].offset;

        REQUIRE(t, p != NULL);
        expect_report(t, read_byte, addr, p, bytes, false,
                      first_line("out of bounds, read of", addr, cases[i].place, p, bytes));
        expect_report(t, write_byte, addr, p, bytes, false,
                      first_line("out of bounds, write of", addr, cases[i].place, p, bytes));
        guard_free("test", NULL, p);
    }
}

/* Between two objects that are in use the nearer one is to blame. */
TEST(guard_misuse, out_of_bounds_between_two)
{
    char *objects[TRIES_MAX / 2], *a = NULL, *b = NULL;
    unsigned count = 0;

    if (guard_is_off(t))
        return;
    for (; count < ARRAY_COUNT(objects); count++) {
        objects[count] = alloc_site(64, 1);
        REQUIRE(t, objects[count] != NULL);
        if (count > 0 && is_at(objects[count - 1], RIGHT) && is_at(objects[count], LEFT) &&
            objects[count] - objects[count - 1] == PAGE_BYTES + 64) {
            a = objects[count - 1];
            b = objects[count];
        }
    }
    if (EXPECT(t, a != NULL)) {
        expect_report(t, read_byte, b - 2048, b, 64, false,
                      first_line("out of bounds, read of", b - 2048, "2048 bytes before", b, 64));
        expect_report(t, read_byte, b - 2049, a, 64, false,
                      first_line("out of bounds, read of", b - 2049, "2048 bytes behind", a, 64));
    }
    while (count > 0)
        guard_free("test", NULL, objects[--count]);
}

TEST(guard_misuse, use_after_free)
{
    if (guard_is_off(t))
        return;

    char *p = alloc_at(100, 1, LEFT);

    REQUIRE(t, p != NULL);
    free_site(p);
    expect_report(t, read_byte, p, p, 100, true,
                  first_line("use after free, read of", p, "byte 0 of", p, 100));
    expect_report(t, write_byte, p + 99, p, 100, true,
                  first_line("use after free, write of", p + 99, "byte 99 of", p, 100));
    expect_report(t, write_byte, p + 101, p, 100, true,
                  first_line("use after free, write of", p + 101, "2 bytes behind", p, 100));
}

/* Other objects come and go meanwhile: the freed one's page stays away. */
TEST(guard_misuse, use_long_after_free)
{
    if (guard_is_off(t))
        return;

    char *p = alloc_site(100, 1);
    size_t others = guard_stats().slots - guard_stats().live;

    REQUIRE(t, p != NULL);
    free_site(p);
    for (size_t i = 0; i < others; i++) {
        void *other = guard_alloc("other", NULL, 100, 1);

        REQUIRE(t, other != NULL);
        guard_free("test", NULL, other);
    }
    expect_report(t, write_byte, p, p, 100, true,
                  first_line("use after free, write of", p, "byte 0 of", p, 100));
}

TEST(guard_misuse, wild_access)
{
    char *last = (char *)guard_base + PORT_GUARD_BYTES - 1;
    char text[80];

    if (guard_is_off(t))
        return;
    format_string(text, sizeof(text), "no object, read of 0x%zx: no object is near", (size_t)last);
    expect_report(t, read_byte, last, NULL, 0, false, text);
}

static void *freed_on_cpu_1;

static void free_on_cpu_1(void *unused)
{
    unsigned long irq = port_irq_save();
    unsigned cpu = port_cpu_id();

    (void)unused;
    port_irq_restore(irq);
    if (cpu == 1)
        free_site(freed_on_cpu_1);
}

TEST(guard_misuse, says_which_cpu)
{
    const char *report;

    if (guard_is_off(t))
        return;
    if (cpus_online() < 2) {
        test_skip(t, "needs two CPUs");
        return;
    }
    freed_on_cpu_1 = alloc_site(8, 8);
    REQUIRE(t, freed_on_cpu_1 != NULL);
    cpu_run_all(2, free_on_cpu_1, NULL);
    report = PANIC_REPORT(t, read_byte, freed_on_cpu_1);
    EXPECT(t, report == NULL || is_by(report, "  allocated on CPU 0, event ", " alloc_site"));
    EXPECT(t, report == NULL || is_by(report, "  freed on CPU 1, event ", " free_site"));
}

/* ---- Frees that must not be ---- */

static void free_twice(void *p)
{
    free_site(p);
    free_site(p);
}

/* Another CPU is just at freeing it. */
static void free_while_freed(void *p)
{
    guard_record_of((uintptr_t)p)->state = GUARD_FREEING;
    free_site(p);
}

TEST(guard_misuse, double_free)
{
    if (guard_is_off(t))
        return;

    char *p = alloc_site(48, 16);

    REQUIRE(t, p != NULL);
    expect_report(t, free_twice, p, p, 48, true,
                  first_line("kfree: double free of", p, "byte 0 of", p, 48));
    expect_report(t, free_while_freed, p, p, 48, false,
                  first_line("kfree: double free of", p, "byte 0 of", p, 48));
    free_site(p);
    expect_report(t, free_site, p, p, 48, true,
                  first_line("kfree: double free of", p, "byte 0 of", p, 48));
}

static void free_inside(void *p)
{
    free_site((char *)p + 16);
}

static void free_behind(void *p)
{
    free_site((char *)p + 48);
}

static void free_last(void *unused)
{
    (void)unused;
    free_site((char *)guard_base + PORT_GUARD_BYTES - PAGE_BYTES);
}

TEST(guard_misuse, invalid_free)
{
    char text[80];

    if (guard_is_off(t))
        return;

    char *p = alloc_at(48, 16, RIGHT);

    REQUIRE(t, p != NULL);
    expect_report(t, free_inside, p, p, 48, false,
                  first_line("kfree: invalid free of", p + 16, "byte 16 of", p, 48));
    expect_report(t, free_behind, p, p, 48, false,
                  first_line("kfree: invalid free of", p + 48, "1 byte behind", p, 48));
    free_site(p);
    expect_report(t, free_inside, p, p, 48, true,
                  first_line("kfree: invalid free of", p + 16, "byte 16 of", p, 48));
    format_string(text, sizeof(text), "kfree: invalid free of 0x%zx: no object is near",
                  (size_t)guard_base + PORT_GUARD_BYTES - PAGE_BYTES);
    expect_report(t, free_last, NULL, NULL, 0, false, text);
}

static void free_to_other(void *p)
{
    guard_free("kmem_cache_free", &owner_other, p);
}

TEST(guard_misuse, wrong_cache)
{
    if (guard_is_off(t))
        return;

    char *p = alloc_site(48, 16);

    REQUIRE(t, p != NULL);
    expect_report(t, free_to_other, p, p, 48, false,
                  first_line("kmem_cache_free: wrong cache for", p, "byte 0 of", p, 48));
    free_site(p);
    expect_report(t, free_to_other, p, p, 48, true,
                  first_line("kmem_cache_free: double free of", p, "byte 0 of", p, 48));
    p = alloc_site(48, 16);
    REQUIRE(t, p != NULL);
    guard_free("kmem_cache_free", &owner_mine, p);
}

static void ask_bytes(void *p)
{
    (void)guard_object_bytes("ksize", p);
}

static void ask_owner(void *p)
{
    (void)guard_owner("kmem_cache_free", p);
}

TEST(guard_misuse, questions_about_what_is_none)
{
    if (guard_is_off(t))
        return;

    char *p = alloc_site(48, 16);

    REQUIRE(t, p != NULL);
    expect_report(t, ask_bytes, p + 1, p, 48, false,
                  first_line("ksize: no object at", p + 1, "byte 1 of", p, 48));
    free_site(p);
    expect_report(t, ask_bytes, p, p, 48, true,
                  first_line("ksize: use after free of", p, "byte 0 of", p, 48));
    expect_report(t, ask_owner, p, p, 48, true,
                  first_line("kmem_cache_free: use after free of", p, "byte 0 of", p, 48));
}

/* ---- Writes that do not trap, found on free ---- */

struct damage {
    char *object;
    long offset; /* of the byte that is written, from the object's start */
};

static void damage_and_free(void *arg)
{
    struct damage *damage = arg;

    damage->object[damage->offset] ^= 0x40;
    free_site(damage->object);
}

TEST(guard_misuse, corruption)
{
    static const struct {
        size_t bytes;
        enum edge edge;
        long offset;
        const char *place;
    } cases[] = {
        {99, LEFT, 99, "1 byte behind"},       {99, LEFT, 104, "6 bytes behind"},
        {99, LEFT, 4095, "3997 bytes behind"}, {99, RIGHT, -1, "1 byte before"},
        {99, RIGHT, -9, "9 bytes before"},     {99, RIGHT, -3984, "3984 bytes before"},
        {100, RIGHT, 100, "1 byte behind"},    {100, RIGHT, 111, "12 bytes behind"},
    };

    if (guard_is_off(t))
        return;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        size_t bytes = cases[i].bytes;
        struct damage damage = {alloc_at(bytes, 16, cases[i].edge), cases[i].offset};
        char *p = damage.object;

        REQUIRE(t, p != NULL);
        expect_report(
            t, damage_and_free, &damage, p, bytes, false,
            first_line("kfree: corruption found at", p + damage.offset, cases[i].place, p, bytes));
        guard_free("test", NULL, p);
    }
}

/* The lowest damaged byte is named, and what stands there. */
TEST(guard_misuse, corruption_shows_bytes)
{
    if (guard_is_off(t))
        return;

    char *p = alloc_at(64, 16, LEFT);
    struct damage damage = {p, 64};

    REQUIRE(t, p != NULL);
    EXPECT_PANIC(t, damage_and_free, &damage,
                 "  found b0 a1 b2 c3 d4 e5 a6 c7, expected f0 a1 b2 c3 d4 e5 a6 c7\n");
    guard_free("test", NULL, p);
}
