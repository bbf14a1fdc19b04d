/* The routers of the layers, found in the graph:
 *
 *   gate input ─► MUL_MAT router ─► (+ bias) ─► softmax or sigmoid ─► (+ bias) ─► top-k ─► ids
 *
 * A router can be applied to any state of its width: prefetch.c applies it to what leaves earlier layers, or to their
 * gate inputs. What the attention in between will add to the logits is much the same from token to token, so it is
 * learned.
 */
#include "routers.h"

#include "experts.h"

#include <math.h>
#include <stdlib.h>

#define CHAIN 16 /* nodes between the ids and the router's product, at most */
#define INPUT_STEPS 1023
#define LEAST_PROBABILITY 1e-9f
#define SHIFT_TOKENS 10 /* tokens that a shift is the average of, the last ones counting most */
#define MAX_WIDTH 16384

static const float *leaf_vector(const hypura_experts *experts, const struct ggml_tensor *tensor, int64_t length) {
    bool fits = tensor != NULL && tensor->op == experts->ggml->op_none && tensor->type == HYPURA_TYPE_F32 &&
                tensor->ne[0] == length && tensor->ne[1] == 1 && hypura_on_host(experts->ggml, tensor);
    return fits ? tensor->data : NULL;
}

/* Walks back from the chosen ids, or the probabilities, to the router's product; NULL if it is not found. */
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

static bool reserve_state(hypura_experts *experts, int64_t width) {
    if (width > experts->state_capacity) {
        float *state = realloc(experts->state, (size_t)width * sizeof(*state));
        experts->state = state != NULL ? state : experts->state;
        int16_t *input = realloc(experts->input, (size_t)width * sizeof(*input));
        experts->input = input != NULL ? input : experts->input;
        if (state == NULL || input == NULL) {
            return false;
        }
        experts->state_capacity = width;
    }
    return true;
}

