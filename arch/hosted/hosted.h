/*
 * Spandrel on a Linux process: the same kernel/ and mm/, linked from libspandrel.a.
 *
 * hosted_start makes a machine: RAM is one mapping, CPUs are threads, interrupts are signals.  A
 * CPU that no thread holds is run by an idle thread of its own, which answers calls and takes jobs.
 * A thread must hold a CPU while it calls into the kernel (kmalloc and all else); a call without
 * one panics.
 *
 *     hosted_start(256 << 20, 4, "");
 *     void *p = kmalloc(100);         the thread that started has CPU 0 on loan
 *     ...                             other threads: hosted_cpu_enter, work, hosted_cpu_leave
 *     kfree(p);
 *     hosted_stop();
 *
 * The loan ends, at a moment when interrupts are on, when another thread enters and no other CPU
 * is free; hosted_cpu_enter makes it firm.  The next call into the kernel by a thread whose loan
 * has ended takes an idle CPU if there is one, else it panics.
 *
 * Signals SIGRTMIN+1 and SIGRTMIN+2 belong to the port, as do SIGSEGV, SIGBUS, SIGILL and SIGFPE
 * of threads that hold a CPU; handlers run on an alternate stack, which the port gives to a thread
 * while it holds one, if its own has less than 256 KiB.  A panic writes its report to standard output and aborts.
 *
 * After fork() the child has one thread, which stands in for all CPUs: calls to other CPUs run on
 * it, jobs for others never do, nor do kernel threads on other CPUs, or what waits there.
 */
#pragma once

#include <stddef.h>

/*
 * hosted_start -- make the machine and boot the kernel on it.
 *   ram_bytes  at least 4 MiB, rounded down to whole pages; costs only what is touched
 *   cpus       1 .. 64; may be more than the cores there are
 *   cmdline    as in kernel/cmdline.h; NULL: none
 *   returns    0, this thread having CPU 0 on loan; -1 with a message on standard error
 *   pairs      hosted_stop; then it may be called again
 */
int hosted_start(size_t ram_bytes, unsigned cpus, const char *cmdline);

/*
 * hosted_stop -- release everything and put the library into its first state.  No thread but the
 * caller may hold a CPU, which is checked; all addresses that the kernel gave become invalid.
 */
void hosted_stop(void);

/*
 * hosted_cpu_enter -- bind this thread to a free CPU until hosted_cpu_leave.
 *   returns  its index, 0 .. cpus - 1; -1 when none is free or nothing is started
 *   context  a thread that holds none, or one on loan; waits for a CPU's job in progress
 */
int hosted_cpu_enter(void);

/* Give the CPU back; interrupts on.  A thread may not end while it holds one. */
void hosted_cpu_leave(void);

/*
 * hosted_module_load -- a file that the next hosted_start hands to the kernel as a module, under
 * its name without folders.  Returns 0, or -1 with a message on standard error.
 */
int hosted_module_load(const char *path);
