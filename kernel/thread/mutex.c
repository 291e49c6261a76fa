/*
 * Mutexes (kernel/thread/mutex.h), by the protocol of kernel/thread/waiter.h; `done` is that the
 * waiter is the owner.
 *
 *     0 <--compare-and-swap--> owner --first waiter, CAS--> owner | WAITERS
 *                                ^ hand-off, no more waiters   |  ^ | hand-off
 *                                +-----------------------------+  +-+
 *
 * The race of locking and unlocking: a waiter sets WAITERS by a compare-and-swap, so either the
 * unlocking one, that of owner to 0, comes first, and the waiter sees 0 and takes it; or it fails, and
 * the owner goes to hand it over, which waits for the waiter to stand in the list (M1).
 *
 * Who finds the owner running on another CPU, and nobody waiting, spins for a while first.
 *
 * Rings.  Who is about to sleep follows owner and mutex that the owner waits for, and so on, to
 * himself or to one who does not wait.  thread.mutex is set before, and cleared by whoever hands the
 * mutex over, with OWNERS held.  So while it is held, a thread whose `mutex` is set stands in that
 * mutex's list: the mutex is there, its owner is who he is and cannot hand it over; and of the
 * threads of a ring the last one to come sees all.
 *
 * Locks: SYNC, the mutex's; inside it OWNERS, one for all mutexes, taken only to sleep and to hand
 * over; RUN_QUEUE.
 */
#include "kernel/panic.h"
#include "kernel/print.h"
#include "kernel/base/format.h"
#include "kernel/cpus.h"
#include "kernel/thread/sync.h"
#include "kernel/thread/sched_impl.h"

#define MUTEX_SPINS 30u /* looks at a mutex whose owner runs; about what going to sleep costs */

static struct spinlock owners = SPINLOCK_INIT(OWNERS);

static uintptr_t mutex_word(const struct mutex *mutex)
{
    return atomic_load_explicit(&mutex->owner, memory_order_acquire);
}

static struct thread *mutex_owner(uintptr_t word)
{
    return (struct thread *)(word & ~MUTEX_WAITERS);
}

static ALWAYS_INLINE bool mutex_take(struct mutex *mutex, struct thread *self)
{
    uintptr_t nobody = 0;

    /* Release, too: who finds the owner there looks at the thread (mutex_next_owner_locked). */
    return atomic_compare_exchange_strong_explicit(&mutex->owner, &nobody, (uintptr_t)self,
                                                   memory_order_acq_rel, memory_order_relaxed);
}

bool mutex_is_held(const struct mutex *mutex)
{
    return mutex_owner(mutex_word(mutex)) == thread_self();
}

/* ---- Spinning ---- */

/* `current` of a CPU: the thread's address only, as the thread may be gone. */
static NOINLINE __attribute__((no_sanitize("thread"))) uintptr_t mutex_running(unsigned cpu)
{
    return *(volatile uintptr_t *)&cpu_var(sched_cpu, cpu)->current;
}

/* The CPU that a thread runs on, cpus_online(): none. */
static unsigned mutex_cpu_of(uintptr_t thread)
{
    unsigned cpu = 0;

    while (cpu < cpus_online() && mutex_running(cpu) != thread)
        cpu++;
    return cpu;
}

/* Wait for an owner that runs elsewhere; true: the mutex is ours. */
static bool mutex_spin(struct mutex *mutex, struct thread *self)
{
    uintptr_t word = mutex_word(mutex);
    unsigned cpu = mutex_cpu_of(word);

    for (unsigned i = 0; i < MUTEX_SPINS && cpu < cpus_online(); i++) {
        if (word == 0 && mutex_take(mutex, self))
            return true;
        arch_relax();

        uintptr_t now = mutex_word(mutex);

        if ((now & MUTEX_WAITERS) != 0)
            return false;
        if (now != word && now != 0)
            cpu = mutex_cpu_of(now);
        else if (now != 0 && mutex_running(cpu) != now)
            return false;
        word = now;
    }
    return false;
}

/* ---- Rings ---- */

/* The thread that `thread` waits for, NULL: none. */
static struct thread *mutex_next_owner_locked(const struct thread *thread)
{
    return thread->mutex != NULL ? mutex_owner(mutex_word(thread->mutex)) : NULL;
}

/* Nobody in a ring goes on: so no lock is needed, and the report finds OWNERS free. */
static COLD NORETURN void mutex_panic_ring(struct thread *self)
{
    struct thread *thread = self;
    unsigned count = 0;

    do {
        struct thread *owner = mutex_next_owner_locked(thread);

        printk("%s waits for mutex %s, owned by %s\n", thread->name, thread->mutex->name,
               owner->name);
        thread = owner;
        count++;
    } while (thread != self);
    panic("mutex_lock: deadlock: %u threads wait in a ring, the last to come is %s", count,
          self->name);
}

