/*
 * The line editor (kernel/line.h).
 *
 * Idea: every key changes text, length and cursor; then the terminal's line is drawn anew from the
 * prompt on.  Only a byte added at the end is echoed by itself, so that a script that types sees
 * what it typed.  Assumes that prompt and line fit one line of the terminal.
 *
 * Contract: no state but struct line.
 */
#include "kernel/line.h"
#include "kernel/base/string.h"

#define KEY_CTRL(letter) ((letter) - 'A' + 1)
#define KEY_ESCAPE       0x1b
#define KEY_DELETE       0x7f /* what most terminals send for backspace */

static void line_show(const struct line *line, const char *bytes, size_t n)
{
    if (n > 0)
        line->echo(line->echo_context, bytes, n);
}

static void line_show_text(const struct line *line, const char *text)
{
    line_show(line, text, strlen(text));
}

static void line_draw(const struct line *line)
{
    char back[24];
    size_t behind = line->length - line->cursor;

    line_show_text(line, "\r");
    line_show_text(line, line->prompt);
    line_show(line, line->text, line->length);
    line_show_text(line, "\x1b[K");
    if (behind > 0)
        line_show(line, back, format_string(back, sizeof(back), "\x1b[%zuD", behind));
}

/* ---- Changes of the text ---- */

static void line_insert(struct line *line, char byte)
{
    if (line->length + 1 >= LINE_BYTES) {
        line_show_text(line, "\a");
        return;
    }
    memmove(line->text + line->cursor + 1, line->text + line->cursor,
            line->length - line->cursor + 1);
    line->text[line->cursor++] = byte;
    line->length++;
    if (line->cursor == line->length)
        line_show(line, &byte, 1);
    else
        line_draw(line);
}

/* Remove [from, to); the cursor ends at from. */
static void line_remove(struct line *line, size_t from, size_t to)
{
    memmove(line->text + from, line->text + to, line->length - to + 1);
    line->length -= to - from;
    line->cursor = from;
    line_draw(line);
}

static void line_remove_back(struct line *line)
{
    if (line->cursor > 0)
        line_remove(line, line->cursor - 1, line->cursor);
}

static void line_remove_here(struct line *line)
{
    if (line->cursor < line->length)
        line_remove(line, line->cursor, line->cursor + 1);
}

static void line_remove_word(struct line *line)
{
    size_t from = line->cursor;

    while (from > 0 && line->text[from - 1] == ' ')
        from--;
    while (from > 0 && line->text[from - 1] != ' ')
        from--;
    line_remove(line, from, line->cursor);
}

static void line_move(struct line *line, size_t cursor)
{
    line->cursor = MIN(cursor, line->length);
    line_draw(line);
}

static void line_left(struct line *line)
{
    if (line->cursor > 0)
        line_move(line, line->cursor - 1);
}

/* ---- History ---- */

static void line_recall(struct line *line, unsigned back)
{
    if (back > line->history_count)
        return;
    if (line->recalled == 0)
        memcpy(line->draft, line->text, sizeof(line->draft));
    line->recalled = back;
    memcpy(line->text, back == 0 ? line->draft : line->history[back - 1], sizeof(line->text));
    line->length = line->cursor = strlen(line->text);
    line_draw(line);
}

static void line_older(struct line *line)
{
    line_recall(line, line->recalled + 1);
}

static void line_newer(struct line *line)
{
    if (line->recalled > 0)
        line_recall(line, line->recalled - 1);
}

/* Empty lines and repeats of the newest are not remembered. */
static void line_remember(struct line *line)
{
    if (line->length == 0 || (line->history_count > 0 && strcmp(line->history[0], line->text) == 0))
        return;
    memmove(line->history[1], line->history[0], sizeof(line->history) - sizeof(line->history[0]));
    memcpy(line->history[0], line->text, sizeof(line->history[0]));
    line->history_count = MIN(line->history_count + 1, (unsigned)LINE_HISTORY);
}

/* ---- Keys ---- */

