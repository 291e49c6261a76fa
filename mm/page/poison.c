/*
 * Poison (page_poison=1), and where both parts of mm/page/debug.h meet.
 *
 * Every free page holds POISON in every word, from start-up on: pages that were never used are
 * filled too.  The pattern is no canonical address, so that a pointer read from a free page faults
 * at once.  It is verified when a page is handed out, by the CPU that has just taken it, without a
 * lock.
 */
#include "mm/page/debug.h"

#define POISON       0xf4eef4eef4eef4eeull
#define POISON_WORDS (PAGE_BYTES / sizeof(uint64_t))

struct page_debug page_debug;

static uint64_t *poison_words(size_t page)
{
    return (uint64_t *)(port_direct_base() + page * PAGE_BYTES);
}

void page_poison_fill(size_t page, size_t pages)
{
    uint64_t *words = poison_words(page);

    for (size_t i = 0; i < pages * POISON_WORDS; i++)
        words[i] = POISON;
}

NORETURN COLD static void poison_failed(size_t page, size_t word)
{
    const uint64_t *words = poison_words(page);
    size_t last = word;

    for (size_t i = word; i < POISON_WORDS; i++)
        if (words[i] != POISON)
            last = i;
    port_print("page %#lx was written to while it was free: bytes %zu to %zu\n", page * PAGE_BYTES,
               word * sizeof(uint64_t), (last + 1) * sizeof(uint64_t) - 1);
    for (size_t i = word; i < MIN(word + 4, POISON_WORDS); i++)
        port_print("  offset %zu: found 0x%016lx, expected 0x%016lx\n", i * sizeof(uint64_t),
                   words[i], (uint64_t)POISON);
    page_owner_print(page);
    port_panic("page poison: page %#lx, offset %zu: found 0x%016lx, expected 0x%016lx",
               page * PAGE_BYTES, word * sizeof(uint64_t), words[word], (uint64_t)POISON);
}

void page_poison_verify(size_t page, size_t pages)
{
    const uint64_t *words = poison_words(page);

    for (size_t i = 0; i < pages * POISON_WORDS; i++)
        if (UNLIKELY(words[i] != POISON))
            poison_failed(page + i / POISON_WORDS, i % POISON_WORDS);
}

/* ---- Both parts ---- */

void page_debug_init(void)
{
    page_debug.has_poison = port_setting_page_poison();
    page_debug.has_owners = port_setting_page_owner();
    page_debug.is_on = page_debug.has_poison || page_debug.has_owners;
    if (page_debug.has_owners)
        page_owner_init();
}

void page_debug_add(size_t page, size_t pages)
{
    if (page_debug.has_poison)
        page_poison_fill(page, pages);
}

void page_debug_alloc(size_t page, size_t pages)
{
    if (page_debug.has_poison)
        page_poison_verify(page, pages);
    if (page_debug.has_owners)
        page_owner_note_alloc(page, pages);
}

void page_debug_free(size_t page, size_t pages)
{
    if (page_debug.has_owners)
        page_owner_note_free(page, pages);
    if (page_debug.has_poison)
        page_poison_fill(page, pages);
}
