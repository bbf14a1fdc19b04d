/* Which experts a layer will choose, foreseen while what is before it computes:
 *
 *   what leaves a layer ─► the next layer's router ─► ranks   right but for what attention will add, which is learned
 *                       └► the one's after it                 less so, and a layer earlier
 *   what the layer before chose ─► coactivation.c ─► lift     models route kinds of tokens along paths
 *   earlier tokens ─► likelihood.c
 *
 * What leaves the embedding is the first layer's. Where the graph does not say what leaves a layer, the gate input of
 * the layer before is asked instead; without a known router, co-activation ranks.
 *
 * How sure a guess is, is learned all the time from guesses of experts that were not in memory, read or not
 * (certainty.c); only what is sure enough is read, the surest first.
 */
#define _POSIX_C_SOURCE 200809L /* clock_gettime */
#include "hook.h"

#include <math.h>
#include <string.h>
#include <time.h>

#define SAMPLED 64      /* tokens of a prompt whose routing is foreseen */
#define FADING 0.9998f  /* of the counts of a prompt's guesses */
#define PACE 0.1f       /* of one token in what is known of the drive */
#define BUSY_FROM 0.6f  /* share of the time from which on reads stand in each other's way … */
#define BUSY_TO 0.8f    /* … and from which on they always do */
#define FULL_FROM 0.8f  /* share from which on what is read too early takes the time of what is surer … */
#define FULL_TO 0.95f   /* … and from which on reading early does nothing else */
#define LEAST_IDLE 0.25f
#define LEAST_BUSY 0.5f
#define QUIET 4 /* tokens */

/* The highest of scores, which is destroyed, in order; highest: NULL, or what they were. */
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

/* How far a score is above the least that would be chosen; ranked: all scores in question, highest first. */
static float margin_of(const float *ranked, int32_t count, int32_t chosen, float score) {
    int32_t out = chosen < count ? chosen : count - 1;
    float last_in = ranked[chosen < count ? out - 1 : out], first_out = ranked[out];
    float range = ranked[0] - ranked[count - 1];
    return range > 0 ? 4 * (score - (last_in + first_out) / 2) / range : 0;
}

/* experts->list in the order of falling certainties. */
static void insert(hypura_experts *experts, float *certainties, int32_t count, int32_t expert, float certainty) {
    int32_t place = count;
    for (; place > 0 && certainties[place - 1] < certainty; place--) {
        certainties[place] = certainties[place - 1];
        experts->list[place] = experts->list[place - 1];
    }
    certainties[place] = certainty;
    experts->list[place] = expert;
}

/* What a look from further away has asked for, and this one does not even rank. */
static void take_back_others(hypura_experts *experts, int32_t index, const int32_t *ranked, int32_t ranks) {
    const hypura_foresight *earlier = &experts->layers[index].foresight[1];
    for (int32_t g = 0; g < earlier->guesses; g++) {
        int32_t r = 0;
        while (r < ranks && ranked[r] != earlier->guess[g]) {
            r++;
        }
        if (r == ranks) {
            hypura_cache_take_back(experts, index, earlier->guess[g]);
        }
    }
}

static float share_between(float value, float from, float to) {
    return fminf(1, fmaxf(0, (value - from) / (to - from)));
}

/* While the drive reads all the time it has nothing to gain from what is foreseen from further away: the next look
 * is surer. */
static float least_certainty(const hypura_experts *experts, int32_t look) {
    float least = experts->ahead_least;
    return look == 0 ? least : least + (1 - least) * share_between(experts->busy, FULL_FROM, FULL_TO);
}

/* Of a single token: what is missing of twice as many experts as the layer will choose. state: see routers.c; NULL for
 * none, then co-activation ranks. */
static int32_t guess_one(hypura_experts *experts, int32_t index, int32_t look, const float *state, int64_t width,
                         bool hidden) {
    hypura_layer *layer = &experts->layers[index];
    hypura_foresight *foresight = &layer->foresight[look];
    const hypura_likelihood *l = experts->likelihood;
    const float *likelihood = l->likelihood + (size_t)index * (size_t)l->experts;
    int32_t ranked[HYPURA_MAX_GUESSES], count = 0, last = experts->coactivation->last;
    float scores[HYPURA_MAX_GUESSES], certainties[HYPURA_MAX_GUESSES], least = least_certainty(experts, look);
    int32_t ranks = 2 * experts->per_token < HYPURA_MAX_GUESSES ? 2 * experts->per_token : HYPURA_MAX_GUESSES;
    ranks = ranks < layer->experts ? ranks : layer->experts;
    foresight->guesses = 0;
    bool follows = last >= 0 && experts->layers[last].next == index;
    bool routed = state != NULL && hypura_routers_foresee(experts, index, foresight, state, width, hidden);
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
    if (look == 0) {
        take_back_others(experts, index, ranked, ranks);
    }
    for (int32_t r = 0; r < ranks; r++) {
        if (hypura_cache_find(experts, index, ranked[r]) >= 0) {
            continue;
        }
        float *evidence = foresight->evidence[foresight->guesses];
        foresight->guess[foresight->guesses++] = ranked[r];
        evidence[0] = 1;
        evidence[1] = routed ? margin_of(scores, ranks, experts->per_token, scores[r]) : 0;
        evidence[2] = logf(likelihood[ranked[r]] * (float)layer->experts / (float)experts->per_token);
        evidence[3] = experts->lift[ranked[r]];
        float certainty = hypura_certainty_of(&foresight->certainty, evidence);
        if (certainty >= least) {
            insert(experts, certainties, count++, ranked[r], certainty);
        }
    }
    return count;
}

