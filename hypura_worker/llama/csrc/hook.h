/* The part of the worker that llama.cpp calls: see docs/llama-seam.md.
 *
 *   abi.c           a buffer type whose tensors have addresses but no bytes
 *   reader.c        threads that read extents of files
 *   likelihood.c    which experts are likely to be chosen again
 *   cache.c         which experts are in which slots
 *   routers.c       the layers' routers, found in the graph
 *   coactivation.c  which experts of a layer follow which of the layer before
 *   certainty.c     how sure a guess is
 *   guesses.c       which experts the next layer will choose
 *   experts.c       per-node callback for streamed experts: rewrites expert ids to slots
 *   products.c      products of experts, row by row as the experts arrive
 *   dense.c         per-node callback for streamed layers: waits for a tensor's weights
 *   kv.c            memory of the KV cache
 *   layouts.c       where the fields of these structs lie
 *
 * Python lays everything out before the context is made; from then on C answers what
 * llama.cpp asks thousands of times per token. Layouts mirror ggml.h and ggml-backend-impl.h of ggml 0.25;
 * Python checks them against the loaded library, and its own mirrors of them field by field, before anything else is
 * called.
 */
#ifndef HYPURA_HOOK_H
#define HYPURA_HOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prediction.h"
#include "reader.h"

#define GGML_MAX_DIMS 4
#define GGML_MAX_SRC 10
#define GGML_MAX_NAME 64
#define GGML_MAX_OP_PARAMS 64

struct ggml_backend_buffer;

struct ggml_tensor {
    int32_t type;
    struct ggml_backend_buffer *buffer;
    int64_t ne[GGML_MAX_DIMS];
    size_t nb[GGML_MAX_DIMS];
    int32_t op;
    int32_t op_params[GGML_MAX_OP_PARAMS / sizeof(int32_t)];
    int32_t flags;
    struct ggml_tensor *src[GGML_MAX_SRC];
    struct ggml_tensor *view_src;
    size_t view_offs;
    void *data;
    char name[GGML_MAX_NAME];
    void *extra;
    char padding[8];
};

/* What the hook calls in ggml, and the numbers of the operations it looks for. */
typedef struct {
    void *(*buffer_init)(void *type, const void *interface_by_value, void *context, size_t size);
    bool (*buffer_is_host)(struct ggml_backend_buffer *buffer);
    void (*tensor_get)(const struct ggml_tensor *tensor, void *data, size_t offset, size_t size);
    void (*tensor_set)(struct ggml_tensor *tensor, const void *data, size_t offset, size_t size);
    int32_t op_none, op_get_rows, op_mul_mat_id, op_add_id, op_repeat, op_mul_mat, op_add, op_soft_max, op_unary;
    int32_t op_reshape, op_view, op_permute, op_transpose, op_mul, op_flash_attn_ext;
} hypura_ggml;

static inline bool hypura_moves_no_bytes(const hypura_ggml *ggml, int32_t op) {
    return op == ggml->op_none || op == ggml->op_reshape || op == ggml->op_view || op == ggml->op_permute ||
           op == ggml->op_transpose;
}

#define HYPURA_TYPE_F32 0
#define HYPURA_TYPE_I32 26

/* Whether the bytes are in memory that can be looked at. */
static inline bool hypura_on_host(const hypura_ggml *ggml, const struct ggml_tensor *tensor) {
    const struct ggml_tensor *root = tensor->view_src ? tensor->view_src : tensor;
    return root->buffer != NULL && tensor->data != NULL && ggml->buffer_is_host(root->buffer);
}

/* ---- abi.c: tensors without bytes ---- */

typedef struct {
    struct ggml_tensor *tensor;
    char name[GGML_MAX_NAME]; /* as the loader named it; the tensor carries another until restored */
} hypura_arrival;

typedef struct hypura_arena hypura_arena;

/* ---- kv.c: memory of the KV cache ---- */

#define HYPURA_MAX_KV 1024

typedef struct {
    uint8_t *data;
    int64_t token_bytes;
    int64_t tokens;
} hypura_kv_tensor;

typedef struct {
    const hypura_ggml *ggml;
    int32_t count;
    int32_t reserved;
    hypura_kv_tensor tensors[HYPURA_MAX_KV];
} hypura_kv;

void hypura_kv_note(hypura_kv *kv, const struct ggml_tensor *node);

/* ---- experts.c, cache.c, routers.c: experts in slots ---- */

#define HYPURA_MAX_GUESSES 32
#define HYPURA_LOOKS 2 /* at a layer's choice before it is made: right before the layer, and a layer earlier */
#define HYPURA_MAX_WEIGHTS 4
#define HYPURA_MAX_PARTS 12
#define HYPURA_MAX_ROWS 64 /* experts per token whose products are computed one by one */
#define HYPURA_MAX_VIEWS (HYPURA_MAX_ROWS / 2 * HYPURA_MAX_WEIGHTS) /* every second row of each */

