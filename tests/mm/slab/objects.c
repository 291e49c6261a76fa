#include "tests/mm/slab/objects.h"
#include "kernel/base/string.h"
#include "mm/page/page.h"
#include "mm/port.h"
#include "mm/slab/debug.h"
#include "tests/mm/page/hoard.h"

#define GUARD_RATE_CACHED 1000u /* at this rate most objects come from magazines */

static uint8_t object_byte(size_t i, uint64_t tag)
{
    return (uint8_t)((tag * 0x9e3779b97f4a7c15ull >> 32) + i * 7);
}

void object_fill(void *object, size_t bytes, uint64_t tag)
{
    uint8_t *at = object;

    for (size_t i = 0; i < bytes; i++)
        at[i] = object_byte(i, tag);
}

bool object_holds(const void *object, size_t bytes, uint64_t tag)
{
    const uint8_t *at = object;

    for (size_t i = 0; i < bytes; i++) {
        if (at[i] != object_byte(i, tag))
            return false;
    }
    return true;
}

bool slots_are_plain(struct test *t)
{
    if (slab_debug_flags(NULL) == 0)
        return true;
    test_skip(t, "slots are debugged");
    return false;
}

bool slots_are_cached(struct test *t)
{
    if (!slots_are_plain(t))
        return false;
    if (port_setting_guard_rate() == 0 || port_setting_guard_rate() >= GUARD_RATE_CACHED)
        return true;
    test_skip(t, "needs magazines");
    return false;
}

bool slots_are_exact(struct test *t)
{
    if (!slots_are_plain(t))
        return false;
    if (port_setting_guard_rate() == 0)
        return true;
    test_skip(t, "needs guard_rate=0");
    return false;
}

void *object_in_slot(struct kmem_cache *cache)
{
    void *object = kmem_cache_alloc(cache);

    while (object != NULL && span_of(object) == NULL) {
        kmem_cache_free(cache, object);
        object = kmem_cache_alloc(cache);
    }
    return object;
}

struct slab_class_stats class_row(const char *name)
{
    struct slab_class_stats row;

    for (size_t i = 0; slab_class_stats(i, &row); i++) {
        if (strcmp(row.name, name) == 0)
            return row;
    }
    return (struct slab_class_stats){0};
}

void hog_take(struct hog *hog, size_t leave_pages)
{
    hog->count = 0;
    reserves_lift();

    void *kept = page_alloc(leave_pages, 0); /* side by side, whatever tests before have left */
    size_t left = kept != NULL ? 0 : leave_pages;

    for (size_t pages = (size_t)1 << 24; pages > 0; pages /= 2) {
        while (hog->count < HOG_RUNS_MAX && page_free_count() >= left + pages) {
            void *addr = page_alloc(pages, 0);

            if (addr == NULL)
                break;
            hog->runs[hog->count].addr = addr;
            hog->runs[hog->count++].pages = pages;
        }
    }
    page_free(kept, leave_pages);
}

void hog_give(struct hog *hog)
{
    while (hog->count > 0) {
        hog->count--;
        page_free(hog->runs[hog->count].addr, hog->runs[hog->count].pages);
        hog->runs[hog->count].addr = NULL; /* no reference to what comes to stand there */
    }
    reserves_restore();
}
