/* The serial line, COM1.  Output is arch_console_write, input arch_console_read (arch/arch.h). */
#pragma once

#define SERIAL_IRQ 4 /* legacy interrupt number */

void serial_init(void);       /* 115200 baud, 8N1; no interrupts yet */
void serial_input_init(void); /* let a byte that comes in interrupt */
void serial_interrupt(void);  /* take what has come in, tell the kernel */
