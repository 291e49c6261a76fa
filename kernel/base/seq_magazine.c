/* The magazine that is empty and full for ever, and what it holds. */
#include "kernel/base/seq_magazine.h"

const uint64_t seq_nothing;
const struct seq_magazine seq_closed = {
    .words = {[SEQ_MAGAZINE_WORDS - 1] = (void *)&seq_nothing},
};
