/* What the slab tests share: patterns in objects, and holding back most of memory. */
#pragma once

#include "mm/slab/slab.h"
#include "tests/test.h"

/* Fill an object with a pattern of its tag; false from the other: a byte is not as it was. */
void object_fill(void *object, size_t bytes, uint64_t tag);
bool object_holds(const void *object, size_t bytes, uint64_t tag);

/* False, and the test is skipped, where slab_debug= is on: slots are larger, none in a magazine. */
bool slots_are_plain(struct test *t);

/* The same where guard sampling is so dense that there are no magazines. */
bool slots_are_cached(struct test *t);

/* The same where guard sampling is on at all: it takes slots out of their order, and magazines away. */
bool slots_are_exact(struct test *t);

/* An object of a cache in a slot, not in the guard pool, where sampling puts some; or NULL. */
void *object_in_slot(struct kmem_cache *cache);

/* The row of a class or cache; all zero, name NULL: there is none. */
struct slab_class_stats class_row(const char *name);

#define HOG_RUNS_MAX 4096u

/* Pages that a test takes away, untouched, so that exhausting the rest does not take long. */
struct hog {
    size_t count;
    struct {
        void *addr;
        size_t pages;
    } runs[HOG_RUNS_MAX];
};

void hog_take(struct hog *hog, size_t leave_pages); /* until about so many are free */
void hog_give(struct hog *hog);
