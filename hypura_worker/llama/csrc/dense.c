/* Per-node callback for streamed layers.
 *
 * A unit is one layer's streamed tensors. Every node that uses one is a stop: when the
 * first node of the next unit is asked about, all nodes of the units before are computed,
 * so their memory may be read into while this call waits for the next unit's weights.
 * This knows no architecture: it looks only at which tensors a node uses.
 */
#include "hook.h"

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
        return true;
    }
    if (hypura_moves_no_bytes(dense->ggml, node->op)) {
        return false;
    }
    int32_t units[GGML_MAX_SRC];
    int32_t count = 0;
    bool all_held = true;
    for (int i = 0; i < GGML_MAX_SRC; i++) {
        if (node->src[i] == NULL) {
            continue;
        }
        const struct ggml_tensor *root = node->src[i]->view_src ? node->src[i]->view_src : node->src[i];
        if (!hypura_in_arena(dense->arena, root)) {
            continue;
        }
        int32_t unit = unit_of(dense, root);
        if (unit >= 0 && !contains(units, count, unit)) {
            all_held = all_held && contains(dense->held, dense->held_count, unit);
            units[count++] = unit;
        }
    }
    if (count == 0) {
        return false;
    }
    if (!all_held && !dense->failed) {
        if (dense->acquire(units, count) != 0) {
            dense->failed = 1;
        }
        for (int32_t i = 0; i < count; i++) {
            dense->held[i] = units[i];
        }
        dense->held_count = count;
    }
    /* A view took its address when the graph was allocated; the weights have moved since. */
    for (int i = 0; i < GGML_MAX_SRC; i++) {
        struct ggml_tensor *source = node->src[i];
        if (source != NULL && source->view_src != NULL && hypura_in_arena(dense->arena, source)) {
            source->data = (uint8_t *)source->view_src->data + source->view_offs;
        }
    }
    return true;
}

/* The ggml_abort_callback of the same context. */
HYPURA_API bool hypura_dense_abort(void *context) {
    return ((hypura_dense *)context)->failed != 0;
}
