/* Smooth weighted round robin, from plugin-sdk/ABI.md alone: no headers of the gateway's, no library below.
 *
 * Each pick adds to every endpoint its weight, takes the one that has most, and subtracts the sum of weights from it. So
 * each has its share in any stretch of picks, without runs of one. */

#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(#name)))
#define IMPORT(name) __attribute__((import_module("gatewright"), import_name(#name)))

enum { TAKE = 0, FALLBACK = 1 };         /* decisions */
enum { FLAGS = 0, WEIGHT = 8 };          /* columns */
enum { OF_USE = 45, USABLE = 1 };        /* healthy, and not ejected, draining or tried */

/* Importing them declares that they are read. */
IMPORT(column_flags) uint32_t column_flags(void);
IMPORT(column_weight) uint32_t column_weight(void);

/* The gateway writes here between calls. */
static struct {
    uint32_t count, generation, columns[32];
} table;

/* What each endpoint has; none when there is no memory for it. */
static int64_t *credits;
static uint32_t credited;

/* Free memory: blocks by address, none beside another. A block that is in use has no head, since the gateway tells its size. */
typedef struct block {
    struct block *next;
    uint32_t size;
} block;

static block *first;

static block *behind(block *one, uint32_t size) {
    return (block *)((char *)one + size);
}

static void take_back(block *freed) {
    block *before = 0, *after = first;
    while (after && after < freed) {
        before = after;
        after = after->next;
    }
    freed->next = after;
    if (after && behind(freed, freed->size) == after) {
        freed->size += after->size;
        freed->next = after->next;
    }
    if (!before) {
        first = freed;
    } else if (behind(before, before->size) == freed) {
        before->size += freed->size;
        before->next = freed->next;
    } else {
        before->next = freed;
    }
}

static uint32_t rounded(uint32_t size) {
    return size ? (size + 7) & ~7u : 8;
}

static block *give(uint32_t size) {
    for (block **at = &first; *at; at = &(*at)->next) {
        block *found = *at;
        if (found->size < size) continue;
        if (found->size == size) {
            *at = found->next;
        } else {
            *at = behind(found, size);
            **at = (block){ found->next, found->size - size };
        }
        return found;
    }
    return 0;
}

EXPORT(gw_alloc) void *gw_alloc(uint32_t size) {
    const uint32_t page = 65536;
    if (size > UINT32_MAX - page) return 0;
    size = rounded(size);
    block *found = give(size);
    if (found) return found;
    uint32_t pages = (size + page - 1) / page;
    uint32_t end = __builtin_wasm_memory_grow(0, pages);
    if (end == UINT32_MAX) return 0;
    block *fresh = (block *)(uintptr_t)(end * page);
    fresh->size = pages * page;
    take_back(fresh);
    return give(size);
}

EXPORT(gw_free) void gw_free(block *freed, uint32_t size) {
    freed->size = rounded(size);
    take_back(freed);
}

EXPORT(gw_abi_1) void gw_abi_1(void) {}

EXPORT(gw_table) void *gw_table(void) {
    return &table;
}

EXPORT(gw_endpoints_changed) void gw_endpoints_changed(void) {
    if (credits) gw_free((block *)credits, credited * sizeof *credits);
    credited = table.count;
    credits = gw_alloc(credited * sizeof *credits);
    for (uint32_t i = 0; credits && i < credited; i++) credits[i] = 0;
}

EXPORT(gw_configure) int64_t gw_configure(uint32_t kinds, const char *json, uint32_t size) {
    static const char wrong[] = "this balancer takes no configuration";
    (void)kinds;
    if (size != 2 || json[0] != '{') return (int64_t)(uintptr_t)wrong << 32 | (sizeof wrong - 1);
    gw_endpoints_changed();
    return 0;
}

EXPORT(gw_pick) int64_t gw_pick(uint32_t attempt) {
    (void)attempt;
    const uint32_t *flags = (uint32_t *)(table.columns[FLAGS] ? table.columns[FLAGS] : column_flags());
    const uint32_t *weights = (uint32_t *)(table.columns[WEIGHT] ? table.columns[WEIGHT] : column_weight());
    int64_t best = -1, total = 0;
    for (uint32_t i = 0; credits && i < table.count; i++) {
        if ((flags[i] & OF_USE) != USABLE) continue;
        credits[i] += weights[i];
        total += weights[i];
        if (best < 0 || credits[i] > credits[best]) best = i;
    }
    if (best < 0) return (int64_t)FALLBACK << 32;
    credits[best] -= total;
    return (int64_t)TAKE << 32 | best;
}
