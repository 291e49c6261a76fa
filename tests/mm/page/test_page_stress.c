/*
 * All CPUs at once.  Runs pass through slots that any CPU takes with an exchange, so most are freed
 * by another CPU than the one that allocated them: into windows that are not its own, while their
 * owners allocate from them, return and drain them.
 */
#include <stdatomic.h>
#include "kernel/cpus.h"
#include "mm/page/page.h"
#include "mm/port.h"
#include "tests/mm/page/hoard.h"
#include "tests/test.h"

#define SLOTS 128u

/* At the start of a run; a copy stands at the start of its last page. */
struct run_head {
    uint64_t self; /* its own address */
    size_t pages;
};

struct stress {
    struct test *t;
    uint64_t seed;
    unsigned rounds;
    _Atomic(struct run_head *) slots[SLOTS]; /* [A] a run, or NULL; acquire / release */
    _Atomic size_t damaged;                  /* [A] runs whose contents were not as left; relaxed */
};

static struct run_head *run_tail(struct run_head *head, size_t pages)
{
    return (struct run_head *)((char *)head + (pages - 1) * PAGE_BYTES);
}

static struct run_head *stress_alloc(uint64_t *state)
{
    uint64_t r = random_next(state);
    size_t pages = 1 + (r >> 8) % (r % 16 ? 12 : 100);
    size_t align = 1ul << (r >> 40) % 4;
    struct run_head *head = page_alloc_aligned(pages, align, 0, 0);

    if (head != NULL) {
        *head = (struct run_head){(uintptr_t)head, pages};
        *run_tail(head, pages) = *head;
    }
    return head;
}

static void stress_free(struct stress *stress, struct run_head *head)
{
    if (head == NULL)
        return;

    size_t pages = head->pages;
    struct run_head *tail = run_tail(head, pages);

    if (head->self != (uintptr_t)head || tail->self != head->self || tail->pages != pages)
        atomic_fetch_add_explicit(&stress->damaged, 1, memory_order_relaxed);
    head->self = tail->self = 0;
    page_free(head, pages);
}

static void stress_job(void *arg)
{
    struct stress *stress = arg;
    uint64_t state = stress->seed + port_cpu_id() * 0x9e3779b97f4a7c15ull;

    for (unsigned i = 0; i < stress->rounds; i++) {
        struct run_head *mine = random_next(&state) % 3 ? stress_alloc(&state) : NULL;
        unsigned slot = random_next(&state) % SLOTS;

        stress_free(stress,
                    atomic_exchange_explicit(&stress->slots[slot], mine, memory_order_acq_rel));
        if (random_next(&state) % 512 == 0)
            page_drain_this_cpu(NULL);
        if (random_next(&state) % 2048 == 0)
            page_drain_all();
    }
}

TEST(page, stress_on_all_cpus)
{
    static struct stress stress;
    size_t free_before = page_free_count();

    stress.t = t;
    stress.seed = test_seed(t);
    stress.rounds = __STDC_HOSTED__ && !CONFIG_DEBUG ? 100000 : 20000;
    stress.damaged = 0;
    cpu_run_all(port_cpu_count(), stress_job, &stress);
    for (unsigned slot = 0; slot < SLOTS; slot++)
        stress_free(&stress,
                    atomic_exchange_explicit(&stress.slots[slot], NULL, memory_order_acq_rel));
    EXPECT(t, stress.damaged == 0);
    page_check();
    EXPECT(t, page_free_count() == free_before);
}

/* All CPUs fight for the last pages: none is lost, and none is handed out twice. */
static void exhaust_job(void *arg)
{
    struct stress *stress = arg;
    uint64_t state = stress->seed ^ (port_cpu_id() + 1);
    struct run_head *held[64];
    unsigned count = 0;

    for (unsigned i = 0; i < stress->rounds; i++) {
        if (count < ARRAY_COUNT(held) && random_next(&state) % 2) {
            struct run_head *head = page_alloc(1, 0);

            if (head == NULL)
                continue;
            *head = (struct run_head){(uintptr_t)head, 1};
            held[count++] = head;
        } else if (count > 0) {
            stress_free(stress, held[--count]);
        }
    }
    while (count > 0)
        stress_free(stress, held[--count]);
}

TEST(page, stress_when_memory_is_short)
{
    static struct stress stress;
    size_t left = 40 * port_cpu_count(); /* fewer than the CPUs want to hold */
    struct hoard *hoard = hoard_all_but(left);

    stress.seed = test_seed(t);
    stress.rounds = __STDC_HOSTED__ ? 20000 : 4000;
    stress.damaged = 0;
    cpu_run_all(port_cpu_count(), exhaust_job, &stress);
    page_drain_all();
    EXPECT(t, stress.damaged == 0);
    EXPECT(t, page_free_count() == left);
    page_check();
    hoard_free(hoard);
}
