/* printk's output, kept for a test to look at. */
#pragma once

#include "kernel/base/base.h"

void capture_begin(void);      /* from here on output of all CPUs is kept, not shown */
const char *capture_end(void); /* all of it, NUL-terminated, until the next capture_begin */
