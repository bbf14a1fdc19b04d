/* Per-node callback for streamed experts.
 *
 *   … top-k ids ─► ffn_moe_weights-L (stop) ─► MUL_MAT_ID ─► …
 *                       │ all chosen experts in slots? else Python reads them
 *                       └ ids become slot numbers, in place
 *
 * The guard: a node that indexes by expert must find "its weights are streamed" equal to
 * "its ids were rewritten in this layer"; a node that breaks it is not computed (its
 * operation becomes NONE) and the decode fails, since either half alone reads wrong weights.
 */
#include "hook.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char WEIGHTS[] = "ffn_moe_weights-";

/* The layer of a node that gathers the gate weights of the chosen experts, or -1. Later
 * nodes carry the same name and a suffix such as " (reshaped)". */
static int32_t weights_layer(const hypura_experts *experts, const struct ggml_tensor *node) {
    if (node->op != experts->ggml->op_get_rows || memcmp(node->name, WEIGHTS, sizeof(WEIGHTS) - 1) != 0) {
        return -1;
    }
    char *end;
    long layer = strtol(node->name + sizeof(WEIGHTS) - 1, &end, 10);
    if (*end != '\0' || layer < 0 || layer >= experts->layer_count || experts->layers[layer].experts == 0) {
        return -1;
    }
    return (int32_t)layer;
}

/* On a GPU the scheduler hands the CPU a copy, which is named after the original. */
static bool is_rewritten(const hypura_experts *experts, const struct ggml_tensor *ids) {
    if (experts->rewritten == NULL) {
        return false;
    }
    return ids == experts->rewritten || strstr(ids->name, experts->rewritten->name) != NULL;
}

static void check_guard(hypura_experts *experts, struct ggml_tensor *node) {
    const hypura_ggml *ggml = experts->ggml;
    const struct ggml_tensor *weights = node->src[0];
    const struct ggml_tensor *ids = NULL;
    if (node->op == ggml->op_mul_mat_id) {
        ids = node->src[2];
    } else if (node->op == ggml->op_add_id) {
        weights = node->src[1];
        ids = node->src[2];
    } else if (node->op == ggml->op_get_rows && weights->op == ggml->op_repeat) {
        weights = weights->src[0]; /* an expert scale is repeated per token first */
        ids = node->src[1];
    } else {
        return;
    }
    if (hypura_in_arena(experts->arena, weights) != is_rewritten(experts, ids)) {
        snprintf(experts->guard, sizeof(experts->guard), "%s of %s", node->name, weights->name);
        experts->failed = 2;
        node->op = ggml->op_none;
    }
}

static bool reserve_ids(hypura_experts *experts, int64_t count) {
    if (count > experts->ids_capacity) {
        int32_t *grown = realloc(experts->ids, (size_t)count * sizeof(int32_t));
        if (grown == NULL) {
            return false;
        }
        experts->ids = grown;
        experts->ids_capacity = count;
    }
    return true;
}

/* ids[token][k] between the tensor, whose rows may be strided, and the scratch. */
static void copy_ids(hypura_experts *experts, struct ggml_tensor *ids, int64_t per_token, int64_t tokens, bool back) {
    bool host = experts->ggml->buffer_is_host(ids->view_src ? ids->view_src->buffer : ids->buffer);
    size_t row_bytes = (size_t)per_token * sizeof(int32_t);
    for (int64_t t = 0; t < tokens; t++) {
        int32_t *row = experts->ids + t * per_token;
        size_t offset = (size_t)t * ids->nb[1];
        uint8_t *place = (uint8_t *)ids->data + offset;
        if (host && back) {
            memcpy(place, row, row_bytes);
        } else if (host) {
            memcpy(row, place, row_bytes);
        } else if (back) {
            experts->ggml->tensor_set(ids, row, offset, row_bytes);
        } else {
            experts->ggml->tensor_get(ids, row, offset, row_bytes);
        }
    }
}

static void visit(hypura_experts *experts, int32_t index, struct ggml_tensor *ids) {
    hypura_expert_layer *layer = &experts->layers[index];
    int64_t per_token = ids->ne[0], tokens = ids->ne[1], count = per_token * tokens;
    if (!reserve_ids(experts, count)) {
        experts->failed = 1;
        return;
    }
    if (!experts->failed) {
        copy_ids(experts, ids, per_token, tokens, false);
        uint64_t now = ++experts->clock;
        uint64_t hits = 0, misses = 0;
        for (int64_t i = 0; i < count; i++) {
            int32_t id = experts->ids[i];
            if (id < 0 || id >= layer->experts) {
                experts->failed = 1;
                break;
            }
            if (layer->last_used[id] != now) {
                layer->last_used[id] = now;
                layer->uses[id]++;
                if (layer->slot_of[id] >= 0) {
                    hits++;
                } else {
                    misses++;
                }
            }
        }
        experts->hits += hits;
        experts->misses += misses;
        if (!experts->failed && misses > 0 &&
            experts->miss(index, experts->ids, (int32_t)per_token, (int32_t)tokens) != 0) {
            experts->failed = 1;
        }
    }
    /* After a failure the ids must still index inside the pool: the nodes up to the one
     * where llama.cpp notices the abort are computed all the same. */
    for (int64_t i = 0; i < count; i++) {
        int32_t slot = experts->failed ? 0 : layer->slot_of[experts->ids[i]];
        if (slot < 0) {
            experts->failed = 1;
            slot = 0;
        }
        experts->ids[i] = slot;
    }
    copy_ids(experts, ids, per_token, tokens, true);
    experts->rewritten = ids;
}

/* The ggml_backend_sched_eval_callback; context is a hypura_experts. */
HYPURA_API bool hypura_experts_eval(struct ggml_tensor *node, bool ask, void *context) {
    hypura_experts *experts = context;
    if (ask) {
        int32_t op = node->op;
        const hypura_ggml *ggml = experts->ggml;
        if (op != ggml->op_mul_mat_id && op != ggml->op_get_rows && op != ggml->op_add_id) {
            return false;
        }
        if (weights_layer(experts, node) >= 0) {
            experts->rewritten = NULL;
            return true;
        }
        check_guard(experts, node);
        return false;
    }
    int32_t layer = weights_layer(experts, node);
    if (layer >= 0) {
        visit(experts, layer, node->src[1]);
    }
    return true;
}

/* The ggml_abort_callback of the same context. */
HYPURA_API bool hypura_experts_abort(void *context) {
    return ((hypura_experts *)context)->failed != 0;
}

HYPURA_API void hypura_experts_free_scratch(hypura_experts *experts) {
    free(experts->ids);
    experts->ids = NULL;
    experts->ids_capacity = 0;
}
