/* Which experts the next layer will choose: its router, applied to this layer's gate input.
 *
 *   gate input ─► MUL_MAT router ─► (+ bias) ─► softmax or sigmoid ─► (+ bias) ─► top-k ─► ids
 *        └ the next layer's router on the same input ranks its experts; the hidden state
 *          changes little from layer to layer, so most of the first ranks come true
 *
 * How often a guess of each rank came true is counted all the time, whether it was read or
 * not, for experts that were not in memory; only ranks that come true often enough are read.
 */
#include "hook.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHAIN 16        /* nodes between the ids and the router's product, at most */
#define SAMPLED 64      /* tokens of a prompt whose routing is foreseen */
#define FADING 0.9998f  /* of the counts by rank: a memory of some hundred tokens */
#define PACE 0.1f       /* of one token in what is known of the drive */
#define BUSY_FROM 0.6f  /* share of the time from which on reads stand in each other's way … */
#define BUSY_TO 0.8f    /* … and from which on they always do */
#define LEAST_IDLE 0.25f
#define LEAST_BUSY 0.8f
#define TYPE_F32 0
#define INPUT_STEPS 1023
#define MAX_WIDTH 16384

static bool on_host(const hypura_experts *experts, const struct ggml_tensor *tensor) {
    const struct ggml_tensor *root = tensor->view_src ? tensor->view_src : tensor;
    return root->buffer != NULL && tensor->data != NULL && experts->ggml->buffer_is_host(root->buffer);
}

static const float *leaf_vector(const hypura_experts *experts, const struct ggml_tensor *tensor, int64_t length) {
    bool fits = tensor != NULL && tensor->op == experts->ggml->op_none && tensor->type == TYPE_F32 &&
                tensor->ne[0] == length && tensor->ne[1] == 1 && on_host(experts, tensor);
    return fits ? tensor->data : NULL;
}

/* From the chosen ids, or the probabilities, back to the router's product; NULL if it is not found. */
static struct ggml_tensor *product_before(const hypura_experts *experts, struct ggml_tensor *node, int64_t count,
                                          hypura_router *router) {
    const hypura_ggml *ggml = experts->ggml;
    *router = (hypura_router){0};
    for (int32_t i = 0; i < CHAIN && node != NULL; i++, node = node->src[0]) {
        if (node->op == ggml->op_soft_max) {
            router->gating = HYPURA_SOFTMAX;
        } else if (node->op == ggml->op_unary) {
            router->gating = HYPURA_SIGMOID;
        } else if (node->op == ggml->op_add) {
            const float *bias = leaf_vector(experts, node->src[1], count);
            if (router->gating == HYPURA_NO_GATING) {
                router->choice_bias = bias;
            } else {
                router->logit_bias = bias;
            }
        } else if (node->op == ggml->op_mul_mat) {
            return node;
        }
    }
    return NULL;
}

static bool reserve_input(hypura_experts *experts, int64_t width) {
    if (width > experts->input_capacity) {
        int16_t *grown = realloc(experts->input, (size_t)width * sizeof(*grown));
        if (grown == NULL) {
            return false;
        }
        experts->input = grown;
        experts->input_capacity = width;
    }
    return true;
}

/* The 8-bit copy of the layer's router. */
static void shorten(hypura_layer *layer) {
    hypura_router *router = &layer->router;
    size_t width = (size_t)router->width, count = (size_t)layer->experts;
    router->rows = router->width <= MAX_WIDTH ? malloc(count * width) : NULL;
    router->scales = malloc(count * sizeof(float));
    if (router->rows == NULL || router->scales == NULL) {
        free(router->rows);
        router->rows = NULL;
        return;
    }
    for (size_t e = 0; e < count; e++) {
        const float *row = router->weights + e * width;
        float largest = 0;
        for (size_t i = 0; i < width; i++) {
            largest = fmaxf(largest, fabsf(row[i]));
        }
        router->scales[e] = isfinite(largest) && largest > 0 ? largest / 127 : 1;
        for (size_t i = 0; i < width; i++) {
            router->rows[e * width + i] = isfinite(row[i]) ? (int8_t)lrintf(row[i] / router->scales[e]) : 0;
        }
    }
}

const struct ggml_tensor *hypura_routers_input(hypura_experts *experts, int32_t index,
                                               const struct ggml_tensor *node) {
    hypura_layer *layer = &experts->layers[index];
    hypura_router router;
    struct ggml_tensor *product = product_before(experts, node->src[1], layer->experts, &router);
    if (product == NULL) {
        product = product_before(experts, node->src[0], layer->experts, &router);
    }
    if (product == NULL || product->src[0]->op != experts->ggml->op_none || product->src[0]->type != TYPE_F32 ||
        product->src[0]->ne[1] != layer->experts || product->src[1]->type != TYPE_F32 ||
        !on_host(experts, product->src[0]) || !on_host(experts, product->src[1]) ||
        product->src[0]->nb[1] != (size_t)product->src[0]->ne[0] * sizeof(float)) {
        return NULL;
    }
    if (layer->router.weights != product->src[0]->data) {
        router.weights = product->src[0]->data;
        router.width = (int32_t)product->src[0]->ne[0];
        hypura_routers_free(layer);
        layer->router = router;
        shorten(layer);
    }
    return product->src[1];
}

