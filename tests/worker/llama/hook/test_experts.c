/* experts.c and all below it: a small mixture of experts is computed as llama.cpp would, node by node.
 *
 *   hidden ─► * norm ─► MUL_MAT router ─► SOFT_MAX ─► top-k ─► GET_ROWS weights ─► MUL_MAT_ID up, down ─► l_out
 *
 * "Computing" a MUL_MAT_ID checks that the slots named by the ids hold the experts that the router chose, whole.
 */
#include "gated_drive.h"

#include "fake_ggml.h"

#include "../../../../hypura_worker/llama/csrc/experts.h"

#include <math.h>

bool hypura_experts_eval(struct ggml_tensor *node, bool ask, void *context);
bool hypura_experts_abort(void *context);
void hypura_experts_begin(hypura_experts *experts, hypura_kv *learning);
void hypura_experts_free_scratch(hypura_experts *experts);
hypura_products *hypura_products_new(const hypura_graph_calls *calls);
void hypura_products_free(hypura_products *products);

enum { LAYERS = 4, EXPERTS = 16, PER_TOKEN = 2, PARTS = 2, WIDTH = 32, MOST_TOKENS = 16, MOST_SLOTS = 20, SLICE = 512 };
typedef struct {
    float hidden[MOST_TOKENS][WIDTH], normed[MOST_TOKENS][WIDTH], logits[MOST_TOKENS][EXPERTS];
    float probabilities[MOST_TOKENS][EXPERTS];
    int32_t ids[MOST_TOKENS][PER_TOKEN], right_ids[MOST_TOKENS][PER_TOKEN];
    float products[PARTS][MOST_TOKENS][PER_TOKEN];
    struct ggml_tensor router, norm, fused[PARTS];
    float router_data[EXPERTS][WIDTH], norm_data[WIDTH];
    struct ggml_tensor input, times_norm, product, gating, sorted, top, weights, ups[PARTS], output;
} graph_layer;

static struct {
    struct ggml_backend_buffer *streamed;
    hypura_arena *arena;
    graph_layer graph[LAYERS];
    hypura_experts experts;
    hypura_layer layers[LAYERS];
    hypura_group group;
    hypura_slot slot[MOST_SLOTS];
    int32_t slot_of[LAYERS][EXPERTS];
    uint8_t pool[PARTS][MOST_SLOTS * SLICE];
    hypura_likelihood likelihood;
    float averages[LAYERS * HYPURA_AVERAGES * EXPERTS], likelihoods[LAYERS * EXPERTS], likelihood_scratch[2 * EXPERTS];
    uint8_t visited[LAYERS];
    hypura_coactivation coactivation;
    uint16_t pairs[LAYERS * EXPERTS * EXPERTS];
    float leads[LAYERS * EXPERTS], follows[LAYERS * EXPERTS], tokens_seen[LAYERS];
    int32_t chosen[EXPERTS], votes[EXPERTS], to_read[EXPERTS];
    float scores[EXPERTS], lift[EXPERTS];
    char candidates[EXPERTS * 16];
    uint8_t is_chosen[EXPERTS];
    struct ggml_tensor *nodes[LAYERS * 10]; /* of the hook's own graph */
    int32_t node_count;
    int32_t computed_rows;
    bool late_reads; /* reads pass only when the first product has been reached */
    uint32_t random;
} m;

static float next_random(void) {
    m.random = m.random * 1664525u + 1013904223u;
    return (float)(m.random >> 8) / (float)(1 << 23) - 1;
}

static int fd_of(int32_t layer, int32_t part) {
    return 100 + layer * PARTS + part;
}

