/*
 * Console input: bytes typed, kept until someone reads them.  What does not fit stays in the
 * device, which holds the sender up: nothing typed is lost.
 */
#pragma once

#include "kernel/base/base.h"

int console_read(void);  /* the next byte, or -1: none has come; irq */
char console_wait(void); /* the next byte; sleeps until it comes; ordinary */
