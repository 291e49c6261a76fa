/*
 * Restartable sequences: that they do what kernel/base/seq_window.h and seq_magazine.h say, and that
 * an interrupt at any of their instructions finds them not begun or done.
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
        uint64_t r = random_next(&state);
        size_t pages = (r >> 8) % 3 ? 1 + (r >> 16) % 4 : 1 + (r >> 16) % SEQ_WINDOW_RUN_MAX;

        unsigned long irq_state = arch_irq_save();
        window = sequence_window_here(&sequence_window);
        if (i % 1000 == 0) {
            uint64_t domain = r % 4 ? random_next(&state) | random_next(&state) : ~0ull;

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

/* ---- Magazines ---- */

#define MAGAZINES  3u  /* percpu, of which the one in the middle is used */
#define STACK_MOST 40u /* slots in play; a magazine has not room for all */

struct sequence_tops {
    uintptr_t tops[MAGAZINES];
};

static PERCPU(struct sequence_tops, sequence_tops);

/* One magazine by sequences, one in plain C; the slots of both have the same numbers. */
static struct seq_magazine sequence_block, plain_block;
static uint64_t sequence_slots[STACK_MOST][2], plain_slots[STACK_MOST][2];

RESTARTABLE static bool sequence_pop(uintptr_t index, void **slot)
{
    return arch_magazine_pop(sequence_tops.tops, index, slot);
}

RESTARTABLE static bool sequence_push(uintptr_t index, void *slot)
{
    return arch_magazine_push(sequence_tops.tops, index, slot, seq_token(slot));
}

static uintptr_t *sequence_top(unsigned index)
{
    return (uintptr_t *)((uintptr_t)&sequence_tops.tops[index] + arch_percpu_offset());
}

/* An empty magazine with room for so many slots: its top. */
static uintptr_t magazine_open(struct seq_magazine *block, unsigned room)
{
    void **below = &block->words[SEQ_MAGAZINE_WORDS - 1 - room];

    *below = (void *)&seq_nothing;
    return seq_top_of(below);
}

static bool magazines_agree(uintptr_t plain_top)
{
    unsigned at = (unsigned)(seq_top_word(plain_top) - plain_block.words);

    return *sequence_top(0) == 0 && *sequence_top(2) == 0 &&
           seq_top_word(*sequence_top(1)) == &sequence_block.words[at];
}

/* Pops and pushes at random: of what is empty, full, and written to while it was free. */
static void magazine_run(struct test *t, uint64_t *state, unsigned room, unsigned rounds)
{
    unsigned out[STACK_MOST], count = STACK_MOST;
    uintptr_t top = magazine_open(&plain_block, room);

    *sequence_top(0) = *sequence_top(2) = 0;
    *sequence_top(1) = magazine_open(&sequence_block, room);
    for (unsigned i = 0; i < STACK_MOST; i++)
        out[i] = i;
    while (rounds-- > 0 && t->failures == 0) {
        unsigned which = (unsigned)(random_next(state) % MAX(count, 1u)),
                 i = count > 0 ? out[which] : 0;
        void *slot = NULL, *plain;

        if (count > 0 && random_next(state) % 2 != 0) {
            bool is_done = sequence_push(1, sequence_slots[i]);

            EXPECT(t,
                   is_done == seq_magazine_push(&top, plain_slots[i], seq_token(plain_slots[i])));
            EXPECT(t, !is_done || sequence_slots[i][0] == seq_token(sequence_slots[i]));
            if (is_done)
                out[which] = out[--count];
        } else {
            plain = seq_magazine_pop(&top);
            EXPECT(t, sequence_pop(1, &slot) == (plain != NULL));
            if (plain != NULL) {
                i = (unsigned)(((uint64_t(*)[2])plain) - plain_slots);
                EXPECT(t, slot == sequence_slots[i] && sequence_slots[i][0] == 0);
                out[count++] = i;
            }
        }
        EXPECT(t, magazines_agree(top));
    }
}

TEST(sequence, magazines_do_as_the_plain_code_does)
{
    uint64_t state = test_seed(t);
    unsigned long irq_state = arch_irq_save();

    for (unsigned room = 1; room <= SEQ_MAGAZINE_SLOTS; room++)
        magazine_run(t, &state, room, ROUNDS / SEQ_MAGAZINE_SLOTS);
    *sequence_top(1) = 0;
    arch_irq_restore(irq_state);
}

TEST(sequence, a_closed_magazine_misses)
{
    unsigned long irq_state = arch_irq_save();
    uint64_t *own = sequence_slots[0];
    void *slot = NULL;

    for (unsigned index = 0; index < MAGAZINES; index++) {
        *sequence_top(index) = 0;
        own[0] = own[1] = 7;
        EXPECT(t, !sequence_pop(index, &slot) && !sequence_push(index, own));
        EXPECT(t, *sequence_top(index) == 0 && own[0] == 7 && slot == NULL);
    }
    arch_irq_restore(irq_state);
}

/* A slot that was written to while it was free stays where it is: the slow path says so. */
TEST(sequence, a_slot_without_its_token_misses)
{
    unsigned long irq_state = arch_irq_save();
    uint64_t *own = sequence_slots[0];
    void *slot = NULL;
    uintptr_t top;

    *sequence_top(1) = magazine_open(&sequence_block, 2);
    EXPECT(t, !sequence_pop(1, &slot));
    EXPECT(t, sequence_push(1, own));
    top = *sequence_top(1);
    own[0]++;
    EXPECT(t, !sequence_pop(1, &slot) && *sequence_top(1) == top);
    own[0]--;
    EXPECT(t, sequence_pop(1, &slot) && slot == own);
    *sequence_top(1) = 0;
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