/* The graph of a pass of so many tokens: the same memory every time. */
static void build_graph(int32_t tokens) {
    for (int32_t l = 0; l < LAYERS; l++) {
        graph_layer *g = &m.graph[l];
        g->input = make_tensor(OTHER, g->hidden, WIDTH, tokens, sizeof(float));
        g->times_norm = make_tensor(MUL, g->normed, WIDTH, tokens, sizeof(float));
        g->times_norm.src[0] = &g->input;
        g->times_norm.src[1] = &g->norm;
        g->product = make_tensor(MUL_MAT, g->logits, EXPERTS, tokens, sizeof(float));
        g->product.src[0] = &g->router;
        g->product.src[1] = &g->times_norm;
        g->gating = make_tensor(SOFT_MAX, g->probabilities, EXPERTS, tokens, sizeof(float));
        g->gating.src[0] = &g->product;
        g->sorted = make_tensor(OTHER, g->ids, PER_TOKEN, tokens, sizeof(int32_t));
        g->sorted.src[0] = &g->gating;
        g->top = make_tensor(VIEW, g->ids, PER_TOKEN, tokens, sizeof(int32_t));
        g->top.type = HYPURA_TYPE_I32;
        g->top.src[0] = g->top.view_src = &g->sorted;
        snprintf(g->top.name, sizeof(g->top.name), "ffn_moe_topk-%d", l);
        g->weights = make_tensor(GET_ROWS, g->probabilities, PER_TOKEN, tokens, sizeof(float));
        g->weights.src[0] = &g->gating;
        g->weights.src[1] = &g->top;
        snprintf(g->weights.name, sizeof(g->weights.name), "ffn_moe_weights-%d", l);
        for (int32_t p = 0; p < PARTS; p++) {
            g->ups[p] = make_tensor(MUL_MAT_ID, g->products[p], 1, PER_TOKEN, sizeof(float));
            g->ups[p].ne[2] = tokens;
            g->ups[p].src[0] = &g->fused[p];
            g->ups[p].src[1] = &g->times_norm;
            g->ups[p].src[2] = &g->top;
        }
        float(*leaving)[WIDTH] = m.graph[(l + 1) % LAYERS].hidden;
        g->output = make_tensor(ADD, leaving, WIDTH, tokens, sizeof(float));
        g->output.src[0] = &g->ups[PARTS - 1];
        snprintf(g->output.name, sizeof(g->output.name), "l_out-%d", l);
    }
}

static void make_model(int32_t slots, int32_t readers) {
    drive_reset(true);
    memset(&m, 0, sizeof(m));
    m.random = 7;
    m.arena = make_arena(LAYERS * PARTS * EXPERTS * SLICE, &m.streamed);
    memset(m.slot_of, -1, sizeof(m.slot_of));
    for (int32_t s = 0; s < MOST_SLOTS; s++) {
        m.slot[s].layer = -1;
    }
    m.group = (hypura_group){.slots = slots, .usable = slots, .classes = 1, .slot = m.slot};
    for (int32_t l = 0; l < LAYERS; l++) {
        graph_layer *g = &m.graph[l];
        hypura_layer *layer = &m.layers[l];
        layer->experts = EXPERTS;
        layer->streamed_index = l;
        layer->next_streamed = l + 1 < LAYERS ? l + 1 : -1;
        layer->slot_of = m.slot_of[l];
        layer->group = &m.group;
        layer->expert_bytes = PARTS * SLICE;
        layer->weight_count = layer->part_count = PARTS;
        for (int32_t p = 0; p < PARTS; p++) {
            layer->read_order[p] = p;
            g->fused[p] = make_streamed(m.streamed, p == 0 ? "part_0" : "part_1", l);
            CHECK_EQUAL(m.streamed->iface.init_tensor(m.streamed, &g->fused[p]), 0);
            hypura_tensor_place(&g->fused[p], m.pool[p]);
            layer->parts[p] = (hypura_part){.tensor = &g->fused[p], .pool = m.pool[p], .stride_bytes = SLICE,
                                            .slice_bytes = SLICE, .step_bytes = 1, .fd = fd_of(l, p)};
        }
        for (int32_t e = 0; e < EXPERTS; e++) {
            for (int32_t i = 0; i < WIDTH; i++) {
                g->router_data[e][i] = next_random();
            }
        }
        for (int32_t i = 0; i < WIDTH; i++) {
            g->norm_data[i] = 1 + next_random() / 4;
        }
        g->router = make_tensor(NONE, g->router_data, WIDTH, EXPERTS, sizeof(float));
        g->norm = make_tensor(NONE, g->norm_data, WIDTH, 1, sizeof(float));
        for (int32_t i = 0; i < HYPURA_LOOKAHEADS; i++) {
            layer->lookahead[i].confidence = (hypura_confidence){.weights = {2, 1, 0, 1}};
        }
        m.tokens_seen[l] = 1;
    }
    hypura_arena_restore_names(m.arena);
    for (int32_t i = 0; i < LAYERS * EXPERTS; i++) {
        m.likelihoods[i] = m.follows[i] = (float)PER_TOKEN / EXPERTS;
    }
    m.likelihood = (hypura_likelihood){.layers = LAYERS, .experts = EXPERTS, .per_token = PER_TOKEN,
                                       .averages = m.averages, .likelihood = m.likelihoods, .visited = m.visited,
                                       .scratch = m.likelihood_scratch, .prior = 1250};
    m.coactivation = (hypura_coactivation){.experts = EXPERTS, .last = -1, .pairs = m.pairs, .leads = m.leads,
                                           .follows = m.follows, .tokens = m.tokens_seen};
    m.experts = (hypura_experts){
        .ggml = &fake_ggml, .arena = m.arena, .reader = hypura_reader_new(readers, 65536), .layers = m.layers,
        .layer_count = LAYERS, .streamed_count = LAYERS, .per_token = PER_TOKEN, .likelihood = &m.likelihood,
        .coactivation = &m.coactivation, .current = -1, .chosen = m.chosen, .scores = m.scores, .lift = m.lift,
        .votes = m.votes, .to_read = m.to_read, .candidates = m.candidates, .is_chosen = m.is_chosen,
        .least_confidence = 0.5f, .voted_layer = -1, .unvoted_count = 2, .unvoted_chosen = 1};
    CHECK(m.experts.reader != NULL);
}

