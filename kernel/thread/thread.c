/*
 * Threads: made, parked, woken, ended, joined (kernel/thread/thread.h); the table of all.
 *
 * Park and wake.  A thread's state holds one permit at most.  thread_park takes it, or else sets
 * PARKED, by one compare-and-swap: so a thread_wake before that leaves a permit that it finds, and one
 * after it finds PARKED.  Of several that wake it the one whose fetch_or sets the permit makes it
 * ready; nobody else touches it then.
 *
 * End.  A thread cannot free the stack that it runs on: it goes to the next thread's (sched.c), and there
 * thread_ended frees it.  is_gone is set, and who joins is woken, under THREADS; he waits until that has
 * been let go: so when he frees the thread, and ends, who has woken him is through with both.  Who walks over the table pins the
 * thread that he is at, and an ended one stays there until it is not.
 *
 * Locks: THREADS over the table, and over who joins whom.
 */
#include "kernel/panic.h"
#include "kernel/base/string.h"
#include "kernel/thread/sched_impl.h"
#include "mm/slab/slab.h"
#include "mm/gc/barrier.h"

static struct {
    struct spinlock lock;
    struct thread *first;     /* [L] newest first; CPUs' own flows are not in it */
    size_t count;             /* [L] racy readers */
    struct kmem_cache *cache; /* [C] from the first thread on */
} threads = {.lock = SPINLOCK_INIT(THREADS)};

/* ---- Table ---- */

/* Interrupts off. */
static void thread_table_add(struct thread *thread)
{
    spin_lock_off(&threads.lock);
    thread->table_prev = NULL;
    thread->table_next = threads.first;
    if (threads.first != NULL)
        threads.first->table_prev = thread;
    threads.first = thread;
    threads.count++;
    spin_unlock_off(&threads.lock);
}

static void thread_table_remove_locked(struct thread *thread)
{
    if (thread->table_prev != NULL)
        thread->table_prev->table_next = thread->table_next;
    else
        threads.first = thread->table_next;
    if (thread->table_next != NULL)
        thread->table_next->table_prev = thread->table_prev;
    threads.count--;
}

__attribute__((no_sanitize("thread"))) size_t thread_count(void)
{
    return threads.count;
}

const char *thread_name(const struct thread *thread)
{
    return thread->name;
}

/* ---- Made ---- */

static void thread_set_name(struct thread *thread, const char *name)
{
    size_t n = 0;

    for (; name[n] != '\0' && n < sizeof(thread->name) - 1; n++)
        thread->name[n] = name[n];
    thread->name[n] = '\0';
}

void thread_init_own(struct thread *thread, const char *name, unsigned cpu)
{
    thread_set_name(thread, name);
    thread->priority = THREAD_NORMAL;
    thread->cpus = 1ull << cpu;
    atomic_store_explicit(&thread->cpu, (uint16_t)cpu, memory_order_relaxed);
}

bool thread_table_init(void)
{
    threads.cache = kmem_cache_create("thread", sizeof(struct thread), 0, NULL, 0);
    return threads.cache != NULL;
}

struct thread *thread_create(const char *name, void (*entry)(void *arg), void *arg,
                             const struct thread_options *options)
{
    static const struct thread_options usual = {.priority = THREAD_NORMAL};
    struct thread *thread = kmem_cache_alloc(threads.cache);

    if (thread == NULL)
        return NULL;
    if (options == NULL)
        options = &usual;
    *thread = (struct thread){.priority = (uint8_t)options->priority};
    if (!stack_create(&thread->stack, options->stack_bytes)) {
        kmem_cache_free(threads.cache, thread);
        return NULL;
    }
    thread_set_name(thread, name);
    thread->priority = (uint8_t)options->priority;
    thread->cpus = options->cpus != 0 ? options->cpus : UINT64_MAX;
    thread->entry = entry;
    thread->arg = arg;
    arch_flow_init(&thread->flow, thread->stack.limit, thread->stack.top, sched_entry, thread);

    unsigned long irq = arch_irq_save();

    gc_note_move((uintptr_t)arg);
    thread_table_add(thread);
    atomic_store_explicit(&thread->cpu, (uint16_t)arch_cpu_id(), memory_order_relaxed);
    sched_ready(thread);
    arch_irq_restore(irq);
    sched_leave_if_due();
    return thread;
}