/* Makes the 8-bit copy of the layer's router. */
static void quantise(hypura_layer *layer) {
    hypura_router *router = &layer->router;
    size_t width = (size_t)router->width, count = (size_t)layer->experts;
    router->rows = router->width <= MAX_WIDTH ? malloc(count * width) : NULL;
    router->scales = malloc(count * sizeof(float));
    bool complete = router->rows != NULL && router->scales != NULL;
    for (int32_t i = 0; i < HYPURA_LOOKAHEADS; i++) {
        hypura_lookahead *lookahead = &layer->lookahead[i];
        lookahead->logits = calloc(count, sizeof(float));
        lookahead->logit_shift = calloc(count, sizeof(float));
        complete = complete && lookahead->logits != NULL && lookahead->logit_shift != NULL;
    }
    if (!complete) {
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
    if (product == NULL || product->src[0]->op != experts->ggml->op_none || product->src[0]->type != HYPURA_TYPE_F32 ||
        product->src[0]->ne[1] != layer->experts || product->src[1]->type != HYPURA_TYPE_F32 ||
        !hypura_on_host(experts->ggml, product->src[0]) || !hypura_on_host(experts->ggml, product->src[1]) ||
        product->src[0]->nb[1] != (size_t)product->src[0]->ne[0] * sizeof(float)) {
        return NULL;
    }
    if (layer->router.weights != product->src[0]->data) {
        router.weights = product->src[0]->data;
        router.width = (int32_t)product->src[0]->ne[0];
        const struct ggml_tensor *input = product->src[1];
        router.norm = input->op == experts->ggml->op_mul ? leaf_vector(experts, input->src[1], router.width) : NULL;
        hypura_routers_free(layer);
        layer->router = router;
        quantise(layer);
    }
    return product->src[1];
}

void hypura_routers_free(hypura_layer *layer) {
    free(layer->router.rows);
    free(layer->router.scales);
    layer->router = (hypura_router){0};
    for (int32_t i = 0; i < HYPURA_LOOKAHEADS; i++) {
        hypura_lookahead *lookahead = &layer->lookahead[i];
        free(lookahead->logits);
        free(lookahead->logit_shift);
        lookahead->logits = lookahead->logit_shift = NULL;
        lookahead->shift_tokens = lookahead->fresh = 0;
    }
}

/* logits[expert]: its row times input. No overflow up to 16,384 wide: 127 * 1023 * 16384 < 2^31. */
HYPURA_WIDE
static void multiply(const hypura_router *router, int32_t experts, const int16_t *input, float *logits) {
    for (int32_t e = 0; e < experts; e++) {
        const int8_t *row = router->rows + (size_t)e * (size_t)router->width;
        int32_t sum = 0;
        for (int32_t i = 0; i < router->width; i++) {
            sum += row[i] * input[i];
        }
        logits[e] = (float)sum * router->scales[e];
    }
}

/* experts->input: the state, times weights unless NULL, in steps of the returned size. */
HYPURA_WIDE static float scale_state(hypura_experts *experts, const float *state, const float *weights, int32_t width) {
    float *weighted = experts->state;
    int16_t *input = experts->input;
    float largest = 0;
#pragma omp simd reduction(max : largest)
    for (int32_t i = 0; i < width; i++) {
        float value = weights != NULL ? state[i] * weights[i] : state[i];
        weighted[i] = value;
        float size = fabsf(value);
        largest = size > largest ? size : largest;
    }
    float step = isfinite(largest) && largest > 0 ? largest / INPUT_STEPS : 1, steps = 1 / step;
    for (int32_t i = 0; i < width; i++) {
        float value = weighted[i] * steps;
        value = value > -INPUT_STEPS ? value : -INPUT_STEPS; /* also NaN */
        value = value < INPUT_STEPS ? value : INPUT_STEPS;
        input[i] = (int16_t)(value + (value < 0 ? -0.5f : 0.5f));
    }
    return step;
}

/* What an RMS norm before the router divides by. */
HYPURA_WIDE static float root_mean_square(const float *state, int32_t width) {
    float squares = 0;
#pragma omp simd reduction(+ : squares)
    for (int32_t i = 0; i < width; i++) {
        squares += state[i] * state[i];
    }
    return squares > 0 && isfinite(squares) ? sqrtf(squares / (float)width) : 1;
}

/* The router's product, biased; false where it cannot be computed. */
static bool find_logits(hypura_experts *experts, const hypura_layer *layer, const float *state, int64_t width,
                        bool hidden, float *logits) {
    const hypura_router *router = &layer->router;
    if (router->rows == NULL || router->width != width || !reserve_state(experts, width)) {
        return false;
    }
    float step = scale_state(experts, state, hidden ? router->norm : NULL, router->width);
    step /= hidden ? root_mean_square(state, router->width) : 1;
    multiply(router, layer->experts, experts->input, logits);
    for (int32_t e = 0; e < layer->experts; e++) {
        logits[e] = logits[e] * step + (router->logit_bias ? router->logit_bias[e] : 0);
    }
    return true;
}

/* Turns logits into the scores by which experts are chosen. */
static void gate(const hypura_router *router, int32_t experts, float *scores) {
    if (router->choice_bias == NULL) {
        return; /* both gating functions keep the order of the logits */
    }
    float highest = -INFINITY, total = 0;
    for (int32_t e = 0; e < experts; e++) {
        highest = fmaxf(highest, scores[e]);
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

bool hypura_routers_score(hypura_experts *experts, int32_t index, const float *gate_input, int64_t width) {
    const hypura_layer *layer = &experts->layers[index];
    if (!find_logits(experts, layer, gate_input, width, false, experts->scores)) {
        return false;
    }
    gate(&layer->router, layer->experts, experts->scores);
    return true;
}

bool hypura_routers_predict(hypura_experts *experts, int32_t index, hypura_lookahead *lookahead, const float *state,
                            int64_t width, bool hidden) {
    const hypura_layer *layer = &experts->layers[index];
    if (!find_logits(experts, layer, state, width, hidden, lookahead->logits)) {
        return false;
    }
    lookahead->fresh = 1;
    for (int32_t e = 0; e < layer->experts; e++) {
        experts->scores[e] = lookahead->logits[e] + lookahead->logit_shift[e];
    }
    gate(&layer->router, layer->experts, experts->scores);
    return true;
}

/* The logit of a probability; of a softmax but for a constant, which does not matter. */
static float logit_of(const hypura_router *router, float probability) {
    float p = fmaxf(probability, LEAST_PROBABILITY);
    return router->gating == HYPURA_SIGMOID ? logf(p / fmaxf(1 - p, LEAST_PROBABILITY)) : logf(p);
}

void hypura_routers_learn(hypura_experts *experts, int32_t index, const float *probabilities) {
    hypura_layer *layer = &experts->layers[index];
    for (int32_t i = 0; i < HYPURA_LOOKAHEADS; i++) {
        hypura_lookahead *lookahead = &layer->lookahead[i];
        bool learns = lookahead->fresh && probabilities != NULL && experts->visit_tokens == 1;
        lookahead->fresh = 0;
        lookahead->shift_tokens += learns && lookahead->shift_tokens < SHIFT_TOKENS;
        for (int32_t e = 0; learns && e < layer->experts; e++) {
            float more = logit_of(&layer->router, probabilities[e]) - lookahead->logits[e];
            lookahead->logit_shift[e] += (more - lookahead->logit_shift[e]) / (float)lookahead->shift_tokens;
        }
    }
}

const float *hypura_routers_probabilities(hypura_experts *experts, int32_t index, const struct ggml_tensor *node) {
    const hypura_layer *layer = &experts->layers[index];
    const struct ggml_tensor *found = node->src[0];
    int64_t count = (int64_t)layer->experts * experts->visit_tokens;
    int64_t elements = found->ne[0] * found->ne[1] * found->ne[2] * found->ne[3];
    if (layer->router.weights == NULL || found->type != HYPURA_TYPE_F32 || elements != count ||
        !hypura_on_host(experts->ggml, found)) {
        return NULL;
    }
    const float *values = found->data;
    if (layer->router.gating != HYPURA_NO_GATING) {
        return values;
    }
    /* This architecture gathers logits: turn them into probabilities. */
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