static void free_model(void) {
    drive_open();
    hypura_reader_free(m.experts.reader);
    hypura_experts_free_scratch(&m.experts);
    free_arena(m.arena, m.streamed);
}

/* The router's choice for each token, and what it comes from. */
static void compute_router(int32_t l, int32_t tokens) {
    graph_layer *g = &m.graph[l];
    for (int32_t t = 0; t < tokens; t++) {
        float squares = 0, total = 0;
        for (int32_t i = 0; i < WIDTH; i++) {
            squares += g->hidden[t][i] * g->hidden[t][i];
        }
        for (int32_t i = 0; i < WIDTH; i++) {
            g->normed[t][i] = g->hidden[t][i] / sqrtf(squares / WIDTH) * g->norm_data[i];
        }
        for (int32_t e = 0; e < EXPERTS; e++) {
            g->logits[t][e] = 0;
            for (int32_t i = 0; i < WIDTH; i++) {
                g->logits[t][e] += g->router_data[e][i] * g->normed[t][i] / 4;
            }
            total += g->probabilities[t][e] = expf(g->logits[t][e]);
        }
        for (int32_t k = 0; k < PER_TOKEN; k++) {
            int32_t best = -1;
            for (int32_t e = 0; e < EXPERTS; e++) {
                bool taken = k > 0 && g->ids[t][0] == e;
                best = !taken && (best < 0 || g->logits[t][e] > g->logits[t][best]) ? e : best;
            }
            g->ids[t][k] = g->right_ids[t][k] = best;
        }
        for (int32_t e = 0; e < EXPERTS; e++) {
            g->probabilities[t][e] /= total;
        }
    }
}

static void check_row(int32_t l, int32_t part, int32_t slot, int32_t expert) {
    CHECK(slot >= 0 && slot < m.group.usable);
    CHECK_EQUAL(m.slot[slot].layer, l);
    CHECK_EQUAL(m.slot[slot].expert, expert);
    CHECK(drive_holds(m.pool[part] + slot * SLICE, fd_of(l, part), expert * SLICE, SLICE));
    m.computed_rows++;
}

/* One node, as ggml computes it; a node whose operation is NONE is skipped. */
static void compute(int32_t l, struct ggml_tensor *node, int32_t tokens) {
    graph_layer *g = &m.graph[l];
    if (node->op == NONE) {
        return;
    }
    if (node == &g->weights) {
        compute_router(l, tokens);
    }
    for (int32_t p = 0; p < PARTS; p++) {
        for (int32_t i = 0; node == &g->ups[p] && i < tokens * PER_TOKEN; i++) {
            if (!m.experts.learning && !m.experts.figures.failed) {
                check_row(l, p, (&g->ids[0][0])[i], (&g->right_ids[0][0])[i]);
            }
        }
    }
    if (node == &g->output && l + 1 < LAYERS) {
        for (int32_t t = 0; t < tokens; t++) {
            for (int32_t i = 0; i < WIDTH; i++) {
                m.graph[l + 1].hidden[t][i] = g->hidden[t][i] + next_random() / 8;
            }
        }
    }
}