/* One tensor's share of the experts of a layer. Weights are read from a file; what is small
 * and in memory already (biases, scales) is copied from rows. */
typedef struct {
    struct ggml_tensor *tensor;
    uint8_t *pool;          /* the group's memory for this component */
    int64_t stride_bytes;   /* from slot to slot */
    int64_t shift_bytes;    /* from the start of a place to the slice */
    int64_t slice_bytes;
    int64_t offset_bytes;   /* of expert 0 in the file */
    int64_t step_bytes;     /* reads start and end at multiples of this in the file */
    const uint8_t *rows;    /* NULL for weights */
    int32_t fd;
    int32_t bounce;
} hypura_part;

typedef struct {
    int32_t layer;  /* -1: empty */
    int32_t expert;
    uint64_t used;  /* the visit that last used it */
    int32_t ahead;  /* read on a guess that nothing has confirmed yet */
    int32_t reading; /* some part may still be on its way */
    int32_t own;     /* bits: parts whose read was begun for the visit that last used it; only of these an error counts */
    int32_t reserved;
    hypura_batch parts[HYPURA_MAX_WEIGHTS];
} hypura_slot;

/* Layers that share slots. Expert e may be in slot s when e and s are equal modulo classes:
 * slot addresses then have the remainder that direct reads of the expert's slices need. */
typedef struct {
    int32_t slots;
    int32_t usable;
    int32_t classes;
    int32_t reserved;
    hypura_slot *slot;
} hypura_group;

typedef enum { HYPURA_NO_GATING, HYPURA_SOFTMAX, HYPURA_SIGMOID } hypura_gating;

/* A layer's router, learned from the graph when the layer is first computed. Its weights are kept in 8 bits
 * for guessing: a quarter of the memory traffic, and the ranks stay the same but for near ties. */
typedef struct {
    const float *weights;      /* the original's [experts][width]; NULL: not known */
    int8_t *rows;              /* [experts][width]; NULL: no memory for it */
    float *scales;             /* [experts] of the rows */
    const float *logit_bias;   /* [experts] or NULL; added before the gating function */
    const float *choice_bias;  /* [experts] or NULL; added after it, for the choice alone */
    const float *norm;         /* [width] or NULL; what the normalized hidden state is multiplied with before it */
    int32_t width;
    int32_t gating;            /* a hypura_gating */
} hypura_router;

/* What a look at the hidden state showed of a layer's choice, for the token that comes to the layer next. */
typedef struct {
    float *logits;  /* [experts] its router's, for that state; NULL: the router is not known … */
    float *shift;   /* … and by how much it really found more lately */
    int32_t lessons; /* tokens that shift was learned from */
    int32_t fresh;  /* logits are of the token that comes next */
    int32_t reserved;
    int32_t guesses; /* experts that were not in memory … */
    int32_t guess[HYPURA_MAX_GUESSES];
    float evidence[HYPURA_MAX_GUESSES][HYPURA_EVIDENCE]; /* … and why they may be chosen */
    hypura_certainty certainty;
} hypura_foresight;

typedef struct {
    int32_t experts; /* 0: this layer is not streamed */
    int32_t turn;    /* its place among the streamed layers */
    int32_t next;    /* the streamed layer after this one; -1: none */
    int32_t guessed; /* some slot may hold a guess for this layer */
    int32_t *slot_of; /* by expert; -1: not in memory */
    hypura_group *group;
    int64_t expert_bytes; /* what reading an expert takes */
    int32_t weight_count, part_count; /* weights come first */
    hypura_part parts[HYPURA_MAX_PARTS];
    int32_t order[HYPURA_MAX_WEIGHTS]; /* of its weights, as the graph uses them */
    int32_t asked;   /* how many of them were asked about in this visit */
    int32_t quiet;   /* single tokens since one chose what was not in memory */
    hypura_router router;
    hypura_foresight foresight[HYPURA_LOOKS];
} hypura_layer;

/* What the engine asks for; all since the load. */
typedef struct {
    uint64_t hits;   /* distinct experts per visit that were in memory or on their way */
    uint64_t misses;
    uint64_t ahead_bytes;        /* read on a guess */
    uint64_t ahead_used_bytes;   /* of these, used */
    uint64_t hook_ns;            /* in the hook, waiting for reads not counted */
    uint64_t rows_apart;         /* of products, computed apart from the rest while experts were still being read */
    int32_t failed;              /* 0, or a hypura_failure */
    int32_t failed_layer, failed_expert, error;
    char guard[2 * GGML_MAX_NAME + 8]; /* the node that broke the guard */
} hypura_experts_figures;

