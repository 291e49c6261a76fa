/*
 * This CPU's magazines: how they are exchanged, how large they are, and where empty ones come from.
 * The theory stands in mm/slab/magazine.h.
 *
 * Locks: none of its own; everything here belongs to this CPU, with interrupts off.  MAGAZINES for
 * the pool of empty ones.
 */
#include "mm/slab/slab_impl.h"
#include "mm/span/pool.h"

#define MAGAZINE_HEAP_SHARE 4u            /* of the heap, one part: what all CPUs' may hold */
#define MAGAZINE_CPU_FLOOR  (32ul * 1024) /* but so much for each */
#define MAGAZINE_HAND_STEP  2u            /* magazines that one visit looks at for capacity */

#define EMPTY_HEAP_SHARE 8u  /* of the heap, one part: what all CPUs' empty magazines may take */
#define EMPTY_FLOOR      8u  /* but so many for each */
#define EMPTY_MOVED      4u  /* between a CPU and the pool at once */
#define EMPTY_VISITS     16u /* of depots, after which the bound is computed anew */

PORT_STAT(slab, refills);
PORT_STAT(slab, flushes);
PORT_STAT(slab, capacity_moved);

PORT_PERCPU(struct slab_cpu, slab_cpu);
struct central *_Atomic slab_by_index[SLAB_INDEX_MAX];

static struct pool magazine_pool = POOL_INIT(MAGAZINES, sizeof(struct seq_magazine));

/* ---- Empty ones ---- */

static void magazine_push_empty(struct slab_cpu *cpu, struct seq_magazine *block)
{
    block->words[0] = cpu->empty;
    cpu->empty = block;
    cpu->empty_count++;
}

/* NULL: there is none. */
static struct seq_magazine *magazine_pop_empty(struct slab_cpu *cpu)
{
    struct seq_magazine *block = cpu->empty;

    if (block != NULL) {
        cpu->empty = block->words[0];
        cpu->empty_count--;
    }
    return block;
}

static struct seq_magazine *magazine_alloc(struct slab_cpu *cpu)
{
    if (UNLIKELY(cpu->empty == NULL)) {
        void *blocks[EMPTY_MOVED];
        unsigned n = pool_take_many(&magazine_pool, EMPTY_MOVED, blocks);

        while (n > 0)
            magazine_push_empty(cpu, blocks[--n]);
    }
    return magazine_pop_empty(cpu);
}

/* All but `keep` to the pool. */
static void magazine_return_empties(struct slab_cpu *cpu, unsigned keep)
{
    while (cpu->empty_count > keep) {
        void *blocks[EMPTY_MOVED];
        unsigned n = 0;

        while (n < EMPTY_MOVED && cpu->empty_count > keep)
            blocks[n++] = magazine_pop_empty(cpu);
        pool_give_many(&magazine_pool, n, blocks);
    }
}

static void magazine_keep(struct slab_cpu *cpu, struct seq_magazine *block)
{
    magazine_push_empty(cpu, block);
    if (UNLIKELY(cpu->empty_count > cpu->empty_max))
        magazine_return_empties(cpu, cpu->empty_max - MIN(cpu->empty_max, EMPTY_MOVED));
}

/* One `share`th of the heap, parted among the CPUs; bytes. */
static size_t magazine_heap_share(size_t share)
{
    return span_bytes_now() / (share * port_cpu_count());
}

/* A CPU in a phase of allocation empties magazines that it will fill again when it frees. */
static unsigned magazine_empty_max(void)
{
    size_t blocks = magazine_heap_share(EMPTY_HEAP_SHARE) / sizeof(struct seq_magazine);

    return MAX((unsigned)blocks, EMPTY_FLOOR);
}

void magazine_free(struct seq_magazine *block)
{
    pool_give(&magazine_pool, block);
}

void magazine_drain_empties(void)
{
    unsigned long irq = port_irq_save();

    magazine_return_empties(port_this_cpu(slab_cpu), 0);
    port_irq_restore(irq);
}

void magazine_pool_drain(void)
{
    pool_drain(&magazine_pool);
}

void magazine_pool_each_page(void (*fn)(uintptr_t start, uintptr_t end, void *arg), void *arg)
{
    pool_each_page(&magazine_pool, fn, arg);
}

