/* What is learned of a model's routing while it runs: three models, from simple counts to a regression. */
#include "prediction.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- likelihood: how likely each expert is to be chosen at its layer's next visit ----
 *
 * streaming/replacement/learned.py says what is kept and why; this is the same in single precision, fast enough to
 * follow every visit, except that all tokens of a prompt are one lesson here. A test compares the two in decoding.
 */

#define USES 8 /* averages of what was chosen, over 2, 4, … 256 visits; the others are of the router's probabilities */
#define LEAST 1e-4f

static float decay_of(int32_t average) {
    return average < USES ? 1.0f - ldexpf(1.0f, -(average + 1)) : average == USES ? 7.0f / 8 : 63.0f / 64;
}

/* The k-th largest value. Destroys values. */
static float kth_largest(float *values, int32_t count, int32_t k) {
    float found = 0;
    for (int32_t i = 0; i < k; i++) {
        int32_t best = 0;
        for (int32_t j = 1; j < count; j++) {
            best = values[j] > values[best] ? j : best;
        }
        found = values[best];
        values[best] = -INFINITY;
    }
    return found;
}

/* near[expert]: how near each came to being chosen; 1/2 at the lowest probability that was chosen. */
static void nearness(float *near, const float *probabilities, float *scratch, int32_t experts, int32_t per_token) {
    memcpy(scratch, probabilities, (size_t)experts * sizeof(float));
    float least = fmaxf(kth_largest(scratch, experts, per_token), 1e-9f);
    for (int32_t e = 0; e < experts; e++) {
        float ratio = probabilities[e] / least;
        near[e] = ratio / (1 + ratio);
    }
}

/* Adds a visit to the regression: the averages before it, and what it chose. */
HYPURA_WIDE
static void observe(hypura_likelihood *l, const float *averages, const int32_t *ids, int32_t count, int32_t tokens) {
    for (int32_t i = 0; i < HYPURA_AVERAGES; i++) {
        const float *a = averages + (size_t)i * (size_t)l->experts;
        for (int32_t j = i; j < HYPURA_AVERAGES; j++) {
            const float *b = averages + (size_t)j * (size_t)l->experts;
            float sum[4] = {0};
            int32_t e = 0;
            for (; e + 4 <= l->experts; e += 4) {
                for (int32_t lane = 0; lane < 4; lane++) {
                    sum[lane] += a[e + lane] * b[e + lane];
                }
            }
            for (; e < l->experts; e++) {
                sum[0] += a[e] * b[e];
            }
            double product = (double)sum[0] + sum[1] + sum[2] + sum[3];
            l->seen[i][j] += product;
            l->seen[j][i] = l->seen[i][j];
        }
        double answer = 0;
        for (int32_t n = 0; n < count; n++) {
            answer += a[ids[n]];
        }
        l->answers[i] += answer / tokens;
    }
}

HYPURA_API HYPURA_WIDE
void hypura_likelihood_visit(hypura_likelihood *l, int32_t layer, const int32_t *ids, int32_t per_token,
                             int32_t tokens, const float *probabilities) {
    int32_t experts = l->experts;
    float *averages = l->averages + (size_t)layer * HYPURA_AVERAGES * (size_t)experts;
    if (l->visited[layer]) {
        observe(l, averages, ids, per_token * tokens, tokens);
    }
    l->visited[layer] = 1;
    float *near = l->scratch;
    for (int32_t t = 0; t < tokens; t++) {
        const int32_t *chosen = ids + (size_t)t * (size_t)per_token;
        if (probabilities != NULL) {
            nearness(near, probabilities + (size_t)t * (size_t)experts, l->scratch + experts, experts, per_token);
        }
        for (int32_t i = 0; i < HYPURA_AVERAGES; i++) {
            float *a = averages + (size_t)i * (size_t)experts;
            float decay = decay_of(i);
            bool by_router = i >= USES && probabilities != NULL;
            for (int32_t e = 0; e < experts; e++) {
                a[e] = decay * a[e] + (by_router ? (1 - decay) * near[e] : 0.0f);
            }
            for (int32_t k = 0; !by_router && k < per_token; k++) {
                a[chosen[k]] += 1 - decay;
            }
        }
    }
    float *likelihood = l->likelihood + (size_t)layer * (size_t)experts;
    memset(likelihood, 0, (size_t)experts * sizeof(float));
    for (int32_t i = 0; i < HYPURA_AVERAGES; i++) {
        for (int32_t e = 0; e < experts; e++) {
            likelihood[e] += l->weights[i] * averages[(size_t)i * (size_t)experts + (size_t)e];
        }
    }
    for (int32_t e = 0; e < experts; e++) {
        likelihood[e] = fmaxf(likelihood[e], LEAST);
    }
}

