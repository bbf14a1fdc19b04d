/* Per-node callback for streamed experts.
 *
 *   … top-k ids ─► ffn_moe_weights-L (stop) ─► MUL_MAT_ID up ─► MUL_MAT_ID gate ─► MUL_MAT_ID down
 *                     │ reads what is missing,    └ waits for its own part alone; while another
 *                     │ then prefetches for the     part is still being read, llama.cpp computes
 *                     │ next layer                  this node before it asks about the next
 *                     └ ids become slot numbers, in place
 *
 * The guard: a node that indexes by expert must find "its weights are streamed" equal to
 * "its ids were rewritten in this layer"; a node that breaks it is not computed (its
 * operation becomes NONE) and the decode fails, since either half alone reads wrong weights.
 */
#define _POSIX_C_SOURCE 200809L /* clock_gettime */
#include "experts.h"
#include "prefetch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char WEIGHTS[] = "ffn_moe_weights-";
static const char EMBEDDING[] = "embd", LAYER_OUTPUT[] = "l_out-";

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

/* The layer to which this node brings the hidden state of a single token, or -1. */
static int32_t layer_after(const hypura_experts *experts, const struct ggml_tensor *node) {
    if (node->type != HYPURA_TYPE_F32 || node->ne[1] != 1 || node->ne[2] != 1) {
        return -1;
    }
    if (node->op == experts->ggml->op_get_rows && strcmp(node->name, EMBEDDING) == 0) {
        return 0;
    }
    if (memcmp(node->name, LAYER_OUTPUT, sizeof(LAYER_OUTPUT) - 1) != 0 || !hypura_on_host(experts->ggml, node)) {
        return -1;
    }
    char *end;
    long layer = strtol(node->name + sizeof(LAYER_OUTPUT) - 1, &end, 10);
    return *end == '\0' && layer >= 0 && layer < experts->layer_count ? (int32_t)layer + 1 : -1;
}