/* A graph of our own, and what computes it: as many threads as llama.cpp uses for single tokens. */
typedef struct {
    void *backend, *graph;
    void (*clear)(void *graph);
    void (*add_node)(void *graph, struct ggml_tensor *node);
    int32_t (*compute)(void *backend, void *graph);
} hypura_graph_calls;

/* products.c's state: nodes that llama.cpp skipped, and which of their rows (bits) are not computed yet. */
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

typedef enum { HYPURA_READ_FAILED = 1, HYPURA_GUARD, HYPURA_NO_SLOTS, HYPURA_NO_EXPERT, HYPURA_NO_MEMORY, HYPURA_MISREAD, HYPURA_NOT_COMPUTED } hypura_failure;

typedef struct {
    const hypura_ggml *ggml;
    hypura_arena *arena;
    hypura_reader *reader;
    hypura_layer *layers;
    int32_t layer_count;
    int32_t streamed_count;  /* of them */
    int32_t per_token;
    int32_t between;         /* what leaves a layer is known in the graph */
    hypura_likelihood *likelihood;
    hypura_coactivation *coactivation;
    hypura_products *products; /* NULL: nodes are computed whole */
    hypura_experts_figures figures;
    uint64_t clock;          /* visits of layers so far */
    int32_t current;         /* the layer being computed; -1 */
    int32_t visit_tokens;
    hypura_kv *learning;     /* not NULL: this pass only shows the graph, nothing is read, its results are thrown away */
    int32_t warming;         /* some slot may still wait for a read that was asked for between passes */
    int32_t unused;
    struct ggml_tensor *rewritten; /* the ids of this layer that are slots by now */
    int32_t *ids;            /* scratch: ids of the visit */
    int64_t ids_capacity;
    int32_t *chosen;         /* [experts] the distinct experts of the visit */
    int32_t chosen_count;
    int32_t reserved;
    float *probabilities;    /* scratch of the routers, for probabilities_capacity of them */
    int64_t probabilities_capacity;
    float *scores;           /* [experts] scratch of the routers … */
    float *lift;             /* … and of what they ask coactivation */
    float *state;            /* [state_capacity] scratch of the routers: a gate input … */
    int16_t *input;          /* … and the same scaled */
    int64_t state_capacity;
    int32_t *votes;          /* [experts] scratch of the routers */
    int32_t *list;           /* [experts] scratch: what to read */
    void *candidates;        /* [experts] scratch of the cache */
    uint8_t *wanted;         /* [experts] chosen in this visit */
    float ahead_least;       /* least certainty of a guess, to read for it; above 1: never */
    float busy;              /* share of the last tokens' time that the drive was reading */
    uint64_t paced_at_ns;    /* when that was last looked at … */
    uint64_t paced_busy_ns;  /* … and the reader's busy time then */
    int32_t voted;           /* the layer that votes are of; -1 */
    float unvoted_seen;      /* experts that no sampled token of a prompt foresaw … */
    float unvoted_true;      /* … and how many of them were chosen all the same */
} hypura_experts;

/* cache.c. All of them on the engine's thread. */
void hypura_cache_drop(hypura_experts *experts, hypura_group *group, int32_t slot);
/* The slot of an expert whose bytes are there or on their way; -1 if there is none. */
int32_t hypura_cache_find(hypura_experts *experts, int32_t layer, int32_t expert);
/* Brings these experts of the layer into slots, where something worth less than limit gives way: true if there
 * was room for all. */
bool hypura_cache_read(hypura_experts *experts, int32_t layer, const int32_t *missing, int32_t count,
                       hypura_urgency urgency, float limit);
/* Between passes: reads an expert into an empty slot while nobody asks for anything; false if none is empty. */
bool hypura_cache_warm(hypura_experts *experts, int32_t layer, int32_t expert);
void hypura_cache_stop_warming(hypura_experts *experts);
/* Empties the group's slots from this one on, when nothing is read into them any more. */
void hypura_cache_empty(hypura_experts *experts, hypura_group *group, int32_t from);
/* Makes what was guessed for this layer certain, or takes it back; true if some of it was right. */
bool hypura_cache_settle_guesses(hypura_experts *experts, int32_t layer);
/* Takes a guess for this layer back, as far as it is still queued. */
void hypura_cache_take_back(hypura_experts *experts, int32_t layer, int32_t expert);
/* Whether this part of the slot, which the visit under way uses, is still being read. One that was read before the
 * visit, and could not be, is read again: that error was of another moment. */
