/*
 * Ticket spinlocks (kernel/lock.h).
 *
 * Idea: a comer draws a ticket and waits until it is served, so CPUs get the lock in the order in
 * which they asked.  Uncontended: one atomic add and one load to take, one add to
 * memory to release.
 *
 * Debug builds keep what each CPU holds.  A lock may be taken only if its rank stands below those
 * of all that are held; and only the CPU that holds a lock may release it.  spin_try_lock waits for
 * nobody, so it may take against the order.
 *
 * source  D. P. Reed and R. K. Kanodia, "Synchronization with eventcounts and sequencers", CACM 1979
 */
#include "kernel/lock.h"
#include "kernel/panic.h"
#include "kernel/percpu.h"
#include "kernel/print.h"

/* At once on one CPU: the ranks, a few of spin_try_lock, and of one rank many. */
#define LOCK_HELD_MAX (28 + SPIN_LOCK_ALSO_MAX)
_Static_assert(LOCK_HELD_MAX >= LOCK_RANK_COUNT + SPIN_LOCK_ALSO_MAX,
               "every rank may be held at once");

struct lock_held {
    struct spinlock *locks[LOCK_HELD_MAX]; /* [P] in the order taken */
    unsigned count;                        /* [P] */
};

static PERCPU(struct lock_held, lock_held); /* debug builds */

static const char *lock_rank_name(uint32_t rank)
{
    static const char *const names[] = {"NONE",
#define X(name) #name,
                                        LOCK_ORDER(X)
#undef X
    };

    return rank < LOCK_RANK_COUNT ? names[rank] : "(no rank)";
}

/* also: others of its rank may be held, at lower addresses. */
static void lock_check_order(const struct spinlock *lock, bool also)
{
    const struct lock_held *held = this_cpu(lock_held);

    if (lock->rank == LOCK_RANK_NONE || lock->rank >= LOCK_RANK_COUNT)
        panic("lock %p has no rank: it was never initialised", (const void *)lock);
    for (unsigned i = 0; i < held->count; i++) {
        if (held->locks[i] == lock)
            panic("lock order: %s is taken twice", lock_rank_name(lock->rank));
        if (also && held->locks[i]->rank == lock->rank && held->locks[i] < lock)
            continue;
        if (held->locks[i]->rank >= lock->rank)
            panic("lock order: %s is taken while %s is held", lock_rank_name(lock->rank),
                  lock_rank_name(held->locks[i]->rank));
    }
}

static void lock_held_add(struct spinlock *lock)
{
    struct lock_held *held = this_cpu(lock_held);

    CHECK(held->count < LOCK_HELD_MAX);
    held->locks[held->count++] = lock;
}

static void lock_held_remove(const struct spinlock *lock)
{
    struct lock_held *held = this_cpu(lock_held);
    unsigned i = held->count;

    do {
        if (i == 0)
            panic("lock %s is released by CPU %u, which does not hold it",
                  lock_rank_name(lock->rank), arch_cpu_id());
    } while (held->locks[--i] != lock);
    for (held->count--; i < held->count; i++)
        held->locks[i] = held->locks[i + 1];
}

void lock_dump_held(unsigned cpu)
{
    const struct lock_held *held = cpu_var(lock_held, cpu);

    for (unsigned i = 0; i < held->count && i < LOCK_HELD_MAX; i++)
        printk("  holds lock %s\n", lock_rank_name(held->locks[i]->rank));
}

void spin_lock_slow(struct spinlock *lock, uint32_t ticket)
{
    atomic_fetch_add_explicit(&lock->waits, 1, memory_order_relaxed);
    while (atomic_load_explicit(&lock->serving, memory_order_acquire) != ticket)
        arch_relax();
}

void spin_wait_slow(const struct spinlock *lock, uint32_t next)
{
    while ((int32_t)(atomic_load_explicit(&lock->serving, memory_order_acquire) - next) < 0)
        arch_relax();
}

static ALWAYS_INLINE void spin_take(struct spinlock *lock, bool also)
{
    if (CONFIG_DEBUG)
        lock_check_order(lock, also);
    uint32_t ticket = atomic_fetch_add_explicit(&lock->next, 1, memory_order_relaxed);
    if (UNLIKELY(atomic_load_explicit(&lock->serving, memory_order_acquire) != ticket))
        spin_lock_slow(lock, ticket);
    if (CONFIG_DEBUG)
        lock_held_add(lock);
}

void spin_lock_checked(struct spinlock *lock)
{
    CHECK(!arch_irq_enabled());
    spin_take(lock, false);
}

unsigned long spin_lock(struct spinlock *lock)
{
    unsigned long irq_state = arch_irq_save();

    spin_take(lock, false);
    return irq_state;
}

void spin_lock_also(struct spinlock *lock)
{
    CHECK(!arch_irq_enabled());
    spin_take(lock, true);
}

bool spin_try_lock(struct spinlock *lock, unsigned long *irq_state)
{
    unsigned long state = arch_irq_save();
    uint32_t ticket = atomic_load_explicit(&lock->serving, memory_order_acquire);

    /* Free if the ticket that is served has not been drawn: draw it. */
    if (!atomic_compare_exchange_strong_explicit(&lock->next, &ticket, ticket + 1,
                                                 memory_order_relaxed, memory_order_relaxed)) {
        arch_irq_restore(state);
        return false;
    }
    if (CONFIG_DEBUG)
        lock_held_add(lock);
    *irq_state = state;
    return true;
}

void spin_unlock_checked(struct spinlock *lock)
{
    if (CONFIG_DEBUG)
        lock_held_remove(lock);
    arch_own_add(&lock->serving, 1);
}

void spin_unlock(struct spinlock *lock, unsigned long irq_state)
{
    spin_unlock_checked(lock);
    arch_irq_restore(irq_state);
}

bool spin_is_held(const struct spinlock *lock)
{
    return atomic_load_explicit(&lock->next, memory_order_relaxed) !=
           atomic_load_explicit(&lock->serving, memory_order_relaxed);
}
