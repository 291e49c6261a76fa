/* The command line: values, limits, and what it says of what it does not take. */
#include "kernel/cmdline.h"
#include "arch/arch.h"
#include "kernel/base/string.h"
#include "tests/kernel/capture.h"
#include "tests/test.h"

static unsigned cmdline_errors;
static const char *cmdline_said;

/* Parse into the settings; the caller keeps and restores those that the machine runs with. */
static void cmdline_try(const char *line)
{
    capture_begin();
    cmdline_errors = cmdline_parse(line);
    cmdline_said = capture_end();
}

TEST(cmdline, takes_every_key)
{
    struct settings kept = settings;

    cmdline_try("run=panic,null then=poweroff test=page.* bench=Kmalloc* trace=files.kmt cpus=3 "
                "mem=512M failnth=7 seed=0xff paranoia=1 gogc=50 memlimit=1GiB gctrace=2 "
                "gcminheap=1M gcassist=7 "
                "schedtrace=1000 scavtrace=1 gcstoptheworld=1 gccheckmark=1 clobberfree=1 "
                "slab_debug=all nodes=5 dmareserve=4M reserve=0 zeroahead=1M page_poison=1 "
                "page_owner=1 quarantine=2M guard_rate=77 guard_seed=9 soak=123 "
                "threads=1000000 watchdog=60");
    struct settings got = settings;
    settings = kept;

    EXPECT(t, cmdline_errors == 0 && cmdline_said[0] == '\0');
    EXPECT(t, strcmp(got.run, "panic,null") == 0 && got.then == THEN_POWEROFF);
    EXPECT(t, strcmp(got.test, "page.*") == 0 && strcmp(got.bench, "Kmalloc*") == 0);
    EXPECT(t, strcmp(got.trace, "files.kmt") == 0 && strcmp(got.slab_debug, "all") == 0);
    EXPECT(t, got.cpus == 3 && got.nodes == 5 && got.mem_bytes == 512 * MIB &&
                  got.memlimit_bytes == GIB);
    EXPECT(t, got.dmareserve_bytes == 4 * MIB && got.reserve_bytes == 0 &&
                  got.zeroahead_bytes == MIB && got.quarantine_bytes == 2 * MIB &&
                  got.page_poison && got.page_owner);
    EXPECT(t, got.threads == 1000000 && got.watchdog == 60);
    EXPECT(t, got.guard_rate == 77 && got.guard_seed == 9 && got.soak == 123);
    EXPECT(t, got.failnth == 7 && got.seed == 255 && got.paranoia && got.gogc == 50);
    EXPECT(t, got.gctrace == 2 && got.schedtrace_ms == 1000 && got.scavtrace == 1);
    EXPECT(t, got.gcstoptheworld == 1 && got.gccheckmark == 1 && got.clobberfree == 1);
    EXPECT(t, got.gcminheap_bytes == MIB && got.gcassist_us == 7);
}

TEST(cmdline, last_of_a_key_stands)
{
    struct settings kept = settings;

    cmdline_try("  cpus=1\tcpus=2 gogc=off\n then=poweroff then=monitor ");
    struct settings got = settings;
    settings = kept;
    EXPECT(t, cmdline_errors == 0);
    EXPECT(t, got.cpus == 2 && got.gogc == 0 && got.then == THEN_MONITOR);
}

TEST(cmdline, unknown_key_is_said_and_ignored)
{
    struct settings kept = settings;

    cmdline_try("colour=blue quiet cpus=2");
    unsigned cpus = settings.cpus;
    settings = kept;
    EXPECT(t, cmdline_errors == 0 && cpus == 2);
    EXPECT(t, strstr(cmdline_said, "colour=: no such key; ignored\n") != NULL);
    EXPECT(t, strstr(cmdline_said, "quiet: not a key=value word; ignored\n") != NULL);
}

