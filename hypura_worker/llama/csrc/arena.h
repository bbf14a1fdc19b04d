/* Streamed tensors: addresses without bytes until a streamer points them at memory. See arena.c. */
#ifndef HYPURA_ARENA_H
#define HYPURA_ARENA_H

#include "attributes.h"
#include "ggml_mirror.h"

typedef struct {
    struct ggml_tensor *tensor;
    char name[GGML_MAX_NAME]; /* as the loader named it; the tensor has another name until it is restored */
} hypura_arrival;

typedef struct hypura_arena hypura_arena;

/* True if the tensor, or the one it is a view of, lives in the arena. */
bool hypura_in_arena(const hypura_arena *arena, const struct ggml_tensor *tensor);
/* Whether the node uses a tensor of which only the rows of the pass's tokens are in memory, other than by gathering
 * these rows. */
bool hypura_arena_misread(const hypura_arena *arena, const struct ggml_tensor *node);

#endif
