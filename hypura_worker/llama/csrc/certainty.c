/* How sure it is that a guess comes true: a logistic regression per layer, learned while the model runs.
 *
 * Evidence about an expert that is not in memory, all of it about 1 in size:
 *   margin      how far the layer's router, on the input of the layer before, puts it above the last that would
 *               be chosen, in fourths of what lies between the first and the last guess; 0 without a router
 *   likelihood  how much more often than an average expert it is chosen, by the cache's own count (logarithm)
 *   lift        how much more often after what the layer before chose, by coactivation.c (logarithm)
 * Layers differ: in some, the first guess comes true 9 times in 10, in others, hardly any does.
 *
 * The step of each weight shrinks with the gradients it has seen (Duchi, Hazan, Singer: Adaptive subgradient
 * methods, 2011), which fade, so that a change of subject is followed.
 */
#include "prediction.h"

#include <math.h>

#define STEP 0.5f
#define FADING 0.9995f

HYPURA_API float hypura_certainty_of(const hypura_certainty *certainty, const float *evidence) {
    float sum = 0;
    for (int32_t i = 0; i < HYPURA_EVIDENCE; i++) {
        sum += certainty->weights[i] * evidence[i];
    }
    return 1 / (1 + expf(-sum));
}

HYPURA_API void hypura_certainty_learn(hypura_certainty *certainty, const float *evidence, bool came_true) {
    float surprise = (came_true ? 1.0f : 0.0f) - hypura_certainty_of(certainty, evidence);
    for (int32_t i = 0; i < HYPURA_EVIDENCE; i++) {
        float gradient = surprise * evidence[i];
        certainty->squares[i] = FADING * certainty->squares[i] + gradient * gradient;
        certainty->weights[i] += STEP * gradient / sqrtf(certainty->squares[i] + 1);
    }
}
