/* Loads that may fault: what a probe says of addresses that cannot be read. */
#include "arch/probe.h"
#include "tests/test.h"

static const uint64_t probe_word = 0x70726f6265;

static bool probe_reads(uintptr_t addr, uint64_t *out)
{
    return arch_probe((const uint64_t *)addr, out);
}

/* With interrupts on and off: a fault is taken either way. */
TEST(probe, says_what_cannot_be_read)
{
    static const uintptr_t unmapped[] = {0, 0x10, 4096 - 8};
    static const uintptr_t odd[] = {0xdeadbeefdeadbeef, 1ul << 47, ~(1ul << 47) & ~7ul,
                                    0x8000000000000000, 0x7ffffffffffffff8};

    for (unsigned round = 0; round < 2; round++) {
        unsigned long irq_state = round == 0 ? 0 : arch_irq_save();
        uint64_t value = 1;

        for (unsigned i = 0; i < ARRAY_COUNT(unmapped); i++)
            EXPECT(t, !probe_reads(unmapped[i], &value));
        for (unsigned i = 0; i < ARRAY_COUNT(odd); i++)
            EXPECT(t, !probe_reads(odd[i], &value));
        EXPECT(t, value == 1);
        EXPECT(t, probe_reads((uintptr_t)&probe_word, &value) && value == probe_word);
        if (round > 0)
            arch_irq_restore(irq_state);
    }
    EXPECT(t, arch_irq_enabled());
}

TEST(probe, only_loads_of_probes_land)
{
    const struct probe_bounds *bounds = __start_probe_table;

    EXPECT(t, bounds < __stop_probe_table);
    for (; bounds < __stop_probe_table; bounds++) {
        uintptr_t load = (uintptr_t)&bounds->load + (uintptr_t)(intptr_t)bounds->load;
        uintptr_t landing = (uintptr_t)&bounds->landing + (uintptr_t)(intptr_t)bounds->landing;

        EXPECT(t, probe_landing(load) == landing && landing != load);
    }
    EXPECT(t, probe_landing(0) == 0);
    EXPECT(t, probe_landing((uintptr_t)probe_landing) == 0);
}
