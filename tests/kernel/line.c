/* The line editor: keys in, line out; and what the terminal shows against a model terminal. */
#include "kernel/line.h"
#include "kernel/base/parse.h"
#include "kernel/base/string.h"
#include "tests/test.h"

#define LEFT   "\x1b[D"
#define RIGHT  "\x1b[C"
#define UP     "\x1b[A"
#define DOWN   "\x1b[B"
#define PROMPT "> "

/* One row of a terminal, as much of it as the editor uses. */
struct screen {
    char row[256];
    size_t column;
    size_t length;        /* of row */
    char escape[16];      /* bytes of a sequence under way */
    size_t escape_length; /* 0: none */
    bool is_wrong;        /* something came that this model does not know */
};

static struct line line; /* by one test at a time */
static struct screen screen;

static void screen_escape(struct screen *out, char byte)
{
    out->escape[out->escape_length++] = byte;
    if (out->escape_length == 2 && byte == '[')
        return;
    if ((byte >= '0' && byte <= '9' && out->escape_length < sizeof(out->escape) - 1))
        return;
    out->escape[out->escape_length - 1] = '\0';
    uint64_t number = 0;
    bool has_number = parse_u64(out->escape + 2, &number);
    out->escape_length = 0;

    if (byte == 'K')
        out->length = out->column;
    else if (byte == 'D' && has_number && number <= out->column)
        out->column -= number;
    else if (byte == 'J' || byte == 'H')
        out->column = out->length = 0;
    else
        out->is_wrong = true;
}

static void screen_sink(void *context, const char *bytes, size_t n)
{
    struct screen *out = context;

    for (size_t i = 0; i < n; i++) {
        if (out->escape_length > 0 || bytes[i] == '\x1b') {
            if (out->escape_length == 0)
                out->escape[out->escape_length++] = bytes[i];
            else
                screen_escape(out, bytes[i]);
        } else if (bytes[i] == '\r') {
            out->column = 0;
        } else if (bytes[i] == '\n') {
            out->column = out->length = 0;
        } else if (bytes[i] != '\a') {
            out->row[out->column++] = bytes[i];
            out->length = MAX(out->length, out->column);
        }
    }
}

static bool screen_shows_line(void)
{
    size_t prompt = strlen(PROMPT);

    return !screen.is_wrong && screen.length == prompt + line.length &&
           screen.column == prompt + line.cursor && memcmp(screen.row, PROMPT, prompt) == 0 &&
           memcmp(screen.row + prompt, line.text, line.length) == 0;
}

static void line_fresh(void)
{
    memset(&screen, 0, sizeof(screen));
    line_init(&line, PROMPT, screen_sink, &screen);
    line_begin(&line);
}

/* Type all of it; the event of the last byte. */
static enum line_event line_type(const char *keys)
{
    enum line_event event = LINE_MORE;

    for (; *keys != '\0'; keys++) {
        event = line_byte(&line, *keys);
        if (event == LINE_DONE && keys[1] != '\0')
            line_begin(&line);
    }
    return event;
}

TEST(line, keys)
{
    static const struct {
        const char *keys, *text;
    } cases[] = {
        {"help\r", "help"},
        {"help\n", "help"},
        {"\r", ""},
        {"hlp" LEFT LEFT "e\r", "help"},
        {"elp\x01h\r", "help"},
        {"elp\x1b[Hh\r", "help"},
        {"elp\x1b[1~h\r", "help"},
        {"elp\x1bOHh\r", "help"},
        {"hel\x01\x05p\r", "help"},
        {"hel\x01\x1b[4~p\r", "help"},
        {"hel\x01\x1b[Fp\r", "help"},
        {"helq\x7fp\r", "help"},
        {"helq\bp\r", "help"},
        {"\x7f\x7fhelp\r", "help"},
        {"xhelp\x01\x1b[3~\r", "help"},
        {"xhelp\x01\x04\r", "help"},
        {"help\x04\r", "help"},
        {"help me" LEFT LEFT LEFT "\x0b\r", "help"},
        {"no help" LEFT LEFT LEFT LEFT "\x15\r", "help"},
        {"help  me  \x17\x17\x17stats\r", "stats"},
        {"help me\x17\x7f\r", "help"},
        {"heap" LEFT "\x7fl" RIGHT RIGHT "\r", "help"},
        {"he\x1b[5~\x1b[1;5Q\x1bOPlp\x1bx\r", "help"},
        {"he\x0clp\r", "help"},
        {"he\tlp\x07\r", "help"},
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        line_fresh();
        if (!EXPECT(t, line_type(cases[i].keys) == LINE_DONE) ||
            !EXPECT(t, strcmp(line.text, cases[i].text) == 0))
            test_failed(t, cases[i].keys, __FILE__, __LINE__);
    }
}

