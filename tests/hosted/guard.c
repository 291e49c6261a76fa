/* The guard pool where the host refuses: a process may have only so many mappings. */
#define _GNU_SOURCE
#include "mm/slab/guard.h"
#include <sys/mman.h>
#include "kernel/panic.h"
#include "tests/test.h"

static void alloc_unmappable(void *unused)
{
    struct guard_stats before = guard_stats();

    (void)unused;
    munmap((void *)guard_base, PORT_GUARD_BYTES); /* no page of it can be given access now */
    for (size_t i = 0; i < 2 * before.slots; i++)
        CHECK(guard_alloc("test", NULL, 64, 8) == NULL);

    struct guard_stats after = guard_stats();

    CHECK(after.live == before.live && after.freed == before.freed);
    CHECK(after.taken == before.taken && after.exhausted == before.exhausted);
    guard_check();
    panic("no slot is lost");
}

TEST(guard_hosted, alloc_fails_where_the_host_refuses)
{
    if (guard_stats().slots == 0 || guard_stats().live != 0) {
        test_skip(t, "the pool is off, or in use");
        return;
    }
    EXPECT_PANIC(t, alloc_unmappable, NULL, "panic: no slot is lost\n");
}
