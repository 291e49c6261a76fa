/* Threads for tests: several that run one function, and are joined together. */
#pragma once

#include "kernel/thread/thread.h"
#include "tests/test.h"

#define TEAM_MAX 40

struct team {
    struct thread *threads[TEAM_MAX];
    unsigned count;
};

/* One more, which runs fn(arg); false: there is no memory, and the test has failed. */
bool team_add(struct test *t, struct team *team, void (*fn)(void *arg), void *arg);
void team_join(struct team *team); /* all; it can be used anew */

/* Wait until a thread says that it waits for something that begins so. */
void team_await(const struct thread *thread, const char *text);

/*
 * A thread that gives another one permits that nobody has asked for, as fast as it can: whoever
 * parks has to look again.
 */
struct pest {
    struct thread *thread, *victim;
    _Atomic unsigned turns; /* [A] relaxed */
    _Atomic bool shall_end; /* [A] relaxed */
};
bool pest_start(struct test *t, struct pest *pest, struct thread *victim); /* and it is at work */
void pest_end(struct pest *pest); /* before its victim is joined */