bool hypura_cache_awaits(hypura_experts *experts, int32_t layer, int32_t slot, int32_t part);
/* Waits for one part of every chosen expert; false, and the figures say why, if one failed. */
bool hypura_cache_wait(hypura_experts *experts, int32_t layer, int32_t part);
/* Whether a part of a chosen expert is still being read. */
bool hypura_cache_waits(hypura_experts *experts, int32_t layer);
/* Whether this part is still being read of a chosen expert. */
bool hypura_cache_waits_for(hypura_experts *experts, int32_t layer, int32_t part);
/* False, and the figures say why, if this part of a chosen expert could not be read. */
bool hypura_cache_sound(hypura_experts *experts, int32_t layer, int32_t part);

/* products.c. Before a node that multiplies with a part that is still being read: llama.cpp is to compute what is
 * before the node, skip it, and call back; false where it cannot be done by rows. */
bool hypura_products_skip(hypura_experts *experts, struct ggml_tensor *node, int32_t part);
/* The node was skipped: computes the rows whose experts are there. */
void hypura_products_resume(hypura_experts *experts, struct ggml_tensor *node);
/* Whether the node may be computed while rows of others are left: it reads the same memory as they. */
bool hypura_products_joins(const hypura_experts *experts, const struct ggml_tensor *node);
/* Computes all rows that are left, as their experts arrive. */
void hypura_products_finish(hypura_experts *experts);

/* routers.c. node: the layer's weights node, just computed. */
/* The gate input of the layer, where it is known; learns the layer's router on the way. */
const struct ggml_tensor *hypura_routers_input(hypura_experts *experts, int32_t layer, const struct ggml_tensor *node);
/* [tokens][experts] of this layer's router, or NULL. */
const float *hypura_routers_probabilities(hypura_experts *experts, int32_t layer, const struct ggml_tensor *node);
/* experts->scores, for another layer's gate input, in the order in which this layer's router would choose; false where
 * the router is not known, or of another width. */
bool hypura_routers_score(hypura_experts *experts, int32_t layer, const float *gate_input, int64_t width);
/* The same of the single token that comes to this layer next. state: another layer's gate input, or, where hidden, what
 * comes from the layers before. */
bool hypura_routers_foresee(hypura_experts *experts, int32_t layer, hypura_foresight *foresight, const float *state,
                            int64_t width, bool hidden);
/* Learns from what a layer's router found for that token. */
void hypura_routers_learn(hypura_experts *experts, int32_t layer, const float *probabilities);
void hypura_routers_free(hypura_layer *layer);

/* guesses.c */
/* Foresees what the layer after this one will choose, and reads the likeliest of it that is missing; input: this
 * layer's gate input, or NULL. */
void hypura_guesses_read(hypura_experts *experts, int32_t layer, const struct ggml_tensor *input);
/* The same of the next layers, from the hidden state with which a single token comes to this one. */
void hypura_guesses_read_between(hypura_experts *experts, int32_t layer, const struct ggml_tensor *hidden);
/* Whether nothing is to be read for this layer's next choice in all likelihood. */
bool hypura_guesses_pause(const hypura_experts *experts, int32_t layer);
/* Learns from which guesses for this layer came true. */
void hypura_guesses_judge(hypura_experts *experts, int32_t layer);
/* After each token: how sure a guess must be from now on. */
void hypura_guesses_pace(hypura_experts *experts);

/* ---- dense.c ---- */

/* Called before a node that needs units (streamed tensors). Afterwards exactly these are held.
 * Returns 0, or anything else to fail the decode. */
typedef int32_t (*hypura_acquire_fn)(const int32_t *units, int32_t count);
/* Called when the node is computed: nothing is held any more. Returns as above. */
typedef int32_t (*hypura_release_fn)(void);

typedef struct {
    struct ggml_tensor *tensor;
    int32_t unit;
    int32_t reserved;
} hypura_dense_tensor;

#define HYPURA_DENSE_MISREAD 2

typedef struct {
    const hypura_ggml *ggml;
    hypura_arena *arena;
    hypura_dense_tensor *table; /* open addressing by tensor pointer; a power of two long */
    int32_t table_length;
    int32_t failed; /* HYPURA_DENSE_MISREAD where a node is not understood; 1 for all else */
    hypura_acquire_fn acquire;
    hypura_release_fn release;
    int32_t holding;
    int32_t reserved;
    hypura_kv *learning; /* not NULL: this pass only shows which units follow which; nothing else of it is kept */
} hypura_dense;

/* True if the tensor, or what it is a view of, lives in the arena. */
bool hypura_in_arena(const hypura_arena *arena, const struct ggml_tensor *tensor);
/* Whether the node uses a tensor of which only the rows of the pass's tokens are in memory, and not by gathering them. */
bool hypura_arena_misread(const hypura_arena *arena, const struct ggml_tensor *node);

#endif
