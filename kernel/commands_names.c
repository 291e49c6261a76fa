/*
 * The monitor's commands `symbol` and `names`: where functions are, and the cache of what was asked for
 * (kernel/name_cache.h).  A name is looked for among all of the image's, one after another; that there is
 * none is remembered too.  The cache is made by the first `symbol`.
 *
 * Locks: none; the monitor, or run=, runs one command at a time.
 */
#include "kernel/base/string.h"
#include "kernel/command.h"
#include "kernel/name_cache.h"
#include "kernel/print.h"
#include "kernel/symbol.h"

#define NAMES_LIMIT    4096u
#define NAMES_FUNCTION 1u /* the parent of functions' names */

static GC_ROOT(struct name_cache, names_cache);

/* 0: there is no such function. */
static uintptr_t names_address_of(const char *name)
{
    struct name_cache *cache = gc_load(&names_cache);
    const struct name *found = NULL;
    size_t bytes = strlen(name);
    uintptr_t address;

    if (cache == NULL) {
        cache = name_cache_create(NAMES_LIMIT);
        gc_store(&names_cache, cache);
    }
    if (cache != NULL)
        found = name_cache_lookup(cache, NAMES_FUNCTION, name, bytes);
    if (found != NULL)
        return found->number;
    address = arch_symbol_find(name);
    if (cache != NULL) /* without memory it is looked for again */
        name_cache_insert(cache, NAMES_FUNCTION, name, bytes, NULL, address);
    return address;
}

static int commands_symbol(int argc, char **argv)
{
    char text[SYMBOL_TEXT_BYTES];

    for (int i = 1; i < argc; i++) {
        uintptr_t address = names_address_of(argv[i]);

        if (address != 0) {
            symbol_format_instruction(text, sizeof(text), address);
            printk("  0x%lx  %s\n", address, text);
        } else {
            printk("  no function is called %s\n", argv[i]);
        }
    }
    if (argc == 1)
        printk("symbol: accepted: names of functions\n");
    return argc == 1;
}
COMMAND(symbol, "NAME...", "where functions are", commands_symbol);

static int commands_names(int argc, char **argv)
{
    struct name_cache *cache = gc_load(&names_cache);
    struct name_cache_stats stats;

    if (argc > 1 && strcmp(argv[1], "drop") != 0) {
        printk("names: %s: accepted: drop\n", argv[1]);
        return 1;
    }
    if (argc > 1) {
        gc_store(&names_cache, NULL); /* the collector frees it */
        return 0;
    }
    if (cache == NULL) {
        printk("names: there is no cache before the first \"symbol\"\n");
        return 0;
    }
    stats = name_cache_stats(cache);
    printk("  %zu entries of up to %zu, %zu buckets; lookups: %lu hits, %lu misses; %lu evictions, "
           "%lu lost for want of memory\n",
           stats.entries, stats.limit, stats.buckets, stats.hits, stats.misses, stats.evictions,
           stats.losses);
    return 0;
}
COMMAND(names, "[drop]", "the cache of names that were looked up; drop: forget it", commands_names);
