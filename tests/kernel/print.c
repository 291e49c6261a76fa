/* printk: whole lines, from all CPUs at once, from interrupts, from inside a printk. */
#include "kernel/print.h"
#include <stdatomic.h>
#include "kernel/base/string.h"
#include "kernel/cpus.h"
#include "tests/kernel/capture.h"
#include "tests/test.h"

#define PRINT_LINES 40 /* by each CPU */

static const char print_filler[] = "abcdefghijklmnopqrstuvwxyz";

TEST(print, ends_lines)
{
    capture_begin();
    printk("one");
    printk("%s\n", "two");
    print_bytes("prompt> ", 8);
    printk("three\nfour\n");
    EXPECT(t, strcmp(capture_end(), "one\ntwo\nprompt> \nthree\nfour\n") == 0);
}

/* No buffer bounds a line. */
TEST(print, cuts_nothing_off)
{
    capture_begin();
    printk("%3000s|%-3000s|", "a", "b");
    const char *got = capture_end();
    EXPECT(t, strlen(got) == 6003);
    EXPECT(t, got[2999] == 'a' && got[3001] == 'b' && strcmp(got + 6001, "|\n") == 0);
}

static void print_from_interrupt(void *unused)
{
    (void)unused;
    printk("interrupt on %u %s %s\n", arch_cpu_id(), print_filler, print_filler);
}

static void print_from_cpu(void *unused)
{
    unsigned cpu = arch_cpu_id();

    (void)unused;
    for (unsigned i = 0; i < PRINT_LINES; i++) {
        printk("line %u of %u %s %s\n", i, cpu, print_filler, print_filler);
        cpu_call((cpu + i) % cpus_online(), print_from_interrupt, NULL);
    }
}

/* The next line at *at, which moves behind it; returns its length without the newline. */
static size_t print_next_line(const char **at, const char **line)
{
    const char *end = strchr(*at, '\n');
    size_t length = end == NULL ? strlen(*at) : (size_t)(end - *at);

    *line = *at;
    *at += length + (end != NULL);
    return length;
}

/* All CPUs print lines of several pieces each, and interrupt each other with more. */
TEST(print, lines_of_cpus_do_not_mix)
{
    unsigned lines = 0, interrupts = 0;
    const char *line, *at;
    char ending[2 * sizeof(print_filler) + 2];
    size_t tail = format_string(ending, sizeof(ending), " %s %s", print_filler, print_filler);

    capture_begin();
    cpu_run_all(cpus_online(), print_from_cpu, NULL);
    at = capture_end();
    while (*at != '\0') {
        size_t length = print_next_line(&at, &line);

        REQUIRE(t, length > tail && length < tail + 24);
        REQUIRE(t, memcmp(line + length - tail, ending, tail) == 0);
        lines += strncmp(line, "line ", 5) == 0;
        interrupts += strncmp(line, "interrupt ", 10) == 0;
        REQUIRE(t, strchr(line + 1, 'a') == line + length - tail + 1);
    }
    EXPECT(t, lines == PRINT_LINES * cpus_online());
    EXPECT(t, interrupts == lines);
}

struct print_nested {
    char text[64];
    size_t length;
    unsigned depth;
};

/* A fault or an NMI inside printk prints: here the sink itself does. */
static void print_nested_sink(void *context, const char *bytes, size_t n)
{
    struct print_nested *nested = context;

    memcpy(nested->text + nested->length, bytes, n);
    nested->length += n;
    if (nested->depth++ == 0)
        printk("inner\n");
}

TEST(print, nested_on_its_own_cpu_does_not_wait)
{
    struct print_nested nested = {.text = ""};

    print_capture(print_nested_sink, &nested);
    printk("out%s\n", "er");
    print_capture(NULL, NULL);
    nested.text[nested.length] = '\0';
    EXPECT(t, strcmp(nested.text, "out\ninner\ner\n") == 0);
}

static _Atomic bool print_inner_done, print_other_done; /* release / acquire */

/* After the inner line CPU 1 has some time to come in between, which it must not. */
static void print_contended_sink(void *context, const char *bytes, size_t n)
{
    unsigned depth = ((struct print_nested *)context)->depth;

    print_nested_sink(context, bytes, n);
    if (depth != 0)
        return;
    atomic_store_explicit(&print_inner_done, true, memory_order_release);
    for (unsigned i = 0; i < 2000; i++) {
        if (atomic_load_explicit(&print_other_done, memory_order_acquire))
            return;
        arch_relax();
    }
}

static void print_contended(void *unused)
{
    (void)unused;
    if (arch_cpu_id() == 0) {
        printk("out%s\n", "er");
        return;
    }
    while (!atomic_load_explicit(&print_inner_done, memory_order_acquire))
        arch_relax();
    printk("other\n");
    atomic_store_explicit(&print_other_done, true, memory_order_release);
}

TEST(print, nested_leaves_the_console_to_its_cpu)
{
    struct print_nested nested = {.text = ""};

    if (cpus_online() < 2) {
        test_skip(t, "needs two CPUs");
        return;
    }
    print_inner_done = print_other_done = false;
    print_capture(print_contended_sink, &nested);
    cpu_run_all(2, print_contended, NULL);
    print_capture(NULL, NULL);
    nested.text[nested.length] = '\0';
    EXPECT(t, strcmp(nested.text, "out\ninner\ner\nother\n") == 0);
}
