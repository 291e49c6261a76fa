/* Numbers, sizes and patterns out of text.  false: malformed or out of range, *out unchanged. */
#pragma once

#include "kernel/base/base.h"

bool parse_u64(const char *text, uint64_t *out);        /* decimal or 0x hexadecimal, all of text */
bool parse_size(const char *text, uint64_t *out);       /* as Go's GOMEMLIMIT and QEMU's -m:
                                                     4096, 64K, 64KiB, 512M, 512MiB, 8G, 1T … */
bool glob_match(const char *pattern, const char *text); /* * and ? ; "" matches only "" */
