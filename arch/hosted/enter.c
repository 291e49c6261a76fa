/*
 * Entering and leaving CPUs, and loans (cpu.c has the picture).
 *
 * A loan that another thread needs ends by an interrupt, REVOKE: so at a moment when the borrower
 * has interrupts on.  Its handler posts loan_ended, since it cannot take hosted_lock.  Whoever waits
 * has set the CPU's state to WANTED and raised REVOKE under the lock; a borrower that finds its CPU
 * WANTED under the lock takes the interrupt there and then, so REVOKE never outlives the loan.  Where
 * its flow is switched away from instead, the CPU is parked (cpu.c) and the loan goes on: REFUSED.
 *
 * Locks: hosted_lock.
 */
#define _GNU_SOURCE
#include <semaphore.h>
#include <sys/mman.h>
#include "arch/hosted/hosted.h"
#include "arch/hosted/hosted_impl.h"

static sem_t loan_ended;
static pthread_key_t exit_key; /* set while a thread that is not idle may hold a CPU */

struct hosted_cpu *hosted_cpu_claim_locked(enum hosted_cpu_state from)
{
    struct hosted_cpu *cpu = hosted_cpus, *end = &hosted_cpus[hosted_cpu_count];

    while (cpu < end && (cpu->state != from || cpu->is_parked))
        cpu++;
    if (cpu == end || (hosted_is_forked && from == HOSTED_CPU_LOAN))
        return NULL;

    cpu->state = HOSTED_CPU_WANTED;
    if (hosted_is_forked) {
        cpu->state = HOSTED_CPU_GIVEN; /* its idle thread does not exist */
    } else if (from == HOSTED_CPU_IDLE) {
        atomic_store_explicit(&cpu->is_wanted, true, memory_order_release);
        hosted_irq_raise(cpu, HOSTED_IRQ_PREEMPT);
        pthread_cond_broadcast(&hosted_changed[cpu->id]);
        while (cpu->state != HOSTED_CPU_GIVEN)
            pthread_cond_wait(&hosted_changed[cpu->id], &hosted_lock);
    } else {
        hosted_irq_raise(cpu, HOSTED_IRQ_REVOKE);
        pthread_mutex_unlock(&hosted_lock);
        while (sem_wait(&loan_ended) != 0)
            continue;
        pthread_mutex_lock(&hosted_lock);
        if (cpu->state == HOSTED_CPU_REFUSED) {
            hosted_cpu_set_locked(cpu, HOSTED_CPU_LOAN);
            return NULL;
        }
        cpu->state = HOSTED_CPU_GIVEN;
    }
    return cpu;
}

/*
 * The borrower's flow is switched away from while another thread waits for the loan to end: it does
 * not, since there is no moment in sight at which the borrower has interrupts on.  Until who waits has
 * seen that, the state stays.
 */
static void cpu_refuse_locked(struct hosted_cpu *cpu)
{
    atomic_fetch_and_explicit(&cpu->pending, ~(uint32_t)HOSTED_IRQ_REVOKE, memory_order_seq_cst);
    cpu->state = HOSTED_CPU_REFUSED;
    sem_post(&loan_ended);
}

void hosted_cpu_park(struct hosted_cpu *cpu)
{
    pthread_mutex_lock(&hosted_lock);
    if (cpu->state == HOSTED_CPU_WANTED)
        cpu_refuse_locked(cpu);
    hosted_cpu_unbind();
    cpu->is_parked = true;
    pthread_cond_broadcast(&hosted_changed[cpu->id]);
    while (cpu->is_parked)
        pthread_cond_wait(&hosted_changed[cpu->id], &hosted_lock);
    pthread_mutex_unlock(&hosted_lock);
    hosted_cpu_bind(cpu, 1);
}

/* The borrower's half, in hosted_irq_take. */
void hosted_cpu_revoked(void)
{
    hosted_cpu_unbind();
    sem_post(&loan_ended);
}

/* If another thread waits for this thread's loan to end, end it here.  Interrupts on. */
static struct hosted_cpu *cpu_settle_locked(void)
{
    struct hosted_cpu *cpu = hosted_this.cpu;

    while (cpu != NULL && cpu->state == HOSTED_CPU_REFUSED)
        pthread_cond_wait(&hosted_changed[cpu->id], &hosted_lock);
    if (cpu != NULL && cpu->state == HOSTED_CPU_WANTED)
        hosted_irq_handle();
    return hosted_this.cpu;
}

void hosted_cpu_take_locked(struct hosted_cpu *cpu, enum hosted_cpu_state state)
{
    cpu->state = state;
    cpu->holder = hosted_this_find();
    hosted_this.is_firm = state == HOSTED_CPU_HELD;
    pthread_setspecific(exit_key, cpu);
}

