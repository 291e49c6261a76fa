/*
 * Fuzz target: the slab allocator, on a machine of one CPU and little memory.  An input is a sequence
 * of operations, a byte for which and some for its arguments; where it ends early, zeros follow.
 *
 * The model is a table of what is live: on each allocation no two overlap, alignment is as asked
 * for; each object's pattern is compared when it is freed, resized, and at the input's end.  NULL is
 * believed only where much is live or a fault was armed.  At the end all is freed and drained, every
 * page is back, and mm_check() finds nothing.
 *
 * CMDLINE='slab_debug=1' in the environment goes to the machine's command line.
 */
#include <stdio.h>
#include <stdlib.h>
#include "arch/hosted/hosted.h"
#include "kernel/base/check.h"
#include "kernel/base/string.h"
#include "kernel/fault.h"
#include "mm/page/page.h"
#include "mm/port.h"
#include "mm/slab/guard.h"
#include "mm/slab/slab.h"

#define RAM_BYTES     (24 * MIB)
#define LITTLE_BYTES  MIB  /* live, with which an allocation of up to so much never fails */
#define OBJECTS       64u  /* live at once */
#define CACHES        4u   /* likewise */
#define FILL_BYTES    512u /* at either end of an object */
#define CTOR_BYTE     0x5c
#define BULK          40u
#define OPERATION_MAX 2000u /* in an input */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum object_kind { OBJECT_NONE, OBJECT_SIZED, OBJECT_PLAIN, OBJECT_CACHED, OBJECT_PAGES };

struct object {
    enum object_kind kind;
    uint8_t *addr;
    size_t bytes; /* its user's */
    size_t cache; /* OBJECT_CACHED: which */
    uint8_t tag;
};

struct cache {
    struct kmem_cache *cache; /* NULL: none */
    size_t bytes, align;
    bool has_ctor;
};

static struct {
    const uint8_t *next, *end; /* the input */
    struct object objects[OBJECTS];
    struct cache caches[CACHES];
    struct kmem_prefill *prefill; /* NULL: none */
    size_t prefill_cache;
    size_t live_bytes;
    uint8_t tag; /* the last object's */
    bool is_irq_off, may_fail;
    unsigned long irq;
} fuzz;

static size_t pages_at_start;

/* ---- The input ---- */

static size_t fuzz_byte(void)
{
    return fuzz.next < fuzz.end ? *fuzz.next++ : 0;
}

/* Of all magnitudes up to 8 MiB. */
static size_t fuzz_bytes(void)
{
    size_t shift = fuzz_byte() % 32, number = fuzz_byte();

    if (shift >= 16) /* most are small */
        return 1 + number * (1 + shift % 16);
    return 1 + (number << shift) + (shift >= 8 ? fuzz_byte() : 0);
}

static struct object *fuzz_object(void)
{
    return &fuzz.objects[fuzz_byte() % OBJECTS];
}

/* ---- The model ---- */

static uint8_t pattern(const struct object *object, size_t i)
{
    return (uint8_t)(object->tag + i * 7);
}

static void object_fill(const struct object *object)
{
    for (size_t i = 0; i < object->bytes; i++) {
        if (i == FILL_BYTES && object->bytes > 2 * FILL_BYTES)
            i = object->bytes - FILL_BYTES;
        object->addr[i] = pattern(object, i);
    }
}

/* The first `bytes` of it. */
static void object_check(const struct object *object, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (i == FILL_BYTES && object->bytes > 2 * FILL_BYTES)
            i = object->bytes - FILL_BYTES;
        if (i < bytes)
            CHECK(object->addr[i] == pattern(object, i));
    }
}

static void check_apart(const struct object *new)
{
    for (size_t i = 0; i < OBJECTS; i++) {
        const struct object *other = &fuzz.objects[i];

        if (other != new && other->kind != OBJECT_NONE)
            CHECK(new->addr + new->bytes <= other->addr || other->addr + other->bytes <= new->addr);
    }
}

