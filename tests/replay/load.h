/* Traces among the modules. */
#pragma once

#include "boot/boot_info.h"
#include "tests/replay/trace.h"

/* Is it a trace, by its name: *.kmt? */
bool trace_module_is(const struct boot_module *module);

/* The module of that name, with or without .kmt; "": the first trace.  NULL: none, said so. */
const struct boot_module *trace_module_find(const char *name);

/* Read and check all of it.  false: malformed or no memory for the check, said so. */
bool trace_module_read(const struct boot_module *module, struct trace *trace);