TEST(line, ends)
{
    line_fresh();
    EXPECT(t, line_type("abc\x03") == LINE_STOP);
    line_begin(&line);
    EXPECT(t, line_type("a\x7f\x04") == LINE_END);
}

TEST(line, history)
{
    line_fresh();
    EXPECT(t, line_type("one\rtwo\rtwo\r\rthree\r") == LINE_DONE);
    line_begin(&line);
    line_type(UP UP);
    EXPECT(t, strcmp(line.text, "two") == 0); /* the repeat and the empty line are not kept */
    line_type(UP UP UP);
    EXPECT(t, strcmp(line.text, "one") == 0);
    line_type("!" DOWN);
    EXPECT(t, strcmp(line.text, "two") == 0);
    line_type(UP);
    EXPECT(t, strcmp(line.text, "one") == 0); /* history itself is not edited */
    line_type(DOWN DOWN DOWN);
    EXPECT(t, line.length == 0);
    line_type("draft" UP DOWN);
    EXPECT(t, strcmp(line.text, "draft") == 0);
}

TEST(line, history_keeps_the_newest)
{
    char keys[8];

    line_fresh();
    for (unsigned i = 0; i < LINE_HISTORY + 5; i++) {
        format_string(keys, sizeof(keys), "c%u\r", i);
        line_type(keys);
        line_begin(&line);
    }
    for (unsigned i = 0; i < LINE_HISTORY + 5; i++)
        line_type(UP);
    EXPECT(t, strcmp(line.text, "c5") == 0);
}

TEST(line, is_bounded)
{
    line_fresh();
    for (unsigned i = 0; i < 2 * LINE_BYTES; i++)
        line_byte(&line, (char)('a' + i % 26));
    EXPECT(t, line.length == LINE_BYTES - 1 && line.text[LINE_BYTES - 1] == '\0');
    EXPECT(t, screen_shows_line());
    line_type("\x01x");
    EXPECT(t, line.length == LINE_BYTES - 1 && line.text[0] == 'a');
}

/* Any keys in any order: the terminal shows the line, the cursor where it is. */
TEST(line, screen_agrees_with_the_line)
{
    static const char *const keys[] = {
        "a",      "b",    " ",    "c",    LEFT,   RIGHT,     UP,          DOWN,
        "\x01",   "\x05", "\x0b", "\x15", "\x17", "\x7f",    "\x1b[3~",   "\x1b[H",
        "\x1b[F", "\x0c", "\x10", "\x0e", "word", "\x1b[9~", "\x1b[1;5C", "\x1bq",
    };
    uint64_t state = test_seed(t);

    line_fresh();
    for (unsigned step = 0; step < 5000; step++) {
        if (random_next(&state) % 50 == 0) {
            line_type("\r");
            line_begin(&line);
        } else {
            line_type(keys[random_next(&state) % ARRAY_COUNT(keys)]);
        }
        REQUIRE(t, line.cursor <= line.length && line.length < LINE_BYTES);
        REQUIRE(t, strlen(line.text) == line.length);
        REQUIRE(t, screen_shows_line());
    }
}
