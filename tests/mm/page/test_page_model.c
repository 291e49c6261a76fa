/*
 * The page heap against a list of free runs: two million operations of lengths of all kinds, alignments
 * and limits, over maps with and without holes; and every length at every alignment.
 */
#include "tests/mm/page/private_heap.h"
#include "tests/mm/page/run_list.h"
#include "tests/test.h"

#define LIVE_MAX     3000u /* runs held at once */
#define CHECK_FIRST  200u  /* the first of so many: all summaries are recomputed after each */
#define CHECK_PERIOD 512u  /* and then once in so many */
#define HOLD_PERIOD  100u  /* and a block held once in so many */
#define LARGE        (8 * GIB / PAGE_BYTES)

struct model {
    struct test *t;
    uint64_t random;
    struct private_heap private;
    struct run_list list;
    struct run live[LIVE_MAX];
    size_t live_count;
    bool is_exact; /* small enough that the heap never gives up first fit (page_find.c) */
};

static struct model *model_create(struct test *t, size_t page_limit)
{
    size_t pages = (sizeof(struct model) + PAGE_BYTES - 1) / PAGE_BYTES;
    struct model *model = page_alloc(pages, PAGE_ZERO);

    if (model == NULL)
        return NULL;
    model->t = t;
    model->random = test_seed(t);
    model->is_exact = page_limit <= PAGE_ARENA_PAGES;
    if (private_heap_create(&model->private, page_limit))
        return model;
    page_free(model, pages);
    return NULL;
}

static void model_destroy(struct model *model)
{
    private_heap_destroy(&model->private);
    page_free(model, (sizeof(struct model) + PAGE_BYTES - 1) / PAGE_BYTES);
}

static void model_add(struct model *model, size_t page, size_t pages)
{
    private_heap_add(&model->private, page, pages);
    run_list_put(&model->list, page, pages);
}

/* Lengths around words, chunks and more; mostly short. */
static size_t model_length(struct model *model)
{
    static const size_t edges[] = {1,   2,   3,   8,   15,  16,   63,   64,   65,
                                   127, 128, 511, 512, 513, 1023, 1024, 1025, 4096};
    uint64_t r = random_next(&model->random);

    switch (r % 8) {
    case 0:
        return edges[(r >> 8) % ARRAY_COUNT(edges)];
    case 1:
        return 1 + (r >> 8) % 600;
    case 2:
        return 2;
    default:
        return 1 + (r >> 8) % 16;
    }
}

static size_t model_align(struct model *model)
{
    uint64_t r = random_next(&model->random);

    return r % 2 ? 1 : 1ul << (r >> 8) % 13;
}

static size_t model_limit(struct model *model)
{
    uint64_t r = random_next(&model->random);

    switch (r % 8) {
    case 0:
        return PAGE_DMA_PAGES;
    case 1:
        return (r >> 8) % model->private.heap.page_limit;
    default:
        return PAGE_NONE;
    }
}

/* Ask both for such a run.  False: they do not agree.  What they gave is the last of `live`. */
static bool model_ask(struct model *model, size_t pages, size_t align, size_t limit)
{
    struct test *t = model->t;
    size_t want = RUN_LIST_NONE;

    if (pages == CHUNK_PAGES)
        want = run_list_find(&model->list, pages, MAX(align, CHUNK_PAGES), PAGE_DMA_PAGES, limit);
    if (want == RUN_LIST_NONE)
        want = run_list_find(&model->list, pages, align, PAGE_DMA_PAGES, limit);
    if (want == RUN_LIST_NONE)
        want = run_list_find(&model->list, pages, align, 0, limit);

    size_t page = private_heap_alloc(&model->private, pages, align, limit);

    if (want == RUN_LIST_NONE || page == PAGE_NONE)
        return EXPECT(t, page == PAGE_NONE && want == RUN_LIST_NONE);
    if (model->is_exact || align == 1) {
        if (!EXPECT(t, page == want))
            return false;
    } else if (!EXPECT(t, page % align == 0 && page + pages <= limit) ||
               !EXPECT(t, run_list_is_free(&model->list, page, pages))) {
        return false;
    }
    run_list_take(&model->list, page, pages);
    model->live[model->live_count++] = (struct run){page, pages};
    return true;
}

static bool model_alloc(struct model *model)
{
    size_t pages = model_length(model), align = model_align(model);

    return model_ask(model, pages, align, model_limit(model));
}

/* A run that is held; before, now and then, what is not quite it, which is refused. */
static bool model_free(struct model *model)
{
    struct test *t = model->t;
    struct run *run = &model->live[random_next(&model->random) % model->live_count];
    size_t run_page = run->page;
    uint64_t r = random_next(&model->random);

    if (r % 4 == 0) {
        size_t from = run->page + (r >> 8) % run->pages;
        size_t pages = 1 + (r >> 40) % (2 * run->pages);

        pages = MIN(pages, model->private.heap.page_limit - from);
        if ((from != run->page || pages != run->pages) &&
            !EXPECT(t, !private_heap_try_free(&model->private, from, pages)))
            return false;
    }
    private_heap_free(&model->private, run->page, run->pages);
    run_list_put(&model->list, run->page, run->pages);
    *run = model->live[--model->live_count];
    return EXPECT(t, r % 4 != 1 || !private_heap_try_free(&model->private, run_page, 1));
}

