/*
 * The command line (kernel/cmdline.h): one table of keys, each with the values that it accepts and
 * where they go.
 */
#include "kernel/cmdline.h"
#include "arch/arch.h"
#include "kernel/base/parse.h"
#include "kernel/base/string.h"
#include "kernel/print.h"

#define CMDLINE_WORD_BYTES 128 /* key, =, value and NUL: longer than any that is accepted */
#define CMDLINE_MEM_MIN    (16 * MIB)

struct settings settings = {
    .seed = 1,
    .slab_random = true,
    .gogc = 100,
    .gcassist_us = 100,
    .gcminheap_bytes = 4 * MIB,
    .dmareserve_bytes = SETTING_AUTO,
    .reserve_bytes = SETTING_AUTO,
    .zeroahead_bytes = SETTING_AUTO,
    .quarantine_bytes = SETTING_AUTO,
    .guard_rate = 20000,
    .watchdog = 10,
};

enum setting_kind {
    SETTING_TEXT,     /* char[max + 1] */
    SETTING_NUMBER,   /* unsigned, min .. max */
    SETTING_NUMBER64, /* uint64_t, min .. max */
    SETTING_SIZE,     /* uint64_t, 0 or min .. max */
    SETTING_FLAG,     /* bool */
    SETTING_GOGC,     /* unsigned, or "off" for 0 */
    SETTING_THEN,     /* enum then_what */
    SETTING_SLAB,     /* char[SLAB_SETTING_BYTES] */
};

struct setting {
    const char *key;
    enum setting_kind kind;
    void *target;
    uint64_t min, max;
    const char *accepts; /* as the error says it */
};

static const struct setting cmdline_table[] = {
    {"run", SETTING_TEXT, settings.run, 0, sizeof(settings.run) - 1, "up to 63 bytes"},
    {"then", SETTING_THEN, &settings.then, 0, 0, "monitor or poweroff"},
    {"test", SETTING_TEXT, settings.test, 0, sizeof(settings.test) - 1, "up to 63 bytes"},
    {"bench", SETTING_TEXT, settings.bench, 0, sizeof(settings.bench) - 1, "up to 63 bytes"},
    {"trace", SETTING_TEXT, settings.trace, 0, sizeof(settings.trace) - 1, "up to 63 bytes"},
    {"cpus", SETTING_NUMBER, &settings.cpus, 0, ARCH_CPU_MAX, "0 (all) to 64"},
    {"nodes", SETTING_NUMBER, &settings.nodes, 0, ARCH_NODE_MAX, "0 (as the firmware says) to 64"},
    {"mem", SETTING_SIZE, &settings.mem_bytes, CMDLINE_MEM_MIN, 64 * TIB,
     "0 (all) or 16MiB to 64TiB, as in 512M"},
    {"dmareserve", SETTING_SIZE, &settings.dmareserve_bytes, 4 * KIB, 16 * MIB,
     "0 (none) or 4KiB to 16MiB, as in 8M"},
    {"reserve", SETTING_SIZE, &settings.reserve_bytes, 4 * KIB, GIB,
     "0 (none) or 4KiB to 1GiB, as in 4M"},
    {"zeroahead", SETTING_SIZE, &settings.zeroahead_bytes, 4 * KIB, TIB,
     "0 (off) or 4KiB to 1TiB, as in 16M"},
    {"guard_rate", SETTING_NUMBER, &settings.guard_rate, 0, 1000000000,
     "0 (off) to 1000000000 allocations"},
    {"guard_seed", SETTING_NUMBER64, &settings.guard_seed, 0, UINT64_MAX,
     "0 (any) to 18446744073709551615"},
    {"page_poison", SETTING_FLAG, &settings.page_poison, 0, 1, "0 or 1"},
    {"page_owner", SETTING_FLAG, &settings.page_owner, 0, 1, "0 or 1"},
    {"slab_random", SETTING_FLAG, &settings.slab_random, 0, 1, "0 or 1"},
    {"failnth", SETTING_NUMBER, &settings.failnth, 0, UINT32_MAX, "0 (off) to 4294967295"},
    {"seed", SETTING_NUMBER64, &settings.seed, 1, UINT64_MAX, "1 to 18446744073709551615"},
    {"soak", SETTING_NUMBER64, &settings.soak, 0, UINT64_MAX,
     "0 (a short one) to 18446744073709551615 operations"},
    {"threads", SETTING_NUMBER64, &settings.threads, 0, 1ul << 24, "0 (some) to 16777216"},
    {"paranoia", SETTING_FLAG, &settings.paranoia, 0, 1, "0 or 1"},
    {"gogc", SETTING_GOGC, &settings.gogc, 1, UINT32_MAX, "1 to 4294967295 percent, or off"},
    {"gcminheap", SETTING_SIZE, &settings.gcminheap_bytes, 64 * KIB, TIB,
     "0 (none) or 64KiB to 1TiB, as in 4M"},
    {"gcassist", SETTING_NUMBER, &settings.gcassist_us, 0, 100000, "0 (off) to 100000 us at once"},
    {"memlimit", SETTING_SIZE, &settings.memlimit_bytes, MIB, 64 * TIB,
     "0 (none) or 1MiB to 64TiB, as in 512M"},
    {"gctrace", SETTING_NUMBER, &settings.gctrace, 0, 2, "0, 1 or 2"},
    {"schedtrace", SETTING_NUMBER, &settings.schedtrace_ms, 0, 3600000, "0 (off) to 3600000 ms"},
    {"watchdog", SETTING_NUMBER, &settings.watchdog, 0, 3600, "0 (off) to 3600 s"},
    {"scavtrace", SETTING_NUMBER, &settings.scavtrace, 0, 1, "0 or 1"},
    {"gcstoptheworld", SETTING_NUMBER, &settings.gcstoptheworld, 0, 2, "0, 1 or 2"},
    {"gccheckmark", SETTING_NUMBER, &settings.gccheckmark, 0, 1, "0 or 1"},
    {"clobberfree", SETTING_NUMBER, &settings.clobberfree, 0, 1, "0 or 1"},
    {"slab_debug", SETTING_SLAB, settings.slab_debug, 0, sizeof(settings.slab_debug) - 1,
     "0, 1 or letters of rpqts (redzone+poison+quarantine+trace+sites), then names, as in "
     "rp,kmalloc-64; up to 63 bytes"},
    {"quarantine", SETTING_SIZE, &settings.quarantine_bytes, 4 * KIB, TIB,
     "0 (none) or 4KiB to 1TiB, as in 16M"},
};
_Static_assert(ARCH_CPU_MAX == 64 && ARCH_NODE_MAX == 64, "the texts of cpus=, nodes= name it");

