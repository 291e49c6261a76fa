#include "tests/kernel/name_cache_test.h"
#include "kernel/base/format.h"

void name_test_key(struct name_key *key, uint64_t i)
{
    *key = (struct name_key){.parent = i % 7};
    key->bytes = (uint32_t)format_string(key->text, sizeof(key->text), "%s%lu",
                                         i % 3 != 0 ? "name" : "a name that is longer ", i);
    key->hash = name_hash(key->parent, key->text, key->bytes);
}

/* What an entry holds besides its name: from which one sees that it is not another's memory. */
static uint64_t name_test_number(uint64_t i)
{
    return i * 0x9e3779b97f4a7c15ull + 1;
}

const struct name *name_test_find(struct name_cache *cache, uint64_t i)
{
    struct name_key key;

    name_test_key(&key, i);
    return name_cache_lookup(cache, key.parent, key.text, key.bytes);
}

const struct name *name_test_enter(struct name_cache *cache, uint64_t i)
{
    struct name_key key;

    name_test_key(&key, i);
    return name_cache_insert(cache, key.parent, key.text, key.bytes, NULL, name_test_number(i));
}

bool name_test_remove(struct name_cache *cache, uint64_t i)
{
    struct name_key key;

    name_test_key(&key, i);
    return name_cache_remove(cache, key.parent, key.text, key.bytes);
}

bool name_test_is(const struct name *name, uint64_t i)
{
    struct name_key key;

    name_test_key(&key, i);
    return name != NULL && name->number == name_test_number(i) &&
           memcmp(&name->key, &key, sizeof(key)) == 0;
}
