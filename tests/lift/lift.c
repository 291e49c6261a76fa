/*
 * The state behind tests/lift/port.h: RAM, tables and CPUs of a POSIX process.  See there for what
 * it does and where its limits are.
 */
#define _GNU_SOURCE
#include "mm/port.h"
#include <pthread.h>
#include <stdarg.h>
#include <sys/mman.h>

#define LIFT_PAGE_BYTES  4096ul
#define LIFT_TABLE_BYTES (512 * GIB) /* addresses for all tables */

char *lift_ram;
unsigned lift_cpus = 1;
port_lock_t lift_cpu_locks[PORT_CPU_MAX];
_Thread_local unsigned lift_cpu;
_Thread_local bool lift_irq_off;
_Thread_local unsigned lift_fail_nth;

static char *lift_tables;       /* [C] LIFT_TABLE_BYTES of addresses */
static size_t lift_tables_used; /* bytes reserved, from the start */
static bool *lift_backed;       /* per page of lift_tables: committed */

static char *lift_map(size_t bytes, int rights)
{
    void *addr = mmap(NULL, bytes, rights, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (addr == MAP_FAILED)
        lift_panic("lift: no %zu bytes of address space", bytes);
    return addr;
}

void lift_start(size_t ram_bytes, unsigned cpus)
{
    uintptr_t addr = (uintptr_t)lift_map(ram_bytes + GIB, PROT_READ | PROT_WRITE);

    lift_ram = (char *)ALIGN_UP(addr, GIB);
    lift_tables = lift_map(LIFT_TABLE_BYTES, PROT_READ);
    lift_backed = (bool *)lift_map(LIFT_TABLE_BYTES / LIFT_PAGE_BYTES, PROT_READ | PROT_WRITE);
    lift_cpus = cpus;
    lift_enter(0);
}

void lift_enter(unsigned cpu)
{
    CHECK(cpu < lift_cpus && !lift_irq_off);
    lift_cpu = cpu;
}

/* Its turn comes once it has interrupts on; this thread acts in its place. */
void port_call(unsigned cpu, void (*fn)(void *arg), void *arg)
{
    unsigned self = lift_cpu;

    CHECK(port_can_wait());
    lift_cpu = cpu;
    unsigned long state = port_irq_save();

    fn(arg);
    port_irq_restore(state);
    lift_cpu = self;
}

void port_call_all(void (*fn)(void *arg), void *arg)
{
    for (unsigned cpu = 0; cpu < lift_cpus; cpu++)
        port_call(cpu, fn, arg);
}

/* All CPUs' locks are this thread's, taken in order: no other thread is inside mm/. */
void port_stop_others(void (*fn)(void *arg), void *arg)
{
    unsigned long state = 0;

    for (unsigned cpu = 0; cpu < lift_cpus; cpu++) {
        if (cpu == lift_cpu)
            state = port_irq_save();
        else
            lift_lock(&lift_cpu_locks[cpu]);
    }
    fn(arg);
    for (unsigned cpu = 0; cpu < lift_cpus; cpu++) {
        if (cpu != lift_cpu)
            lift_unlock(&lift_cpu_locks[cpu]);
    }
    port_irq_restore(state);
}

/* This thread's stack from here up. */
static NOINLINE void lift_stack_root(void (*fn)(uintptr_t start, uintptr_t end, void *arg),
                                     void *arg)
{
    pthread_attr_t attributes;
    void *low = NULL;
    size_t bytes = 0;

    if (pthread_getattr_np(pthread_self(), &attributes) != 0)
        return;
    pthread_attr_getstack(&attributes, &low, &bytes);
    pthread_attr_destroy(&attributes);
    fn((uintptr_t)__builtin_frame_address(0), (uintptr_t)low + bytes, arg);
}

void port_each_root(void (*fn)(uintptr_t start, uintptr_t end, void *arg), void *arg)
{
    extern char __data_start[], _end[];

    __builtin_unwind_init(); /* registers to this function's frame */
    fn((uintptr_t)__data_start, (uintptr_t)_end, arg);
    lift_stack_root(fn, arg);
}

void port_each_stack(void (*fn)(uintptr_t start, uintptr_t end, void *arg), void *arg)
{
    __builtin_unwind_init();
    lift_stack_root(fn, arg);
}

void *port_table_reserve(size_t bytes)
{
    char *table = lift_tables + lift_tables_used;

    if (bytes > LIFT_TABLE_BYTES - lift_tables_used)
        return NULL;
    lift_tables_used += ALIGN_UP(bytes, LIFT_PAGE_BYTES);
    return table;
}

/* The process backs the page; the one taken stands for it in mm/'s accounts. */
bool port_table_commit(void *addr, size_t bytes, void *(*take_page)(void))
{
    char *end = (char *)addr + bytes;

    for (char *page = addr; page < end; page += LIFT_PAGE_BYTES) {
        bool *is_backed = &lift_backed[(size_t)(page - lift_tables) / LIFT_PAGE_BYTES];

        if (*is_backed)
            continue;
        if (take_page() == NULL || mprotect(page, LIFT_PAGE_BYTES, PROT_READ | PROT_WRITE) != 0)
            return false;
        *is_backed = true;
    }
    return true;
}

void *port_guard_reserve(void)
{
    return lift_map(PORT_GUARD_BYTES, PROT_NONE);
}

bool port_guard_map(void *addr, void *page)
{
    (void)page;
    return mprotect(addr, LIFT_PAGE_BYTES, PROT_READ | PROT_WRITE) == 0;
}

void port_guard_unmap(void *addr)
{
    (void)mprotect(addr, LIFT_PAGE_BYTES, PROT_NONE);
}

void lift_panic(const char *format, ...)
{
    va_list args;

    fflush(stdout);
    fprintf(stderr, "panic: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    abort();
}

void check_failed(const char *expression, const char *file, int line)
{
    lift_panic("%s:%d: CHECK(%s)", file, line, expression);
}
