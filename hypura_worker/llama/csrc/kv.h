/* Memory of the KV cache: where it is, and how much of it was ever written. See kv.c. */
#ifndef HYPURA_KV_H
#define HYPURA_KV_H

#include "attributes.h"
#include "ggml_mirror.h"

#define HYPURA_MAX_KV 1024

typedef struct {
    uint8_t *data;
    int64_t token_bytes;
    int64_t tokens;
} hypura_kv_tensor;

typedef struct {
    const hypura_ggml *ggml;
    int32_t count;
    int32_t reserved;
    hypura_kv_tensor tensors[HYPURA_MAX_KV];
} hypura_kv;

/* In a learning pass, which only shows the graph: remembers the part of the cache that this node attends to. */
void hypura_kv_note(hypura_kv *kv, const struct ggml_tensor *node);

#endif
