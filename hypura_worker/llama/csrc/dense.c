/* Per-node callback for streamed layers.
 *
 * A unit is one streamed tensor. Every node that uses one is a stop: the call before it waits
 * for the unit's weights, the call after it lets the next be read into its memory. This does
 * not depend on the architecture: only which tensors a node uses matters.
 *
 * In a learning pass no node is a stop, so that llama.cpp asks about all nodes before it
 * computes the first of them, and then aborts: this shows the order of use without computing.
 */
#include "dense.h"

static int32_t unit_of(const hypura_dense *dense, const struct ggml_tensor *tensor) {
    uint32_t mask = (uint32_t)dense->table_length - 1;
    uint32_t at = (uint32_t)(((uintptr_t)tensor >> 4) * 2654435761u) & mask;
    for (int32_t i = 0; i < dense->table_length; i++) {
        const hypura_dense_tensor *entry = &dense->table[at];
        if (entry->tensor == tensor) {
            return entry->unit;
        }
        if (entry->tensor == NULL) {
            return -1;
        }
        at = (at + 1) & mask;
    }
    return -1;
}

HYPURA_API void hypura_dense_insert(hypura_dense *dense, struct ggml_tensor *tensor, int32_t unit) {
    uint32_t mask = (uint32_t)dense->table_length - 1;
    uint32_t at = (uint32_t)(((uintptr_t)tensor >> 4) * 2654435761u) & mask;
    while (dense->table[at].tensor != NULL) {
        at = (at + 1) & mask;
    }
    dense->table[at].tensor = tensor;
    dense->table[at].unit = unit;
}

static bool contains(const int32_t *units, int32_t count, int32_t unit) {
    for (int32_t i = 0; i < count; i++) {
        if (units[i] == unit) {
            return true;
        }
    }
    return false;
}

/* The ggml_backend_sched_eval_callback; context is a hypura_dense. */
HYPURA_API bool hypura_dense_eval(struct ggml_tensor *node, bool ask, void *context) {
    hypura_dense *dense = context;
    if (!ask) {
        if (dense->holding && !dense->failed && dense->release() != 0) {
            dense->failed = 1;
        }
        dense->holding = 0;
        return true;
    }
    if (hypura_moves_no_bytes(dense->ggml, node->op)) {
        return false;
    }
    if (hypura_arena_misread(dense->arena, node)) {
        dense->failed = HYPURA_DENSE_MISREAD;
        node->op = dense->ggml->op_none;
        return false;
    }
    if (dense->learning) {
        hypura_kv_note(dense->learning, node);
    }
    int32_t units[GGML_MAX_SRC];
    int32_t count = 0;
    for (int i = 0; i < GGML_MAX_SRC; i++) {
        if (node->src[i] == NULL) {
            continue;
        }
        const struct ggml_tensor *root = hypura_root_of(node->src[i]);
        if (!hypura_in_arena(dense->arena, root)) {
            continue;
        }
        int32_t unit = unit_of(dense, root);
        if (unit >= 0 && !contains(units, count, unit)) {
            units[count++] = unit;
        }
    }
    if (count == 0) {
        return false;
    }
    if (dense->learning) {
        dense->acquire(units, count);
    } else if (!dense->failed) {
        if (dense->acquire(units, count) != 0) {
            dense->failed = 1;
        }
        dense->holding = 1;
    }
    /* A view took its address when the graph was allocated; the weights have moved since. */
    for (int i = 0; i < GGML_MAX_SRC; i++) {
        struct ggml_tensor *source = node->src[i];
        if (source != NULL && source->view_src != NULL && hypura_in_arena(dense->arena, source)) {
            source->data = (uint8_t *)source->view_src->data + source->view_offs;
        }
    }
    return !dense->learning;
}

/* The ggml_abort_callback of the same context. */
HYPURA_API bool hypura_dense_abort(void *context) {
    const hypura_dense *dense = context;
    return dense->failed != 0 || dense->learning != 0;
}
