/* Prefetches: predicts which experts the next layers will choose, and reads those that are missing.
 *
 *   hidden state that leaves a layer ─► the next layer's router ─► ranks   exact but for what attention will add, which
 *                                    │                                     is learned
 *                                    └► the router after that ─► ranks     less exact, but known one layer earlier
 *   what the layer before chose ─► co-activation ─► lift                   models route kinds of tokens along paths
 *   earlier tokens ─► likelihood
 *
 * What leaves the embedding is what comes to the first layer. Where the graph has no node that shows what leaves a
 * layer, the gate input of the layer before takes its place; without a known router, co-activation ranks.
 *
 * The confidence of a prediction (prediction.c) is learned all the time from predicted experts that were not in memory,
 * prefetched or not; only predictions of enough confidence are read, the most confident first.
 */
#define _POSIX_C_SOURCE 200809L /* clock_gettime */
#include "prefetch.h"

#include "experts.h"

#include <math.h>
#include <string.h>
#include <time.h>

#define SAMPLED 64      /* tokens of a prompt whose routing is predicted */
#define FADING 0.9998f  /* of the counts of a prompt's predictions */
#define PACE 0.1f       /* weight of one token in the drive's busy share */
#define BUSY_FROM 0.6f  /* busy share from which prefetches begin to delay demand reads … */
#define BUSY_TO 0.8f    /* … and from which they always do */
#define FULL_FROM 0.8f  /* busy share from which the earlier lookahead begins to delay more confident ones … */
#define FULL_TO 0.95f   /* … and from which it does nothing else */
#define LEAST_IDLE 0.25f /* least confidence while the drive is idle */
#define LEAST_BUSY 0.5f  /* … and while it is busy */
#define PAUSE_TOKENS 4   /* tokens without a miss after which a layer's lookahead pauses */

/* ranked: the experts of the highest scores, in order; highest: NULL, or gets their scores. Destroys scores. */
static void top(float *scores, int32_t experts, int32_t count, int32_t *ranked, float *highest) {
    for (int32_t r = 0; r < count; r++) {
        int32_t best = 0;
        for (int32_t e = 1; e < experts; e++) {
            best = scores[e] > scores[best] ? e : best;
        }
        ranked[r] = best;
        if (highest != NULL) {
            highest[r] = scores[best];
        }
        scores[best] = -INFINITY;
    }
}

/* How far a score is above the lowest that would be chosen; ranked: the scores of all candidates, highest first. */
static float margin_of(const float *ranked, int32_t count, int32_t chosen, float score) {
    int32_t out = chosen < count ? chosen : count - 1;
    float last_in = ranked[chosen < count ? out - 1 : out], first_out = ranked[out];
    float range = ranked[0] - ranked[count - 1];
    return range > 0 ? 4 * (score - (last_in + first_out) / 2) / range : 0;
}

/* Inserts an expert into experts->to_read, which is in the order of falling confidence. */
static void insert(hypura_experts *experts, float *confidences, int32_t count, int32_t expert, float confidence) {
    int32_t place = count;
    for (; place > 0 && confidences[place - 1] < confidence; place--) {
        confidences[place] = confidences[place - 1];
        experts->to_read[place] = experts->to_read[place - 1];
    }
    confidences[place] = confidence;
    experts->to_read[place] = expert;
}

/* Cancels prefetches of the earlier lookahead that this one does not even rank. */
static void cancel_unranked(hypura_experts *experts, int32_t index, const int32_t *ranked, int32_t ranks) {
    const hypura_lookahead *earlier = &experts->layers[index].lookahead[1];
    for (int32_t i = 0; i < earlier->predicted_count; i++) {
        int32_t r = 0;
        while (r < ranks && ranked[r] != earlier->predicted[i]) {
            r++;
        }
        if (r == ranks) {
            hypura_slots_cancel_prefetch(experts, index, earlier->predicted[i]);
        }
    }
}

static float share_between(float value, float from, float to) {
    return fminf(1, fmaxf(0, (value - from) / (to - from)));
}

/* While the drive reads all the time, nothing is gained from the earlier lookahead: the later one is more confident. */
static float least_confidence_at(const hypura_experts *experts, int32_t distance) {
    float least = experts->least_confidence;
    return distance == 0 ? least : least + (1 - least) * share_between(experts->drive_busy, FULL_FROM, FULL_TO);
}

