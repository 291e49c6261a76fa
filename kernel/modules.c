/* Modules (kernel/modules.h): the table, copied out of what the way in left. */
#include "kernel/modules.h"
#include "kernel/base/string.h"

static struct boot_module modules[BOOT_MODULE_MAX]; /* [C] from modules_init on */
static unsigned modules_count;                      /* [C] likewise */

void modules_init(const struct boot_info *info)
{
    modules_count = MIN(info->module_count, (uint32_t)BOOT_MODULE_MAX);
    for (unsigned i = 0; i < modules_count; i++) {
        modules[i] = info->modules[i];
        modules[i].name[BOOT_NAME_BYTES - 1] = '\0';
    }
}

unsigned module_count(void)
{
    return modules_count;
}

const struct boot_module *module_at(unsigned index)
{
    return index < modules_count ? &modules[index] : NULL;
}

const struct boot_module *module_first(void)
{
    return module_at(0);
}

const struct boot_module *module_find(const char *name)
{
    for (unsigned i = 0; i < modules_count; i++) {
        if (strcmp(modules[i].name, name) == 0)
            return &modules[i];
    }
    return NULL;
}
