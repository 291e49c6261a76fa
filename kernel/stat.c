/* Event counters by layer (kernel/stat.h): the table, and sums over CPUs. */
#include "kernel/stat.h"
#include "kernel/base/string.h"
#include "kernel/cpus.h"

/* The table, from the linker; nothing need have defined a counter. */
extern const struct stat *const __start_stat_table[] __attribute__((weak));
extern const struct stat *const __stop_stat_table[] __attribute__((weak));

static int stat_compare(const struct stat *a, const struct stat *b)
{
    int layers = strcmp(a->layer, b->layer);

    return layers != 0 ? layers : strcmp(a->name, b->name);
}

/* Other CPUs count on while this reads: a sum is as of some moment for each CPU. */
__attribute__((no_sanitize("thread"))) uint64_t stat_read(const struct stat *stat)
{
    uint64_t sum = 0;

    for (unsigned cpu = 0; cpu < cpus_online(); cpu++)
        sum += *(volatile const uint64_t *)((uintptr_t)stat->value + percpu_offsets[cpu]);
    return sum;
}

const struct stat *stat_find(const char *layer, const char *name)
{
    const struct stat wanted = {layer, name, NULL};

    for (const struct stat *const *at = __start_stat_table; at < __stop_stat_table; at++) {
        if (stat_compare(*at, &wanted) == 0)
            return *at;
    }
    return NULL;
}

const struct stat *stat_next(const struct stat *stat)
{
    const struct stat *next = NULL;

    for (const struct stat *const *at = __start_stat_table; at < __stop_stat_table; at++) {
        if ((stat == NULL || stat_compare(*at, stat) > 0) &&
            (next == NULL || stat_compare(*at, next) < 0))
            next = *at;
    }
    return next;
}
