/* The first serial port, written by waiting: for messages before there is a kernel. */
#pragma once

void com1_init(void); /* 115200 baud, 8 bits, no parity, 1 stop bit; no interrupts */

/* Write a text, \n as \r\n.  Gives up on a byte when the port stays busy. */
void com1_write(const char *text);
