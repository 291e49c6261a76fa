/*
 * Commands: what the monitor's line and the command line's run= can name.  COMMAND at file scope
 * registers one; layers above kernel/ (tests: replay, test, bench) register theirs the same way.
 */
#pragma once

#include "kernel/base/base.h"

#define COMMAND_WORD_MAX 16 /* words in a line, the command's name included */

struct command {
    const char *name;                  /* one word */
    const char *usage;                 /* arguments, "" if none: "[TRACE]" */
    const char *help;                  /* one line */
    int (*run)(int argc, char **argv); /* ordinary context; argv[0] is the name; 0: nothing found
                                          wrong, 1: something, which it has said */
};

#define COMMAND(name_, usage_, help_, function_)                                           \
    static const struct command command_##name_ = {#name_, usage_, help_, function_};      \
    static const struct command *const command_ptr_##name_ USED SECTION("command_table") = \
        &command_##name_

const struct command *command_find(const char *name); /* NULL: none */
const struct command *command_next(const char *name); /* the first whose name sorts after `name` */

/*
 * command_run_line -- split at spaces, in place, and run.  What a command finds wrong counts in the
 * verdict (kernel/verdict.h).
 *   returns  what the command returned; 0 for an empty line; -1: no such command, or too many words
 *            (said so)
 */
int command_run_line(char *line);
