/*
 * Formatting without a C library (kernel/base/format.h).
 *
 * Idea: the format is cut into pieces -- literal text, a field's padding, its digits or its string
 * -- and each piece goes to the sink as it is, so there is no buffer whose size could matter; the
 * only one holds the digits of a number.  A conversion that is not listed in the header is given
 * out as it stands and takes no argument.
 *
 * Contract: any context; no state.
 */
#include "kernel/base/format.h"
#include "kernel/base/string.h"

#define DIGIT_MAX 20 /* of 2^64 - 1 in decimal */

enum format_flags {
    FORMAT_LEFT = 1 << 0,
    FORMAT_ZEROS = 1 << 1,
    FORMAT_PREFIX = 1 << 2, /* 0x */
    FORMAT_CAPITALS = 1 << 3,
};

/* One conversion, parsed: %[flags][width][.precision][length]conversion */
struct format_spec {
    unsigned flags;
    size_t width;
    int precision; /* -1: none given */
    char length;   /* 'H' for hh, 'h', 'l' (also ll, j, z, t: all 64 bits), 0: int */
    char conversion;
};

struct format_out {
    format_sink *sink;
    void *context;
};

static void format_put(const struct format_out *out, const char *bytes, size_t n)
{
    if (n > 0)
        out->sink(out->context, bytes, n);
}

static void format_pad(const struct format_out *out, const char *sixteen, size_t n)
{
    for (; n > 16; n -= 16)
        format_put(out, sixteen, 16);
    format_put(out, sixteen, n);
}

static void format_spaces(const struct format_out *out, size_t n)
{
    format_pad(out, "                ", n);
}

/* `prefix` (sign or 0x), zeros up to the precision or width, the digits; padded to the width. */
static void format_number(const struct format_out *out, const struct format_spec *spec,
                          const char *prefix, uint64_t value, unsigned base)
{
    const char *symbols =
        (spec->flags & FORMAT_CAPITALS) != 0 ? "0123456789ABCDEF" : "0123456789abcdef";
    char digits[DIGIT_MAX];
    size_t first = DIGIT_MAX, prefix_count = strlen(prefix), zeros = 0;

    for (; value != 0; value /= base)
        digits[--first] = symbols[value % base];
    if (first == DIGIT_MAX && spec->precision != 0)
        digits[--first] = '0';

    size_t digit_count = DIGIT_MAX - first;
    if (spec->precision >= 0 && (size_t)spec->precision > digit_count)
        zeros = (size_t)spec->precision - digit_count;
    size_t bare = prefix_count + digit_count;
    if (spec->precision < 0 && (spec->flags & (FORMAT_ZEROS | FORMAT_LEFT)) == FORMAT_ZEROS &&
        spec->width > bare)
        zeros = spec->width - bare;
    size_t blanks = spec->width > bare + zeros ? spec->width - bare - zeros : 0;

    if ((spec->flags & FORMAT_LEFT) == 0)
        format_spaces(out, blanks);
    format_put(out, prefix, prefix_count);
    format_pad(out, "0000000000000000", zeros);
    format_put(out, digits + first, digit_count);
    if ((spec->flags & FORMAT_LEFT) != 0)
        format_spaces(out, blanks);
}

static void format_text(const struct format_out *out, const struct format_spec *spec,
                        const char *text, size_t n)
{
    size_t blanks = spec->width > n ? spec->width - n : 0;

    if ((spec->flags & FORMAT_LEFT) == 0)
        format_spaces(out, blanks);
    format_put(out, text, n);
    if ((spec->flags & FORMAT_LEFT) != 0)
        format_spaces(out, blanks);
}

static void format_string_field(const struct format_out *out, const struct format_spec *spec,
                                const char *text)
{
    if (text == NULL)
        text = "(null)";
    format_text(out, spec, text,
                spec->precision < 0 ? strlen(text) : strnlen(text, (size_t)spec->precision));
}

static const char *format_parse_number(const char *at, size_t *out)
{
    size_t value = 0;

    for (; *at >= '0' && *at <= '9'; at++)
        value = value * 10 + (size_t)(*at - '0');
    *out = value;
    return at;
}

static const char *format_parse_length(const char *at, struct format_spec *spec)
{
    spec->length = 0;
    if (at[0] == 'h') {
        spec->length = at[1] == 'h' ? 'H' : 'h';
        return at + (at[1] == 'h' ? 2 : 1);
    }
    if (*at == 'l' || *at == 'z' || *at == 't' || *at == 'j') {
        spec->length = 'l';
        return at + (at[0] == 'l' && at[1] == 'l' ? 2 : 1);
    }
    return at;
}