/* ---- Park and wake ---- */

void thread_park(void)
{
    sched_check_may_wait("thread_park");
    arch_irq_disable();
    thread_park_off(thread_self());
    arch_irq_enable();
}

void thread_wake(struct thread *thread)
{
    unsigned long irq = arch_irq_save();

    thread_wake_off(thread);
    arch_irq_restore(irq);
    sched_leave_if_due();
}

/* ---- Ended ---- */

void thread_exit(void)
{
    struct thread *self = thread_self();

    sched_check_may_wait("thread_exit");
    if (self->entry == NULL)
        panic("thread_exit: %s is a CPU's own flow, not a thread that was created", self->name);
    arch_irq_disable();
    atomic_store_explicit(&self->state, THREAD_ENDED, memory_order_relaxed);
    sched_switch_away(false);
    panic("thread_exit: %s runs on", self->name);
}

static void thread_free(struct thread *thread)
{
    kmem_cache_free(threads.cache, thread);
}

/* It has ended and nobody looks at it: true if the caller shall free it, else who joins will. */
static bool thread_settle_locked(struct thread *thread)
{
    if (!thread->has_ended || thread->pins != 0)
        return false;
    thread_table_remove_locked(thread);
    atomic_store_explicit(&thread->is_gone, true, memory_order_release);
    if (thread->joiner != NULL)
        thread_wake_off(thread->joiner);
    return thread->is_detached;
}

void thread_ended(struct thread *thread)
{
    arch_flow_end(&thread->flow);
    stack_destroy(&thread->stack);

    spin_lock_off(&threads.lock);
    thread->has_ended = true;

    bool is_mine = thread_settle_locked(thread);

    spin_unlock_off(&threads.lock);
    if (is_mine)
        thread_free(thread);
}

void thread_join(struct thread *thread)
{
    struct thread *self = thread_self();

    sched_check_may_wait("thread_join");
    if (thread == self)
        panic("thread_join: %s joins itself", self->name);

    unsigned long irq = spin_lock(&threads.lock);

    if (thread->is_detached || (thread->joiner != NULL && thread->joiner != self))
        panic("thread_join: %s is detached, or another thread joins it", thread->name);
    thread->joiner = self;
    spin_unlock(&threads.lock, irq);
    while (!atomic_load_explicit(&thread->is_gone, memory_order_acquire))
        thread_park();
    spin_wait(&threads.lock); /* who has set it and wakes us is through with both then */
    thread_free(thread);
}

void thread_detach(struct thread *thread)
{
    unsigned long irq = spin_lock(&threads.lock);
    bool is_gone = atomic_load_explicit(&thread->is_gone, memory_order_relaxed);

    if (thread->is_detached || thread->joiner != NULL)
        panic("thread_detach: %s is detached already, or a thread joins it", thread->name);
    thread->is_detached = true;
    spin_unlock(&threads.lock, irq);
    if (is_gone)
        thread_free(thread);
}

/* ---- All threads ---- */

struct thread *thread_next(struct thread *thread)
{
    unsigned long irq = spin_lock(&threads.lock);
    struct thread *next = thread == NULL ? threads.first : thread->table_next;
    bool is_mine = false;

    if (next != NULL)
        next->pins++;
    if (thread != NULL) {
        thread->pins--;
        is_mine = thread_settle_locked(thread);
    }
    spin_unlock(&threads.lock, irq);
    if (is_mine)
        thread_free(thread);
    return next;
}

/* Everybody stands still: no lock. */
void thread_each_still(void (*fn)(struct thread *thread, void *arg), void *arg)
{
    for (struct thread *thread = threads.first; thread != NULL; thread = thread->table_next)
        fn(thread, arg);
}
