#include "tests/mm/slab/lost.h"
#include "kernel/base/string.h"
#include "mm/port.h"

struct kmem_cache *lost_cache;
uintptr_t lost[LOST];
void *held[LOST];
struct lost_found found;

NOINLINE void stack_clean(void)
{
    volatile uintptr_t words[1024];

    for (unsigned i = 0; i < ARRAY_COUNT(words); i++)
        words[i] = 0;
}

void found_begin(const char *cache)
{
    found = (struct lost_found){.cache = cache, .is_ordered = true};
}

void found_one(const struct kmem_leak *leak, void *unused)
{
    bool is_ours = found.cache == NULL || strcmp(leak->cache, found.cache) == 0;

    (void)unused;
    found.is_ordered &= (uintptr_t)leak->object > found.last;
    found.last = (uintptr_t)leak->object;
    found.count += is_ours;
    found.others += !is_ours;
    found.bytes += is_ours ? leak->bytes : 0;
    for (unsigned i = 0; i < LOST; i++)
        found.times[i] += lost[i] == hide(leak->object);
}

NOINLINE size_t find(struct test *t, const char *cache)
{
    size_t count;

    found_begin(cache);
    stack_clean();
    count = kmem_leaks(found_one, NULL);
    EXPECT(t, count == found.count + found.others);
    EXPECT(t, found.is_ordered);
    found.last = 0; /* an address: a reference, next time */
    return found.count;
}

/* ---- Losing ---- */

#define LOST_CHOICE 4096u

static uintptr_t choice[LOST_CHOICE]; /* hidden */
static size_t choice_count;

static void *lost_alloc(size_t bytes)
{
    return lost_cache != NULL ? kmem_cache_alloc(lost_cache) : kmalloc(bytes);
}

static void lost_free_one(uintptr_t word)
{
    if (lost_cache != NULL)
        kmem_cache_free(lost_cache, reveal(word));
    else
        kfree(reveal(word));
}

/* Of what is in choice[], move to lost[] what is found to be lost. */
static void choose(const struct kmem_leak *leak, void *wanted)
{
    unsigned *missing = wanted;

    for (size_t i = 0; i<choice_count && * missing> 0; i++) {
        if (choice[i] == hide(leak->object)) {
            lost[--*missing] = choice[i];
            choice[i] = choice[--choice_count];
            return;
        }
    }
}

NOINLINE bool lose(struct test *t, size_t bytes, unsigned count)
{
    size_t most = bytes > KMALLOC_SMALL_MAX ? LOST_CHOICE / 4 : LOST_CHOICE;
    unsigned missing = count;

    if (bytes <= KMALLOC_SMALL_MAX) {
        lost_cache = kmem_cache_create("lost", bytes, 0, NULL, 0);
        if (!EXPECT(t, lost_cache != NULL))
            return false;
    }
    for (choice_count = 0; choice_count < most; choice_count++) {
        void *object = lost_alloc(bytes);

        if (!EXPECT(t, object != NULL))
            return false;
        memset(object, 0, ksize(object));
        choice[choice_count] = hide(object);
    }
    stack_clean();
    EXPECT(t, kmem_leaks(choose, &missing) <= most);
    while (choice_count > 0)
        lost_free_one(choice[--choice_count]);
    return EXPECT(t, missing == 0);
}

void lost_free(void)
{
    for (unsigned i = 0; i < LOST && lost[i] != 0; i++)
        lost_free_one(lost[i]);
    kmem_cache_destroy(lost_cache);
    lost_forget();
}

void lost_forget(void)
{
    memset(held, 0, sizeof(held));
    memset(lost, 0, sizeof(lost));
    lost_cache = NULL;
}

NOINLINE void lost_refer(void **to, unsigned count, size_t offset)
{
    for (unsigned i = 0; i < count; i++)
        to[i] = (char *)reveal(lost[i]) + offset;
}

/* ---- Finding ---- */

void expect_found(struct test *t, size_t count)
{
    EXPECT(t, found.count <= count && found.count + LOST_STRAY >= count);
}

void expect_lost(struct test *t, size_t count)
{
    size_t seen = 0;

    (void)find(t, lost_cache != NULL ? "lost" : "kmalloc-large");
    expect_found(t, count);
    EXPECT(t, found.others == 0);
    for (unsigned i = 0; i < LOST; i++) {
        EXPECT(t, found.times[i] <= 1);
        seen += found.times[i];
    }
    EXPECT(t, seen == found.count);
}