/* `at` stands behind the %; returns the place behind the conversion (at its NUL if cut short). */
static const char *format_parse(const char *at, struct format_spec *spec, va_list *args)
{
    *spec = (struct format_spec){.precision = -1};

    for (;; at++) {
        if (*at == '-')
            spec->flags |= FORMAT_LEFT;
        else if (*at == '0')
            spec->flags |= FORMAT_ZEROS;
        else if (*at == '#')
            spec->flags |= FORMAT_PREFIX;
        else
            break;
    }
    if (*at == '*') {
        int width = va_arg(*args, int);

        if (width < 0)
            spec->flags |= FORMAT_LEFT;
        spec->width = width < 0 ? -(size_t)width : (size_t)width;
        at++;
    } else {
        at = format_parse_number(at, &spec->width);
    }
    if (*at == '.') {
        if (*++at == '*') {
            spec->precision = va_arg(*args, int); /* negative: as if not given */
            at++;
        } else {
            size_t precision;

            at = format_parse_number(at, &precision);
            spec->precision = (int)precision;
        }
    }
    at = format_parse_length(at, spec);
    spec->conversion = *at;
    return *at == '\0' ? at : at + 1;
}

static int64_t format_signed(const struct format_spec *spec, va_list *args)
{
    if (spec->length == 'l')
        return va_arg(*args, int64_t);
    int value = va_arg(*args, int);
    return spec->length == 'H' ? (signed char)value : spec->length == 'h' ? (short)value : value;
}

static uint64_t format_unsigned(const struct format_spec *spec, va_list *args)
{
    if (spec->length == 'l')
        return va_arg(*args, uint64_t);
    unsigned value = va_arg(*args, unsigned);
    return spec->length == 'H'   ? (unsigned char)value
           : spec->length == 'h' ? (unsigned short)value
                                 : value;
}

/* false: no such conversion; nothing was put out or taken. */
static bool format_convert(const struct format_out *out, struct format_spec *spec, va_list *args)
{
    switch (spec->conversion) {
    case 'd':
    case 'i': {
        int64_t value = format_signed(spec, args);

        format_number(out, spec, value < 0 ? "-" : "",
                      value < 0 ? -(uint64_t)value : (uint64_t)value, 10);
        return true;
    }
    case 'u':
        format_number(out, spec, "", format_unsigned(spec, args), 10);
        return true;
    case 'X':
        spec->flags |= FORMAT_CAPITALS;
        /* fall through */
    case 'x': {
        uint64_t value = format_unsigned(spec, args);
        bool prefix = (spec->flags & FORMAT_PREFIX) != 0 && value != 0;

        format_number(out, spec, !prefix ? "" : spec->conversion == 'X' ? "0X" : "0x", value, 16);
        return true;
    }
    case 'p':
        format_number(out, spec, "0x", (uintptr_t)va_arg(*args, void *), 16);
        return true;
    case 's':
        format_string_field(out, spec, va_arg(*args, const char *));
        return true;
    case 'c': {
        char c = (char)va_arg(*args, int);

        format_text(out, spec, &c, 1);
        return true;
    }
    case '%':
        format_put(out, "%", 1);
        return true;
    default:
        return false;
    }
}

void format_to(format_sink *sink, void *context, const char *format, va_list args)
{
    const struct format_out out = {sink, context};
    va_list rest;

    va_copy(rest, args);
    for (;;) {
        const char *percent = format;

        while (*percent != '\0' && *percent != '%')
            percent++;
        format_put(&out, format, (size_t)(percent - format));
        if (*percent == '\0')
            break;

        struct format_spec spec;
        format = format_parse(percent + 1, &spec, &rest);
        if (!format_convert(&out, &spec, &rest))
            format_put(&out, percent, (size_t)(format - percent));
    }
    va_end(rest);
}

struct format_buffer {
    char *bytes;
    size_t capacity; /* bytes, the NUL's included */
    size_t wanted;   /* bytes that came, kept or not */
};

static void format_buffer_sink(void *context, const char *bytes, size_t n)
{
    struct format_buffer *buffer = context;

    if (buffer->wanted + 1 < buffer->capacity)
        memcpy(buffer->bytes + buffer->wanted, bytes,
               MIN(n, buffer->capacity - 1 - buffer->wanted));
    buffer->wanted += n;
}

size_t format_string(char *buffer, size_t bytes, const char *format, ...)
{
    struct format_buffer out = {buffer, bytes, 0};
    va_list args;

    va_start(args, format);
    format_to(format_buffer_sink, &out, format, args);
    va_end(args);
    if (bytes > 0)
        buffer[MIN(out.wanted, bytes - 1)] = '\0';
    return out.wanted;
}
