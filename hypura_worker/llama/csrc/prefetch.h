/* Prefetches: reads of experts that the next layers will probably choose. See prefetch.c. */
#ifndef HYPURA_PREFETCH_H
#define HYPURA_PREFETCH_H

#include "ggml_mirror.h"

typedef struct hypura_experts hypura_experts;

/* Predicts what the layer after this one will choose, and reads the likeliest of it that are missing; input: this
 * layer's gate input, or NULL. */
void hypura_prefetch_after_choice(hypura_experts *experts, int32_t layer, const struct ggml_tensor *input);
/* The same for this layer and the one after it, from the hidden state with which a single token comes to this one. */
void hypura_prefetch_from_hidden(hypura_experts *experts, int32_t layer, const struct ggml_tensor *hidden);
/* Whether there is no lookahead at this layer now: there is no such layer, its router is not known, or all that it
 * chose lately was in memory. */
bool hypura_prefetch_pauses(const hypura_experts *experts, int32_t layer);
/* Learns which of the predictions for this layer came true. */
void hypura_prefetch_learn(hypura_experts *experts, int32_t layer);
/* After each token: sets how confident a prediction must be from now on. */
void hypura_prefetch_pace(hypura_experts *experts);

#endif
