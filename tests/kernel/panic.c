/* The panic report: message, backtrace, other CPUs, and a panic inside it. */
#include "kernel/panic.h"
#include "kernel/base/string.h"
#include "kernel/cpus.h"
#include "kernel/print.h"
#include "tests/kernel/capture.h"
#include "tests/test.h"

static void panic_formatted(void *unused)
{
    (void)unused;
    panic("%s number %d", "message", 7);
}

static void panic_by_check(void *unused)
{
    CHECK(unused != NULL);
}

static void panic_by_port(void *unused)
{
    (void)unused;
    kernel_panic("the port says %x", 255);
}

static void panic_while_captured(void *unused)
{
    (void)unused;
    capture_begin();
    print_bytes("half a line", 11);
    panic("not captured");
}

/* A panic from inside printk, which holds the console: as by a fault in a sink. */
static void panic_sink(void *unused, const char *bytes, size_t n)
{
    (void)unused, (void)bytes, (void)n;
    panic("inside printk");
}

static void panic_inside_print(void *unused)
{
    (void)unused;
    print_capture(panic_sink, NULL);
    printk("anything\n");
}

TEST(panic, says_why)
{
    EXPECT_PANIC(t, panic_formatted, NULL, "panic: message number 7\n");
    EXPECT_PANIC(t, panic_by_check, NULL, "tests/kernel/panic.c:");
    EXPECT_PANIC(t, panic_by_check, NULL, "CHECK(unused != NULL) failed\n");
    EXPECT_PANIC(t, panic_by_port, NULL, "panic: the port says ff\n");
}

TEST(panic, shows_where)
{
    EXPECT_PANIC(t, panic_formatted, NULL, "CPU 0, backtrace:\n  #0 0x");
    EXPECT_PANIC(t, panic_formatted, NULL, " panic_formatted+0x");
    EXPECT_PANIC(t, panic_by_check, NULL, " panic_by_check"); /* or its .cold part */
}

TEST(panic, ends_a_capture)
{
    EXPECT_PANIC(t, panic_while_captured, NULL, "panic: not captured\n");
    EXPECT_PANIC(t, panic_inside_print, NULL, "panic: inside printk\n");
}

TEST(panic, backtrace_is_symbolised)
{
    uintptr_t pcs[8];

    capture_begin();
    backtrace_print(pcs, arch_backtrace(NULL, pcs, ARRAY_COUNT(pcs)));
    const char *got = capture_end();
    EXPECT(t, strncmp(got, "  #0 0x", 7) == 0);
    EXPECT(t, strstr(got, " test_panic_backtrace_is_symbolised+0x") != NULL);
}
