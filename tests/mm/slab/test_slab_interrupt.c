/*
 * The fast paths of allocation and free, interrupted by handlers that allocate and free objects of
 * the same class on the same CPU: once at every instruction of each, one instruction at a time, with
 * the loaded magazine empty, full, nearly so, and in between.
 *
 * Every object that is out holds its own address at both ends, so a slot that is handed out twice
 * shows at once.  A slot that is lost shows when all objects are free: the class counts it as live.
 * Without the rewind (arch/sequence.h) both happen: tests/mutants/arch.txt takes it away.
 */
#include "arch/sequence.h"
#include "kernel/cpus.h"
#include "mm/port.h"
#include "mm/slab/central.h"
#include "mm/slab/slab.h"
#include "tests/arch/step.h"
#include "tests/mm/slab/objects.h"
#include "tests/test.h"

#define OBJECT_WORDS  8u /* 64 bytes */
#define OBJECT_BYTES  (OBJECT_WORDS * sizeof(uintptr_t))
#define HELD_MAX      256u
#define HELD_FIRST    128u /* more than two magazines hold, so there is always one to free */
#define HANDLER_BURST 40u  /* more than a magazine holds */
#define STEPS_MIN     6u   /* instructions of a hit, at least */
#define STEPS_MAX     400u /* no call has so many */

/*
 * Sequences are the same in all builds, but under a sanitizer it takes hundreds of steps to get to one: there
 * each level and handler has every so many-th instruction, another each.
 */
#define STRIDE (__STDC_HOSTED__ && CONFIG_DEBUG ? 5u : 1u)

/* What is interrupted. */
enum way {
    WAY_KMALLOC, /* and kfree */
    WAY_CONSTANT,
    WAY_SIZED,
    WAY_CACHE,
    WAY_CONSTRUCTED,
    WAY_SHARED,
    WAYS
};

static struct interrupted {
    enum way way;
    struct kmem_cache *cache; /* of the last three */
    bool is_free; /* the interrupted call is a free of `subject`; else it allocates it */
    uintptr_t *subject;
    unsigned takes, gives; /* by the handler */
    bool takes_first;
    uintptr_t *held[HELD_MAX]; /* out, besides */
    unsigned held_count;
    unsigned at;    /* the instruction, from 1 in functions that are RESTARTABLE */
    unsigned steps; /* of these so far */
    struct cpu_post post;
} interrupted;

static volatile size_t variable_bytes = OBJECT_BYTES; /* that no compiler knows */

static uintptr_t *object_alloc(void)
{
    switch (interrupted.way) {
    case WAY_KMALLOC:
    case WAY_SIZED:
        return kmalloc(variable_bytes);
    case WAY_CONSTANT:
        return kmalloc(OBJECT_BYTES);
    default:
        return kmem_cache_alloc(interrupted.cache);
    }
}

static void object_free(uintptr_t *object)
{
    switch (interrupted.way) {
    case WAY_KMALLOC:
    case WAY_CONSTANT:
        return kfree(object);
    case WAY_SIZED:
        return kfree_sized(object, variable_bytes);
    default:
        return kmem_cache_free(interrupted.cache, object);
    }
}

static void object_mark(uintptr_t *object)
{
    object[0] = object[OBJECT_WORDS - 1] = (uintptr_t)object;
}

static bool object_is_own(const uintptr_t *object)
{
    return object[0] == (uintptr_t)object && object[OBJECT_WORDS - 1] == (uintptr_t)object;
}

/* False: exhausted. */
static bool held_take(void)
{
    struct interrupted *in = &interrupted;
    uintptr_t *object = object_alloc();

    if (object == NULL)
        return false;
    object_mark(object);
    in->held[in->held_count++] = object;
    return true;
}

static void held_give(void)
{
    object_free(interrupted.held[--interrupted.held_count]);
}

/* ---- One call, interrupted ---- */

static void interrupting_handler(void *unused)
{
    struct interrupted *in = &interrupted;

    (void)unused;
    for (unsigned i = 0; in->takes_first && i < in->takes; i++)
        (void)held_take();
    for (unsigned i = 0; i < in->gives; i++)
        held_give();
    for (unsigned i = 0; !in->takes_first && i < in->takes; i++)
        (void)held_take();
}

/* Behind the call's fast path there is nothing of interest. */
static void interrupted_before(uintptr_t pc)
{
    struct interrupted *in = &interrupted;

    if (pc - (uintptr_t)__start_restartable >=
        (uintptr_t)(__stop_restartable - __start_restartable)) {
        if (in->steps > 0)
            step_end();
    } else if (++in->steps == in->at) {
        cpu_post(&in->post, arch_cpu_id(), interrupting_handler, NULL);
        step_end();
    }
}

static void interrupted_call(void *unused)
{
    struct interrupted *in = &interrupted;

    (void)unused;
    if (in->is_free)
        object_free(in->subject);
    else
        in->subject = object_alloc();
}

/* Which magazines these objects go through. */
static unsigned magazine_index(void)
{
    for (unsigned i = 0; i < interrupted.held_count; i++) {
        const struct span *span = span_of(interrupted.held[i]);

        if (span != NULL) /* not guarded */
            return span->index;
    }
    return 0;
}

