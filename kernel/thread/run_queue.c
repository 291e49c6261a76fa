/*
 * Queues of threads that want to run.
 *
 * A CPU's own queue is touched by that CPU only, with interrupts off: so it needs no lock, and a switch no
 * atomic instruction.  Only who puts a thread there counts it by one, for CPUs that go to sleep.  What others have for a CPU they put into its inbox,
 * under a lock.  So is the global queue, whose threads are for whoever comes.
 *
 * Locks: RUN_QUEUE, of one shared queue at a time.
 */
#include "kernel/thread/thread_impl.h"

#define QUEUE_LOOK_MAX 32u /* threads of a priority that are looked at for CPUs */

struct thread *run_queue_pop_patient(struct run_queue *queue)
{
    if (queue->priorities == 0)
        return NULL;
    run_queue_count_add(queue, -1u);
    return run_queue_unlink(queue, 31u - (unsigned)__builtin_clz(queue->priorities));
}

/*
 * Take those out of one list, up to n, that may go to `cpu`, and append them at *tail.  One that is still
 * on a CPU has only just been queued by that CPU, which is this one: it stays.
 */
static unsigned run_queue_take(struct run_queue *queue, unsigned priority, unsigned cpu, unsigned n,
                               struct thread ***tail)
{
    struct thread **at = &queue->first[priority], *before = NULL;
    unsigned taken = 0;

    while (*at != NULL && taken < n) {
        struct thread *thread = *at;

        if (!(thread->cpus >> cpu & 1) ||
            atomic_load_explicit(&thread->is_on_cpu, memory_order_relaxed)) {
            before = thread;
            at = &thread->next;
            continue;
        }
        *at = thread->next;
        if (queue->last[priority] == thread)
            queue->last[priority] = before;
        **tail = thread;
        *tail = &thread->next;
        taken++;
    }
    **tail = NULL;
    if (queue->first[priority] == NULL)
        queue->priorities &= ~(1u << priority);
    return taken;
}

uint64_t run_queue_cpus(const struct run_queue *queue, uint64_t cpus)
{
    uint64_t found = 0;

    for (unsigned priority = 0; priority < THREAD_PRIORITIES; priority++) {
        const struct thread *thread = queue->first[priority];

        if (!(queue->priorities >> priority & 1))
            continue;
        for (unsigned i = 0; i < QUEUE_LOOK_MAX && thread != NULL; i++, thread = thread->next)
            found |= thread->cpus & cpus;
    }
    return found;
}

unsigned run_queue_give(struct run_queue *from, struct shared_queue *to, unsigned cpu, unsigned n)
{
    struct thread *given = NULL, **tail = &given;
    unsigned count = 0;

    for (unsigned priority = 0; priority < THREAD_PRIORITIES && count < n; priority++) {
        if (from->first[priority] != NULL)
            count += run_queue_take(from, priority, cpu, n - count, &tail);
    }
    run_queue_count_add(from, -count);

    unsigned long irq = spin_lock(&to->lock);

    while (given != NULL) {
        struct thread *next = given->next;

        run_queue_push(&to->queue, given);
        given = next;
    }
    spin_unlock(&to->lock, irq);
    return count;
}

void shared_queue_init(struct shared_queue *shared)
{
    *shared = (struct shared_queue){.lock = SPINLOCK_INIT(RUN_QUEUE)};
}

void shared_queue_push(struct shared_queue *shared, struct thread *thread)
{
    unsigned long irq = spin_lock(&shared->lock);

    run_queue_push(&shared->queue, thread);
    spin_unlock(&shared->lock, irq);
}

void shared_queue_take(struct shared_queue *shared, struct run_queue *to, unsigned n)
{
    unsigned long irq = spin_lock(&shared->lock);
    struct thread *thread;

    for (; n > 0 && (thread = run_queue_pop(&shared->queue)) != NULL; n--) {
        atomic_store_explicit(&thread->cpu, (uint16_t)arch_cpu_id(), memory_order_relaxed);
        run_queue_push(to, thread);
    }
    spin_unlock(&shared->lock, irq);
}