/* The end of a sequence ESC [ number key, or ESC O key (number 0); unknown ones do nothing. */
static void line_escape_key(struct line *line, char key, unsigned number)
{
    if (key == '~') /* the same keys by number */
        key = number == 1 || number == 7 ? 'H' : number == 4 || number == 8 ? 'F' : '~';
    if (key == '~' && number == 3)
        line_remove_here(line);
    else if (key == 'A')
        line_older(line);
    else if (key == 'B')
        line_newer(line);
    else if (key == 'C')
        line_move(line, line->cursor + 1);
    else if (key == 'D')
        line_left(line);
    else if (key == 'H')
        line_move(line, 0);
    else if (key == 'F')
        line_move(line, line->length);
}

static void line_escape_byte(struct line *line, char byte)
{
    enum line_escape escape = line->escape;

    if (escape == LINE_ESCAPED && (byte == '[' || byte == 'O')) {
        line->escape = byte == '[' ? LINE_BRACKETED : LINE_SHIFTED;
        line->escape_number = 0;
        return;
    }
    if (escape == LINE_BRACKETED && byte >= '0' && byte <= '9') {
        line->escape_number = (line->escape_number * 10 + (unsigned)(byte - '0')) % 1000;
        return;
    }
    if (escape == LINE_BRACKETED && byte == ';')
        return; /* with a modifier: the numbers run together, and the key's letter stands */
    line->escape = LINE_PLAIN;
    if (escape != LINE_ESCAPED)
        line_escape_key(line, byte, line->escape_number);
}

static enum line_event line_control_byte(struct line *line, char byte)
{
    switch (byte) {
    case '\r':
    case '\n':
        if (line->cursor < line->length)
            line_move(line, line->length);
        line_show_text(line, "\n");
        line_remember(line);
        return LINE_DONE;
    case KEY_CTRL('C'):
        line_show_text(line, "^C\n");
        return LINE_STOP;
    case KEY_CTRL('D'):
        if (line->length == 0) {
            line_show_text(line, "\n");
            return LINE_END;
        }
        line_remove_here(line);
        break;
    case KEY_CTRL('A'):
        line_move(line, 0);
        break;
    case KEY_CTRL('B'):
        line_left(line);
        break;
    case KEY_CTRL('E'):
        line_move(line, line->length);
        break;
    case KEY_CTRL('F'):
        line_move(line, line->cursor + 1);
        break;
    case KEY_CTRL('H'):
    case KEY_DELETE:
        line_remove_back(line);
        break;
    case KEY_CTRL('K'):
        line_remove(line, line->cursor, line->length);
        break;
    case KEY_CTRL('L'):
        line_show_text(line, "\x1b[H\x1b[2J");
        line_draw(line);
        break;
    case KEY_CTRL('N'):
        line_newer(line);
        break;
    case KEY_CTRL('P'):
        line_older(line);
        break;
    case KEY_CTRL('U'):
        line_remove(line, 0, line->cursor);
        break;
    case KEY_CTRL('W'):
        line_remove_word(line);
        break;
    case KEY_ESCAPE:
        line->escape = LINE_ESCAPED;
        break;
    default:
        break;
    }
    return LINE_MORE;
}

void line_init(struct line *line, const char *prompt, format_sink *echo, void *echo_context)
{
    memset(line, 0, sizeof(*line));
    line->prompt = prompt;
    line->echo = echo;
    line->echo_context = echo_context;
}

void line_begin(struct line *line)
{
    line->text[0] = '\0';
    line->length = line->cursor = 0;
    line->escape = LINE_PLAIN;
    line->recalled = 0;
    line_show_text(line, line->prompt);
}

enum line_event line_byte(struct line *line, char byte)
{
    if (line->escape != LINE_PLAIN) {
        line_escape_byte(line, byte);
        return LINE_MORE;
    }
    if ((unsigned char)byte >= ' ' && byte != KEY_DELETE) {
        line_insert(line, byte);
        return LINE_MORE;
    }
    return line_control_byte(line, byte);
}