void hypura_routers_free(hypura_layer *layer) {
    free(layer->router.rows);
    free(layer->router.scales);
    layer->router = (hypura_router){0};
}

/* No overflow up to 16,384 wide: 127 * 1023 * 16384 < 2^31. */
static int32_t dot(const int8_t *row, const int16_t *input, int32_t width) {
    int32_t sum = 0;
    for (int32_t i = 0; i < width; i++) {
        sum += row[i] * input[i];
    }
    return sum;
}

/* The gate input in steps of the returned size. */
static float scale_input(hypura_experts *experts, const float *input, int32_t width) {
    float largest = 0;
    for (int32_t i = 0; i < width; i++) {
        largest = fmaxf(largest, fabsf(input[i]));
    }
    float step = isfinite(largest) && largest > 0 ? largest / INPUT_STEPS : 1;
    for (int32_t i = 0; i < width; i++) {
        experts->input[i] = isfinite(input[i]) ? (int16_t)lrintf(input[i] / step) : 0;
    }
    return step;
}

/* scores[expert]: in the order in which the router would choose. */
static void score(hypura_experts *state, const hypura_layer *layer, const float *input) {
    const hypura_router *router = &layer->router;
    int32_t experts = layer->experts;
    float *scores = state->scores;
    float highest = -INFINITY, total = 0, step = scale_input(state, input, router->width);
    for (int32_t e = 0; e < experts; e++) {
        int32_t sum = dot(router->rows + (size_t)e * (size_t)router->width, state->input, router->width);
        scores[e] = (float)sum * router->scales[e] * step;
        scores[e] += router->logit_bias ? router->logit_bias[e] : 0;
        highest = fmaxf(highest, scores[e]);
    }
    if (router->choice_bias == NULL) {
        return; /* both gating functions keep the order */
    }
    for (int32_t e = 0; e < experts && router->gating == HYPURA_SOFTMAX; e++) {
        total += expf(scores[e] - highest);
    }
    for (int32_t e = 0; e < experts; e++) {
        if (router->gating == HYPURA_SOFTMAX) {
            scores[e] = expf(scores[e] - highest) / total;
        } else if (router->gating == HYPURA_SIGMOID) {
            scores[e] = 1 / (1 + expf(-scores[e]));
        }
        scores[e] += router->choice_bias[e];
    }
}

/* The highest of scores, which is destroyed, in order. */
static void top(float *scores, int32_t experts, int32_t count, int32_t *ranked) {
    for (int32_t r = 0; r < count; r++) {
        int32_t best = 0;
        for (int32_t e = 1; e < experts; e++) {
            best = scores[e] > scores[best] ? e : best;
        }
        ranked[r] = best;
        scores[best] = -INFINITY;
    }
}

static int32_t guess_one(hypura_experts *experts, int32_t next, const float *input) {
    hypura_layer *layer = &experts->layers[next];
    int32_t ranked[HYPURA_MAX_GUESSES], count = 0;
    int32_t ranks = 2 * experts->per_token < HYPURA_MAX_GUESSES ? 2 * experts->per_token : HYPURA_MAX_GUESSES;
    ranks = ranks < layer->experts ? ranks : layer->experts;
    score(experts, layer, input);
    top(experts->scores, layer->experts, ranks, ranked);
    layer->guesses = ranks;
    for (int32_t r = 0; r < ranks; r++) {
        bool missing = hypura_cache_find(experts, next, ranked[r]) < 0;
        layer->guess[r] = missing ? ranked[r] : -1;
        if (missing && experts->rank_true[r] >= experts->ahead_least * experts->rank_seen[r]) {
            experts->list[count++] = ranked[r];
        }
    }
    return count;
}

/* Of a prompt: every expert that a sample of its tokens will choose, most wanted first; and all others
 * behind them where, layers before, most of such were wanted too. */
static int32_t guess_many(hypura_experts *experts, int32_t next, const struct ggml_tensor *input, int32_t tokens) {
    hypura_layer *layer = &experts->layers[next];
    int32_t ranked[HYPURA_MAX_GUESSES], count = 0;
    int32_t sampled = tokens < SAMPLED ? tokens : SAMPLED;
    int32_t per_token = experts->per_token < HYPURA_MAX_GUESSES ? experts->per_token : HYPURA_MAX_GUESSES;
    memset(experts->votes, 0, (size_t)layer->experts * sizeof(int32_t));
    for (int32_t i = 0; i < sampled; i++) {
        size_t token = (size_t)i * (size_t)tokens / (size_t)sampled;
        score(experts, layer, (const float *)((const char *)input->data + token * input->nb[1]));
        top(experts->scores, layer->experts, per_token, ranked);
        for (int32_t k = 0; k < per_token; k++) {
            experts->votes[ranked[k]]++;
        }
    }
    bool others = tokens > sampled && experts->unvoted_true >= experts->ahead_least * experts->unvoted_seen;
    int32_t fewest = others ? 0 : 1;
    experts->voted = tokens > sampled ? next : -1;
    for (int32_t votes = sampled; votes >= fewest; votes--) {
        for (int32_t e = 0; e < layer->experts; e++) {
            if (experts->votes[e] == votes && hypura_cache_find(experts, next, e) < 0) {
                experts->list[count++] = e;
            }
        }
    }
    return count;
}