/* A forward pass: false if the abort callback ended it. */
static bool decode(int32_t tokens, hypura_kv *learning) {
    build_graph(tokens);
    hypura_experts_begin(&m.experts, learning);
    for (int32_t t = 0; t < tokens; t++) {
        for (int32_t i = 0; i < WIDTH; i++) {
            m.graph[0].hidden[t][i] = next_random();
        }
    }
    for (int32_t l = 0; l < LAYERS; l++) {
        graph_layer *g = &m.graph[l];
        struct ggml_tensor *nodes[5 + PARTS] = {&g->times_norm, &g->product, &g->gating, &g->weights};
        for (int32_t p = 0; p < PARTS; p++) {
            nodes[4 + p] = &g->ups[p];
        }
        nodes[4 + PARTS] = &g->output;
        for (int32_t n = 0; n < 5 + PARTS; n++) {
            bool stop = hypura_experts_eval(nodes[n], true, &m.experts);
            if (m.late_reads && nodes[n] == &g->weights) {
                drive_close();
            } else if (nodes[n] == &g->ups[0]) {
                drive_open();
            }
            compute(l, nodes[n], tokens);
            if (hypura_experts_abort(&m.experts) || (stop && !hypura_experts_eval(nodes[n], false, &m.experts)) ||
                hypura_experts_abort(&m.experts)) {
                return false;
            }
        }
    }
    return true;
}

static void every_product_finds_its_experts(void) {
    make_model(10, 3);
    static hypura_kv kv;
    kv.ggml = &fake_ggml;
    CHECK(decode(1, &kv)); /* a learning pass */
    CHECK_EQUAL(drive_count(), 0);
    CHECK(m.layers[0].router.rows != NULL);
    for (int32_t pass = 0; pass < 200; pass++) {
        if (drive_count() > DRIVE_LOG / 2) {
            drive_reset(true);
        }
        CHECK(decode(pass % 20 == 0 ? 4 : 1, NULL)); /* of a prompt's tokens, 8 experts at most are chosen */
    }
    hypura_experts_figures *figures = &m.experts.figures;
    CHECK(m.experts.layer_outputs_known);
    for (int32_t l = 1; l < LAYERS; l++) {
        CHECK(m.layers[l].lookahead[0].shift_tokens > 0);
    }
    CHECK(figures->misses > 0);
    CHECK(figures->prefetched_used_bytes * 2 > figures->prefetched_bytes); /* the routers predict well here */
    CHECK(figures->prefetched_used_bytes <= figures->prefetched_bytes);
    CHECK_EQUAL(m.computed_rows, (190 + 10 * 4) * LAYERS * PARTS * PER_TOKEN);
    free_model();
}

static void clear_graph(void *graph) {
    (void)graph;
    m.node_count = 0;
}

static void add_node(void *graph, struct ggml_tensor *node) {
    (void)graph;
    m.nodes[m.node_count++] = node;
}

static int32_t compute_graph(void *backend, void *graph) {
    (void)backend, (void)graph;
    for (int32_t n = 0; n < m.node_count; n++) {
        int32_t l = m.experts.current, part = m.nodes[n]->src[0] == &m.graph[l].fused[0] ? 0 : 1;
        const int32_t *ids = m.nodes[n]->src[2]->data;
        for (int32_t k = 0; k < m.nodes[n]->ne[1]; k++) {
            check_row(l, part, ids[k], m.graph[l].right_ids[0][&ids[k] - &m.graph[l].ids[0][0]]);
        }
    }
    return 0;
}

static void rows_are_computed_as_their_experts_arrive(void) {
    make_model(10, 3);
    hypura_graph_calls calls = {NULL, NULL, clear_graph, add_node, compute_graph};
    m.experts.products = hypura_products_new(&calls);
    m.experts.least_confidence = 2; /* no prefetches: every miss is waited for … */
    m.late_reads = true;            /* … and is still missing when its product is reached */
    for (int32_t pass = 0; pass < 200; pass++) {
        if (drive_count() > DRIVE_LOG / 2) {
            drive_reset(true);
        }
        CHECK(decode(1, NULL));
        CHECK_EQUAL(m.experts.products->count, 0);
    }
    CHECK_EQUAL(m.computed_rows, 200 * LAYERS * PARTS * PER_TOKEN);
    CHECK(m.experts.figures.rows_apart >= m.experts.figures.misses);
    CHECK(m.experts.figures.misses > 0);
    CHECK_EQUAL(m.experts.figures.prefetched_bytes, 0);
    hypura_products_free(m.experts.products);
    free_model();
}

