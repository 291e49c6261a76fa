/* What the files of kernel/thread/ share. */
#pragma once

#include <stdatomic.h>
#include "arch/arch.h"
#include "kernel/lock.h"
#include "kernel/percpu.h"
#include "kernel/preempt.h"
#include "kernel/thread/thread.h"
#include "mm/stack/stack.h"

#define SCHED_QUEUE_MAX 256u /* threads in a CPU's queue; above, new ones go to the global queue */
#define SCHED_MOVE_MAX  128u /* threads moved between queues at once */
#define SCHED_TURNS     61u  /* Go's: switches between two looks at the global queue */

/* What keeps a thread from running, or nothing; and whether it has a permit. */
enum thread_state {
    THREAD_RUNS = 0, /* or waits for a CPU */
    THREAD_PERMIT = 1 << 0,
    THREAD_PARKED = 1 << 1,
    THREAD_SLEEPS = 1 << 2,
    THREAD_ENDED = 1 << 3,
};

/*
 * Lock letters: [C] constant, [A] atomic, [T] THREADS, [R] the lock of the queue that it is in,
 * [O] its own while it runs, else of who makes it run.
 *
 * Invariants
 *   T1  it is in one queue at most: of a CPU, the global one, or a CPU's sleepers
 *   T2  who has taken it out of a queue runs it, or puts it into another
 *   T3  is_on_cpu: some CPU is on its stack; nobody else may switch to it until that is false
 */
struct thread {
    struct arch_flow flow;
    struct stack stack;     /* top 0: it runs on a CPU's own */
    struct thread *next;    /* [R] queue; sleepers: the right heap */
    struct thread *left;    /* [R] sleepers: the left heap */
    uint64_t wake_at;       /* [O] arch_ticks() */
    uint64_t ran;           /* [O] arch_ticks() on CPUs; while it runs, less those when it came */
    uint64_t cpus;          /* [C] that it may run on */
    _Atomic uint8_t state;  /* [A] enum thread_state; acq_rel */
    _Atomic bool is_on_cpu; /* [A] release when its stack is left, acquire before it is used */
    uint8_t priority;       /* [C] enum thread_priority */
    bool is_detached, has_ended; /* [T] */
    _Atomic bool is_gone;        /* [T] ended, not pinned, out of the table */
    uint16_t pins;               /* [T] who looks at it: it stays until there are none */
    _Atomic uint16_t cpu;        /* [A] relaxed: where it runs or ran last */
    _Atomic(const char *)
        waits_on;          /* [A] relaxed: a literal, for reports; NULL: nothing, or mutex */
    struct mutex *mutex;   /* [OWNERS] that it waits for; NULL: none */
    struct thread *joiner; /* [T] NULL: none */
    struct thread *table_next, *table_prev; /* [T] */
    void (*entry)(void *arg);               /* [C] */
    void *arg;                              /* [C] */
    char name[THREAD_NAME_BYTES];           /* [C] */
};

/* Threads that want to run, a list for each priority: first in, first out. */
struct run_queue {
    struct thread *first[THREAD_PRIORITIES];
    struct thread *last[THREAD_PRIORITIES]; /* of what is not empty */
    unsigned priorities;                    /* a bit for each that is not empty */
    _Atomic uint32_t count; /* [A] threads; seq_cst against idle CPUs, see sched.c */
};

/* One that others put threads into, too. */
struct shared_queue {
    struct spinlock lock;
    struct run_queue queue; /* [L] but for its count */
};

#define TICK_ALWAYS 0ull       /* periodic, as the CPU is busy */
#define TICK_NEVER  UINT64_MAX /* none will come */

struct sched_cpu {
    uintptr_t current;         /* [P] struct thread that runs, by one load */
    struct thread *previous;   /* [P] whose stack has just been left; NULL when that is settled */
    uint64_t tick_at;          /* [P] arch_ticks() of its one tick; TICK_ALWAYS, TICK_NEVER */
    struct thread *waiter;     /* [P] waits for this CPU's next interrupt; NULL: none */
    uint64_t waiter_seen;      /* [P] interrupts that there had been when it began to */
    uint32_t turns;            /* [P] switches until it looks around again (sched_look_around) */
    uint32_t turns_given;      /* [P] what `turns` was when it was set last */
    uint64_t switches;         /* [P] before that; racy readers */
    bool is_entered;           /* [P] somebody has entered, who may wait or be preempted */
    struct thread idle;        /* the CPU's own flow */
    struct thread entered;     /* main; hosted: who has entered */
    struct run_queue queue;    /* [P] */
    struct shared_queue inbox; /* what others have given to this CPU */
    struct thread *sleepers;   /* [P] a heap by wake_at; NULL: none */
};

extern PERCPU(struct sched_cpu, sched_cpu);
extern struct shared_queue sched_global;
extern _Atomic uint64_t
    sched_idle_cpus; /* [A] a bit for each that sleeps or is about to; seq_cst */

/* ---- sched.c ---- */

void sched_attend(struct sched_cpu *cpu);     /* the next switch looks around first */
bool sched_run_others(struct sched_cpu *cpu); /* false: there was nobody */
void sched_arrive(void);  /* the end of a switch, on a flow that has just begun */
void sched_preempt(void); /* kernel_preempt */

/* ---- ready.c: interrupts off ---- */

bool sched_claim(
    unsigned cpu); /* an idle CPU for the caller's thread; false: it is not idle any more */