/* Ridge regression towards equal weights of the uses, by Gaussian elimination with pivots. */
HYPURA_API void hypura_likelihood_learn(hypura_likelihood *l) {
    enum { N = HYPURA_AVERAGES };
    double m[N][N + 1];
    for (int32_t i = 0; i < N; i++) {
        for (int32_t j = 0; j < N; j++) {
            m[i][j] = l->seen[i][j] + (i == j ? l->prior : 0);
        }
        m[i][N] = l->answers[i] + (i < USES ? l->prior / USES : 0);
    }
    for (int32_t column = 0; column < N; column++) {
        int32_t pivot = column;
        for (int32_t row = column + 1; row < N; row++) {
            pivot = fabs(m[row][column]) > fabs(m[pivot][column]) ? row : pivot;
        }
        for (int32_t j = 0; j <= N; j++) {
            double swapped = m[column][j];
            m[column][j] = m[pivot][j];
            m[pivot][j] = swapped;
        }
        for (int32_t row = 0; row < N; row++) {
            double factor = row != column ? m[row][column] / m[column][column] : 0;
            for (int32_t j = column; j <= N; j++) {
                m[row][j] -= factor * m[column][j];
            }
        }
    }
    for (int32_t i = 0; i < N; i++) {
        if (!isfinite(m[i][N] / m[i][i])) {
            return;
        }
    }
    for (int32_t i = 0; i < N; i++) {
        l->weights[i] = (float)(m[i][N] / m[i][i]);
    }
}

/* ---- co-activation: which experts of a layer follow which of the streamed layer before it, for the same token ----
 *
 *   layer l      chose  3  17  40
 *   layer l + 1  chose  5  17  61      pairs[l + 1][3][5]++, [3][17]++, … [40][61]++
 *
 * Models route kinds of tokens along paths; random weights do not. It needs no router, only what was chosen, and a
 * prompt alone shows thousands of pairs per layer.
 */

#define PRIOR 4.0f /* tokens that followed each expert as they follow any, before one was seen */
#define FULL UINT16_MAX

static size_t at(const hypura_coactivation *c, int32_t layer, int32_t expert) {
    return (size_t)layer * (size_t)c->experts + (size_t)expert;
}

/* Halves the counts of this expert: makes room for more, and follows a change of habits. */
static void halve(hypura_coactivation *c, size_t lead) {
    uint16_t *row = c->pairs + lead * (size_t)c->experts;
    for (int32_t e = 0; e < c->experts; e++) {
        row[e] /= 2;
    }
    c->leads[lead] /= 2;
}

static void count(hypura_coactivation *c, int32_t layer, const int32_t *ids, int32_t per_token, int32_t tokens) {
    for (int32_t t = 0; t < tokens; t++) {
        const int32_t *before = c->ids + (size_t)t * (size_t)per_token, *now = ids + (size_t)t * (size_t)per_token;
        for (int32_t i = 0; i < per_token; i++) {
            size_t lead = at(c, layer, before[i]);
            uint16_t *row = c->pairs + lead * (size_t)c->experts;
            if (c->leads[lead] >= FULL) {
                halve(c, lead);
            }
            c->leads[lead]++;
            for (int32_t k = 0; k < per_token; k++) {
                row[now[k]]++; /* at most as often as it led */
            }
            c->follows[at(c, layer, now[i])]++;
        }
    }
    c->tokens[layer] += (float)tokens;
}

