/* Once: done by the first who calls, seen by all. */
#include "kernel/thread/sync.h"
#include "tests/kernel/thread/team.h"

static struct once once;
static _Atomic unsigned once_wrong; /* [A] threads that have not seen it */
static unsigned once_made;          /* [once] plain: who calls sees it */

static void once_make(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < 10; i++)
        thread_yield(); /* the others come, and wait */
    once_made++;
}

static void once_call(void *unused)
{
    (void)unused;
    once_do(&once, once_make, NULL);
    if (once_made != 1)
        atomic_fetch_add_explicit(&once_wrong, 1, memory_order_relaxed);
}

TEST(once, is_done_when_any_call_returns)
{
    struct team team = {0};

    once = (struct once)ONCE_INIT("once");
    once_made = 0;
    once_wrong = 0;
    for (unsigned i = 0; i < 8; i++)
        (void)team_add(t, &team, once_call, NULL);
    while (!atomic_load_explicit(&once.is_done, memory_order_relaxed))
        thread_yield();
    once_do(&once, once_make, NULL); /* without its mutex */
    EXPECT(t, once_made == 1);
    team_join(&team);
    EXPECT(t, once_made == 1 && once_wrong == 0);
}
