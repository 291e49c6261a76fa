/*
 * Stores that a flag guards (arch_store_unless, arch_store_logged): that they do what kernel/base/seq_log.h
 * says, and that an interrupt that changes the flag and empties the log, at any of their instructions, finds
 * them not begun or done.  So no store is lost, none is made by a flag that is not set any more, and none
 * that is still to come stands in a log that has been thrown away.
 */
#include "arch/sequence.h"
#include "kernel/cpus.h"
#include "kernel/percpu.h"
#include "tests/arch/step.h"
#include "tests/test.h"

#define LOG_PAIRS 4u

struct store_cpu {
    struct seq_log log;
};

static PERCPU(struct store_cpu, store_cpu);
static void *store_words[2 * LOG_PAIRS];
static _Atomic bool store_flag;
static void *_Atomic store_slot;

static struct {
    unsigned at, steps; /* the handler's instruction, from 1 in functions that are RESTARTABLE */
    bool is_done;       /* the store had been made by then */
    bool flag;          /* that it leaves behind */
    struct cpu_post post;
} interrupt;

/* As gc_store_word does; the slow path is the test's. */
RESTARTABLE static unsigned store(void *value)
{
    if (arch_store_unless(&store_flag, (void *)&store_slot, value))
        return 1;
    if (arch_store_logged(&store_flag, &store_cpu.log, &store_slot, value))
        return 2;
    return 0;
}

static struct seq_log *log_here(void)
{
    return (struct seq_log *)((uintptr_t)&store_cpu.log + arch_percpu_offset());
}

static void log_empty(unsigned pairs)
{
    *log_here() = (struct seq_log){store_words, store_words + 2 * pairs};
}

TEST(sequence_store, goes_by_the_flag_and_the_log)
{
    unsigned long irq_state = arch_irq_save();
    void *a = &store_words[0], *b = &store_words[1];

    log_empty(1);
    atomic_store(&store_flag, false);
    EXPECT(t, store(a) == 1 && store_slot == a && log_here()->next == store_words);
    atomic_store(&store_flag, true);
    EXPECT(t, store(b) == 2 && store_slot == b && log_here()->next == store_words + 2);
    EXPECT(t, store_words[0] == a && store_words[1] == b);
    EXPECT(t, store(a) == 0 && store_slot == b); /* full */
    *log_here() = (struct seq_log){NULL, NULL};
    EXPECT(t, store(a) == 0 && store_slot == b); /* none yet */
    atomic_store(&store_flag, false);
    EXPECT(t, store(NULL) == 1 && store_slot == NULL);
    arch_irq_restore(irq_state);
}

static void change_flag(void *value)
{
    interrupt.is_done = store_slot == value;
    atomic_store(&store_flag, interrupt.flag);
    log_empty(LOG_PAIRS);
}

static void *interrupt_value;

static void interrupt_before(uintptr_t pc)
{
    if (pc - (uintptr_t)__start_restartable <
            (uintptr_t)(__stop_restartable - __start_restartable) &&
        ++interrupt.steps == interrupt.at)
        cpu_post(&interrupt.post, arch_cpu_id(), change_flag, interrupt_value);
}

static void interrupted_store(void *value)
{
    if (store(value) == 0)
        store_slot = value;
}

/* A store, whose handler changes the flag at its instruction `at`; false: it has not so many. */
static bool interrupt_once(struct test *t, bool flag, unsigned at)
{
    void *old = &store_slot, *value = &interrupt;

    log_empty(LOG_PAIRS);
    store_slot = old;
    atomic_store(&store_flag, flag);
    interrupt.at = at;
    interrupt.steps = 0;
    interrupt.flag = !flag;
    interrupt_value = value;
    step_run(interrupted_store, value, interrupt_before);

    bool was_interrupted = interrupt.steps >= at;

    EXPECT(t, store_slot == value);
    EXPECT(t, !was_interrupted || cpu_post_is_done(&interrupt.post));
    if (was_interrupted && !interrupt.is_done && interrupt.flag)
        EXPECT(t, log_here()->next == store_words + 2 && store_words[0] == old &&
                      store_words[1] == value);
    else if (was_interrupted)
        EXPECT(t, log_here()->next == store_words);
    return was_interrupted;
}

TEST(sequence_store, interrupted_at_every_instruction)
{
    if (!ARCH_HAS_SEQUENCES) {
        test_skip(t, "built without sequences");
        return;
    }
    for (unsigned flag = 0; flag < 2; flag++) {
        unsigned at = 1;

        while (t->failures == 0 && interrupt_once(t, flag != 0, at))
            at++;
        EXPECT(t, at > (flag != 0 ? 10u : 3u));
    }
    *log_here() = (struct seq_log){NULL, NULL};
}