static void ids_that_were_not_rewritten_break_the_guard(void) {
    make_model(10, 1);
    build_graph(1);
    hypura_experts_begin(&m.experts, NULL);
    CHECK(!hypura_experts_eval(&m.graph[0].ups[0], true, &m.experts));
    CHECK_EQUAL(m.experts.figures.failed, HYPURA_GUARD);
    CHECK_EQUAL(m.graph[0].ups[0].op, NONE);
    CHECK(hypura_experts_abort(&m.experts));
    CHECK(strstr(m.experts.figures.guard, "blk.0.part_0") != NULL);
    CHECK(decode(1, NULL)); /* the next pass starts afresh */
    free_model();
}

static void an_expert_that_does_not_exist_fails_the_pass(void) {
    make_model(10, 1);
    build_graph(1);
    hypura_experts_begin(&m.experts, NULL);
    graph_layer *g = &m.graph[0];
    CHECK(hypura_experts_eval(&g->weights, true, &m.experts));
    g->ids[0][0] = 3;
    g->ids[0][1] = EXPERTS;
    hypura_experts_eval(&g->weights, false, &m.experts);
    CHECK_EQUAL(m.experts.figures.failed, HYPURA_NO_EXPERT);
    CHECK_EQUAL(g->ids[0][0] + g->ids[0][1], 0); /* valid slots for the nodes that are computed all the same */
    free_model();
}

static void a_pass_with_more_experts_than_slots_fails(void) {
    make_model(3, 1);
    CHECK(!decode(8, NULL));
    CHECK_EQUAL(m.experts.figures.failed, HYPURA_NO_SLOTS);
    CHECK(decode(1, NULL));
    free_model();
}

static void a_failed_read_fails_one_pass(void) {
    make_model(10, 2);
    for (int32_t l = 0; l < LAYERS; l++) {
        for (int32_t p = 0; p < PARTS; p++) {
            int32_t failures = 0;
            drive_fail(fd_of(l, p), EIO);
            for (int32_t pass = 0; pass < 10; pass++) {
                decode(1, NULL);
                CHECK(m.experts.figures.failed == 0 || m.experts.figures.failed == HYPURA_READ_FAILED);
                failures += m.experts.figures.failed != 0;
            }
            CHECK(failures > 0);
            drive_reset(true);
            CHECK(decode(1, NULL));
        }
    }
    free_model();
}

static void a_gathered_tensor_may_only_be_gathered(void) {
    make_model(10, 1);
    float rows[4][8] = {{0}};
    int32_t ids[] = {2};
    struct ggml_tensor table = make_tensor(NONE, rows, 8, 4, sizeof(float)), node = make_tensor(GET_ROWS, NULL, 8, 1, 4);
    struct ggml_tensor tokens = make_tensor(NONE, ids, 1, 1, sizeof(int32_t));
    tokens.type = HYPURA_TYPE_I32;
    CHECK(hypura_arena_gather(m.arena, &table));
    hypura_arena_expect(m.arena, (int32_t[]){2}, 1);
    node.src[0] = &table;
    node.src[1] = &tokens;
    CHECK(!hypura_arena_misread(m.arena, &node));
    ids[0] = 3; /* not a token of the pass */
    CHECK(hypura_arena_misread(m.arena, &node));
    snprintf(tokens.name, sizeof(tokens.name), "inp_tokens");
    CHECK(!hypura_arena_misread(m.arena, &node));
    node.op = MUL_MAT;
    CHECK(hypura_arena_misread(m.arena, &node));
    node.src[1] = NULL;
    node.src[5] = &table;
    node.src[0] = &tokens;
    CHECK(hypura_arena_misread(m.arena, &node));
    hypura_experts_begin(&m.experts, NULL);
    CHECK(!hypura_experts_eval(&node, true, &m.experts));
    CHECK_EQUAL(m.experts.figures.failed, HYPURA_MISREAD);
    free_model();
}

int main(void) {
    RUN(every_product_finds_its_experts);
    RUN(rows_are_computed_as_their_experts_arrive);
    RUN(ids_that_were_not_rewritten_break_the_guard);
    RUN(an_expert_that_does_not_exist_fails_the_pass);
    RUN(a_pass_with_more_experts_than_slots_fails);
    RUN(a_failed_read_fails_one_pass);
    RUN(a_gathered_tensor_may_only_be_gathered);
    return 0;
}
