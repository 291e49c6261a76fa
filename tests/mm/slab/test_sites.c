/*
 * Sites of allocations (slab_debug=s): what `allocinfo` says of calls from known functions.
 * tests/suites.sh runs these on a machine with all checks on.
 */
#include "kernel/base/format.h"
#include "kernel/base/parse.h"
#include "kernel/base/string.h"
#include "kernel/command.h"
#include "kernel/cpus.h"
#include "kernel/fault.h"
#include "mm/page/page.h"
#include "mm/slab/sites.h"
#include "tests/kernel/capture.h"
#include "tests/mm/slab/debug_case.h"

/* Each a site of its own; NO_TAIL keeps the function in the chain of callers. */
#define NO_TAIL(p) __asm__ volatile("" : "+r"(p))

static NOINLINE void *site_kmalloc(size_t bytes)
{
    void *p = kmalloc(bytes);

    NO_TAIL(p);
    return p;
}

static NOINLINE void *site_kzalloc(size_t bytes)
{
    void *p = kzalloc(bytes);

    NO_TAIL(p);
    return p;
}

static NOINLINE void *site_kcalloc(size_t bytes)
{
    void *p = kcalloc(1, bytes);

    NO_TAIL(p);
    return p;
}

static NOINLINE void *site_aligned(size_t bytes)
{
    void *p = kmalloc_aligned(bytes, 32);

    NO_TAIL(p);
    return p;
}

static NOINLINE void *site_bulk(size_t bytes)
{
    void *p = NULL;

    kmalloc_bulk(bytes, 1, &p);
    NO_TAIL(p);
    return p;
}

static NOINLINE void *site_realloc_new(size_t bytes)
{
    void *p = krealloc(NULL, bytes);

    NO_TAIL(p);
    return p;
}

static NOINLINE void *site_krealloc(void *old, size_t bytes)
{
    void *p = krealloc(old, bytes);

    NO_TAIL(p);
    return p;
}

/* ---- What allocinfo says ---- */

struct site_said {
    uint64_t bytes, objects, allocs;
};

static uint64_t said_number(const char **at)
{
    uint64_t number = 0;

    while (**at == ' ')
        (*at)++;
    for (; **at >= '0' && **at <= '9'; (*at)++)
        number = number * 10 + (uint64_t)(**at - '0');
    return number;
}

static const char *allocinfo(void)
{
    static char line[] = "allocinfo";

    capture_begin();
    command_run_line(line);
    return capture_end();
}

/* All zero when there is no such line: no live object. */
static struct site_said said_of(const char *function)
{
    struct site_said said = {0};
    const char *text = allocinfo();
    char name[64];

    format_string(name, sizeof(name), "  %s+0x", function);

    const char *at = strstr(text, name);

    if (at == NULL)
        return said;
    while (at > text && at[-1] != '\n')
        at--;
    said.bytes = said_number(&at);
    said.objects = said_number(&at);
    said.allocs = said_number(&at);
    return said;
}

static bool is_said(const char *function, uint64_t bytes, uint64_t objects)
{
    struct site_said said = said_of(function);

    return said.bytes == bytes && said.objects == objects;
}

TEST(slab_sites, count_by_the_caller)
{
    static const struct {
        const char *name;
        void *(*alloc)(size_t);
    } cases[] = {
        {"site_kmalloc", site_kmalloc}, {"site_kzalloc", site_kzalloc},
        {"site_kcalloc", site_kcalloc}, {"site_aligned", site_aligned},
        {"site_bulk", site_bulk},       {"site_realloc_new", site_realloc_new},
    };

    if (!needs_debug(t, SLAB_DEBUG_SITES))
        return;
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
        void *a = cases[i].alloc(100), *b = cases[i].alloc(30), *large = cases[i].alloc(60000);
        size_t span = large == NULL ? 0 : ksize(large);

        REQUIRE(t, a != NULL && b != NULL && large != NULL);
        if (!EXPECT(t, is_said(cases[i].name, 130 + span, 3)))
            test_failed(t, cases[i].name, __FILE__, __LINE__);
        kfree(b);
        EXPECT(t, is_said(cases[i].name, 100 + span, 2));
        kfree(large);
        EXPECT(t, is_said(cases[i].name, 100, 1));
        EXPECT(t, said_of(cases[i].name).allocs >= 3);
        kfree(a);
        EXPECT(t, is_said(cases[i].name, 0, 0));
    }
}

