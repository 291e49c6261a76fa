#include "tests/mm/slab/debug_case.h"
#include "kernel/base/format.h"
#include "kernel/cmdline.h"

struct kmem_cache *debug_cache(const char *checks, const char *name, size_t bytes, size_t align,
                               void (*ctor)(void *))
{
    struct settings kept = settings;
    struct kmem_cache *cache;

    format_string(settings.slab_debug, sizeof(settings.slab_debug), "%s,%s", checks, name);
    CHECK(slab_setting_is_valid(settings.slab_debug));
    cache = kmem_cache_create(name, bytes, align, ctor, 0);
    settings = kept;
    return cache;
}

bool needs_debug(struct test *t, unsigned flags)
{
    if ((slab_debug_flags("kmalloc-64") & flags) == flags)
        return true;
    test_skip(t, "needs slab_debug=1");
    return false;
}

void expect_report(struct test *t, void (*fn)(void *), void *arg, const char *const *texts)
{
    for (; *texts != NULL; texts++)
        EXPECT_PANIC(t, fn, arg, *texts);
}
