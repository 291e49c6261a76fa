/* Traces among the modules: finding one, checking it with memory from the page heap. */
#include "tests/replay/load.h"

#include "kernel/base/format.h"
#include "kernel/base/parse.h"
#include "kernel/base/string.h"
#include "kernel/modules.h"
#include "kernel/print.h"
#include "mm/page/page.h"

bool trace_module_is(const struct boot_module *module)
{
    return glob_match("*.kmt", module->name);
}

static const struct boot_module *trace_module_first(void)
{
    for (unsigned i = 0; i < module_count(); i++) {
        if (trace_module_is(module_at(i)))
            return module_at(i);
    }
    return NULL;
}

const struct boot_module *trace_module_find(const char *name)
{
    char with_suffix[BOOT_NAME_BYTES];
    const struct boot_module *module;

    if (name[0] == '\0') {
        module = trace_module_first();
        if (module == NULL)
            printk("replay: no module is a trace (*.kmt)\n");
        return module;
    }
    format_string(with_suffix, sizeof(with_suffix), "%s.kmt", name);
    module = module_find(name);
    if (module == NULL)
        module = module_find(with_suffix);
    if (module == NULL) {
        printk("replay: no module is called %s; there are %u\n", name, module_count());
        for (unsigned i = 0; i < module_count(); i++)
            printk("replay:   %s\n", module_at(i)->name);
    }
    return module;
}

bool trace_module_read(const struct boot_module *module, struct trace *trace)
{
    struct trace_error error;

    if (!trace_read_header(trace, module->data, module->bytes, &error)) {
        printk("replay: %s is malformed: %s\n", module->name, error.text);
        return false;
    }

    size_t bytes = (size_t)trace->id_count * sizeof(struct trace_id);
    size_t pages = MAX(ALIGN_UP(bytes, PAGE_BYTES) / PAGE_BYTES, 1ul);
    struct trace_id *ids = page_alloc(pages, 0);
    if (ids == NULL) {
        printk("replay: %s: no memory to check its %u ids, %zu KiB\n", module->name,
               trace->id_count, bytes / KIB);
        return false;
    }

    bool is_sound = trace_check(trace, ids, &error);
    page_free(ids, pages);
    if (!is_sound)
        printk("replay: %s is malformed: %s\n", module->name, error.text);
    return is_sound;
}
