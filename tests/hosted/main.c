/*
 * The kernel with its tests as a Linux program: tests [WORD...]
 *
 *     ram=SIZE       RAM of the machine, 512M by default
 *     cpus=N         its CPUs, 2 by default
 *     module=PATH    a file for the kernel, as the loader would bring it; several are allowed
 *     key=value      anything else goes to the kernel's command line: seed=, paranoia=, run= ...
 *     GLOB           tests whose suite.name matches; all by default
 *
 * With run= it does what the kernel does with it, then powers off; run=monitor stays in the monitor.
 * Exit status: 0 if nothing failed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "arch/arch.h"
#include "arch/hosted/hosted.h"
#include "boot/boot_info.h"
#include "kernel/base/parse.h"
#include "kernel/cmdline.h"
#include "tests/test.h"

struct main_options {
    uint64_t ram_bytes, cpus;
    bool has_run, has_monitor;
    char cmdline[BOOT_CMDLINE_BYTES];
};

static bool main_add_word(struct main_options *options, const char *prefix, const char *word)
{
    size_t used = strlen(options->cmdline);
    int wanted = snprintf(options->cmdline + used, sizeof(options->cmdline) - used, "%s%s%s",
                          used != 0 ? " " : "", prefix, word);

    return wanted >= 0 && (size_t)wanted < sizeof(options->cmdline) - used;
}

static bool main_take_word(struct main_options *options, const char *word)
{
    if (strncmp(word, "ram=", 4) == 0)
        return parse_size(word + 4, &options->ram_bytes);
    if (strncmp(word, "cpus=", 5) == 0)
        return parse_u64(word + 5, &options->cpus);
    if (strncmp(word, "module=", 7) == 0)
        return hosted_module_load(word + 7) == 0;
    if (strncmp(word, "run=", 4) == 0) {
        options->has_run = true;
        options->has_monitor = strcmp(word + 4, "monitor") == 0;
    }
    return main_add_word(options, strchr(word, '=') != NULL ? "" : "test=", word);
}

int main(int argc, char **argv)
{
    static struct main_options options = {.ram_bytes = 512 * MIB, .cpus = 2};

    for (int i = 1; i < argc; i++) {
        if (!main_take_word(&options, argv[i])) {
            fprintf(stderr, "%s: bad word: %s\n", argv[0], argv[i]);
            return EXIT_FAILURE;
        }
    }
    if (options.has_run && !options.has_monitor && !main_add_word(&options, "", "then=poweroff"))
        return EXIT_FAILURE;
    if (hosted_start(options.ram_bytes, (unsigned)options.cpus, options.cmdline) != 0)
        return EXIT_FAILURE;
    if (options.has_run)
        kernel_run();

    unsigned failed = test_run_matching(settings.test[0] != '\0' ? settings.test : "*");

    hosted_stop();
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
