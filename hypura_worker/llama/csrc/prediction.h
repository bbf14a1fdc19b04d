/* What is learned of a model's routing while it runs. It knows neither ggml nor slots. See prediction.c. */
#ifndef HYPURA_PREDICTION_H
#define HYPURA_PREDICTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "attributes.h"

/* ---- likelihood: how likely each expert is to be chosen again ---- */

#define HYPURA_AVERAGES 10

/* The twin of streaming/replacement/learned.py, which says what it does and why. */
typedef struct {
    int32_t layers, experts, per_token;
    float *averages;   /* [layers][HYPURA_AVERAGES][experts] */
    float *likelihood; /* [layers][experts], at least 0.0001 */
    uint8_t *visited;  /* [layers] */
    float *scratch;    /* [2][experts] */
    float weights[HYPURA_AVERAGES];
    double prior; /* on the diagonal of the regression */
    double seen[HYPURA_AVERAGES][HYPURA_AVERAGES];
    double answers[HYPURA_AVERAGES];
} hypura_likelihood;

/* A layer chose ids[token][k]; probabilities[token][expert] is the router's, or NULL. */
void hypura_likelihood_visit(hypura_likelihood *likelihood, int32_t layer, const int32_t *ids, int32_t per_token,
                             int32_t tokens, const float *probabilities);
/* Fits the weights to what was seen: once per token is often enough. */
void hypura_likelihood_learn(hypura_likelihood *likelihood);

/* ---- co-activation: which experts of a layer follow which of the layer before ---- */

typedef struct {
    int32_t experts;
    int32_t last; /* the layer that ids are of; -1: none */
    int32_t last_tokens, last_per_token;
    uint16_t *pairs; /* [layers][experts][experts]: [l][i][e] times that l chose e for a token … */
    float *leads;    /* [layers][experts]: … for which the layer before chose i; of [l][i] times in all */
    float *follows;  /* [layers][experts]: times chosen by tokens … */
    float *tokens;   /* [layers]: … of which there were so many; both begin with one that chose all alike */
    int32_t *ids;    /* scratch: what the last visit chose, [token][k] */
    size_t ids_capacity;
} hypura_coactivation;

/* A layer chose ids[token][k]; in_turn: the visit before was of the streamed layer before it. */
void hypura_coactivation_visit(hypura_coactivation *coactivation, int32_t layer, bool in_turn, const int32_t *ids,
                               int32_t per_token, int32_t tokens);
/* lift[expert]: how much likelier than usual this layer will choose each after what the last visit chose, of one
 * token; the mean over these of the logarithms. */
void hypura_coactivation_lift(const hypura_coactivation *coactivation, int32_t layer, float *lift);
void hypura_coactivation_free(hypura_coactivation *coactivation);

/* ---- confidence: how probable it is that a prediction comes true ---- */

#define HYPURA_EVIDENCE 4

typedef struct {
    float weights[HYPURA_EVIDENCE];
    float squares[HYPURA_EVIDENCE]; /* of the gradients so far */
} hypura_confidence;

/* evidence: 1, margin, likelihood, lift; see prediction.c. */
float hypura_confidence_of(const hypura_confidence *confidence, const float *evidence);
void hypura_confidence_learn(hypura_confidence *confidence, const float *evidence, bool came_true);

#endif