static void cpu_check_caller(const char *caller)
{
    struct hosted_cpu *cpu = hosted_this.cpu;
    unsigned long depth = hosted_this.irq & HOSTED_IRQ_DEPTH_MASK;

    if (hosted_this.is_idle)
        kernel_panic("%s: called by a kernel thread, on CPU %u", caller, cpu->id);
    if (cpu != NULL && depth != 0)
        kernel_panic("%s: CPU %u has interrupts off (depth %lu)", caller, cpu->id, depth);
}

int hosted_cpu_enter(void)
{
    struct hosted_cpu *cpu = hosted_this.cpu;

    if (hosted_cpu_count == 0)
        return -1;
    cpu_check_caller("hosted_cpu_enter");
    if (cpu != NULL && hosted_this.is_firm)
        kernel_panic("hosted_cpu_enter: this thread holds CPU %u already", cpu->id);

    pthread_mutex_lock(&hosted_lock);
    cpu = cpu_settle_locked();
    bool has_loan = cpu != NULL;
    if (cpu == NULL)
        cpu = hosted_cpu_claim_locked(HOSTED_CPU_IDLE);
    if (cpu == NULL)
        cpu = hosted_cpu_claim_locked(HOSTED_CPU_LOAN);
    if (cpu != NULL)
        hosted_cpu_take_locked(cpu, HOSTED_CPU_HELD);
    pthread_mutex_unlock(&hosted_lock);

    if (cpu == NULL)
        return -1;
    hosted_cpu_pin(cpu);
    if (!has_loan)
        hosted_cpu_bind_entered(cpu);
    return (int)cpu->id;
}

static void cpu_leave(void)
{
    pthread_mutex_lock(&hosted_lock);
    struct hosted_cpu *cpu = cpu_settle_locked();
    if (cpu != NULL) {
        hosted_cpu_unbind();
        cpu->next = NULL;
        hosted_cpu_set_locked(cpu, HOSTED_CPU_IDLE);
    }
    pthread_setspecific(exit_key, NULL);
    pthread_mutex_unlock(&hosted_lock);

    if (hosted_this.is_firm)
        hosted_cpu_unpin();
    hosted_this.is_firm = false;
    hosted_this.is_starter = false;
    hosted_trap_thread_fini();
}

void hosted_cpu_give_back(const char *caller)
{
    cpu_check_caller(caller);
    cpu_leave();
}

void hosted_cpu_leave(void)
{
    if (hosted_this.cpu == NULL)
        hosted_die_without_cpu("hosted_cpu_leave: this thread holds no CPU");
    hosted_cpu_give_back("hosted_cpu_leave");
}

/* At a thread's exit: nobody else would ever give its CPU back. */
static void cpu_thread_exits(void *unused)
{
    struct hosted_cpu *cpu = hosted_this.cpu;

    (void)unused;
    if (cpu != NULL && hosted_this.is_firm)
        kernel_panic("a thread ended while it holds CPU %u: call hosted_cpu_leave first", cpu->id);
    cpu_leave();
}

/* A call into the kernel without a CPU: the starter's loan comes back if a CPU is free. */
struct hosted_cpu *hosted_cpu_missing(void)
{
    struct hosted_cpu *cpu;

    if (hosted_cpu_count == 0)
        hosted_die_without_cpu("there is no machine: call hosted_start first");
    if (!hosted_this.is_starter)
        hosted_die_without_cpu("this thread holds no CPU: call hosted_cpu_enter first");

    pthread_mutex_lock(&hosted_lock);
    cpu = hosted_cpu_claim_locked(HOSTED_CPU_IDLE);
    if (cpu != NULL)
        hosted_cpu_take_locked(cpu, HOSTED_CPU_LOAN);
    pthread_mutex_unlock(&hosted_lock);
    if (cpu == NULL)
        hosted_die_without_cpu("this thread's loan of a CPU has ended and no other CPU is free");
    hosted_cpu_bind_entered(cpu);
    return cpu;
}

/* Reports as a CPU of its own, with per-CPU variables of its own, so that nobody's are touched. */
void hosted_die_without_cpu(const char *message)
{
    static struct hosted_cpu nobody;
    size_t bytes = (size_t)(__stop_percpu - __start_percpu);
    void *percpu = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (percpu != MAP_FAILED)
        nobody.percpu_offset = (uintptr_t)percpu - (uintptr_t)__start_percpu;
    hosted_cpu_bind(&nobody, 1);
    kernel_panic("%s", message);
}

void hosted_loan_init(void)
{
    sem_init(&loan_ended, 0, 0);
    pthread_key_create(&exit_key, cpu_thread_exits);
}

void hosted_loan_fini(void)
{
    pthread_key_delete(exit_key);
    sem_destroy(&loan_ended);
}
