/*
 * The first serial port (16550) by programmed I/O.
 *
 * A port that is not there reads as 0xff, which looks ready: writing to it does nothing and costs
 * nothing.  One that is stuck costs COM1_PATIENCE reads per byte.
 */
#include "boot/com1.h"

#include "boot/cpu.h"

#define COM1_PORT      0x3f8
#define COM1_DATA      (COM1_PORT + 0) /* with DLAB: divisor, low */
#define COM1_INTERRUPT (COM1_PORT + 1) /* with DLAB: divisor, high */
#define COM1_FIFO      (COM1_PORT + 2)
#define COM1_LINE      (COM1_PORT + 3)
#define COM1_MODEM     (COM1_PORT + 4)
#define COM1_STATUS    (COM1_PORT + 5)

#define COM1_LINE_8N1     0x03
#define COM1_LINE_DLAB    0x80
#define COM1_FIFO_ON      0x01
#define COM1_MODEM_READY  0x03 /* DTR, RTS */
#define COM1_STATUS_READY 0x20 /* can take a byte */
#define COM1_PATIENCE     100000

void com1_init(void)
{
    boot_out8(COM1_INTERRUPT, 0);
    boot_out8(COM1_LINE, COM1_LINE_8N1 | COM1_LINE_DLAB);
    boot_out8(COM1_DATA, 1); /* 115200 / 1 */
    boot_out8(COM1_INTERRUPT, 0);
    boot_out8(COM1_LINE, COM1_LINE_8N1);
    boot_out8(COM1_FIFO, COM1_FIFO_ON);
    boot_out8(COM1_MODEM, COM1_MODEM_READY);
}

static void com1_put(char c)
{
    for (int i = 0; i < COM1_PATIENCE; i++) {
        if (boot_in8(COM1_STATUS) & COM1_STATUS_READY) {
            boot_out8(COM1_DATA, (uint8_t)c);
            return;
        }
    }
}

void com1_write(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\n')
            com1_put('\r');
        com1_put(*text);
    }
}