HYPURA_API void hypura_coactivation_visit(hypura_coactivation *c, int32_t layer, bool in_turn, const int32_t *ids,
                                          int32_t per_token, int32_t tokens) {
    size_t length = (size_t)per_token * (size_t)tokens;
    /* The last layer may leave out tokens whose output is not requested. */
    if (in_turn && c->last >= 0 && c->last_tokens == tokens && c->last_per_token == per_token) {
        count(c, layer, ids, per_token, tokens);
    }
    c->last = -1;
    if (length > c->ids_capacity) {
        int32_t *grown = realloc(c->ids, length * sizeof(*grown));
        if (grown == NULL) {
            return;
        }
        c->ids = grown;
        c->ids_capacity = length;
    }
    memcpy(c->ids, ids, length * sizeof(*ids));
    c->last = layer;
    c->last_tokens = tokens;
    c->last_per_token = per_token;
}

HYPURA_API void hypura_coactivation_lift(const hypura_coactivation *c, int32_t layer, float *lift) {
    int32_t leads = c->last >= 0 ? c->last_per_token : 0;
    for (int32_t e = 0; e < c->experts; e++) {
        double usual = c->follows[at(c, layer, e)] / c->tokens[layer], ratio = 1;
        for (int32_t i = 0; i < leads; i++) {
            size_t lead = at(c, layer, c->ids[i]);
            double seen = c->pairs[lead * (size_t)c->experts + (size_t)e];
            ratio *= (seen + PRIOR * usual) / ((c->leads[lead] + PRIOR) * usual);
        }
        lift[e] = leads > 0 ? (float)(log(ratio) / leads) : 0;
    }
}

HYPURA_API void hypura_coactivation_free(hypura_coactivation *c) {
    free(c->ids);
    c->ids = NULL;
    c->ids_capacity = 0;
    c->last = -1;
}

/* ---- confidence: how probable it is that a prediction comes true ----
 *
 * A logistic regression per layer, learned while the model runs. Evidence about an expert that is not in memory, all of
 * it about 1 in size:
 *   margin      how far the lookahead puts it above the last expert that would be chosen, in fourths of the distance
 *               between the first and the last prediction; 0 without a router
 *   likelihood  how much more often than an average expert it is chosen (logarithm)
 *   lift        how much more often after what the layer before chose, by co-activation (logarithm)
 * Layers differ: in some, the first prediction comes true 9 times in 10, in others hardly any does.
 *
 * The step of each weight shrinks with the gradients it has seen (Duchi, Hazan, Singer: Adaptive subgradient
 * methods, 2011), which fade, so that a change of subject is followed.
 */

#define STEP 0.5f
#define FADING 0.9995f

HYPURA_API float hypura_confidence_of(const hypura_confidence *confidence, const float *evidence) {
    float sum = 0;
    for (int32_t i = 0; i < HYPURA_EVIDENCE; i++) {
        sum += confidence->weights[i] * evidence[i];
    }
    return 1 / (1 + expf(-sum));
}

HYPURA_API void hypura_confidence_learn(hypura_confidence *confidence, const float *evidence, bool came_true) {
    float surprise = (came_true ? 1.0f : 0.0f) - hypura_confidence_of(confidence, evidence);
    for (int32_t i = 0; i < HYPURA_EVIDENCE; i++) {
        float gradient = surprise * evidence[i];
        confidence->squares[i] = FADING * confidence->squares[i] + gradient * gradient;
        confidence->weights[i] += STEP * gradient / sqrtf(confidence->squares[i] + 1);
    }
}