void sched_share(struct sched_cpu *cpu); /* give to idle CPUs what waits here */
void sched_ask_preempt(void);
void sched_look(void); /* ask for preemption if somebody more urgent waits here */

/* ---- sched.c, again ---- */

NORETURN void sched_may_not_wait(const char *caller);
extern bool sched_runs; /* [C] from sched_init on */

/*
 * May the thread that runs be left now?  Panics if not, naming the public function.  The depth is read in
 * one step: a thread that was moved on its way there would read that of a CPU that may be idle by now.
 */
static inline void sched_check_may_wait(const char *caller)
{
    if (UNLIKELY(!arch_percpu_is_zero(&preempt.depth) || !arch_irq_enabled()))
        sched_may_not_wait(caller);
}

void sched_entry(void *thread); /* where a new thread's flow begins */

/* Somebody more urgent has become ready here: let him run, if this is a place for it.  irq */
static inline void sched_leave_if_due(void)
{
    if (UNLIKELY(!arch_percpu_is_zero(&preempt.is_due)) && arch_irq_enabled())
        preempt_now();
}

/* ---- run_queue.c: interrupts off ---- */

/*
 * Relaxed: who reads the count of a queue that is not his goes on to the list under its lock, or asks its
 * CPU.  What makes it seen by CPUs that go to sleep is sched_ready's fence.
 */
static inline void run_queue_count_add(struct run_queue *queue, unsigned change)
{
    arch_own_add(&queue->count, change);
}

/* The list only: who takes one thread for another counts neither. */
static inline void run_queue_link(struct run_queue *queue, struct thread *thread)
{
    unsigned priority = thread->priority;

    thread->next = NULL;
    if (queue->first[priority] == NULL) {
        queue->first[priority] = thread;
        queue->priorities |= 1u << priority;
    } else {
        queue->last[priority]->next = thread;
    }
    queue->last[priority] = thread;
}

static inline struct thread *run_queue_unlink(struct run_queue *queue, unsigned priority)
{
    struct thread *thread = queue->first[priority];

    queue->first[priority] = thread->next;
    if (thread->next == NULL)
        queue->priorities &= ~(1u << priority);
    return thread;
}

/* Take the first of a priority, and put another thread in. */
static inline struct thread *run_queue_exchange(struct run_queue *queue, unsigned priority,
                                                struct thread *thread)
{
    struct thread *first = queue->first[priority];

    if (UNLIKELY(thread->priority != priority)) {
        run_queue_unlink(queue, priority);
        run_queue_link(queue, thread);
        return first;
    }
    thread->next = NULL;
    if (first->next != NULL) {
        queue->first[priority] = first->next;
        queue->last[priority]->next = thread;
    } else {
        queue->first[priority] = thread;
    }
    queue->last[priority] = thread;
    return first;
}

static inline void run_queue_push(struct run_queue *queue, struct thread *thread)
{
    run_queue_link(queue, thread);
    run_queue_count_add(queue, 1);
}

/* The most urgent; NULL: it is empty. */
static inline struct thread *run_queue_pop(struct run_queue *queue)
{
    if (queue->priorities == 0)
        return NULL;

    struct thread *thread = run_queue_unlink(queue, (unsigned)__builtin_ctz(queue->priorities));

    run_queue_count_add(queue, -1u);
    return thread;
}

struct thread *run_queue_pop_patient(struct run_queue *queue); /* the least urgent; likewise */

/* Of these CPUs, those that one of its first threads may run on. */
uint64_t run_queue_cpus(const struct run_queue *queue, uint64_t cpus);

/* Up to n of those that may run on `cpu` and whose stack is left, to another queue; returns how many. */
unsigned run_queue_give(struct run_queue *from, struct shared_queue *to, unsigned cpu, unsigned n);

void shared_queue_init(struct shared_queue *shared);
void shared_queue_push(struct shared_queue *shared, struct thread *thread);
/* Up to n, the most urgent first, to a queue of this CPU. */
void shared_queue_take(struct shared_queue *shared, struct run_queue *to, unsigned n);

/* Threads in it, from any CPU. */
static inline unsigned run_queue_count(const struct run_queue *queue)
{
    return atomic_load_explicit(&queue->count, memory_order_seq_cst);
}

/* The most urgent priority in it; THREAD_PRIORITIES: it is empty. */
static inline unsigned run_queue_urgency(const struct run_queue *queue)
{
    return (unsigned)__builtin_ctz(queue->priorities | 1u << THREAD_PRIORITIES);
}

/* ---- sleep.c: interrupts off ---- */

void sleep_wake_due(void); /* this CPU's whose time has come */
uint64_t sleep_next(void); /* arch_ticks() of the first of this CPU's; UINT64_MAX: none */

/* ---- watchdog.c ---- */

void watchdog_init(void);
uint64_t watchdog_next(
    void); /* arch_ticks() at which this CPU shall be awake to look; UINT64_MAX: need not */

/* ---- thread_info.c ---- */

void thread_report_init(void); /* panics tell of threads from now on */

/* ---- live.c ---- */

void live_init(void);

/* ---- thread.c ---- */

void thread_ended(struct thread *thread); /* its stack has been left for good; interrupts off */
void thread_init_own(struct thread *thread, const char *name, unsigned cpu); /* a CPU's own flow */
size_t thread_count(void);
void thread_each_still(void (*fn)(struct thread *thread, void *arg),
                       void *arg); /* all CPUs stopped */
bool thread_table_init(void);      /* false: no memory */
