/*
 * What the tests of leaks share: objects to which no reference is left but those that a test makes,
 * and finding them.
 *
 * Whether a word is a reference nobody can know: so one that a test before has left in a variable
 * may refer to an object by chance.  So of many objects those are taken to which none does.
 */
#pragma once

#include "mm/slab/leaks.h"
#include "mm/slab/slab.h"
#include "tests/test.h"

#define LOST       200u
#define LOST_KEY   0x5a5a5a5a5a5a5a5aul /* an address XOR this is no reference */
#define LOST_STRAY 2u /* that a dead register or word of a frame may still refer to */

extern struct kmem_cache *lost_cache;
extern uintptr_t lost[LOST]; /* hidden */
extern void *held[LOST];     /* references to be found: each test leaves them NULL */

static inline uintptr_t hide(const void *object)
{
    return (uintptr_t)object ^ LOST_KEY;
}

static inline void *reveal(uintptr_t word)
{
    return (void *)(word ^ LOST_KEY);
}

/*
 * lose -- lost[0 .. count) are objects of that size, zero, to which nothing refers: of a cache
 * "lost", or large objects.
 *   returns  false: the test has failed
 *   pairs    lost_free
 */
bool lose(struct test *t, size_t bytes, unsigned count);
void lost_free(void);   /* and the cache */
void lost_forget(void); /* their users have freed them */

/* to[i] refers to lost[i], `offset` bytes into it. */
void lost_refer(void **to, unsigned count, size_t offset);

/* What was found last. */
struct lost_found {
    const char *cache;         /* NULL: any */
    size_t count;              /* of that cache */
    size_t others;             /* of others */
    size_t bytes;              /* of that cache's */
    unsigned char times[LOST]; /* by object of lost[] */
    bool is_ordered;           /* by address */
    uintptr_t last;
};
extern struct lost_found found;

void found_begin(const char *cache);
void found_one(const struct kmem_leak *leak, void *unused); /* for kmem_leaks */

/* Find leaks; how many there are of a cache. */
size_t find(struct test *t, const char *cache);

/* So many were found, but for strays. */
void expect_found(struct test *t, size_t count);
/* So many of the lost are reported, none twice, and nothing else is. */
void expect_lost(struct test *t, size_t count);

void stack_clean(void); /* what calls before this have left below the caller's frame */
