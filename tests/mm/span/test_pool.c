/* Pools of pieces: each goes out once, lies within its page, and comes back once. */
#include "mm/span/pool.h"
#include "mm/page/page.h"
#include "tests/test.h"

#define PIECES 200u

static struct pool pools[] = {POOL_INIT(SPAN_DESC, 64), POOL_INIT(SPAN_DESC, 256),
                              POOL_INIT(SPAN_DESC, 1024)};

TEST(pool, pieces_go_out_once)
{
    static uint64_t *pieces[PIECES];

    for (size_t i = 0; i < ARRAY_COUNT(pools); i++) {
        struct pool *pool = &pools[i];
        size_t free_before = page_free_count();

        REQUIRE(t, pool_take_many(pool, PIECES / 2, (void **)pieces) == PIECES / 2);
        for (unsigned piece = PIECES / 2; piece < PIECES; piece++)
            REQUIRE(t, (pieces[piece] = pool_take(pool)) != NULL);
        for (unsigned piece = 0; piece < PIECES; piece++) {
            EXPECT(t, IS_ALIGNED((uintptr_t)pieces[piece], pool->piece_bytes));
            EXPECT(t, !IS_ALIGNED((uintptr_t)pieces[piece], PAGE_BYTES)); /* its page's header */
            *pieces[piece] = piece;
        }
        EXPECT(t, pool_live(pool) == PIECES);
        for (unsigned piece = 0; piece < PIECES; piece++)
            EXPECT(t, *pieces[piece] == piece);
        for (unsigned piece = 0; piece < PIECES; piece += 2)
            pool_give(pool, pieces[piece]);
        pool_drain(pool);
        for (unsigned piece = 1; piece < PIECES; piece += 2) {
            EXPECT(t, *pieces[piece] == piece);
            pool_give(pool, pieces[piece]);
        }
        pool_drain(pool);
        EXPECT(t, pool_live(pool) == 0 && pool_bytes(pool) == 0);
        EXPECT(t, page_free_count() == free_before);
    }
}

static void give_twice(void *piece)
{
    pool_give(&pools[0], piece);
    pool_give(&pools[0], piece);
}

static void give_header(void *piece)
{
    pool_give(&pools[0], (void *)ALIGN_DOWN((uintptr_t)piece, PAGE_BYTES));
}

TEST(pool, pieces_come_back_once)
{
    void *piece = pool_take(&pools[0]), *other = pool_take(&pools[0]);

    REQUIRE(t, piece != NULL && other != NULL);
    EXPECT_PANIC(t, give_twice, piece, "free_map");
    EXPECT_PANIC(t, give_header, piece, "free_map");
    pool_give(&pools[0], piece);
    pool_give(&pools[0], other);
    pool_drain(&pools[0]);
}
