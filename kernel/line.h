/*
 * A line editor: bytes typed in, a line and what a terminal shall show out.  A state machine with
 * no device behind it; the monitor feeds it from the serial line, a test from a string.
 *
 * Keys: left, right, home, end, ^A ^E; backspace, delete; ^U ^K ^W delete to the start, to the end,
 * the word before; up, down, ^P ^N history; ^L clears the screen; ^C gives the line up; ^D on an
 * empty line ends the input, else deletes.
 */
#pragma once

#include "kernel/base/base.h"
#include "kernel/base/format.h"

#define LINE_BYTES   192 /* longest line, NUL included; a multiple of a screen's width looks odd */
#define LINE_HISTORY 16  /* lines remembered */

enum line_event {
    LINE_MORE, /* nothing yet */
    LINE_DONE, /* line->text is a line, NUL-terminated, until the next line_begin */
    LINE_STOP, /* ^C: given up; line_begin starts another */
    LINE_END,  /* ^D on an empty line: end of input */
};

/* How much of an escape sequence has come. */
enum line_escape {
    LINE_PLAIN,     /* none */
    LINE_ESCAPED,   /* ESC */
    LINE_BRACKETED, /* ESC [ and digits */
    LINE_SHIFTED,   /* ESC O */
};

/*
 * Invariants
 *   L1  cursor <= length < LINE_BYTES, text[length] == 0
 *   L2  recalled <= history_count <= LINE_HISTORY
 */
struct line {
    const char *prompt;
    format_sink *echo; /* what the terminal shall show */
    void *echo_context;
    char text[LINE_BYTES];
    size_t length, cursor; /* bytes; L1 */
    enum line_escape escape;
    unsigned escape_number;                 /* digits behind ESC [ */
    char history[LINE_HISTORY][LINE_BYTES]; /* [0] is the newest */
    unsigned history_count;
    unsigned recalled;      /* lines back; 0: the one being typed; L2 */
    char draft[LINE_BYTES]; /* the line being typed, while a recalled one is shown */
};

/* All zero but these; the history is empty. */
void line_init(struct line *line, const char *prompt, format_sink *echo, void *echo_context);
void line_begin(struct line *line); /* an empty line; shows the prompt */
enum line_event line_byte(struct line *line, char byte);
