/*
 * Modules: the files that came with the kernel (\spandrel\modules\ or the initrd).  Their memory
 * stays reserved, so the data is there for good.
 */
#pragma once

#include "boot/boot_info.h"
#include "kernel/base/base.h"

void modules_init(const struct boot_info *info); /* takes a copy of the table */

unsigned module_count(void);
const struct boot_module *module_at(unsigned index);     /* NULL: no such index */
const struct boot_module *module_first(void);            /* NULL: there is none */
const struct boot_module *module_find(const char *name); /* NULL: none of that name */
