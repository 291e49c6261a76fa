/*
 * Telling instructions from time.
 *
 * Under -icount shift=0 the counter advances by one per guest instruction, so n rounds of a loop of
 * k instructions take a + k * n ticks, to the digit, however often one asks.  No clock of real
 * time does that eight times in a row: neither a TSC, which counts the machine's noise too, nor a
 * coarse clock, which stands still for most of them (k = 0).
 */
#include "tests/bench/ticks.h"

#include "arch/arch.h"
#include "kernel/time.h"

#define TICKS_ROUNDS   500u /* difference between two measurements */
#define TICKS_TRIALS   8u
#define TICKS_LOOP_MAX 16u /* instructions in a round, at most, as any compiler makes it */

static NOINLINE uint64_t ticks_of_loop(unsigned rounds)
{
    uint64_t start = arch_ticks();

    for (unsigned i = 0; i < rounds; i++)
        __asm__ volatile("" : : "r"(i));
    return arch_ticks() - start;
}

static bool ticks_probe(void)
{
    unsigned long irq = arch_irq_save();
    uint64_t before = ticks_of_loop(TICKS_ROUNDS);
    uint64_t step = 0;
    bool is_exact = true;

    for (unsigned trial = 2; trial < TICKS_TRIALS + 2; trial++) {
        uint64_t ticks = ticks_of_loop(trial * TICKS_ROUNDS);

        if (step == 0)
            step = ticks - before;
        is_exact = is_exact && ticks - before == step;
        before = ticks;
    }
    arch_irq_restore(irq);
    return is_exact && step % TICKS_ROUNDS == 0 && step >= TICKS_ROUNDS &&
           step <= TICKS_LOOP_MAX * TICKS_ROUNDS;
}

bool ticks_are_instructions(void)
{
    static bool is_known, are_instructions;

    if (!is_known) {
        are_instructions = ticks_probe();
        is_known = true;
    }
    return are_instructions;
}

const char *ticks_unit(void)
{
    return ticks_are_instructions() ? "insns" : "ns";
}

uint64_t ticks_to_units(uint64_t ticks)
{
    return ticks_are_instructions() ? ticks : time_ticks_to_ns(ticks);
}