/* How full the loaded magazine shall be: this part of its room, or one slot from either end. */
enum level { LEVEL_EMPTY, LEVEL_ONE, LEVEL_HALF, LEVEL_ONE_LEFT, LEVEL_FULL, LEVELS };

static bool magazine_bring_to(unsigned index, enum level level)
{
    struct slab_cpu *cpu = port_this_cpu(slab_cpu);

    for (unsigned i = 0; i < 4 * HELD_MAX; i++) {
        unsigned room = cpu->room[index], has = magazine_loaded(cpu->tops[index]);
        unsigned want = level == LEVEL_EMPTY      ? 0
                        : level == LEVEL_ONE      ? 1
                        : level == LEVEL_HALF     ? room / 2
                        : level == LEVEL_ONE_LEFT ? room - 1
                                                  : room;

        if (has == want && cpu->tops[index] != 0)
            return true;
        if (has > want || (cpu->tops[index] == 0 && interrupted.held_count < HELD_FIRST)) {
            if (interrupted.held_count == HELD_MAX || !held_take())
                return false;
        } else {
            held_give();
        }
    }
    return false;
}

/* Interrupted at instruction `at`; false: it does not have so many. */
static bool interrupt_call(struct test *t, unsigned index, enum level level, unsigned at)
{
    struct interrupted *in = &interrupted;

    while (in->held_count < HELD_FIRST)
        if (!EXPECT(t, held_take()))
            return false;
    if (in->is_free)
        in->subject = in->held[--in->held_count];
    if (!EXPECT(t, magazine_bring_to(index, level)))
        return false;
    in->at = at;
    in->steps = 0;
    step_run(interrupted_call, NULL, interrupted_before);

    bool was_interrupted = in->steps >= at;

    EXPECT(t, !was_interrupted || cpu_post_is_done(&in->post));
    if (!in->is_free && EXPECT(t, in->subject != NULL)) {
        object_mark(in->subject);
        in->held[in->held_count++] = in->subject;
    }
    for (unsigned i = 0; i < in->held_count; i++)
        EXPECT(t, object_is_own(in->held[i]));
    while (in->held_count > HELD_FIRST)
        held_give();
    return was_interrupted && t->failures == 0;
}

/* ---- All calls ---- */

/* What the handler does to each level; the longer ones only to a magazine that is half full. */
static const struct handler {
    unsigned takes, gives;
    bool takes_first, is_long;
} handlers[] = {
    {1, 0, true, false},
    {0, 1, true, false},
    {2, 2, true, true},
    {2, 2, false, true},
    {HANDLER_BURST, 0, true, true},
    {0, HANDLER_BURST, true, true},
};

static void interrupt_by(struct test *t, const struct handler *handler, enum level level)
{
    unsigned index = magazine_index();

    interrupted.takes = handler->takes;
    interrupted.gives = handler->gives;
    interrupted.takes_first = handler->takes_first;
    for (unsigned is_free = 0; is_free < 2 && t->failures == 0; is_free++) {
        unsigned at = 1 + (unsigned)(handler - handlers + level) % STRIDE;

        interrupted.is_free = is_free;
        while (at < STEPS_MAX && interrupt_call(t, index, level, at))
            at += STRIDE;
        EXPECT(t, at > STEPS_MIN && at < STEPS_MAX);
    }
}

static void interrupt_every_instruction(struct test *t)
{
    for (unsigned i = 0; i < ARRAY_COUNT(handlers); i++) {
        for (enum level level = 0; level < LEVELS; level++)
            if (level == LEVEL_HALF || !handlers[i].is_long)
                interrupt_by(t, &handlers[i], level);
    }
}

static void construct(void *object)
{
    object_mark(object);
}

static const char *way_class(enum way way)
{
    return way == WAY_CACHE || way == WAY_CONSTRUCTED ? "interrupted" : "kmalloc-64";
}

TEST(slab, interrupted_at_every_instruction)
{
    struct interrupted *in = &interrupted;

    if (!ARCH_HAS_SEQUENCES) {
        test_skip(t, "built without sequences");
        return;
    }
    if (!slots_are_cached(t))
        return;
    for (enum way way = 0; way < WAYS && t->failures == 0; way++) {
        *in = (struct interrupted){.way = way};
        if (way >= WAY_CACHE) {
            in->cache = kmem_cache_create("interrupted", OBJECT_BYTES, 0,
                                          way == WAY_CONSTRUCTED ? construct : NULL,
                                          way == WAY_SHARED ? KMEM_CACHE_SHARE : 0);
            REQUIRE(t, in->cache != NULL);
        }

        size_t live = class_row(way_class(way)).live;

        while (in->held_count < HELD_FIRST)
            REQUIRE(t, held_take());
        interrupt_every_instruction(t);
        while (in->held_count > 0)
            held_give();
        EXPECT(t, class_row(way_class(way)).live == live);
        mm_check();
        kmem_cache_destroy(in->cache);
        *in = (struct interrupted){0}; /* no references: the tests of leaks look at all of memory */
    }
}
