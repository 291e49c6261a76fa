/*
 * The monitor's command `leaks`: objects to which nothing refers, the first of them one by one, all
 * of them by cache.  While they are found all other CPUs stand still, so they are only counted and
 * noted then, and printed when the machine goes on.
 *
 * Locks: none; the monitor, or run=, runs one command at a time.
 */
#include "kernel/base/string.h"
#include "kernel/command.h"
#include "kernel/print.h"
#include "mm/slab/leaks.h"

#define LEAKS_SHOWN  32u
#define LEAKS_CACHES 128u /* by name; those of more are counted together */

static struct {
    size_t shown; /* entries of first[] */
    struct kmem_leak first[LEAKS_SHOWN];
    size_t caches; /* entries of by_cache[] */
    struct leaks_row {
        const char *cache;
        size_t count, bytes;
    } by_cache[LEAKS_CACHES];
} leaks;

static struct leaks_row *leaks_row_of(const char *cache)
{
    size_t i = 0;

    while (i < leaks.caches && leaks.by_cache[i].cache != cache)
        i++;
    if (i == leaks.caches && leaks.caches < LEAKS_CACHES)
        leaks.by_cache[leaks.caches++] = (struct leaks_row){.cache = cache};
    if (i == LEAKS_CACHES)
        leaks.by_cache[--i].cache = "other caches";
    return &leaks.by_cache[i];
}

static void leaks_note(const struct kmem_leak *leak, void *unused)
{
    struct leaks_row *row = leaks_row_of(leak->cache);

    (void)unused;
    row->count++;
    row->bytes += leak->bytes;
    if (leaks.shown < LEAKS_SHOWN)
        leaks.first[leaks.shown++] = *leak;
}

static int leaks_command(int argc, char **argv)
{
    size_t count;

    (void)argc, (void)argv;
    leaks.shown = 0;
    leaks.caches = 0;
    count = kmem_leaks(leaks_note, NULL);
    if (count == KMEM_LEAKS_FAILED) {
        printk("leaks: no memory to mark with\n");
        return 1;
    }
    for (size_t i = 0; i < leaks.shown; i++)
        kmem_leak_print(&leaks.first[i]);
    if (count > leaks.shown)
        printk("  and %zu more\n", count - leaks.shown);
    memset(leaks.first, 0, sizeof(leaks.first)); /* else they are referred to from now on */
    for (size_t i = 0; i < leaks.caches; i++)
        printk("  %-24s %10zu leaked %12zu bytes\n", leaks.by_cache[i].cache,
               leaks.by_cache[i].count, leaks.by_cache[i].bytes);
    printk("%zu leaked object%s\n", count, count == 1 ? "" : "s");
    return count != 0;
}
COMMAND(leaks, "", "objects in use to which nothing refers", leaks_command);
