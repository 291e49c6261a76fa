/* printk's output, kept for a test to look at (tests/kernel/capture.h). */
#include "tests/kernel/capture.h"
#include "kernel/base/string.h"
#include "kernel/print.h"

static char capture_text[64 * KIB]; /* under printk's lock while capturing */
static size_t capture_length;

static void capture_sink(void *unused, const char *bytes, size_t n)
{
    size_t kept = MIN(n, sizeof(capture_text) - 1 - capture_length);

    (void)unused;
    memcpy(capture_text + capture_length, bytes, kept);
    capture_length += kept;
}

void capture_begin(void)
{
    capture_length = 0;
    print_capture(capture_sink, NULL);
}

const char *capture_end(void)
{
    print_capture(NULL, NULL);
    capture_text[capture_length] = '\0';
    return capture_text;
}
