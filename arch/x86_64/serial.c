/*
 * A 16550 at COM1.
 *
 * Output is polled: when the transmitter is empty its FIFO takes 16 bytes at once.  A device that
 * is never ready is given up on after a bounded wait, so a panic gets through to its end.
 *
 * Input: the interrupt handler moves bytes into a ring, one producer (the CPU that the IO-APIC
 * routes to), one consumer at a time (the kernel's lock).  When the ring is full the handler
 * switches the interrupt off and leaves the bytes in the device, which holds up its sender;
 * arch_console_read switches it on again.
 */
#include "arch/x86_64/serial.h"
#include <stdatomic.h>
#include "arch/arch.h"
#include "arch/x86_64/instr.h"

#define COM1 0x3f8

enum serial_register {
    SERIAL_DATA = COM1,
    SERIAL_DIVISOR_LOW = COM1, /* while LINE_DIVISOR is set */
    SERIAL_INTERRUPTS = COM1 + 1,
    SERIAL_DIVISOR_HIGH = COM1 + 1,
    SERIAL_FIFO = COM1 + 2,
    SERIAL_LINE = COM1 + 3,
    SERIAL_MODEM = COM1 + 4,
    SERIAL_STATUS = COM1 + 5,
};

#define INTERRUPT_INPUT    0x01
#define FIFO_ON_CLEAR      0xc7 /* enable, clear both, interrupt at 14 bytes or a pause */
#define FIFO_BYTES         16
#define LINE_8N1           0x03
#define LINE_DIVISOR       0x80
#define MODEM_DTR_RTS_OUT2 0x0b /* OUT2 connects the interrupt line */
#define STATUS_INPUT       0x01
#define STATUS_SENT        0x20
#define STATUS_NONE        0xff /* what a port without a device reads as */
#define SEND_TRIES         1000000u

#define RING_BYTES 256u /* a power of two */

static uint8_t ring[RING_BYTES];
static _Atomic uint32_t ring_head;     /* bytes put in; release by the handler */
static _Atomic uint32_t ring_tail;     /* bytes taken out; release by the reader */
static _Atomic bool serial_is_held_up; /* interrupt off because of a full ring; seq_cst */

void serial_init(void)
{
    io_write8(SERIAL_INTERRUPTS, 0);
    io_write8(SERIAL_LINE, LINE_DIVISOR);
    io_write8(SERIAL_DIVISOR_LOW, 1); /* 115200 / 1 */
    io_write8(SERIAL_DIVISOR_HIGH, 0);
    io_write8(SERIAL_LINE, LINE_8N1);
    io_write8(SERIAL_FIFO, FIFO_ON_CLEAR);
    io_write8(SERIAL_MODEM, MODEM_DTR_RTS_OUT2);
}

void serial_input_init(void)
{
    if (io_read8(SERIAL_STATUS) != STATUS_NONE)
        io_write8(SERIAL_INTERRUPTS, INTERRUPT_INPUT);
}

void serial_interrupt(void)
{
    uint32_t head = atomic_load_explicit(&ring_head, memory_order_relaxed);

    while (io_read8(SERIAL_STATUS) & STATUS_INPUT) {
        if (head - atomic_load_explicit(&ring_tail, memory_order_acquire) == RING_BYTES) {
            io_write8(SERIAL_INTERRUPTS, 0);
            atomic_store(&serial_is_held_up, true);
            break;
        }
        ring[head % RING_BYTES] = io_read8(SERIAL_DATA);
        atomic_store_explicit(&ring_head, ++head, memory_order_release);
    }
    kernel_console_input();
}

int arch_console_read(void)
{
    uint32_t tail = atomic_load_explicit(&ring_tail, memory_order_relaxed);
    int byte = -1;

    if (tail != atomic_load_explicit(&ring_head, memory_order_acquire)) {
        byte = ring[tail % RING_BYTES];
        atomic_store_explicit(&ring_tail, tail + 1, memory_order_release);
    }
    /* Also when the ring was empty: the handler may have held up just after the last byte went. */
    if (UNLIKELY(atomic_load(&serial_is_held_up)) && atomic_exchange(&serial_is_held_up, false))
        io_write8(SERIAL_INTERRUPTS, INTERRUPT_INPUT);
    return byte;
}

static void serial_wait_sent(void)
{
    for (unsigned i = 0; i < SEND_TRIES; i++) {
        if (io_read8(SERIAL_STATUS) & STATUS_SENT)
            return;
        arch_relax();
    }
}

void arch_console_write(const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (i % FIFO_BYTES == 0)
            serial_wait_sent();
        io_write8(SERIAL_DATA, (uint8_t)bytes[i]);
    }
}