static void object_set(struct object *object, enum object_kind kind, void *addr, size_t bytes)
{
    CHECK(addr != NULL || fuzz.may_fail || fuzz.live_bytes + bytes > LITTLE_BYTES);
    if (addr == NULL)
        return;
    *object = (struct object){.kind = kind, .addr = addr, .bytes = bytes, .tag = ++fuzz.tag};
    CHECK(IS_ALIGNED((uintptr_t)addr, 8));
    CHECK(kind == OBJECT_PAGES || ksize(addr) >= bytes);
    check_apart(object);
    object_fill(object);
    fuzz.live_bytes += bytes;
}

/* What its allocator gets back. */
static void *object_retire(struct object *object)
{
    object_check(object, object->bytes);
    if (object->kind == OBJECT_CACHED && fuzz.caches[object->cache].has_ctor)
        memset(object->addr, CTOR_BYTE, object->bytes);
    object->kind = OBJECT_NONE;
    fuzz.live_bytes -= object->bytes;
    return object->addr;
}

static void object_free(struct object *object, size_t way)
{
    bool is_named = way % 2 == 0;

    if (object->kind == OBJECT_NONE)
        return;
    if (object->kind == OBJECT_PAGES)
        page_free(object_retire(object), object->bytes / PAGE_BYTES);
    else if (object->kind == OBJECT_SIZED && is_named)
        kfree_sized(object_retire(object), object->bytes);
    else if (object->kind == OBJECT_CACHED && is_named)
        kmem_cache_free(fuzz.caches[object->cache].cache, object_retire(object));
    else
        kfree(object_retire(object));
}

/* ---- Operations ---- */

static void fuzz_check_zero(const uint8_t *addr, size_t bytes)
{
    CHECK(addr == NULL || (addr[0] == 0 && memcmp(addr, addr + 1, bytes - 1) == 0));
}

static void operation_alloc(struct object *object)
{
    size_t way = fuzz_byte() % 8, bytes = fuzz_bytes();
    void *addr;

    object_free(object, way);
    if (way < 4) {
        addr = kmalloc(bytes);
        CHECK(!is_pow2(bytes) || IS_ALIGNED((uintptr_t)addr, MIN(bytes, PAGE_BYTES)));
        CHECK(bytes < 16 || IS_ALIGNED((uintptr_t)addr, 16));
        object_set(object, OBJECT_SIZED, addr, bytes);
    } else if (way < 5) {
        addr = kzalloc(bytes);
        fuzz_check_zero(addr, bytes);
        object_set(object, OBJECT_SIZED, addr, bytes);
    } else if (way < 7) {
        size_t align = (size_t)1 << fuzz_byte() % 17;

        addr = kmalloc_aligned(bytes, align);
        CHECK(IS_ALIGNED((uintptr_t)addr, align));
        object_set(object, OBJECT_PLAIN, addr, bytes);
    } else {
        size_t pages = 1 + bytes / PAGE_BYTES;

        addr = page_alloc(pages, PAGE_ZERO);
        fuzz_check_zero(addr, pages * PAGE_BYTES);
        object_set(object, OBJECT_PAGES, addr, pages * PAGE_BYTES);
    }
}

static void operation_resize(struct object *object)
{
    size_t bytes = fuzz_bytes();
    struct object before = *object;

    if (object->kind != OBJECT_SIZED && object->kind != OBJECT_PLAIN)
        return;
    if (fuzz_byte() % 2 == 0)
        bytes += object->bytes;
    object_check(object, object->bytes);

    uint8_t *moved = krealloc(object->addr, bytes);

    if (moved == NULL) {
        CHECK(fuzz.may_fail || fuzz.live_bytes + bytes > LITTLE_BYTES);
        object_check(object, object->bytes);
        return;
    }
    before.addr = moved;
    object_check(&before, MIN(bytes, before.bytes));
    object->kind = OBJECT_NONE;
    fuzz.live_bytes -= before.bytes;
    object_set(object, OBJECT_SIZED, moved, bytes);
}

