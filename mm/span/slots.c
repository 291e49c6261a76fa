/* The free slots of a span: its bitmap, 1 = free (mm/span/span.h says where it stands). */
#include "mm/span/span_impl.h"

static uint64_t *slots_map(const struct span *span)
{
    return span_free_map((struct span *)span);
}

static unsigned slots_words(const struct span *span)
{
    return MAX(slot_map_words(span_slot_count(span)), 1u);
}

/* The bits of word `word` that stand for slots. */
static uint64_t slots_mask(const struct span *span, unsigned word)
{
    unsigned bits = MIN(span_slot_count(span) - word * 64, 64u);

    return bits == 0 ? 0 : ~0ull >> (64 - bits);
}

void span_free_all_slots(struct span *span)
{
    uint64_t *map = slots_map(span);

    for (unsigned word = 0; word < slots_words(span); word++)
        map[word] = slots_mask(span, word);
    span->free_count = span_slot_count(span);
}

unsigned span_count_free_slots(const struct span *span)
{
    const uint64_t *map = slots_map(span);
    unsigned count = 0;

    for (unsigned word = 0; word < slots_words(span); word++) {
        if ((map[word] & ~slots_mask(span, word)) != 0)
            return UINT_MAX;
        for (uint64_t bits = map[word]; bits != 0; bits &= bits - 1)
            count++;
    }
    return count;
}

/* Take free slots of one word, but at most n and those of `mask`. */
static unsigned slots_take_word(struct span *span, unsigned word, uint64_t mask, unsigned n,
                                void **out)
{
    uint64_t *map = &slots_map(span)[word];
    uint64_t bits = *map & mask;
    unsigned taken = 0;

    for (; bits != 0 && taken < n; bits &= bits - 1) {
        unsigned bit = (unsigned)__builtin_ctzll(bits);

        out[taken++] = span_slot(span, word * 64 + bit);
        *map &= ~(1ull << bit);
    }
    return taken;
}

unsigned span_take_slots(struct span *span, unsigned from, unsigned n, void **out)
{
    unsigned words = slots_words(span), first = from / 64;
    uint64_t upper = ~0ull << from % 64;
    unsigned taken = slots_take_word(span, first, upper, n, out);

    for (unsigned i = 1; i < words && taken < n; i++) {
        unsigned word = first + i < words ? first + i : first + i - words;

        taken += slots_take_word(span, word, ~0ull, n - taken, out + taken);
    }
    taken += slots_take_word(span, first, ~upper, n - taken, out + taken);
    span->free_count -= (uint16_t)taken;
    return taken;
}

bool span_slot_is_free(const struct span *span, unsigned index)
{
    return (slots_map(span)[index / 64] >> index % 64 & 1) != 0;
}
