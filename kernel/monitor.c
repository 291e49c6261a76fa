/*
 * The monitor (kernel/monitor.h): console -> line editor -> command.  What a command returns counts
 * in the verdict; a name typed wrong does not.
 */
#include "kernel/monitor.h"
#include "kernel/command.h"
#include "kernel/console.h"
#include "kernel/line.h"
#include "kernel/print.h"
#include "kernel/verdict.h"

static struct line monitor_line; /* by the monitor's flow only; 4 KiB, too much for a stack */

static void monitor_echo(void *unused, const char *bytes, size_t n)
{
    (void)unused;
    print_bytes(bytes, n);
}

void monitor_run(void)
{
    line_init(&monitor_line, "spandrel> ", monitor_echo, NULL);
    for (;;) {
        enum line_event event = LINE_MORE;

        line_begin(&monitor_line);
        while (event == LINE_MORE)
            event = line_byte(&monitor_line, console_wait());
        if (event == LINE_DONE)
            command_run_line(monitor_line.text);
        else if (event == LINE_END)
            verdict_end();
    }
}
