/*
 * Tests.  TEST(suite, name) { ... } at file scope defines one; the same files run on a hosted
 * process and in the kernel under QEMU.  Output is KTAP; the last line is "N passed, N failed".
 * Around every test the runner drains mm/ and compares free pages, spans and live slots.
 *
 *     TEST(page, alloc_gives_distinct_runs)
 *     {
 *         void *a = page_alloc(1, 0);
 *         EXPECT(t, a != NULL);
 *         page_free(a, 1);
 *     }
 *
 * EXPECT goes on after a failure, REQUIRE returns from the test.  A seeded test takes its seed from
 * test_seed(t), which is printed on failure.
 */
#pragma once

#include <stdatomic.h>
#include "kernel/base/base.h"
#include "kernel/base/random.h"

struct test {
    const char *suite, *name;
    _Atomic unsigned failures; /* [A] relaxed: jobs on other CPUs may EXPECT too */
    const char *skip_reason;   /* NULL: not skipped */
    uint64_t seed;             /* 0: the test has not asked for it */
};

struct test_case {
    const char *suite, *name, *file;
    int line;
    void (*run)(struct test *t);
};

#define TEST(suite_, name_)                                                                       \
    static void test_##suite_##_##name_(struct test *t);                                          \
    static const struct test_case test_case_##suite_##_##name_ = {                                \
        #suite_, #name_, __FILE__, __LINE__, test_##suite_##_##name_};                            \
    static const struct test_case *const test_ptr_##suite_##_##name_ USED SECTION("test_table") = \
        &test_case_##suite_##_##name_;                                                            \
    static void test_##suite_##_##name_(struct test *t)

#define EXPECT(t, condition) test_expect(t, condition, #condition, __FILE__, __LINE__)
#define REQUIRE(t, condition)      \
    do {                           \
        if (!EXPECT(t, condition)) \
            return;                \
    } while (0)

void test_failed(struct test *t, const char *expression, const char *file, int line);
void test_skip(struct test *t, const char *why); /* say it, then return from the test */
uint64_t test_seed(struct test *t);              /* settings.seed mixed with the test's name */

static inline bool test_expect(struct test *t, bool is_true, const char *expression,
                               const char *file, int line)
{
    if (!is_true)
        test_failed(t, expression, file, line);
    return is_true;
}

/* Run the tests whose "suite.name" or suite matches the glob; returns the number that failed. */
unsigned test_run_matching(const char *glob);

/*
 * EXPECT_PANIC(t, fn, arg, text): fn(arg) panics with a report that holds `text`.  Hosted: in a
 * forked child.  In the kernel it is skipped: tests/qemu boots one machine per expected panic.
 */
#define EXPECT_PANIC(t, fn, arg, text) test_expect_panic(t, fn, arg, text, __FILE__, __LINE__)
void test_expect_panic(struct test *t, void (*fn)(void *), void *arg, const char *text,
                       const char *file, int line);

/*
 * PANIC_REPORT(t, fn, arg): what a process says that runs fn(arg), which must panic; until the next
 * call.  NULL where it does not (the test has failed), and in the kernel (the test is skipped).
 */
#define PANIC_REPORT(t, fn, arg) test_panic_report(t, fn, arg, __FILE__, __LINE__)
const char *test_panic_report(struct test *t, void (*fn)(void *), void *arg, const char *file,
                              int line);