static void object_set_cached(struct object *object, size_t cache, uint8_t *addr)
{
    const struct cache *from = &fuzz.caches[cache];

    CHECK(from->align == 0 || IS_ALIGNED((uintptr_t)addr, from->align));
    if (addr != NULL && from->has_ctor)
        CHECK(addr[0] == CTOR_BYTE && memcmp(addr, addr + 1, from->bytes - 1) == 0);
    object_set(object, OBJECT_CACHED, addr, from->bytes);
    object->cache = cache;
}

static void operation_cache_alloc(struct object *object)
{
    size_t cache = fuzz_byte() % CACHES;

    object_free(object, cache);
    if (fuzz.caches[cache].cache != NULL)
        object_set_cached(object, cache, kmem_cache_alloc(fuzz.caches[cache].cache));
}

/* Bulks of a cache or of kmalloc, into objects in a row; then some of them, of all kinds, at once. */
static void operation_bulk(void)
{
    size_t n = fuzz_byte() % BULK, cache = fuzz_byte() % (2 * CACHES), bytes = fuzz_bytes();
    struct object *objects = &fuzz.objects[fuzz_byte() % (OBJECTS - BULK)];
    void *bulk[BULK];
    size_t got, count = 0;

    for (size_t i = 0; i < n; i++) {
        if (objects[i].kind == OBJECT_PAGES)
            object_free(&objects[i], 0);
        if (objects[i].kind != OBJECT_NONE)
            bulk[count++] = object_retire(&objects[i]);
    }
    kfree_bulk(count, bulk);
    if (cache < CACHES && fuzz.caches[cache].cache == NULL)
        return;
    got = cache < CACHES ? kmem_cache_alloc_bulk(fuzz.caches[cache].cache, n, bulk)
                         : kmalloc_bulk(bytes, n, bulk);
    CHECK(got <= n);
    for (size_t i = 0; i < got; i++) {
        if (cache < CACHES)
            object_set_cached(&objects[i], cache, bulk[i]);
        else
            object_set(&objects[i], OBJECT_PLAIN, bulk[i], bytes);
    }
}

static void prefill_release(void)
{
    kmem_prefill_release(fuzz.prefill);
    fuzz.prefill = NULL;
}

static void operation_prefill(struct object *object)
{
    size_t cache = fuzz_byte() % CACHES, n = fuzz_byte();

    if (fuzz.prefill != NULL && n % 8 == 0) {
        prefill_release();
    } else if (fuzz.prefill != NULL) {
        size_t left = kmem_prefill_left(fuzz.prefill);
        uint8_t *addr;

        object_free(object, n);
        addr = kmem_prefill_take(fuzz.prefill);
        CHECK((addr != NULL) == (left > 0));
        if (addr != NULL)
            object_set_cached(object, fuzz.prefill_cache, addr);
    } else if (fuzz.caches[cache].cache != NULL) {
        fuzz.prefill = kmem_cache_prefill(fuzz.caches[cache].cache, n);
        fuzz.prefill_cache = cache;
        CHECK(fuzz.prefill == NULL || kmem_prefill_left(fuzz.prefill) == n);
    }
}

static size_t ctor_bytes; /* of the cache that is made; spans are made later: one size for all */

static void construct(void *object)
{
    memset(object, CTOR_BYTE, ctor_bytes);
}

static void cache_destroy(size_t cache)
{
    if (fuzz.prefill != NULL && fuzz.prefill_cache == cache)
        prefill_release();
    for (size_t i = 0; i < OBJECTS; i++) {
        if (fuzz.objects[i].kind == OBJECT_CACHED && fuzz.objects[i].cache == cache)
            object_free(&fuzz.objects[i], i);
    }
    kmem_cache_destroy(fuzz.caches[cache].cache);
    fuzz.caches[cache].cache = NULL;
}

