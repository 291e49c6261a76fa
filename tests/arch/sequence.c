/*
 * Restartable sequences: that they do what kernel/base/seq_window.h says, and that an interrupt at
 * any of their instructions finds them not begun or done.
 */
#include "arch/sequence.h"
#include "kernel/percpu.h"
#include "tests/test.h"

#define ROUNDS (__STDC_HOSTED__ ? 200000u : 20000u)

static PERCPU(struct seq_window, sequence_window);

RESTARTABLE static void *sequence_take(size_t pages)
{
    void *addr;
    bool is_hit = pages == 1 ? arch_window_take_one(&sequence_window, &addr)
                             : arch_window_take_run(&sequence_window, pages, &addr);

    return is_hit ? addr : NULL;
}

RESTARTABLE static bool sequence_give(void *addr, size_t pages)
{
    return pages == 1 ? arch_window_give_one(&sequence_window, addr)
                      : arch_window_give_run(&sequence_window, addr, pages);
}

static void *plain_take(struct seq_window *window, size_t pages)
{
    return pages == 1 ? seq_window_take_one(window) : seq_window_take_run(window, pages);
}

static bool plain_give(struct seq_window *window, void *addr, size_t pages)
{
    return pages == 1 ? seq_window_give_one(window, addr)
                      : seq_window_give_run(window, addr, pages);
}

static void window_set_up(struct seq_window *window, uintptr_t base, uint64_t domain)
{
    *window = (struct seq_window){.free = domain, .head = ~domain, .base = base, .give_base = base};
}

/* Of a page that is free, single and head mean nothing. */
static bool window_agrees(const struct seq_window *a, const struct seq_window *b)
{
    return a->free == b->free && ((a->single ^ b->single) & ~a->free) == 0 &&
           ((a->head ^ b->head) & ~a->free & ~a->single) == 0;
}

/* Frees are right, wrong in length, in the middle of a run, doubled, and of nothing at all. */
TEST(sequence, does_as_the_plain_code_does)
{
    const uintptr_t base = (uintptr_t)64 << 20;
    uint64_t state = test_seed(t);
    struct seq_window model, *window = NULL;

    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t r = test_random(&state);
        size_t pages = (r >> 8) % 3 ? 1 + (r >> 16) % 4 : 1 + (r >> 16) % SEQ_WINDOW_RUN_MAX;

        unsigned long irq_state = arch_irq_save();
        window = sequence_window_here(&sequence_window);
        if (i % 1000 == 0) {
            uint64_t domain = r % 4 ? test_random(&state) | test_random(&state) : ~0ull;

            window_set_up(window, base, domain);
            window_set_up(&model, base, domain);
        }
        if (r % 2) {
            EXPECT(t, sequence_take(pages) == plain_take(&model, pages));
        } else {
            void *addr = (void *)(base + ((r >> 32) % 66 - 1) * 4096 + (r % 64 == 0));

            EXPECT(t, sequence_give(addr, pages) == plain_give(&model, addr, pages));
        }
        EXPECT(t, window_agrees(window, &model));
        arch_irq_restore(irq_state);
        if (t->failures > 0)
            break;
    }
}

TEST(sequence, an_empty_window_misses)
{
    unsigned long irq_state = arch_irq_save();
    struct seq_window *window = sequence_window_here(&sequence_window);

    *window = (struct seq_window){0};
    EXPECT(t, sequence_take(1) == NULL && sequence_take(2) == NULL);
    EXPECT(t, !sequence_give(NULL, 1) && !sequence_give(NULL, 2) && !sequence_give(window, 1));
    EXPECT(t, !sequence_give(window, 0));
    arch_irq_restore(irq_state);
}

TEST(sequence, every_one_is_in_its_section)
{
    const struct sequence_bounds *bounds = __start_restart_table;

    if (!ARCH_HAS_SEQUENCES) {
        test_skip(t, "built without");
        return;
    }
    EXPECT(t, bounds < __stop_restart_table);
    for (; bounds < __stop_restart_table; bounds++) {
        uintptr_t start = (uintptr_t)&bounds->start + (uintptr_t)(intptr_t)bounds->start;
        uintptr_t end = (uintptr_t)&bounds->end + (uintptr_t)(intptr_t)bounds->end;

        EXPECT(t, start >= (uintptr_t)__start_restartable && start < end);
        EXPECT(t, end <= (uintptr_t)__stop_restartable && end - start < 256);
        for (uintptr_t pc = start; pc < end; pc++)
            EXPECT(t, sequence_rewind(pc) == start);
        EXPECT(t, sequence_rewind(end) != start);
    }
}