/* A block goes to a window and comes back, some of its pages in use: what was free is again. */
static bool model_hold(struct model *model)
{
    struct page_heap *heap = &model->private.heap;
    size_t index = random_next(&model->random) % (heap->page_limit / PAGE_BLOCK_PAGES);
    uint64_t free = page_block_free(&heap->blocks[index]);
    size_t free_pages = heap->free_pages;
    struct test *t = model->t;
    unsigned long irq_state = page_heap_lock(heap);

    page_heap_hold(heap, index, 0);
    page_heap_check(heap);
    bool is_right = EXPECT(t, heap->free_pages == free_pages - bits_count(free));
    page_heap_release(heap, index);
    is_right = is_right && EXPECT(t, page_block_free(&heap->blocks[index]) == free);
    page_heap_unlock(heap, irq_state);
    return is_right;
}

/* Random operations; the share of allocations swings, so that memory fills and empties. */
static void model_run(struct model *model, size_t operations)
{
    struct test *t = model->t;
    const struct page_heap *heap = &model->private.heap;

    for (size_t i = 0; i < operations; i++) {
        unsigned percent = i / 20000 % 2 == 0 ? 60 : 40;
        bool is_alloc = random_next(&model->random) % 100 < percent;

        if (model->live_count == 0 || (is_alloc && model->live_count < LIVE_MAX)) {
            if (!model_alloc(model))
                return;
        } else {
            model_free(model);
        }
        if (i % HOLD_PERIOD == 0 && !model_hold(model))
            return;
        REQUIRE(t, heap->free_pages == model->list.free_pages);
        if (i < operations / CHECK_FIRST || i % CHECK_PERIOD == 0) {
            page_heap_check(heap);
            REQUIRE(t, page_heap_largest_run(heap) == run_list_longest(&model->list));
        }
    }
    while (model->live_count > 0)
        model_free(model);
    page_heap_check(heap);
    EXPECT(t, heap->free_pages == heap->present_pages);
}

/* Two million operations in a process; where instructions are dear, some of them. */
static size_t model_operations(size_t operations)
{
    return operations / (!__STDC_HOSTED__ ? 40 : CONFIG_DEBUG ? 10 : 1);
}

TEST(page, model_one_arena)
{
    struct model *model = model_create(t, PAGE_ARENA_PAGES);

    REQUIRE(t, model != NULL);
    model_add(model, 256, PAGE_ARENA_PAGES - 256);
    model_run(model, model_operations(1500000));
    model_destroy(model);
}

TEST(page, model_holes)
{
    struct model *model = model_create(t, 20 * PAGE_ARENA_PAGES);

    REQUIRE(t, model != NULL);
    model_add(model, 1, 158);
    model_add(model, 256, 3000);
    model_add(model, PAGE_DMA_PAGES - 700, 1500);
    model_add(model, 2 * PAGE_ARENA_PAGES - 77, 100);
    for (size_t i = 0; i < 200; i++)
        model_add(model, 5 * PAGE_ARENA_PAGES + 97 * i, 90);
    model_add(model, 19 * PAGE_ARENA_PAGES + 5, PAGE_ARENA_PAGES - 5);
    model_run(model, model_operations(500000));
    model_destroy(model);
}

/* Two root entries and more, each of 8 GiB: runs longer than a summary can count. */
TEST(page, model_large)
{
    struct model *model = model_create(t, 10 * LARGE);

    if (model == NULL) {
        test_skip(t, "no memory for the tables of 80 GiB");
        return;
    }
    model_add(model, 256, 3 * LARGE);
    model_add(model, 4 * LARGE, LARGE);
    model_add(model, 7 * LARGE + 12345, 2 * LARGE);
    page_heap_check(&model->private.heap);
    for (size_t i = 0; i < model_operations(100000); i++) {
        if (model->live_count == 0 ||
            (random_next(&model->random) % 3 != 0 && model->live_count < LIVE_MAX)) {
            if (!model_alloc(model))
                break;
        } else {
            model_free(model);
        }
    }
    EXPECT(t, page_heap_largest_run(&model->private.heap) == run_list_longest(&model->list));
    while (model->live_count > 0)
        model_free(model);
    page_heap_check(&model->private.heap);
    model_destroy(model);
}

/* Every length at every alignment that an arena has, each in another state of it. */
TEST(page, model_every_length_and_alignment)
{
    size_t step = PAGE_ARENA_PAGES / model_operations(PAGE_ARENA_PAGES);
    struct model *model = model_create(t, PAGE_ARENA_PAGES);

    REQUIRE(t, model != NULL);
    model_add(model, 300, PAGE_ARENA_PAGES - 300);
    for (unsigned i = 0; i < 50; i++)
        model_alloc(model);
    for (size_t align = 1; align <= PAGE_ARENA_PAGES; align *= 2)
        for (size_t pages = 1; pages < PAGE_ARENA_PAGES; pages += step) {
            size_t count = model->live_count;

            if (!model_ask(model, pages, align, PAGE_NONE))
                break;
            if (model->live_count > count) { /* this one back, and now and then another */
                struct run run = model->live[--model->live_count];

                private_heap_free(&model->private, run.page, run.pages);
                run_list_put(&model->list, run.page, run.pages);
            }
            if (pages % 64 != 1)
                continue;
            if (model->live_count > 0)
                model_free(model);
            if (!model_alloc(model))
                break;
        }
    page_heap_check(&model->private.heap);
    model_destroy(model);
}
