/* A free as EXPECT_PANIC wants it: a function and what it is given. */
#pragma once

#include "mm/page/page.h"

struct free_case {
    void *addr;
    size_t pages;
};

static inline void free_run(void *arg)
{
    const struct free_case *run = arg;

    page_free(run->addr, run->pages);
}