/* Of a prompt: every expert that a sample of its tokens will choose, most wanted first; and all others
 * behind them where, layers before, most of such were wanted too. */
static int32_t guess_many(hypura_experts *experts, int32_t next, const struct ggml_tensor *input) {
    hypura_layer *layer = &experts->layers[next];
    int32_t ranked[HYPURA_MAX_GUESSES], count = 0, tokens = experts->visit_tokens;
    int32_t sampled = tokens < SAMPLED ? tokens : SAMPLED;
    int32_t per_token = experts->per_token < HYPURA_MAX_GUESSES ? experts->per_token : HYPURA_MAX_GUESSES;
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

/* Reads count experts of the list for their layer, where what is worth less gives way: as much as they are certain. */
static void read_list(hypura_experts *experts, int32_t index, int32_t count, float certainty) {
    if (count > 0) {
        experts->layers[index].guessed = 1;
        float limit = 1.0f / (float)(1 + experts->streamed_count); /* of what is as good as certain for the next visit */
        hypura_cache_read(experts, index, experts->list, count, HYPURA_AHEAD, certainty * limit);
    }
}

static void read_one(hypura_experts *experts, int32_t index, int32_t look, const struct ggml_tensor *state,
                     bool hidden) {
    int64_t width = state != NULL ? state->ne[0] : 0;
    int32_t count = guess_one(experts, index, look, state != NULL ? state->data : NULL, width, hidden);
    read_list(experts, index, count, experts->ahead_least);
}

/* Looking costs time: not while all that the layer chooses is in memory anyway. */
bool hypura_guesses_pause(const hypura_experts *experts, int32_t index) {
    return index >= experts->layer_count || experts->layers[index].router.rows == NULL ||
           experts->layers[index].quiet > QUIET;
}

void hypura_guesses_read(hypura_experts *experts, int32_t index, const struct ggml_tensor *input) {
    int32_t next = experts->layers[index].next;
    if (next < 0 || experts->ahead_least > 1) {
        return;
    }
    if (experts->visit_tokens > 1 && input != NULL) {
        read_list(experts, next, guess_many(experts, next, input), 1);
    }
    bool looked = experts->between && experts->layers[next].router.rows != NULL;
    if (experts->visit_tokens == 1 && !looked && experts->layers[next].quiet <= QUIET) {
        read_one(experts, next, 0, input, false);
    }
}

void hypura_guesses_read_between(hypura_experts *experts, int32_t index, const struct ggml_tensor *hidden) {
    for (int32_t look = 0; look < HYPURA_LOOKS && experts->ahead_least <= 1; look++) {
        if (!hypura_guesses_pause(experts, index + look)) {
            read_one(experts, index + look, look, hidden, true);
        }
    }
}

void hypura_guesses_judge(hypura_experts *experts, int32_t index) {
    hypura_layer *layer = &experts->layers[index];
    for (int32_t look = 0; look < HYPURA_LOOKS; look++) {
        hypura_foresight *foresight = &layer->foresight[look];
        for (int32_t g = 0; g < foresight->guesses; g++) {
            hypura_certainty_learn(&foresight->certainty, foresight->evidence[g], experts->wanted[foresight->guess[g]]);
        }
        foresight->guesses = 0;
    }
    for (int32_t e = 0; experts->voted == index && e < layer->experts; e++) {
        if (experts->votes[e] == 0) {
            experts->unvoted_seen = FADING * experts->unvoted_seen + 1;
            experts->unvoted_true = FADING * experts->unvoted_true + experts->wanted[e];
        }
    }
    experts->voted = -1;
}

/* A wrong guess costs nothing while the drive is idle anyway, and delays what is needed while it is not. */
void hypura_guesses_pace(hypura_experts *experts) {
    hypura_reader_figures reader;
    struct timespec t;
    hypura_reader_read_figures(experts->reader, &reader);
    clock_gettime(CLOCK_MONOTONIC, &t);
    uint64_t now = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    if (experts->ahead_least <= 1 && experts->visit_tokens == 1 && experts->paced_at_ns != 0) {
        float busy = (float)(reader.busy_ns - experts->paced_busy_ns) / (float)(now - experts->paced_at_ns + 1);
        experts->busy += PACE * (fminf(busy, 1) - experts->busy);
        float crowded = share_between(experts->busy, BUSY_FROM, BUSY_TO);
        experts->ahead_least = LEAST_IDLE + (LEAST_BUSY - LEAST_IDLE) * crowded;
    }
    experts->paced_at_ns = now;
    experts->paced_busy_ns = reader.busy_ns;
}
