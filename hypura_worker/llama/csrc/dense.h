/* Streamed layers: the state of their per-node callback. See dense.c. */
#ifndef HYPURA_DENSE_H
#define HYPURA_DENSE_H

#include "arena.h"
#include "kv.h"

#define HYPURA_DENSE_MISREAD 2

/* Called before a node that needs units (streamed tensors). Afterwards exactly these are held.
 * Returns 0, or anything else to fail the decode. */
typedef int32_t (*hypura_acquire_fn)(const int32_t *units, int32_t count);
/* Called when the node is computed: nothing is held any more. Returns as above. */
typedef int32_t (*hypura_release_fn)(void);

typedef struct {
    struct ggml_tensor *tensor;
    int32_t unit;
    int32_t reserved;
} hypura_dense_tensor;

typedef struct {
    const hypura_ggml *ggml;
    hypura_arena *arena;
    hypura_dense_tensor *table; /* open addressing by tensor pointer; its length is a power of two */
    int32_t table_length;
    int32_t failed; /* HYPURA_DENSE_MISREAD where a node is not understood; 1 for all else */
    hypura_acquire_fn acquire;
    hypura_release_fn release;
    int32_t holding;
    int32_t reserved;
    hypura_kv *learning; /* not NULL: this pass only shows which units follow which; its results are discarded */
} hypura_dense;

#endif
