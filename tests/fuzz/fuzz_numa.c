/*
 * Fuzz target: SRAT and SLIT of any bytes.  The first two bytes of the input say where the second
 * table starts.  Whatever they hold, the result keeps what arch.h promises of nodes.
 */
#include <stdlib.h>
#include "arch/x86_64/numa_tables.h"
#include "kernel/base/check.h"
#include "kernel/base/string.h"
#include "tests/arch/numa_promises.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

void check_failed(const char *expression, const char *file, int line)
{
    (void)expression, (void)file, (void)line;
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct numa numa;
    uint16_t cut;

    if (bytes < sizeof(cut))
        return 0;
    memcpy(&cut, data, sizeof(cut));
    data += sizeof(cut);
    bytes -= sizeof(cut);

    size_t srat_bytes = MIN((size_t)cut, bytes), slit_bytes = bytes - srat_bytes;
    uint8_t *srat = malloc(srat_bytes + 1), *slit = malloc(slit_bytes + 1);

    CHECK(srat != NULL && slit != NULL);
    memcpy(srat, data, srat_bytes);
    memcpy(slit, data + srat_bytes, slit_bytes);
    bool is_taken = numa_read_srat(&numa, srat, srat_bytes).what == NULL;
    CHECK(numa_promises_broken(&numa) == NULL);
    CHECK(is_taken || (numa.node_count == 1 && numa.range_count == 0));
    (void)numa_read_slit(&numa, slit, slit_bytes);
    CHECK(numa_promises_broken(&numa) == NULL);
    if (is_taken)
        CHECK(numa_cpu_node(&numa, srat, srat_bytes, cut) < numa.node_count);
    free(srat);
    free(slit);
    return 0;
}