static void mutex_note_wait_locked(struct mutex *mutex, struct thread *self)
{
    unsigned long irq = spin_lock(&owners);
    const struct thread *thread = self;

    self->mutex = mutex;
    do {
        thread = mutex_next_owner_locked(thread);
    } while (thread != NULL && thread != self);
    spin_unlock(&owners, irq);
    if (thread == self)
        mutex_panic_ring(self);
}

bool sync_describe(const struct thread *thread, char *text, size_t bytes)
{
    const char *name = atomic_load_explicit(&thread->waits_on, memory_order_relaxed);
    unsigned long irq;

    if (bytes != 0)
        text[0] = '\0';
    if (name != NULL) {
        format_string(text, bytes, "waits for %s", name);
        return true;
    }
    if (!spin_try_lock(&owners, &irq)) /* never waits: a panic's report may be what asks */
        return false;

    const struct thread *owner = mutex_next_owner_locked(thread);

    if (owner != NULL)
        format_string(text, bytes, "waits for mutex %s, owned by %s", thread->mutex->name,
                      owner->name);
    spin_unlock(&owners, irq);
    return owner != NULL;
}

/* ---- Lock ---- */

/* Set WAITERS; false: the mutex has been unlocked, and is ours now. */
static bool mutex_set_waiters_locked(struct mutex *mutex, struct thread *self)
{
    uintptr_t word = mutex_word(mutex);

    for (;;) {
        if ((word & MUTEX_WAITERS) != 0)
            return true;
        if (word == 0) {
            if (mutex_take(mutex, self))
                return false;
            word = mutex_word(mutex);
        } else if (atomic_compare_exchange_weak_explicit(&mutex->owner, &word, word | MUTEX_WAITERS,
                                                         memory_order_relaxed,
                                                         memory_order_relaxed)) {
            return true;
        }
    }
}

static COLD void mutex_lock_slow(struct mutex *mutex, struct thread *self)
{
    struct waiter waiter = {.thread = self};

    sched_check_may_wait("mutex_lock");
    if (mutex_owner(mutex_word(mutex)) == self)
        panic("mutex_lock: %s has mutex %s already", self->name, mutex->name);
    if (mutex_spin(mutex, self))
        return;

    unsigned long irq = spin_lock(&mutex->lock);
    bool must_wait = mutex_set_waiters_locked(mutex, self);

    if (must_wait) {
        wait_list_push(&mutex->waiters, &waiter.link);
        mutex_note_wait_locked(mutex, self);
    }
    spin_unlock(&mutex->lock, irq);
    if (!must_wait)
        return;
    while (mutex_owner(mutex_word(mutex)) != self)
        thread_park();
    spin_wait(&mutex->lock);
}

void mutex_lock(struct mutex *mutex)
{
    struct thread *self = thread_self();

    if (CONFIG_DEBUG)
        sched_check_may_wait("mutex_lock");
    if (UNLIKELY(!mutex_take(mutex, self)))
        mutex_lock_slow(mutex, self);
}

bool mutex_try_lock(struct mutex *mutex)
{
    if (CONFIG_DEBUG)
        sched_check_may_wait("mutex_try_lock");
    return mutex_take(mutex, thread_self());
}

/* ---- Unlock ---- */

static COLD void mutex_unlock_slow(struct mutex *mutex, const struct thread *self)
{
    const struct thread *owner = mutex_owner(mutex_word(mutex));

    if (owner != self)
        panic("mutex_unlock: mutex %s is owned by %s, not by %s", mutex->name,
              owner != NULL ? owner->name : "nobody", self->name);

    unsigned long irq = spin_lock(&mutex->lock);
    struct wait_link *link = wait_list_pop(&mutex->waiters);
    struct thread *next = CONTAINER_OF(link, struct waiter, link)->thread;
    uintptr_t word = (uintptr_t)next | (mutex->waiters.first != NULL ? MUTEX_WAITERS : 0);
    unsigned long owners_irq = spin_lock(&owners);

    next->mutex = NULL;
    atomic_store_explicit(&mutex->owner, word, memory_order_release);
    spin_unlock(&owners, owners_irq);
    thread_wake_off(next);
    spin_unlock(&mutex->lock, irq);
    sched_leave_if_due();
}

void mutex_unlock(struct mutex *mutex)
{
    struct thread *self = thread_self();
    uintptr_t word = (uintptr_t)self;

    if (UNLIKELY(!atomic_compare_exchange_strong_explicit(
            &mutex->owner, &word, 0, memory_order_release, memory_order_relaxed)))
        mutex_unlock_slow(mutex, self);
}
