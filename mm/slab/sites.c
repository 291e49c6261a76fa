/* Sites of allocations; the theory stands in mm/slab/sites.h. */
#include "mm/slab/sites.h"
#include "kernel/base/sort.h"
#include "mm/page/page.h"

#define SITES_BUCKETS    512u
#define SITES_INIT_PAGES 16u /* at start-up: some 1,600 sites */
#define SITES_GROW_PAGES 4u  /* each time that they run out */

PORT_STAT(slab, sites_failed);

static struct {
    port_lock_t lock;
    struct slab_site *unused;                           /* [L] through `next` */
    _Atomic(struct slab_site *) buckets[SITES_BUCKETS]; /* [A] acquire / release */
    _Atomic size_t count;                               /* [A] relaxed: in them */
    struct slab_site other;                             /* not in them */
} sites = {.lock = PORT_LOCK_INIT(SITES)};

static bool sites_grow(size_t pages)
{
    struct slab_site *more = page_alloc(pages, PAGE_ZERO);

    if (more == NULL) {
        port_stat_inc(slab, sites_failed);
        return false;
    }

    unsigned long irq = port_lock(&sites.lock);

    for (size_t i = 0; i < pages * PAGE_BYTES / sizeof(*more); i++) {
        more[i].next = sites.unused;
        sites.unused = &more[i];
    }
    port_unlock(&sites.lock, irq);
    return true;
}

void slab_sites_init(void)
{
    sites_grow(SITES_INIT_PAGES);
}

/* Multiplicative hashing: the golden ratio's bits (Knuth). */
static _Atomic(struct slab_site *) *sites_bucket(uintptr_t address)
{
    return &sites.buckets[(address * 0x9e3779b97f4a7c15ull >> 32) % SITES_BUCKETS];
}

static struct slab_site *sites_find(struct slab_site *first, uintptr_t address)
{
    while (first != NULL && first->address != address)
        first = first->next;
    return first;
}

/* The site, made from an unused one when nobody else has meanwhile; NULL: there is none. */
static struct slab_site *sites_add(_Atomic(struct slab_site *) *bucket, uintptr_t address)
{
    unsigned long irq = port_lock(&sites.lock);
    struct slab_site *first = atomic_load_explicit(bucket, memory_order_acquire);
    struct slab_site *site = sites_find(first, address);

    if (site == NULL && sites.unused != NULL) {
        site = sites.unused;
        sites.unused = site->next;
        site->address = address;
        site->next = first;
        atomic_store_explicit(bucket, site, memory_order_release);
        atomic_fetch_add_explicit(&sites.count, 1, memory_order_relaxed);
    }
    port_unlock(&sites.lock, irq);
    return site;
}

struct slab_site *slab_site_of(uintptr_t address)
{
    _Atomic(struct slab_site *) *bucket = sites_bucket(address);
    struct slab_site *first = atomic_load_explicit(bucket, memory_order_acquire);
    struct slab_site *site = sites_find(first, address);

    if (LIKELY(site != NULL))
        return site;
    do {
        site = sites_add(bucket, address);
    } while (site == NULL && sites_grow(SITES_GROW_PAGES));
    return site != NULL ? site : &sites.other;
}

/* ---- The report ---- */

/* A site as it was when the report began: sorting needs figures that stand still. */
struct site_row {
    uintptr_t address;
    size_t live, bytes;
    uint64_t allocs;
};

static struct site_row site_row(const struct slab_site *site)
{
    return (struct site_row){
        .address = site->address,
        .live = atomic_load_explicit(&site->live, memory_order_relaxed),
        .bytes = atomic_load_explicit(&site->bytes, memory_order_relaxed),
        .allocs = atomic_load_explicit(&site->allocs, memory_order_relaxed),
    };
}

/* Most bytes first, then most objects, then by address. */
static int site_row_compare(const void *left, const void *right)
{
    const struct site_row *a = left, *b = right;

    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? 1 : -1;
    if (a->live != b->live)
        return a->live < b->live ? 1 : -1;
    return (a->address > b->address) - (a->address < b->address);
}

static void site_row_print(const struct site_row *row)
{
    char name[PORT_SYMBOL_BYTES] = "(sites for which there was no memory)";

    if (row->address != 0)
        port_symbol_format(name, sizeof(name), row->address);
    port_print("  %12zu %10zu %12lu  %s\n", row->bytes, row->live, row->allocs, name);
}

size_t slab_sites_count(void)
{
    return atomic_load_explicit(&sites.count, memory_order_relaxed) + 1;
}

/* Up to `room` rows of sites with live objects, added up in *sum; each printed if rows is NULL. */
static size_t sites_collect(struct site_row *rows, size_t room, struct site_row *sum)
{
    size_t count = 0;

    for (size_t bucket = 0; bucket <= SITES_BUCKETS; bucket++) {
        const struct slab_site *site =
            bucket == SITES_BUCKETS
                ? &sites.other
                : atomic_load_explicit(&sites.buckets[bucket], memory_order_acquire);

        for (; site != NULL; site = site->next) {
            struct site_row row = site_row(site);

            if (row.live == 0 || count == room)
                continue;
            sum->live += row.live;
            sum->bytes += row.bytes;
            sum->allocs += row.allocs;
            if (rows == NULL)
                site_row_print(&row);
            else
                rows[count] = row;
            count++;
        }
    }
    return count;
}

bool slab_sites_print(void)
{
    size_t room = slab_sites_count();
    size_t pages = ALIGN_UP(room * sizeof(struct site_row), PAGE_BYTES) / PAGE_BYTES;
    struct site_row *rows = page_alloc(pages, 0), sum = {0};
    size_t count;

    port_print("  %12s %10s %12s  %s\n", "bytes", "objects", "allocs", "site");
    count = sites_collect(rows, room, &sum);
    if (rows != NULL) {
        sort(rows, count, sizeof(*rows), site_row_compare);
        for (size_t i = 0; i < count; i++)
            site_row_print(&rows[i]);
        page_free(rows, pages);
    }
    port_print("  %12zu %10zu %12lu  all of %zu sites\n", sum.bytes, sum.live, sum.allocs, count);
    return rows != NULL;
}
