/* What scavenging does to a process: the pages are Linux's again, and read as zero. */
#define _DEFAULT_SOURCE
#include <sys/mman.h>
#include "kernel/base/check.h"
#include "mm/page/page.h"
#include "tests/test.h"

#define SCAVENGED_PAGES 4096ul

static size_t scavenge_resident(void *run)
{
    static unsigned char resident[SCAVENGED_PAGES];
    size_t count = 0;

    CHECK(mincore(run, SCAVENGED_PAGES * PAGE_BYTES, resident) == 0);
    for (size_t i = 0; i < SCAVENGED_PAGES; i++)
        count += resident[i] & 1;
    return count;
}

TEST(scavenge, gives_pages_back_to_linux)
{
    unsigned char *run = page_alloc(SCAVENGED_PAGES, 0);

    REQUIRE(t, run != NULL);
    for (size_t i = 0; i < SCAVENGED_PAGES; i++)
        run[i * PAGE_BYTES] = 0xa5;
    EXPECT(t, scavenge_resident(run) == SCAVENGED_PAGES);
    page_scavenge_all();
    EXPECT(t, scavenge_resident(run) == SCAVENGED_PAGES); /* in use: none of these */
    EXPECT(t, run[0] == 0xa5);

    page_free(run, SCAVENGED_PAGES);
    EXPECT(t, page_scavenge_all());
    EXPECT(t, scavenge_resident(run) == 0);
    for (size_t i = 0; i < SCAVENGED_PAGES; i++)
        EXPECT(t, run[i * PAGE_BYTES] == 0);
}