/* Each names the key and what it accepts, and leaves the setting as it was. */
TEST(cmdline, malformed_values_are_errors)
{
    static const struct {
        const char *word, *accepted;
    } cases[] = {
        {"cpus=65", "0 (all) to 64"},
        {"cpus=", "0 (all) to 64"},
        {"cpus=two", "0 (all) to 64"},
        {"cpus=18446744073709551617", "0 (all) to 64"},
        {"mem=1M", "16MiB to 64TiB"},
        {"mem=65T", "16MiB to 64TiB"},
        {"mem=512MB", "16MiB to 64TiB"},
        {"dmareserve=17M", "4KiB to 16MiB"},
        {"reserve=1", "4KiB to 1GiB"},
        {"zeroahead=2T", "4KiB to 1TiB"},
        {"guard_rate=1000000001", "0 (off) to 1000000000"},
        {"guard_rate=-1", "0 (off) to 1000000000"},
        {"guard_seed=x", "0 (any) to 18446744073709551615"},
        {"page_poison=2", "0 or 1"},
        {"page_owner=yes", "0 or 1"},
        {"slab_debug=rx", "0, 1 or letters of rpqts (redzone+poison+quarantine+trace+sites)"},
        {"slab_debug=r,", "then names, as in rp,kmalloc-64"},
        {"slab_debug=r,012345678901234567890123456789012345678901234567890123456789012",
         "up to 63 bytes"},
        {"quarantine=1K", "0 (none) or 4KiB to 1TiB"},
        {"failnth=4294967296", "4294967295"},
        {"seed=0", "1 to 18446744073709551615"},
        {"soak=-1", "0 (a short one) to 18446744073709551615"},
        {"threads=16777217", "0 (some) to 16777216"},
        {"threads=many", "0 (some) to 16777216"},
        {"schedtrace=3600001", "0 (off) to 3600000 ms"},
        {"watchdog=3601", "0 (off) to 3600 s"},
        {"watchdog=off", "0 (off) to 3600 s"},
        {"paranoia=2", "0 or 1"},
        {"gogc=never", "1 to 4294967295 percent, or off"},
        {"gogc=0", "1 to 4294967295 percent, or off"},
        {"gogc=4294967296", "1 to 4294967295 percent, or off"},
        {"gogc=-1", "1 to 4294967295 percent, or off"},
        {"gcminheap=1K", "0 (none) or 64KiB to 1TiB"},
        {"gcminheap=2T", "0 (none) or 64KiB to 1TiB"},
        {"gcminheap=off", "0 (none) or 64KiB to 1TiB"},
        {"gcassist=100001", "0 (off) to 100000 us at once"},
        {"gcassist=1ms", "0 (off) to 100000 us at once"},
        {"gctrace=3", "0, 1 or 2"},
        {"gctrace=", "0, 1 or 2"},
        {"gcstoptheworld=3", "0, 1 or 2"},
        {"gcstoptheworld=yes", "0, 1 or 2"},
        {"gccheckmark=2", "0 or 1"},
        {"clobberfree=2", "0 or 1"},
        {"memlimit=1K", "0 (none) or 1MiB to 64TiB"},
        {"then=reboot", "monitor or poweroff"},
        {"run=0123456789012345678901234567890123456789012345678901234567890123", "63 bytes"},
    };
    struct settings kept = settings;

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        cmdline_try(cases[i].word);
        bool unchanged = memcmp(&settings, &kept, sizeof(kept)) == 0;
        settings = kept;
        if (!EXPECT(t, cmdline_errors == 1) || !EXPECT(t, unchanged) ||
            !EXPECT(t, strstr(cmdline_said, cases[i].word) != NULL) ||
            !EXPECT(t, strstr(cmdline_said, cases[i].accepted) != NULL))
            test_failed(t, cases[i].word, __FILE__, __LINE__);
    }
}

TEST(cmdline, endless_word_is_an_error)
{
    struct settings kept = settings;
    char line[600];

    memset(line, 'x', sizeof(line));
    memcpy(line + 500, " cpus=5", 8);
    cmdline_try(line);
    unsigned cpus = settings.cpus;
    settings = kept;
    EXPECT(t, cmdline_errors == 1 && cpus == 5);

    line[128] = '\0'; /* one byte more than is accepted */
    cmdline_try(line);
    EXPECT(t, cmdline_errors == 1);
}
