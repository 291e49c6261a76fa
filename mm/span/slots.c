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

unsigned span_take_slots(struct span *span, unsigned n, void **out)
{
    uint64_t *map = slots_map(span);
    unsigned words = slots_words(span);
    unsigned taken = 0;

    for (unsigned word = 0; word < words && taken < n; word++) {
        while (map[word] != 0 && taken < n) {
            out[taken++] = span_slot(span, word * 64 + (unsigned)__builtin_ctzll(map[word]));
            map[word] &= map[word] - 1;
        }
    }
    span->free_count -= (uint16_t)taken;
    return taken;
}

bool span_slot_is_free(const struct span *span, unsigned index)
{
    return (slots_map(span)[index / 64] >> index % 64 & 1) != 0;
}
