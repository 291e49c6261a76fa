/* Source lines of code addresses: of known calls, and the image's table as a whole. */
#include "arch/x86_64/image.h"
#include "arch/x86_64/symbols.h"
#include "kernel/base/format.h"
#include "kernel/base/string.h"
#include "kernel/symbol.h"
#include "mm/port.h"
#include "tests/test.h"

enum { LINES_CALLER = 1, LINES_PCS };

/*
 * pcs[0]: where port_backtrace returns to, in here; pcs[LINES_CALLER]: where this does.  A function
 * begins at its brace.
 */
enum { LINES_TAKE_LINE = __LINE__ + 2 };
static NOINLINE void lines_take(uintptr_t *pcs)
{
    if (port_backtrace(pcs, LINES_PCS) < LINES_PCS)
        memset(pcs, 0, LINES_PCS * sizeof(*pcs));
}

static bool lines_is_here(uintptr_t return_address, unsigned expected)
{
    const char *file = "";
    unsigned line = 0;

    return kernel_line_of(return_address, &file, &line) && strcmp(file, __FILE__) == 0 &&
           line == expected;
}

TEST(lines, of_calls)
{
    uintptr_t pcs[LINES_PCS], again[LINES_PCS];
    unsigned line = __LINE__ + 1;
    lines_take(pcs);
    lines_take(again);

    EXPECT(t, lines_is_here(pcs[LINES_CALLER], line));
    EXPECT(t, lines_is_here(again[LINES_CALLER], line + 1));
}

/* What is inlined has its own line: port_backtrace's, which is in a header. */
TEST(lines, of_an_inlined_call)
{
    uintptr_t pcs[LINES_PCS];
    const char *file = "", *name = "";
    size_t offset;
    unsigned line = 0;

    lines_take(pcs);
    EXPECT(t, arch_symbol(pcs[0] - 1, &name, &offset) && strcmp(name, "lines_take") == 0);
    EXPECT(t, kernel_line_of(pcs[0], &file, &line) && strcmp(file, "mm/port.h") == 0 && line > 0);
}

TEST(lines, of_an_instruction)
{
    const char *file = "";
    unsigned line = 0;

    EXPECT(t, arch_line((uintptr_t)lines_take, &file, &line));
    EXPECT(t, strcmp(file, __FILE__) == 0 && line == LINES_TAKE_LINE);
}

TEST(lines, stand_in_reports)
{
    uintptr_t pcs[LINES_PCS];
    unsigned line = __LINE__ + 1;
    lines_take(pcs);

    char text[SYMBOL_TEXT_BYTES], expected[SYMBOL_TEXT_BYTES];
    uintptr_t pc = pcs[LINES_CALLER];

    format_string(expected, sizeof(expected), "test_lines_stand_in_reports+0x%zx (%s:%u)",
                  (size_t)(pc - (uintptr_t)test_lines_stand_in_reports), __FILE__, line);
    EXPECT(t, symbol_format(text, sizeof(text), pc) && strcmp(text, expected) == 0);
    EXPECT(t, !symbol_format(text, sizeof(text), 16) && strcmp(text, "0x10") == 0);
    EXPECT(t, symbol_format_instruction(text, sizeof(text), (uintptr_t)lines_take));
    format_string(expected, sizeof(expected), "lines_take+0x0 (%s:%u)", __FILE__, LINES_TAKE_LINE);
    EXPECT(t, strcmp(text, expected) == 0);
    symbol_format(text, 8, pc);
    EXPECT(t, strcmp(text, "test_li") == 0);
}

TEST(lines, of_code_only)
{
    static const char data[] = "not code";
    const uintptr_t no_code[] = {0, 16, (uintptr_t)data, (uintptr_t)__text_end, UINTPTR_MAX};
    const char *file = data;
    unsigned line = 7;

    for (size_t i = 0; i < ARRAY_COUNT(no_code); i++)
        EXPECT(t, !arch_line(no_code[i], &file, &line) && file == data && line == 7);
}

/* A path from the root to a source, "kernel/main.c". */
static bool lines_is_source(const char *file)
{
    size_t length = strlen(file);

    return length > 2 && file[0] != '/' && file[0] != '.' && file[length - 2] == '.' &&
           (file[length - 1] == 'c' || file[length - 1] == 'S' || file[length - 1] == 'h');
}

/* Does a lookup of the code from one row up to the next find that row? */
static bool lines_finds(const struct line_cursor *row, uint32_t end)
{
    for (unsigned i = 0; i < 2; i++) {
        const char *file = "";
        unsigned line = 0;
        uint32_t offset = i == 0 ? row->offset : end - 1;

        if (arch_line(BOOT_KERNEL_BASE + offset, &file, &line) != (row->file != 0) ||
            line != row->line || strcmp(file, symbols_line_file(row->file)) != 0)
            return false;
    }
    return true;
}

/* Rows ascend, block for block, lie in code, say something new, and are found. */
TEST(lines, table_is_sound)
{
    struct line_cursor last = {.offset = 0}, row;
    size_t rows = 0, wrong = 0, lost = 0;

    REQUIRE(t, symbols_line_blocks() > 0);
    EXPECT(t, strcmp(symbols_line_file(0), "") == 0);
    for (size_t block = 0; block < symbols_line_blocks(); block++) {
        uint32_t begin;

        symbols_open_lines(&row, block);
        begin = row.offset;
        for (bool is_first = true; symbols_next_line(&row); is_first = false) {
            bool is_sound =
                image_is_code(BOOT_KERNEL_BASE + row.offset) && row.offset > last.offset &&
                (!is_first || row.offset == begin) &&
                (row.file == 0 ? row.line == 0
                               : row.line > 0 && lines_is_source(symbols_line_file(row.file)));

            wrong += !is_sound || (row.file == last.file && row.line == last.line);
            if (rows++ != 0 && image_is_code(BOOT_KERNEL_BASE + row.offset - 1))
                lost += !lines_finds(&last, row.offset);
            last = row;
        }
    }
    EXPECT(t, rows > 64 && wrong == 0 && lost == 0);
}
