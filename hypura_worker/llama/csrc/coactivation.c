/* Which experts of a layer follow which of the streamed layer before it, for the same token.
 *
 *   layer l      chose  3  17  40
 *   layer l + 1  chose  5  17  61      pairs[l + 1][3][5]++, [3][17]++, … [40][61]++
 *
 * Models route kinds of tokens along paths; random weights do not. It needs no router to be known, only what was
 * chosen, and a prompt alone shows thousands of pairs per layer.
 */
#include "prediction.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PRIOR 4.0f /* tokens that followed each expert as they follow any, before one was seen */
#define FULL UINT16_MAX

static size_t at(const hypura_coactivation *c, int32_t layer, int32_t expert) {
    return (size_t)layer * (size_t)c->experts + (size_t)expert;
}

/* The older half of what is known of this expert counts half: there is room for more, and habits change. */
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
    /* The last layer may leave tokens out whose output nobody asks for. */
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
