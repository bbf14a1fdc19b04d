/* Products of streamed experts, computed row by row as the experts arrive. See products.c. */
#ifndef HYPURA_PRODUCTS_H
#define HYPURA_PRODUCTS_H

#include "slots.h"

#define HYPURA_MAX_ROWS 64 /* experts per token whose products are computed row by row */
#define HYPURA_MAX_VIEWS (HYPURA_MAX_ROWS / 2 * HYPURA_MAX_WEIGHTS) /* every second row of each */

/* A graph of the hook's own, and what computes it, with as many threads as llama.cpp uses for single tokens. */
typedef struct {
    void *backend, *graph;
    void (*clear)(void *graph);
    void (*add_node)(void *graph, struct ggml_tensor *node);
    int32_t (*compute)(void *backend, void *graph);
} hypura_graph_calls;

/* A node that llama.cpp skipped, and which of its rows (bits) are not computed yet. */
typedef struct {
    struct ggml_tensor *node;
    int32_t part;
    int32_t reserved;
    uint64_t left;
} hypura_product;

typedef struct {
    struct ggml_tensor node, input, ids;
} hypura_rows;

typedef struct {
    hypura_graph_calls calls;
    struct ggml_tensor *skipped; /* the next to be computed here */
    int32_t skipped_part;
    int32_t count;
    hypura_product open[HYPURA_MAX_WEIGHTS];
    int32_t view_count;
    hypura_rows views[HYPURA_MAX_VIEWS];
} hypura_products;

/* Before a node that multiplies with a part that is still being read: has llama.cpp compute what is before the node,
 * skip the node, and call back; false where it cannot be computed by rows. */
bool hypura_products_skip(hypura_experts *experts, struct ggml_tensor *node, int32_t part);
/* The node was skipped: computes the rows whose experts are in memory. */
void hypura_products_resume(hypura_experts *experts, struct ggml_tensor *node);
/* Whether the node may be computed while rows of others are left: it reads the same memory as they do. */
bool hypura_products_joins(const hypura_experts *experts, const struct ggml_tensor *node);
/* Computes all rows that are left, as their experts arrive. */
void hypura_products_finish(hypura_experts *experts);

#endif