static const struct setting *cmdline_find(const char *key)
{
    for (size_t i = 0; i < ARRAY_COUNT(cmdline_table); i++) {
        if (strcmp(cmdline_table[i].key, key) == 0)
            return &cmdline_table[i];
    }
    return NULL;
}

static bool cmdline_set_then(const char *value)
{
    if (strcmp(value, "monitor") == 0)
        settings.then = THEN_MONITOR;
    else if (strcmp(value, "poweroff") == 0)
        settings.then = THEN_POWEROFF;
    else
        return false;
    return true;
}

static bool cmdline_set_text(const struct setting *setting, const char *value)
{
    size_t length = strlen(value);

    if (length > setting->max)
        return false;
    memcpy(setting->target, value, length + 1);
    return true;
}

/* false: not a value of this setting, which stands as it was */
static bool cmdline_set(const struct setting *setting, const char *value)
{
    uint64_t number;

    switch (setting->kind) {
    case SETTING_TEXT:
        return cmdline_set_text(setting, value);
    case SETTING_THEN:
        return cmdline_set_then(value);
    case SETTING_SLAB:
        return slab_setting_is_valid(value) && cmdline_set_text(setting, value);
    case SETTING_SIZE:
        if (!parse_size(value, &number))
            return false;
        if (number != 0 && (number < setting->min || number > setting->max))
            return false;
        *(uint64_t *)setting->target = number;
        return true;
    case SETTING_GOGC:
        if (strcmp(value, "off") == 0) {
            *(unsigned *)setting->target = 0;
            return true;
        }
        break;
    default:
        break;
    }
    if (!parse_u64(value, &number) || number < setting->min || number > setting->max)
        return false;
    if (setting->kind == SETTING_NUMBER64)
        *(uint64_t *)setting->target = number;
    else if (setting->kind == SETTING_FLAG)
        *(bool *)setting->target = number != 0;
    else
        *(unsigned *)setting->target = (unsigned)number;
    return true;
}

/* One word, NUL-terminated; false: a malformed value. */
static bool cmdline_parse_word(char *word)
{
    char *equals = strchr(word, '=');

    if (equals == NULL) {
        printk("command line: %s: not a key=value word; ignored\n", word);
        return true;
    }
    *equals = '\0';
    const struct setting *setting = cmdline_find(word);
    if (setting == NULL) {
        printk("command line: %s=: no such key; ignored\n", word);
        return true;
    }
    if (!cmdline_set(setting, equals + 1)) {
        printk("command line: %s=%s: accepted: %s\n", word, equals + 1, setting->accepts);
        return false;
    }
    return true;
}

unsigned cmdline_parse(const char *line)
{
    unsigned errors = 0;
    char word[CMDLINE_WORD_BYTES];

    for (;;) {
        while (*line == ' ' || *line == '\t' || *line == '\r' || *line == '\n')
            line++;
        if (*line == '\0')
            return errors;

        const char *start = line;
        while (*line != '\0' && *line != ' ' && *line != '\t' && *line != '\r' && *line != '\n')
            line++;
        size_t length = (size_t)(line - start);
        if (length >= sizeof(word)) {
            printk("command line: %.16s...: accepted: up to %zu bytes a word\n", start,
                   sizeof(word) - 1);
            errors++;
            continue;
        }
        memcpy(word, start, length);
        word[length] = '\0';
        if (!cmdline_parse_word(word))
            errors++;
    }
}