/* Processor time of this thread: waiting for reads, and for a processor, is not counted. */
static uint64_t work_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void look_ahead(hypura_experts *experts, int32_t index, const struct ggml_tensor *hidden) {
    uint64_t start = work_ns();
    if (!experts->figures.failed && hypura_on_host(experts->ggml, hidden)) {
        hypura_prefetch_from_hidden(experts, index, hidden);
    }
    experts->figures.hook_ns += work_ns() - start;
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
        snprintf(experts->figures.guard, sizeof(experts->figures.guard), "%s of %s", node->name, weights->name);
        experts->figures.failed = HYPURA_GUARD;
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

/* Copies ids[token][k] from the tensor, whose rows may be strided, to the scratch; or back. */
static void copy_ids(hypura_experts *experts, struct ggml_tensor *ids, int64_t per_token, int64_t tokens, bool back) {
    bool host = experts->ggml->buffer_is_host(hypura_root_of(ids)->buffer);
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

/* Fills chosen with the distinct experts of the visit, and to_read with those that are not in memory. */
static int32_t find_missing(hypura_experts *experts, int32_t index, int64_t count) {
    hypura_layer *layer = &experts->layers[index];
    int32_t missing = 0;
    memset(experts->is_chosen, 0, (size_t)layer->experts);
    experts->chosen_count = 0;
    for (int64_t i = 0; i < count; i++) {
        int32_t id = experts->ids[i];
        if (id < 0 || id >= layer->experts) {
            experts->figures.failed = HYPURA_NO_EXPERT;
            return 0;
        }
        if (experts->is_chosen[id]) {
            continue;
        }
        experts->is_chosen[id] = 1;
        experts->chosen[experts->chosen_count++] = id;
        int32_t slot = hypura_slots_find(experts, index, id);
        if (slot >= 0) {
            layer->group->slot[slot].last_used = experts->clock;
            layer->group->slot[slot].demand_parts = 0;
        } else {
            experts->to_read[missing++] = id;
        }
    }
    experts->figures.hits += (uint64_t)(experts->chosen_count - missing);
    experts->figures.misses += (uint64_t)missing;
    return missing;
}

/* The ids of the visit are known: has what they name in memory or being read, and learns from them. */
static void serve_visit(hypura_experts *experts, int32_t index, const struct ggml_tensor *node, int64_t per_token,
                        int64_t tokens) {
    experts->visit_tokens = (int32_t)tokens;
    experts->layers[index].ordered_count = 0;
    if (experts->learning) {
        hypura_routers_input(experts, index, node);
        return;
    }
    experts->clock++;
    int32_t missing = find_missing(experts, index, per_token * tokens);
    if (experts->figures.failed) {
        return;
    }
    bool prefetched = hypura_slots_resolve_prefetches(experts, index);
    hypura_layer *layer = &experts->layers[index];
    layer->tokens_since_miss = missing > 0 || prefetched ? 0 : layer->tokens_since_miss + (tokens == 1);
    const struct ggml_tensor *input = hypura_routers_input(experts, index, node);
    const float *probabilities = hypura_routers_probabilities(experts, index, node);
    hypura_likelihood_visit(experts->likelihood, index, experts->ids, (int32_t)per_token, (int32_t)tokens,
                            probabilities);
    hypura_routers_learn(experts, index, probabilities);
    hypura_coactivation *coactivation = experts->coactivation;
    bool in_turn = coactivation->last >= 0 && experts->layers[coactivation->last].next_streamed == index;
    hypura_coactivation_visit(coactivation, index, in_turn, experts->ids, (int32_t)per_token, (int32_t)tokens);
    if (missing > 0 && !hypura_slots_read(experts, index, experts->to_read, missing, HYPURA_DEMAND, INFINITY)) {
        experts->figures.failed = HYPURA_NO_SLOTS;
        return;
    }
    hypura_prefetch_learn(experts, index);
    hypura_prefetch_after_choice(experts, index, input);
    if (layer->next_streamed < 0) { /* once per token */
        hypura_likelihood_learn(experts->likelihood);
        hypura_prefetch_pace(experts);
    }
}

static void visit(hypura_experts *experts, int32_t index, struct ggml_tensor *node) {
    uint64_t start = work_ns();
    hypura_layer *layer = &experts->layers[index];
    struct ggml_tensor *ids = node->src[1];
    int64_t per_token = ids->ne[0], tokens = ids->ne[1], count = per_token * tokens;
    experts->current = index;
    if (!reserve_ids(experts, count)) {
        experts->figures.failed = HYPURA_NO_MEMORY;
        return;
    }
    if (!experts->figures.failed) {
        copy_ids(experts, ids, per_token, tokens, false);
        serve_visit(experts, index, node, per_token, tokens);
    }
    /* After a failure the ids must still index inside the pool: the nodes up to the one
     * where llama.cpp notices the abort are computed all the same. */
    for (int64_t i = 0; i < count; i++) {
        experts->ids[i] = experts->figures.failed || experts->learning ? 0 : layer->slot_of[experts->ids[i]];
    }
    copy_ids(experts, ids, per_token, tokens, true);
    experts->rewritten = ids;
    experts->figures.hook_ns += work_ns() - start;
}

/* Before a node that multiplies with streamed experts: waits for its part of them, or has it computed by rows as they
 * arrive. True to be called again once it is computed, because the next node has something to wait for. */
static bool await_part(hypura_experts *experts, struct ggml_tensor *node) {
    const struct ggml_tensor *weights = hypura_root_of(node->src[0]);
    if (node->op != experts->ggml->op_mul_mat_id || experts->current < 0 || experts->figures.failed ||
        !hypura_in_arena(experts->arena, weights)) {
        return false;
    }
    hypura_layer *layer = &experts->layers[experts->current];
    for (int32_t p = 0; p < layer->weight_count; p++) {
        if (layer->parts[p].tensor == weights) {
            if (layer->ordered_count < layer->weight_count) {
                /* Weights are read in the order in which the graph uses them. */
                int32_t was = layer->ordered_count;
                while (was < layer->weight_count - 1 && layer->read_order[was] != p) {
                    was++;
                }
                layer->read_order[was] = layer->read_order[layer->ordered_count];
                layer->read_order[layer->ordered_count++] = p;
            }
            if (experts->learning) {
                return false;
            }
            if (hypura_slots_part_pending(experts, experts->current, p) && hypura_products_skip(experts, node, p)) {
                return true;
            }
            return hypura_slots_wait(experts, experts->current, p) &&
                   hypura_slots_any_pending(experts, experts->current);
        }
    }
    snprintf(experts->figures.guard, sizeof(experts->figures.guard), "%s of %s", node->name, weights->name);
    experts->figures.failed = HYPURA_GUARD; /* another layer's experts, by this layer's ids */
    return false;
}

/* Computes the rows of products that are left, before a node may use them or overwrite their inputs. */
static void close_products(hypura_experts *experts, const struct ggml_tensor *node) {
    if (experts->products != NULL && experts->products->count > 0 && !hypura_moves_no_bytes(experts->ggml, node->op) &&
        !hypura_products_joins(experts, node)) {
        hypura_products_finish(experts);
    }
}

/* A gathered tensor is used otherwise than by its tokens' rows: the node is not computed, and the pass fails. */
static bool stops_misread(hypura_experts *experts, struct ggml_tensor *node) {
    if (!hypura_arena_misread(experts->arena, node)) {
        return false;
    }
    snprintf(experts->figures.guard, sizeof(experts->figures.guard), "%s", node->name);
    experts->figures.failed = HYPURA_MISREAD;
    node->op = experts->ggml->op_none;
    return true;
}

/* Before a node is computed: true to be called again after it. */
static bool before_node(hypura_experts *experts, struct ggml_tensor *node) {
    const hypura_ggml *ggml = experts->ggml;
    close_products(experts, node);
    if (experts->learning) {
        hypura_kv_note(experts->learning, node);
    }
    if (stops_misread(experts, node)) {
        return false;
    }
    int32_t next = layer_after(experts, node);
    if (next >= 0) {
        experts->layer_outputs_known |= next > 0;
        bool pause = hypura_prefetch_pauses(experts, next) && hypura_prefetch_pauses(experts, next + 1);
        return !experts->learning && !pause;
    }
    if (node->op != ggml->op_mul_mat_id && node->op != ggml->op_get_rows && node->op != ggml->op_add_id) {
        return false;
    }
    if (weights_layer(experts, node) >= 0) {
        experts->rewritten = NULL;
        return true;
    }
    check_guard(experts, node);
    return await_part(experts, node);
}

/* After a node for which before_node returned true, and all nodes before it, are computed. */
static void after_node(hypura_experts *experts, struct ggml_tensor *node) {
    int32_t layer = weights_layer(experts, node), next = layer_after(experts, node);
    if (experts->products != NULL && experts->products->skipped == node) {
        hypura_products_resume(experts, node);
    } else if (layer >= 0) {
        visit(experts, layer, node);
    } else if (next >= 0) {
        look_ahead(experts, next, node);
    }
}

/* The ggml_backend_sched_eval_callback; context is a hypura_experts. */
HYPURA_API bool hypura_experts_eval(struct ggml_tensor *node, bool ask, void *context) {
    if (ask) {
        return before_node(context, node);
    }
    after_node(context, node);
    return true;
}

/* The ggml_abort_callback of the same context. */
HYPURA_API bool hypura_experts_abort(void *context) {
    return ((hypura_experts *)context)->figures.failed != 0;
}

/* Before a pass. learning, if not NULL: the pass only shows the hook the routers, the order in which weights are used
 * and the KV cache; no expert is read. */
HYPURA_API void hypura_experts_begin(hypura_experts *experts, hypura_kv *learning) {
    hypura_slots_stop_warming(experts);
    experts->learning = learning;
    experts->figures.failed = 0;
    experts->rewritten = NULL;
    experts->current = -1;
    if (experts->products != NULL) {
        experts->products->count = 0;
        experts->products->skipped = NULL;
    }
}

/* Fills empty slots with these experts, in this order, until the next pass begins. */
HYPURA_API void hypura_experts_warm(hypura_experts *experts, const int32_t *layers, const int32_t *ids, int32_t count) {
    for (int32_t i = 0; i < count; i++) {
        bool layer_exists = layers[i] >= 0 && layers[i] < experts->layer_count;
        if (layer_exists && ids[i] >= 0 && ids[i] < experts->layers[layers[i]].experts) {
            hypura_slots_warm(experts, layers[i], ids[i]);
        }
    }
}

/* Empties the group's slots from usable on, and leaves them unused. */
HYPURA_API void hypura_experts_drop_from(hypura_experts *experts, hypura_group *group, int32_t usable) {
    hypura_slots_empty(experts, group, usable);
    group->usable = usable;
}

HYPURA_API void hypura_experts_free_scratch(hypura_experts *experts) {
    free(experts->ids);
    free(experts->probabilities);
    free(experts->input);
    free(experts->state);
    hypura_coactivation_free(experts->coactivation);
    for (int32_t l = 0; l < experts->layer_count; l++) {
        hypura_routers_free(&experts->layers[l]);
    }
    experts->ids = NULL;
    experts->probabilities = NULL;
    experts->input = NULL;
    experts->state = NULL;
    experts->ids_capacity = experts->probabilities_capacity = experts->state_capacity = 0;
}