/* For a single token: lists the missing ones of twice as many experts as the layer will choose, and returns how many.
 * distance: 0 right before the layer, 1 one layer earlier; state: see hypura_routers_predict; NULL: co-activation
 * ranks. */
static int32_t predict_token(hypura_experts *experts, int32_t index, int32_t distance, const float *state,
                             int64_t width, bool hidden) {
    hypura_layer *layer = &experts->layers[index];
    hypura_lookahead *lookahead = &layer->lookahead[distance];
    const hypura_likelihood *l = experts->likelihood;
    const float *likelihood = l->likelihood + (size_t)index * (size_t)l->experts;
    int32_t ranked[HYPURA_MAX_PREDICTED], count = 0, last = experts->coactivation->last;
    float scores[HYPURA_MAX_PREDICTED], confidences[HYPURA_MAX_PREDICTED];
    float least = least_confidence_at(experts, distance);
    int32_t ranks = 2 * experts->per_token < HYPURA_MAX_PREDICTED ? 2 * experts->per_token : HYPURA_MAX_PREDICTED;
    ranks = ranks < layer->experts ? ranks : layer->experts;
    lookahead->predicted_count = 0;
    bool follows = last >= 0 && experts->layers[last].next_streamed == index;
    bool routed = state != NULL && hypura_routers_predict(experts, index, lookahead, state, width, hidden);
    if (!routed && !follows) {
        return 0;
    }
    memset(experts->lift, 0, (size_t)layer->experts * sizeof(float));
    if (follows) {
        hypura_coactivation_lift(experts->coactivation, index, experts->lift);
    }
    if (!routed) {
        memcpy(experts->scores, experts->lift, (size_t)layer->experts * sizeof(float));
    }
    top(experts->scores, layer->experts, ranks, ranked, scores);
    if (distance == 0) {
        cancel_unranked(experts, index, ranked, ranks);
    }
    for (int32_t r = 0; r < ranks; r++) {
        if (hypura_slots_find(experts, index, ranked[r]) >= 0) {
            continue;
        }
        float *evidence = lookahead->evidence[lookahead->predicted_count];
        lookahead->predicted[lookahead->predicted_count++] = ranked[r];
        evidence[0] = 1;
        evidence[1] = routed ? margin_of(scores, ranks, experts->per_token, scores[r]) : 0;
        evidence[2] = logf(likelihood[ranked[r]] * (float)layer->experts / (float)experts->per_token);
        evidence[3] = experts->lift[ranked[r]];
        float confidence = hypura_confidence_of(&lookahead->confidence, evidence);
        if (confidence >= least) {
            insert(experts, confidences, count++, ranked[r], confidence);
        }
    }
    return count;
}

/* For a prompt: lists the missing ones of the experts that a sample of its tokens will choose, by falling number of
 * tokens; and all others behind them where, in earlier layers, most of such were chosen too. */
static int32_t predict_prompt(hypura_experts *experts, int32_t next, const struct ggml_tensor *input) {
    hypura_layer *layer = &experts->layers[next];
    int32_t ranked[HYPURA_MAX_PREDICTED], count = 0, tokens = experts->visit_tokens;
    int32_t sampled = tokens < SAMPLED ? tokens : SAMPLED;
    int32_t per_token = experts->per_token < HYPURA_MAX_PREDICTED ? experts->per_token : HYPURA_MAX_PREDICTED;
    memset(experts->votes, 0, (size_t)layer->experts * sizeof(int32_t));
    for (int32_t i = 0; i < sampled; i++) {
        size_t token = (size_t)i * (size_t)tokens / (size_t)sampled;
        const float *of_token = (const float *)((const char *)input->data + token * input->nb[1]);
        if (!hypura_routers_score(experts, next, of_token, input->ne[0])) {
            return 0;
        }
        top(experts->scores, layer->experts, per_token, ranked, NULL);
        for (int32_t k = 0; k < per_token; k++) {
            experts->votes[ranked[k]]++;
        }
    }
    bool others = tokens > sampled && experts->unvoted_chosen >= experts->least_confidence * experts->unvoted_count;
    int32_t fewest = others ? 0 : 1;
    experts->voted_layer = tokens > sampled ? next : -1;
    for (int32_t votes = sampled; votes >= fewest; votes--) {
        for (int32_t e = 0; e < layer->experts; e++) {
            if (experts->votes[e] == votes && hypura_slots_find(experts, next, e) < 0) {
                experts->to_read[count++] = e;
            }
        }
    }
    return count;
}

