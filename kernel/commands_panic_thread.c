/* `panic KIND`, what threads can do wrong; all on CPU 0. */
#include "arch/arch.h"
#include "kernel/commands_panic.h"
#include "kernel/panic.h"
#include "kernel/thread/mutex.h"
#include "kernel/thread/sync.h"
#include "kernel/thread/thread.h"

static struct mutex left = MUTEX_INIT("left"), right = MUTEX_INIT("right");
static struct semaphore has_one = SEMAPHORE_INIT("has one", 0), go_on = SEMAPHORE_INIT("go on", 0);

static struct thread *panic_start(const char *name, void (*entry)(void *arg))
{
    static const struct thread_options here = {.priority = THREAD_NORMAL, .cpus = 1};
    struct thread *thread = thread_create(name, entry, NULL, &here);

    if (thread == NULL)
        panic("no memory for a thread");
    return thread;
}

/* A page after the other, in frames of several, so that the backtrace gets to the first. */
static NOINLINE unsigned panic_deeper(unsigned depth)
{
    volatile char frame[4 * ARCH_PAGE_BYTES];

    for (size_t at = sizeof(frame); at != 0; at -= ARCH_PAGE_BYTES)
        frame[at - ARCH_PAGE_BYTES] = (char)depth;
    return depth == UINT32_MAX ? 0 : panic_deeper(depth + 1) + (unsigned)frame[0];
}

static void panic_deep_entry(void *result)
{
    *(volatile unsigned *)result = panic_deeper(0);
}

static void panic_thread_overflow(void)
{
    thread_join(panic_start("deep", panic_deep_entry));
}

static NOINLINE void panic_lock_both(struct mutex *first, struct mutex *second)
{
    mutex_lock(first);
    semaphore_give(&has_one);
    semaphore_take(&go_on);
    mutex_lock(second);
    mutex_unlock(second);
    mutex_unlock(first);
}

static void panic_left_entry(void *unused)
{
    (void)unused;
    panic_lock_both(&left, &right);
}

static void panic_right_entry(void *unused)
{
    (void)unused;
    panic_lock_both(&right, &left);
}

static void panic_mutex_deadlock(void)
{
    struct thread *one = panic_start("one", panic_left_entry);
    struct thread *two = panic_start("two", panic_right_entry);

    semaphore_take(&has_one);
    semaphore_take(&has_one);
    semaphore_give(&go_on);
    semaphore_give(&go_on);
    thread_join(one);
    thread_join(two);
}

static void panic_owner_entry(void *unused)
{
    (void)unused;
    mutex_lock(&left);
    semaphore_give(&has_one);
    for (;;)
        thread_park();
}

static void panic_mutex_unlock(void)
{
    (void)panic_start("owner", panic_owner_entry);
    semaphore_take(&has_one);
    mutex_unlock(&left);
}

static void panic_park_entry(void *unused)
{
    unsigned long irq = arch_irq_save();

    (void)unused;
    thread_park();
    arch_irq_restore(irq);
}

static void panic_park_irq_off(void)
{
    thread_join(panic_start("careless", panic_park_entry));
}

static void panic_wait_entry(void *unused)
{
    (void)unused;
    semaphore_give(&has_one);
    mutex_lock(&left);
}

static void panic_ask_entry(void *unused)
{
    (void)unused;
    panic("asked for");
}

/* One owns, one waits for it; a third one panics. */
static void panic_threads(void)
{
    (void)panic_start("owner", panic_owner_entry);
    semaphore_take(&has_one);
    (void)panic_start("waiter", panic_wait_entry);
    semaphore_take(&has_one);
    thread_yield();
    thread_join(panic_start("asker", panic_ask_entry));
}

const struct panic_kind panic_thread_kinds[] = {
    {"thread-overflow", panic_thread_overflow},
    {"mutex-deadlock", panic_mutex_deadlock},
    {"mutex-unlock", panic_mutex_unlock},
    {"park-irq-off", panic_park_irq_off},
    {"threads", panic_threads},
    {NULL, NULL},
};