size_t magazine_pool_bytes(void)
{
    return pool_bytes(&magazine_pool);
}

/* ---- Capacity ---- */

/* What this CPU's magazines may hold together: no more than a part of the heap as it is. */
static size_t magazine_budget(void)
{
    return MIN(atomic_load_explicit(&slab_limits.cpu_bytes, memory_order_relaxed),
               MAX(magazine_heap_share(MAGAZINE_HEAP_SHARE), MAGAZINE_CPU_FLOOR));
}

/* What two magazines of so many slots may hold. */
static size_t magazine_pair_bytes(const struct central *central, unsigned capacity)
{
    return 2 * (size_t)capacity * central->owner.layout.slot_bytes;
}

/* Take the capacity of magazines that have not missed since the hand came past; false: none near. */
static bool magazine_take_capacity(struct slab_cpu *cpu, unsigned except)
{
    for (unsigned i = 0; i < MAGAZINE_HAND_STEP; i++) {
        unsigned index = cpu->hand;

        cpu->hand = (cpu->hand + 1) % SLAB_INDEX_MAX;
        if (cpu->capacity[index] == 0 || index == except)
            continue;
        if (!cpu->missed[index]) {
            magazine_drain(atomic_load_explicit(&slab_by_index[index], memory_order_acquire));
            port_stat_inc(slab, capacity_moved);
            return true;
        }
        cpu->missed[index] = false;
    }
    return false;
}

/* Of magazines that rest, until this class's may hold `now` slots; false: that is over the budget. */
static bool magazine_find_capacity(struct slab_cpu *cpu, const struct central *central,
                                   unsigned now)
{
    unsigned index = central->owner.index;
    size_t more = magazine_pair_bytes(central, now - cpu->capacity[index]);
    size_t budget = magazine_budget();

    while (cpu->capacity_bytes + more > budget) {
        if (!magazine_take_capacity(cpu, index))
            return false;
    }
    return true;
}

static void magazine_set_capacity(struct slab_cpu *cpu, const struct central *central, unsigned now)
{
    unsigned index = central->owner.index;

    cpu->capacity_bytes += magazine_pair_bytes(central, now - cpu->capacity[index]);
    cpu->capacity[index] = (uint8_t)now;
}

/* A visit to central: let the next magazine hold more, if the budget allows. */
static void magazine_visit(struct slab_cpu *cpu, const struct central *central)
{
    unsigned index = central->owner.index;
    unsigned was = cpu->capacity[index];

    if (cpu->visits++ % EMPTY_VISITS == 0)
        cpu->empty_max = magazine_empty_max();
    cpu->missed[index] = true;
    if (LIKELY(was == central->magazine_max))
        return;

    unsigned now = was == 0 ? central->magazine_min : MIN(2 * was, central->magazine_max);

    if (magazine_find_capacity(cpu, central, now) || was == 0)
        magazine_set_capacity(cpu, central, now);
}

/* A CPU whose magazines hold more has filled this one: it counts as it is, whatever the budget. */
static void magazine_claim(struct slab_cpu *cpu, const struct central *central, unsigned count)
{
    if (LIKELY(count <= cpu->capacity[central->owner.index]))
        return;
    (void)magazine_find_capacity(cpu, central, count);
    magazine_set_capacity(cpu, central, count);
}

/* ---- Exchange ---- */

bool magazine_may_cache(const struct central *central)
{
    return central->magazine_max != 0 && port_this_cpu(slab_cpu)->gate != central->owner.index &&
           !port_fault_is_armed();
}

static struct seq_magazine *magazine_loaded_block(const struct slab_cpu *cpu, unsigned index)
{
    return cpu->tops[index] != 0 ? magazine_of_top(cpu->tops[index]) : NULL;
}

/* Make a magazine the loaded one, with words for `room` slots, of which the lower `count` are. */
static void magazine_load(struct slab_cpu *cpu, unsigned index, struct seq_magazine *block,
                          unsigned room, unsigned count)
{
    void **below = &block->words[SEQ_MAGAZINE_WORDS - 1 - room];

    *below = (void *)&seq_nothing;
    cpu->room[index] = (uint8_t)room;
    cpu->tops[index] = seq_top_of(below + count);
}

