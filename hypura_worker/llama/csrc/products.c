/* Products of streamed experts, row by row as the experts arrive.
 *
 *   MUL_MAT_ID up     [x x . x x x . x]  two of the chosen experts are still being read: llama.cpp
 *   MUL_MAT_ID gate   [x x . x x x . x]  skips the node, and the rows that are ready are computed here;
 *   GLU               the others follow as their experts arrive, before a node needs them
 *
 * For single tokens alone. A row is one expert's product with one input and is computed from nothing else, so
 * its bits are those of the whole node; for several tokens llama.cpp computes rows together, in other ways.
 */
#include "products.h"

#include "experts.h"

#include <stdlib.h>

static hypura_slot *slot_of_row(const hypura_experts *experts, int32_t row) {
    return &experts->layers[experts->current].group->slot[experts->ids[row]];
}

HYPURA_API hypura_products *hypura_products_new(const hypura_graph_calls *calls) {
    hypura_products *products = calloc(1, sizeof(*products));
    if (products != NULL) {
        products->calls = *calls;
    }
    return products;
}

HYPURA_API void hypura_products_free(hypura_products *products) {
    free(products);
}

bool hypura_products_skip(hypura_experts *experts, struct ggml_tensor *node, int32_t part) {
    hypura_products *products = experts->products;
    if (products == NULL || experts->visit_tokens != 1 || experts->per_token > HYPURA_MAX_ROWS ||
        node->src[2]->ne[0] != experts->per_token || products->count == HYPURA_MAX_WEIGHTS) {
        return false;
    }
    products->skipped = node;
    products->skipped_part = part;
    node->op = experts->ggml->op_none;
    return true;
}

bool hypura_products_joins(const hypura_experts *experts, const struct ggml_tensor *node) {
    const hypura_products *products = experts->products;
    for (int32_t i = 0; i < products->count; i++) {
        const struct ggml_tensor *open = products->open[i].node;
        if (node->op != open->op || hypura_root_of(node->src[1]) != hypura_root_of(open->src[1]) ||
            hypura_root_of(node->src[2]) != hypura_root_of(open->src[2])) {
            return false;
        }
    }
    return true;
}

/* A node for these rows of a product: the same memory, seen through narrower tensors. */
static void add_rows(hypura_experts *experts, const hypura_product *product, int32_t first, int32_t rows) {
    hypura_products *products = experts->products;
    hypura_rows *view = &products->views[products->view_count++];
    const struct ggml_tensor *node = product->node;
    experts->figures.rows_apart += (uint64_t)rows;
    view->node = *node;
    view->input = *node->src[1];
    view->ids = *node->src[2];
    view->node.src[1] = &view->input;
    view->node.src[2] = &view->ids;
    view->node.data = (uint8_t *)node->data + (size_t)first * node->nb[1];
    view->node.ne[1] = rows;
    view->ids.data = (uint8_t *)node->src[2]->data + (size_t)first * node->src[2]->nb[0];
    view->ids.ne[0] = rows;
    if (view->input.ne[1] > 1) {
        view->input.data = (uint8_t *)node->src[1]->data + (size_t)first * node->src[1]->nb[1];
        view->input.ne[1] = rows;
    }
    products->calls.add_node(products->calls.graph, &view->node);
}

/* Adds nodes for the rows whose experts have arrived; neighbouring rows are one node. */
static void add_arrived(hypura_experts *experts, hypura_product *product) {
    for (int32_t row = 0; row < experts->per_token;) {
        int32_t end = row;
        while (end < experts->per_token && (product->left >> end & 1) != 0 &&
               !hypura_slots_pending(experts, experts->current, experts->ids[end], product->part)) {
            product->left &= ~(UINT64_C(1) << end);
            end++;
        }
        if (end > row) {
            add_rows(experts, product, row, end - row);
        }
        row = end + 1;
    }
}

/* Computes the rows whose experts are in memory; false if there are none. */
static bool compute_arrived(hypura_experts *experts) {
    hypura_products *products = experts->products;
    products->view_count = 0;
    products->calls.clear(products->calls.graph);
    for (int32_t i = 0; i < products->count; i++) {
        add_arrived(experts, &products->open[i]);
    }
    if (products->view_count == 0) {
        return false;
    }
    for (int32_t i = 0; i < products->count; i++) {
        if (!hypura_slots_check(experts, experts->current, products->open[i].part)) {
            return true;
        }
    }
    int32_t status = products->calls.compute(products->calls.backend, products->calls.graph);
    if (status != 0) {
        experts->figures.failed = HYPURA_NOT_COMPUTED;
        experts->figures.failed_layer = experts->current;
        experts->figures.error = status;
    }
    int32_t kept = 0;
    for (int32_t i = 0; i < products->count; i++) {
        if (products->open[i].left != 0) {
            products->open[kept++] = products->open[i];
        }
    }
    products->count = kept;
    return true;
}

void hypura_products_resume(hypura_experts *experts, struct ggml_tensor *node) {
    hypura_products *products = experts->products;
    products->skipped = NULL;
    node->op = experts->ggml->op_mul_mat_id;
    uint64_t rows = experts->per_token == 64 ? UINT64_MAX : (UINT64_C(1) << experts->per_token) - 1;
    products->open[products->count++] = (hypura_product){node, products->skipped_part, 0, rows};
    compute_arrived(experts);
}

void hypura_products_finish(hypura_experts *experts) {
    hypura_products *products = experts->products;
    while (products->count > 0 && !experts->figures.failed) {
        if (compute_arrived(experts)) {
            continue;
        }
        const hypura_product *first = &products->open[0];
        hypura_reader_wait(experts->reader, &slot_of_row(experts, __builtin_ctzll(first->left))->parts[first->part]);
    }
    products->count = 0;
}
