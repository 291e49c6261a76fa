/*
 * Guard sampling: one allocation in so many gets a page of its own between pages that are not there.
 *
 *     guard_base
 *     |  -  | object 0 |  -  | object 1 |  -  | ... | object 254 |  -  |  -  |     2 MiB, 512 pages
 *
 *     left edge    |object######pattern########|     an access before it traps
 *     right edge   |########pattern######object|     an access behind it traps
 *
 * An access out of such an object's bounds is found at the instruction that does it, or by the
 * pattern around the object when that is freed.  After the free the page is gone until the slot's
 * turn comes again, after all other free ones, so a use after free is found too.  A record keeps who
 * allocated the object and who freed it.  Access to an object costs nothing, and allocations that
 * are not sampled pay for a subtraction on slow paths: this is for machines in use.
 *
 * A sample is due when a countdown by allocations, one per CPU, has run out; it starts anew at a
 * random number, so that no program is in step with it.  When more than three quarters of the slots
 * are in use, a site that has one already gets no other: so long-lived objects of one site do not
 * use up the pool.
 *
 * On another CPU than the one that frees, a translation may be cached for a while: a use after free
 * there can go unseen.  It hits the slot's own page, which never serves anything else.
 *
 * Setting guard_rate=0: no pool, no memory, nothing sampled.
 *
 * Source: Linux's KFENCE, after LLVM's GWP-ASan.
 */
#pragma once

#include "mm/mm.h"
#include "mm/port.h"

#define GUARD_OBJECTS_MAX ((PORT_GUARD_BYTES / PAGE_BYTES - 1) / 2)
#define GUARD_FRAMES      8u          /* callers that a record keeps of each event */
#define GUARD_NO_BASE     (1ul << 63) /* not an address of any port */

extern uintptr_t guard_base; /* [C] after guard_init: the pool's first byte; or GUARD_NO_BASE */

/* Is p in the pool, be it an object or not?  Any context. */
static ALWAYS_INLINE bool guard_owns(const void *p)
{
    return (uintptr_t)p - guard_base < PORT_GUARD_BYTES;
}

/* ---- Sampling ---- */

struct guard_countdown {
    int64_t left;    /* [P] allocations to the next sample; none left: guard_sample_slow */
    uint64_t random; /* [P] generator; 0: not begun */
};

extern PORT_PERCPU(struct guard_countdown, guard_countdown);

COLD bool guard_sample_slow(struct guard_countdown *countdown);

/*
 * guard_sample -- count allocations; is the next one to be guarded?
 *   allocations  on this CPU since the last call
 *   returns      true: give it to guard_alloc.  Intervals are uniform in 1 .. 2 * guard_rate - 1.
 *                Never while a fault is armed on this CPU
 *   context      interrupts off; not NMI; nine instructions, as a rule
 */
static ALWAYS_INLINE bool guard_sample(unsigned allocations)
{
    struct guard_countdown *countdown = port_this_cpu(guard_countdown);

    countdown->left -= allocations;
    return UNLIKELY(countdown->left <= 0) && guard_sample_slow(countdown);
}

/* ---- Objects ---- */

/*
 * guard_alloc -- take an object from the pool.
 *   cache_name  kept by reference, until guard_forget: for reports
 *   owner       what guard_free compares and guard_owner returns, the object's central; may be NULL
 *   bytes       1 .. PAGE_BYTES, exactly what the user may touch
 *   align       a power of two up to PAGE_BYTES
 *   returns     address; contents undefined; NULL: larger, the pool is off or used up, or the site
 *               has an object and the pool is three quarters full
 *   context     irq; takes GUARD; about 2,000 instructions
 *   pairs       guard_free
 */
void *guard_alloc(const char *cache_name, const void *owner, size_t bytes, size_t align);

/*
 * guard_free -- give an object back; its page is gone from here on.
 *   caller  the public function, for reports
 *   owner   NULL: any; else must be as allocated
 *   p       guard_owns(p)
 *   context irq; takes GUARD; about 2,500 instructions
 * Reports and panics: freed already, not an object's first byte, another owner, pattern damaged.
 */
void guard_free(const char *caller, const void *owner, void *p);

/*
 * Of an object in use: its bytes, and its owner.  What is none is reported, and panics.
 *   caller, p  as for guard_free; irq; takes GUARD
 */
size_t guard_object_bytes(const char *caller, const void *p);
const void *guard_owner(const char *caller, const void *p);

/* ---- Reports ---- */

/*
 * guard_explain_fault -- an access to `addr` has trapped: if it is in the pool, print what is known.
 *   text[0 .. bytes)  receives the panic's first line
 *   returns           false: the address is not of the pool; nothing was printed
 *   context           any; takes no lock
 */
bool guard_explain_fault(uintptr_t addr, bool is_write, char *text, size_t bytes);

struct guard_stats {
    size_t slots;       /* 0: the pool is off */
    size_t live, freed; /* slots with an object in use; with one that has been freed */
    size_t bytes;       /* of memory: pages of objects, used or not, and records */
    uint64_t rate;      /* one allocation in so many */
    uint64_t seed;
    uint64_t taken;     /* objects handed out since start */
    uint64_t covered;   /* samples left out: their site had one, and the pool was crowded */
    uint64_t exhausted; /* samples left out: no slot */
};
struct guard_stats guard_stats(void); /* irq; takes GUARD */

struct guard_event {
    uint64_t number; /* allocations and frees of the pool, counted from 1; 0: did not happen */
    uint32_t cpu;
    uint32_t frame_count;
    uintptr_t frames[GUARD_FRAMES]; /* return addresses from guard_alloc's caller outwards */
};

struct guard_object {
    uintptr_t addr; /* of its first byte */
    size_t bytes;
    const char *cache;
    const void *owner;
    struct guard_event alloc, free; /* free.number 0: in use */
};

/* What slot 0 .. slots - 1 has or had last; false: nothing yet.  irq; takes GUARD */
bool guard_object_at(size_t slot, struct guard_object *out);

/*
 * For who looks for references; nothing else running.  Call fn for [start, end) of
 *   guard_each_live  each object in use, where its user has it
 *   guard_each_page  the pool's pages, where the page heap has them: of freed objects too
 */
void guard_each_live(void (*fn)(uintptr_t start, uintptr_t end, void *arg), void *arg);
void guard_each_page(void (*fn)(uintptr_t start, uintptr_t end, void *arg), void *arg);

/* Objects in use of an owner, for who is to be destroyed: how many.  irq; takes GUARD */
size_t guard_live_count(const void *owner);
void guard_forget(const void *owner);     /* it goes, and its name: records name neither any more */
void guard_live_print(const void *owner); /* print them, with their sites; while they stay in use */

/* ---- For the rest of mm/ ---- */

/* Boot CPU, once, when page_alloc works.  Says so if there is no memory, and leaves the pool off. */
void guard_init(void);
void guard_check(void); /* panics on a broken invariant or pattern; nothing else running */

/* For tests: start the choice of edges, and this CPU's of samples, anew from a seed.  irq */
void guard_reseed(uint64_t seed);
