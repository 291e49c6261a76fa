/* Commands (kernel/command.h): the table and how a line becomes a call. */
#include "kernel/command.h"
#include "kernel/base/string.h"
#include "kernel/print.h"
#include "kernel/verdict.h"

/* The table, from the linker. */
extern const struct command *const __start_command_table[], *const __stop_command_table[];

const struct command *command_find(const char *name)
{
    for (const struct command *const *at = __start_command_table; at < __stop_command_table; at++) {
        if (strcmp((*at)->name, name) == 0)
            return *at;
    }
    return NULL;
}

const struct command *command_next(const char *name)
{
    const struct command *next = NULL;

    for (const struct command *const *at = __start_command_table; at < __stop_command_table; at++) {
        if (strcmp((*at)->name, name) > 0 && (next == NULL || strcmp((*at)->name, next->name) < 0))
            next = *at;
    }
    return next;
}

/* Cut at spaces; returns the number of words, COMMAND_WORD_MAX + 1 when there are more. */
static int command_split(char *line, char **words)
{
    int count = 0;

    for (;;) {
        while (*line == ' ')
            *line++ = '\0';
        if (*line == '\0')
            return count;
        if (count == COMMAND_WORD_MAX)
            return count + 1;
        words[count++] = line;
        while (*line != '\0' && *line != ' ')
            line++;
    }
}

int command_run_line(char *line)
{
    char *words[COMMAND_WORD_MAX + 1];
    int count = command_split(line, words);

    if (count == 0)
        return 0;
    if (count > COMMAND_WORD_MAX) {
        printk("%s: more than %d words\n", words[0], COMMAND_WORD_MAX);
        return -1;
    }
    words[count] = NULL;

    const struct command *command = command_find(words[0]);
    if (command == NULL) {
        printk("%s: no such command; \"help\" lists them\n", words[0]);
        return -1;
    }
    int status = command->run(count, words);
    if (status != 0)
        verdict_add_wrong(1);
    return status;
}