static void operation_cache(void)
{
    size_t i = fuzz_byte() % CACHES, align = fuzz_byte() % 20;
    struct cache *cache = &fuzz.caches[i];

    if (fuzz.is_irq_off)
        return;
    if (cache->cache != NULL) {
        cache_destroy(i);
        return;
    }
    cache->has_ctor = fuzz_byte() % 4 == 0;
    cache->bytes = cache->has_ctor ? ctor_bytes : MIN(fuzz_bytes(), KMALLOC_SMALL_MAX);
    cache->align = cache->has_ctor || align > 12 ? 0 : (size_t)1 << align;
    cache->cache =
        kmem_cache_create("fuzz", cache->bytes, cache->align, cache->has_ctor ? construct : NULL,
                          cache->has_ctor ? 0 : fuzz_byte() & KMEM_CACHE_FLAGS);
}

static void operation_drain(void)
{
    size_t how = fuzz_byte() % 8;

    if (how < 3 || fuzz.is_irq_off)
        slab_drain_this_cpu(NULL);
    else if (how < 4)
        slab_trim_depots(fuzz_byte() % 4);
    else if (how < 6)
        slab_drain_all();
    else if (how < 7)
        mm_drain();
    else
        mm_check();
}

static void operation_irq(void)
{
    if (fuzz.is_irq_off)
        port_irq_restore(fuzz.irq);
    else
        fuzz.irq = port_irq_save();
    fuzz.is_irq_off = !fuzz.is_irq_off;
}

/* It stays armed over operations to come, until it has fired or another is armed. */
static void operation_fault(void)
{
    size_t nth = fuzz_byte() % 16;

    if (nth == 0)
        fault_disarm();
    else
        fault_fail_nth((unsigned)nth);
}

static void fuzz_operation(size_t operation)
{
    fuzz.may_fail = fault_is_armed();
    if (operation < 80)
        operation_alloc(fuzz_object());
    else if (operation < 120)
        object_free(fuzz_object(), fuzz_byte());
    else if (operation < 150)
        operation_resize(fuzz_object());
    else if (operation < 190)
        operation_cache_alloc(fuzz_object());
    else if (operation < 200)
        operation_cache();
    else if (operation < 212)
        operation_bulk();
    else if (operation < 222)
        operation_prefill(fuzz_object());
    else if (operation < 232)
        operation_drain();
    else if (operation < 242)
        operation_irq();
    else
        operation_fault();
}

static void fuzz_end(void)
{
    fault_disarm();
    if (fuzz.is_irq_off)
        operation_irq();
    prefill_release();
    for (size_t i = 0; i < OBJECTS; i++)
        object_free(&fuzz.objects[i], i);
    for (size_t i = 0; i < CACHES; i++) {
        if (fuzz.caches[i].cache != NULL)
            cache_destroy(i);
    }
    mm_drain();
    mm_check();
    CHECK(page_free_count() == pages_at_start);
    CHECK(guard_stats().live == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *words = getenv("CMDLINE");
    char cmdline[256];

    (void)argc, (void)argv;
    snprintf(cmdline, sizeof(cmdline), "guard_rate=50 %s", words != NULL ? words : "");
    if (hosted_start(RAM_BYTES, 1, cmdline) != 0)
        exit(EXIT_FAILURE);
    cpu_idle_hold();
    mm_drain();
    pages_at_start = page_free_count();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    memset(&fuzz, 0, sizeof(fuzz));
    fuzz.next = data;
    fuzz.end = data + bytes;
    guard_reseed(1); /* an input does the same each time, or nearly so */
    ctor_bytes = fuzz_byte() + 8;
    for (unsigned i = 0; i < OPERATION_MAX && fuzz.next < fuzz.end; i++)
        fuzz_operation(fuzz_byte());
    fuzz_end();
    return 0;
}
