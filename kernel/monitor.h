/* The monitor: commands typed on the console.  End of input (^D on an empty line) powers off. */
#pragma once

#include "kernel/base/base.h"

NORETURN void monitor_run(void); /* ordinary */
