/*
 * Console input (kernel/console.h): a ring that the input interrupt fills, and the reader too,
 * when it finds it empty: an interrupt that found the ring full has left bytes in the device.
 *
 * Locks: console_in.
 */
#include "kernel/console.h"
#include "kernel/cpus.h"
#include "kernel/lock.h"

#define CONSOLE_RING_BYTES 256u /* a power of two */

static struct spinlock console_in = SPINLOCK_INIT(CONSOLE_IN);
static char console_ring[CONSOLE_RING_BYTES]; /* [console_in] */
static unsigned console_put, console_taken; /* [console_in] bytes so far; modulo the ring's size */

static void console_fill_locked(void)
{
    while (console_put - console_taken < CONSOLE_RING_BYTES) {
        int byte = arch_console_read();

        if (byte < 0)
            return;
        console_ring[console_put++ % CONSOLE_RING_BYTES] = (char)byte;
    }
}

void kernel_console_input(void)
{
    unsigned long irq_state = spin_lock(&console_in);

    console_fill_locked();
    spin_unlock(&console_in, irq_state);
    cpu_note_interrupt();
}

int console_read(void)
{
    unsigned long irq_state = spin_lock(&console_in);
    int byte = -1;

    if (console_put == console_taken)
        console_fill_locked();
    if (console_put != console_taken)
        byte = (unsigned char)console_ring[console_taken++ % CONSOLE_RING_BYTES];
    spin_unlock(&console_in, irq_state);
    return byte;
}

char console_wait(void)
{
    struct cpu_idle idle = {0};

    for (;;) {
        arch_irq_disable();
        int byte = console_read();

        if (byte >= 0) {
            arch_irq_enable();
            return (char)byte;
        }
        cpu_idle_wait(&idle); /* input that comes after the look ends the wait */
    }
}