/* In place an object stays with its site, whose bytes follow; moved it is krealloc's caller's. */
TEST(slab_sites, realloc_counts_where_the_object_is)
{
    if (!needs_debug(t, SLAB_DEBUG_SITES))
        return;

    void *p = site_kmalloc(97), *same = site_krealloc(p, 112);

    REQUIRE(t, p != NULL && same == p);
    EXPECT(t, is_said("site_kmalloc", 112, 1) && is_said("site_krealloc", 0, 0));
    p = site_krealloc(p, 99);
    EXPECT(t, is_said("site_kmalloc", 99, 1));
    p = site_krealloc(p, 5000);
    EXPECT(t, is_said("site_kmalloc", 0, 0) && is_said("site_krealloc", 5000, 1));
    site_krealloc(p, 0);
    EXPECT(t, is_said("site_krealloc", 0, 0));
}

/* A large object that grows into the pages behind it is no new one. */
TEST(slab_sites, growth_is_no_allocation)
{
    if (!needs_debug(t, SLAB_DEBUG_SITES))
        return;

    void *p = site_kmalloc(4 * MIB);
    uint64_t allocs = said_of("site_kmalloc").allocs;
    void *same = site_krealloc(p, 5 * MIB);

    REQUIRE(t, p != NULL && same != NULL);
    EXPECT(t, same == p && is_said("site_kmalloc", ksize(p), 1));
    EXPECT(t, said_of("site_kmalloc").allocs == allocs);
    kfree(same);
}

TEST(slab_sites, most_bytes_come_first)
{
    if (!needs_debug(t, SLAB_DEBUG_SITES))
        return;

    void *p[] = {site_kmalloc(500), site_kzalloc(30000), site_kcalloc(7)};
    const char *at = strchr(allocinfo(), '\n') + 1;
    uint64_t before = UINT64_MAX, sum = 0;
    unsigned lines = 0;

    for (; strstr(at, "  all of ") > strchr(at, '\n'); at = strchr(at, '\n') + 1, lines++) {
        const char *number = at;
        uint64_t bytes = said_number(&number);

        EXPECT(t, bytes <= before);
        before = bytes;
        sum += bytes;
    }
    EXPECT(t, lines >= 3 && sum == said_number(&at) && sum >= 30507);
    kfree_bulk(ARRAY_COUNT(p), p);
}

/* ---- The table ---- */

#define SITES 200u

static struct test *sites_test;
static struct slab_site *sites_found[SITES];

/* Interleaving: all CPUs meet each new address at about the same time. */
static void sites_worker(void *unused)
{
    (void)unused;
    for (uintptr_t i = 0; i < SITES; i++) {
        struct slab_site *site = slab_site_of(0x1000 + i);

        EXPECT(sites_test, site->address == 0x1000 + i);
        slab_site_add(site, 10);
        __atomic_store_n(&sites_found[i], site, __ATOMIC_RELAXED);
        EXPECT(sites_test, slab_site_of(0x1000 + i) == site);
        slab_site_sub(site, 4);
    }
}

TEST(slab_sites, one_for_an_address_on_all_cpus)
{
    size_t before;

    if (!needs_debug(t, SLAB_DEBUG_SITES))
        return;
    before = slab_sites_count();
    sites_test = t;
    cpu_run_all(cpus_online(), sites_worker, NULL);
    EXPECT(t, slab_sites_count() == before + SITES || slab_sites_count() == before);
    for (unsigned i = 0; i < SITES; i++) {
        struct slab_site *site = sites_found[i];

        EXPECT(t, site->live == 0 && site->bytes == 6 * cpus_online());
        atomic_store(&site->bytes, 0);
    }
}

/* In a child, as sites are for good: it ends with a panic that says that all went well. */
static void grow(void *unused)
{
    size_t free_pages = page_free_count(), count = slab_sites_count();
    unsigned i = 0;

    (void)unused;
    for (; page_free_count() == free_pages && i < 10000; i++)
        CHECK(slab_site_of(0x10000 + i)->address == 0x10000 + i);
    CHECK(page_free_count() < free_pages && slab_sites_count() == count + i);

    /* The next growth fails: new addresses share a site, old ones keep theirs. */
    for (fault_fail_nth(1); slab_site_of(0x10000 + i)->address != 0; i++)
        CHECK(i < 10000);
    CHECK(fault_disarm() && slab_site_of(0x10000 + i - 1)->address == 0x10000 + i - 1);
    CHECK(slab_site_of(0x10000 + i)->address == 0x10000 + i);
    port_panic("sites have grown");
}

TEST(slab_sites, grow_by_pages_and_do_without)
{
    EXPECT_PANIC(t, grow, NULL, "panic: sites have grown");
}