void hypura_routers_look_ahead(hypura_experts *experts, int32_t index, const struct ggml_tensor *input) {
    int32_t next = experts->layers[index].next;
    if (input == NULL || next < 0 || experts->ahead_least > 1) {
        return;
    }
    hypura_layer *layer = &experts->layers[next];
    if (layer->router.rows == NULL || layer->router.width != input->ne[0] || !reserve_input(experts, input->ne[0])) {
        return;
    }
    bool one = experts->visit_tokens == 1;
    int32_t count = one ? guess_one(experts, next, input->data)
                        : guess_many(experts, next, input, experts->visit_tokens);
    if (count > 0) {
        layer->guessed = 1;
        float limit = 1.0f / (float)(1 + experts->streamed_count); /* of what is as good as certain for the next visit */
        hypura_cache_read(experts, next, experts->list, count, HYPURA_AHEAD, one ? experts->ahead_least * limit : limit);
    }
}

void hypura_routers_judge(hypura_experts *experts, int32_t index) {
    hypura_layer *layer = &experts->layers[index];
    for (int32_t r = 0; r < layer->guesses; r++) {
        if (layer->guess[r] >= 0) {
            experts->rank_seen[r] = FADING * experts->rank_seen[r] + 1;
            experts->rank_true[r] = FADING * experts->rank_true[r] + experts->wanted[layer->guess[r]];
        }
    }
    layer->guesses = 0;
    for (int32_t e = 0; experts->voted == index && e < layer->experts; e++) {
        if (experts->votes[e] == 0) {
            experts->unvoted_seen = FADING * experts->unvoted_seen + 1;
            experts->unvoted_true = FADING * experts->unvoted_true + experts->wanted[e];
        }
    }
    experts->voted = -1;
}

/* A wrong guess costs nothing while the drive is idle anyway, and delays what is needed while it is not. */
void hypura_routers_pace(hypura_experts *experts) {
    hypura_reader_figures reader;
    struct timespec t;
    hypura_reader_read_figures(experts->reader, &reader);
    clock_gettime(CLOCK_MONOTONIC, &t);
    uint64_t now = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    if (experts->ahead_least <= 1 && experts->visit_tokens == 1 && experts->paced_at_ns != 0) {
        float busy = (float)(reader.busy_ns - experts->paced_busy_ns) / (float)(now - experts->paced_at_ns + 1);
        experts->busy += PACE * (fminf(busy, 1) - experts->busy);
        float full = fminf(1, fmaxf(0, (experts->busy - BUSY_FROM) / (BUSY_TO - BUSY_FROM)));
        experts->ahead_least = LEAST_IDLE + (LEAST_BUSY - LEAST_IDLE) * full;
    }
    experts->paced_at_ns = now;
    experts->paced_busy_ns = reader.busy_ns;
}

const float *hypura_routers_probabilities(hypura_experts *experts, int32_t index, const struct ggml_tensor *node) {
    const hypura_layer *layer = &experts->layers[index];
    const struct ggml_tensor *found = node->src[0];
    int64_t count = (int64_t)layer->experts * experts->visit_tokens;
    int64_t elements = found->ne[0] * found->ne[1] * found->ne[2] * found->ne[3];
    if (layer->router.weights == NULL || found->type != TYPE_F32 || elements != count || !on_host(experts, found)) {
        return NULL;
    }
    const float *values = found->data;
    if (layer->router.gating != HYPURA_NO_GATING) {
        return values;
    }
    /* This architecture gathers logits: make probabilities of them. */
    if (count > experts->probabilities_capacity) {
        float *grown = realloc(experts->probabilities, (size_t)count * sizeof(float));
        if (grown == NULL) {
            return NULL;
        }
        experts->probabilities = grown;
        experts->probabilities_capacity = count;
    }
    for (int64_t t = 0; t < experts->visit_tokens; t++) {
        const float *logits = values + t * layer->experts;
        float *row = experts->probabilities + t * layer->experts;
        float highest = -INFINITY;
        for (int32_t e = 0; e < layer->experts; e++) {
            highest = fmaxf(highest, logits[e]);
        }
        for (int32_t e = 0; e < layer->experts; e++) {
            row[e] = expf(logits[e] - highest);
        }
    }
    return experts->probabilities;
}