/* A full one becomes the loaded one, which is empty, or none. */
static void magazine_install(struct slab_cpu *cpu, unsigned index, magazine_t full)
{
    struct seq_magazine *empty = magazine_loaded_block(cpu, index);
    unsigned count = magazine_count(full);

    magazine_load(cpu, index, magazine_block(full), count, count);
    if (empty == NULL)
        return;
    if (cpu->spares[index] == 0)
        cpu->spares[index] = (magazine_t)empty;
    else
        magazine_keep(cpu, empty);
}

/* Fill the loaded magazine from a shard's spans. */
static bool magazine_fill(struct slab_cpu *cpu, struct central *central, unsigned shard)
{
    unsigned index = central->owner.index, capacity = cpu->capacity[index];
    struct seq_magazine *block = magazine_loaded_block(cpu, index);

    if (block == NULL)
        block = magazine_alloc(cpu);
    if (block == NULL)
        return false;

    unsigned count =
        central_take(central, shard, capacity, &block->words[SEQ_MAGAZINE_WORDS - capacity]);

    magazine_load(cpu, index, block, capacity, count);
    return count > 0;
}

bool magazine_refill(struct central *central)
{
    struct slab_cpu *cpu = port_this_cpu(slab_cpu);
    unsigned index = central->owner.index;
    magazine_t spare = cpu->spares[index];

    if (magazine_count(spare) > 0) {
        cpu->spares[index] = 0;
        magazine_install(cpu, index, spare);
        return true;
    }

    unsigned own = central_shard_here(central);
    bool has_visited = false;

    for (unsigned i = 0; i < CENTRAL_SHARDS; i++) {
        unsigned shard = (own + i) % CENTRAL_SHARDS;
        magazine_t full;

        if (!central_has_slots(central, shard))
            continue;
        if (!has_visited) { /* who finds nothing comes again with a new span */
            magazine_visit(cpu, central);
            port_stat_inc(slab, refills);
            has_visited = true;
        }
        full = central_take_full(central, shard);
        if (full != 0) {
            magazine_claim(cpu, central, magazine_count(full));
            magazine_install(cpu, index, full);
            return true;
        }
        if (magazine_fill(cpu, central, shard))
            return true;
    }
    return false;
}

bool magazine_make_room(struct central *central, magazine_t *surplus)
{
    struct slab_cpu *cpu = port_this_cpu(slab_cpu);
    unsigned index = central->owner.index;
    struct seq_magazine *loaded = magazine_loaded_block(cpu, index);
    magazine_t full = loaded != NULL ? (magazine_t)loaded + cpu->room[index] : 0;
    magazine_t spare = cpu->spares[index];
    struct seq_magazine *empty = magazine_block(spare);

    if (empty == NULL || magazine_count(spare) > 0) {
        magazine_visit(cpu, central);
        empty = magazine_alloc(cpu);
        if (empty == NULL)
            return false;
        if (spare != 0 && !central_give_full(central, central_shard_here(central), spare))
            *surplus = spare;
        port_stat_inc(slab, flushes);
    }
    cpu->spares[index] = full;
    magazine_load(cpu, index, empty, cpu->capacity[index], 0);
    return true;
}

void magazine_flush(struct central *central, magazine_t magazine)
{
    central_give(central, magazine_count(magazine), magazine_slots(magazine));
    magazine_free(magazine_block(magazine));
}

void magazine_drain(struct central *central)
{
    unsigned long irq = port_irq_save();
    struct slab_cpu *cpu = port_this_cpu(slab_cpu);
    unsigned index = central->owner.index;
    struct seq_magazine *loaded = magazine_loaded_block(cpu, index);
    magazine_t spare = cpu->spares[index];
    unsigned count = loaded != NULL ? magazine_loaded(cpu->tops[index]) : 0;
    void **last = seq_top_word(cpu->tops[index]);

    cpu->tops[index] = 0;
    cpu->spares[index] = 0;
    cpu->capacity_bytes -= magazine_pair_bytes(central, cpu->capacity[index]);
    cpu->capacity[index] = 0;
    port_irq_restore(irq);

    if (count > 0)
        central_give(central, count, last + 1 - count);
    if (loaded != NULL)
        magazine_free(loaded);
    if (magazine_count(spare) > 0)
        central_give(central, magazine_count(spare), magazine_slots(spare));
    if (spare != 0)
        magazine_free(magazine_block(spare));
}
