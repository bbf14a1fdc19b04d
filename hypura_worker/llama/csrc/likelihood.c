/* How likely each expert is to be chosen at its layer's next visit, learned from the run itself.
 *
 * streaming/replacement/learned.py says what is kept and why; this is the same in single
 * precision, fast enough to follow every visit, but that a prompt's tokens are one lesson here. A test compares
 * the two in decoding.
 */
#include "prediction.h"

#include <math.h>
#include <string.h>

#define USES 8 /* averages of what was chosen, over 2, 4, … 256 visits; the others are of the router's view */
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

/* near[expert]: how near each came to being chosen, 1/2 at the least probability that was. */
static void nearness(float *near, const float *probabilities, float *scratch, int32_t experts, int32_t per_token) {
    memcpy(scratch, probabilities, (size_t)experts * sizeof(float));
    float least = fmaxf(kth_largest(scratch, experts, per_token), 1e-9f);
    for (int32_t e = 0; e < experts; e++) {
        float ratio = probabilities[e] / least;
        near[e] = ratio / (1 + ratio);
    }
}

/* What the averages said before, against what was then chosen. */
HYPURA_WIDE
static void see(hypura_likelihood *l, const float *averages, const int32_t *ids, int32_t count, int32_t tokens) {
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
        see(l, averages, ids, per_token * tokens, tokens);
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