/* Prefetches the first count experts of experts->to_read: they replace experts that are worth less, which is more of
 * them the higher the confidence is. */
static void prefetch_list(hypura_experts *experts, int32_t index, int32_t count, float confidence) {
    if (count > 0) {
        experts->layers[index].may_hold_prefetches = 1;
        /* Worth of an expert that the next visit uses for certain. */
        float limit = 1.0f / (float)(1 + experts->streamed_count);
        hypura_slots_read(experts, index, experts->to_read, count, HYPURA_PREFETCH, confidence * limit);
    }
}

static void prefetch_token(hypura_experts *experts, int32_t index, int32_t distance, const struct ggml_tensor *state,
                           bool hidden) {
    int64_t width = state != NULL ? state->ne[0] : 0;
    int32_t count = predict_token(experts, index, distance, state != NULL ? state->data : NULL, width, hidden);
    prefetch_list(experts, index, count, experts->least_confidence);
}

/* A lookahead costs time, which is wasted while everything that the layer chooses is in memory anyway. */
bool hypura_prefetch_pauses(const hypura_experts *experts, int32_t index) {
    return index >= experts->layer_count || experts->layers[index].router.rows == NULL ||
           experts->layers[index].tokens_since_miss > PAUSE_TOKENS;
}

void hypura_prefetch_after_choice(hypura_experts *experts, int32_t index, const struct ggml_tensor *input) {
    int32_t next = experts->layers[index].next_streamed;
    if (next < 0 || experts->least_confidence > 1) {
        return;
    }
    if (experts->visit_tokens > 1 && input != NULL) {
        prefetch_list(experts, next, predict_prompt(experts, next, input), 1);
    }
    bool from_hidden = experts->layer_outputs_known && experts->layers[next].router.rows != NULL;
    if (experts->visit_tokens == 1 && !from_hidden && experts->layers[next].tokens_since_miss <= PAUSE_TOKENS) {
        prefetch_token(experts, next, 0, input, false);
    }
}

void hypura_prefetch_from_hidden(hypura_experts *experts, int32_t index, const struct ggml_tensor *hidden) {
    for (int32_t distance = 0; distance < HYPURA_LOOKAHEADS && experts->least_confidence <= 1; distance++) {
        if (!hypura_prefetch_pauses(experts, index + distance)) {
            prefetch_token(experts, index + distance, distance, hidden, true);
        }
    }
}

void hypura_prefetch_learn(hypura_experts *experts, int32_t index) {
    hypura_layer *layer = &experts->layers[index];
    for (int32_t distance = 0; distance < HYPURA_LOOKAHEADS; distance++) {
        hypura_lookahead *lookahead = &layer->lookahead[distance];
        for (int32_t i = 0; i < lookahead->predicted_count; i++) {
            bool came_true = experts->is_chosen[lookahead->predicted[i]];
            hypura_confidence_learn(&lookahead->confidence, lookahead->evidence[i], came_true);
        }
        lookahead->predicted_count = 0;
    }
    for (int32_t e = 0; experts->voted_layer == index && e < layer->experts; e++) {
        if (experts->votes[e] == 0) {
            experts->unvoted_count = FADING * experts->unvoted_count + 1;
            experts->unvoted_chosen = FADING * experts->unvoted_chosen + experts->is_chosen[e];
        }
    }
    experts->voted_layer = -1;
}

/* A wrong prefetch costs nothing while the drive is idle, and delays demand reads while it is busy. */
void hypura_prefetch_pace(hypura_experts *experts) {
    hypura_reader_figures reader;
    struct timespec t;
    hypura_reader_read_figures(experts->reader, &reader);
    clock_gettime(CLOCK_MONOTONIC, &t);
    uint64_t now = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    if (experts->least_confidence <= 1 && experts->visit_tokens == 1 && experts->paced_at_ns != 0) {
        float busy = (float)(reader.busy_ns - experts->paced_busy_ns) / (float)(now - experts->paced_at_ns + 1);
        experts->drive_busy += PACE * (fminf(busy, 1) - experts->drive_busy);
        float crowded = share_between(experts->drive_busy, BUSY_FROM, BUSY_TO);
        experts->least_confidence = LEAST_IDLE + (LEAST_BUSY - LEAST_IDLE) * crowded;
    }
    experts->paced_at_ns = now;
    experts->paced_busy_ns = reader.busy_ns;
}
