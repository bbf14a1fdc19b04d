/* The routers of the layers, found in the graph, and their lookaheads. See routers.c. */
#ifndef HYPURA_ROUTERS_H
#define HYPURA_ROUTERS_H

#include "ggml_mirror.h"
#include "prediction.h"

#define HYPURA_MAX_PREDICTED 32
#define HYPURA_LOOKAHEADS 2 /* per layer: right before it, and one layer earlier */

typedef struct hypura_experts hypura_experts;
typedef struct hypura_layer hypura_layer;

typedef enum { HYPURA_NO_GATING, HYPURA_SOFTMAX, HYPURA_SIGMOID } hypura_gating;

/* A layer's router, learned from the graph when the layer is first computed. Its weights are kept in 8 bits
 * for lookahead: a quarter of the memory traffic, and the ranks stay the same except for near ties. */
typedef struct {
    const float *weights;     /* the original's [experts][width]; NULL: not known */
    int8_t *rows;             /* [experts][width]; NULL: no memory for it */
    float *scales;            /* [experts] of the rows */
    const float *logit_bias;  /* [experts] or NULL; added before the gating function */
    const float *choice_bias; /* [experts] or NULL; added after it, for the choice alone */
    const float *norm;        /* [width] or NULL; what the normalized hidden state is multiplied with before it */
    int32_t width;
    int32_t gating; /* a hypura_gating */
} hypura_router;

/* A router lookahead: a layer's router applied to an earlier hidden state of the token that comes to it next. */
typedef struct {
    float *logits;          /* [experts]; NULL: the router is not known */
    float *logit_shift;     /* [experts] by how much the layer's own logits were higher, on average, lately */
    int32_t shift_tokens;   /* tokens that logit_shift was learned from */
    int32_t fresh;          /* the logits are of the token that comes next */
    int32_t reserved;
    int32_t predicted_count;
    int32_t predicted[HYPURA_MAX_PREDICTED]; /* predicted experts that were not in memory … */
    float evidence[HYPURA_MAX_PREDICTED][HYPURA_EVIDENCE]; /* … and why they may be chosen */
    hypura_confidence confidence;
} hypura_lookahead;

/* node: the layer's weights node, just computed. */
/* The gate input of the layer, where it is known; learns the layer's router on the way. */
const struct ggml_tensor *hypura_routers_input(hypura_experts *experts, int32_t layer, const struct ggml_tensor *node);
/* [tokens][experts] of this layer's router, or NULL. */
const float *hypura_routers_probabilities(hypura_experts *experts, int32_t layer, const struct ggml_tensor *node);
/* Sets experts->scores, for another layer's gate input: their order is the order in which this layer's router would
 * choose; false where the router is not known, or has another width. */
bool hypura_routers_score(hypura_experts *experts, int32_t layer, const float *gate_input, int64_t width);
/* The same for the single token that comes to this layer next. state: another layer's gate input, or, where hidden,
 * the hidden state that leaves an earlier layer. */
bool hypura_routers_predict(hypura_experts *experts, int32_t layer, hypura_lookahead *lookahead, const float *state,
                            int64_t width, bool hidden);
/* Learns how far the lookaheads were from what the layer's own router found for that token. */
void hypura_routers_learn(hypura_experts *experts, int32_t layer, const float *probabilities);
void hypura_routers_free(hypura_layer *layer);

#endif
