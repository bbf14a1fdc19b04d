/* The routers of the layers, found in the graph:
 *
 *   gate input ─► MUL_MAT router ─► (+ bias) ─► softmax or sigmoid ─► (+ bias) ─► top-k ─► ids
 *
 * A router can be asked about any input of its width: guesses.c asks it about the gate input of the layer before.
 */
#include "hook.h"

#include <math.h>
#include <stdlib.h>

#define CHAIN 16 /* nodes between the ids and the router's product, at most */
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

bool hypura_routers_score(hypura_experts *state, int32_t index, const float *input, int64_t width) {
    const hypura_layer *layer = &state->layers[index];
    if (layer->router.rows == NULL || layer->router.width != width || !reserve_input(state, width)) {
        return false;
    }
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
        return true; /* both gating functions keep the order */
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
    return true;
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
