/* What `panic KIND` does on purpose. */
#pragma once

struct panic_kind {
    const char *name; /* NULL: the end of a table */
    void (*run)(void);
};

extern const struct panic_kind panic_thread_kinds[];
