/* Streamed experts: the layers, and the state of their per-node callback. See experts.c. */
#ifndef HYPURA_EXPERTS_H
#define HYPURA_EXPERTS_H

#include "arena.h"
#include "kv.h"
#include "prediction.h"
#include "products.h"
#include "reader.h"
#include "routers.h"
#include "slots.h"

struct hypura_layer {
    int32_t experts;             /* 0: this layer is not streamed */
    int32_t streamed_index;      /* its place among the streamed layers */
    int32_t next_streamed;       /* the streamed layer after this one; -1: none */
    int32_t may_hold_prefetches; /* some slot may hold a prefetched expert of this layer */
    int32_t *slot_of;            /* by expert; -1: not in memory */
    hypura_group *group;
    int64_t expert_bytes; /* read per expert */
    int32_t weight_count, part_count; /* weights come first */
    hypura_part parts[HYPURA_MAX_PARTS];
    int32_t read_order[HYPURA_MAX_WEIGHTS]; /* of its weights: the order in which the graph uses them */
    int32_t ordered_count;                  /* how many of them this visit has used */
    int32_t tokens_since_miss;              /* single tokens since one chose an expert that was not in memory */
    hypura_router router;
    hypura_lookahead lookahead[HYPURA_LOOKAHEADS];
};

/* What the engine reports; all since the load. */
typedef struct {
    uint64_t hits; /* distinct experts per visit that were in memory or being read */
    uint64_t misses;
    uint64_t prefetched_bytes;      /* read before the router chose */
    uint64_t prefetched_used_bytes; /* of these, chosen by the router */
    uint64_t hook_ns;               /* processor time in the hook, waiting for reads not counted */
    uint64_t rows_apart;            /* of products, computed apart while other experts were still being read */
    int32_t failed;                 /* 0, or a hypura_failure */
    int32_t failed_layer, failed_expert, error;
    char guard[2 * GGML_MAX_NAME + 8]; /* the node that broke the guard */
} hypura_experts_figures;

typedef enum {
    HYPURA_READ_FAILED = 1,
    HYPURA_GUARD,
    HYPURA_NO_SLOTS,
    HYPURA_NO_EXPERT,
    HYPURA_NO_MEMORY,
    HYPURA_MISREAD,
    HYPURA_NOT_COMPUTED
} hypura_failure;

struct hypura_experts {
    const hypura_ggml *ggml;
    hypura_arena *arena;
    hypura_reader *reader;
    hypura_layer *layers;
    int32_t layer_count;
    int32_t streamed_count; /* of them */
    int32_t per_token;
    int32_t layer_outputs_known; /* the graph has nodes that show what leaves a layer */
    hypura_likelihood *likelihood;
    hypura_coactivation *coactivation;
    hypura_products *products; /* NULL: nodes are computed whole */
    hypura_experts_figures figures;
    uint64_t clock;  /* visits of layers so far */
    int32_t current; /* the layer being computed; -1 */
    int32_t visit_tokens;
    hypura_kv *learning; /* not NULL: this pass only shows the graph: nothing is read, its results are discarded */
    int32_t warming;     /* some slot may still wait for a read that was queued between passes */
    int32_t unused;
    struct ggml_tensor *rewritten; /* the ids of this layer that are slot numbers by now */
    int32_t *ids;                  /* scratch: ids of the visit */
    int64_t ids_capacity;
    int32_t *chosen; /* [experts] the distinct experts of the visit */
    int32_t chosen_count;
    int32_t reserved;
    float *probabilities; /* scratch of the routers, for probabilities_capacity of them */
    int64_t probabilities_capacity;
    float *scores;  /* [experts] scratch of the routers … */
    float *lift;    /* … and of the lift by co-activation */
    float *state;   /* [state_capacity] scratch of the routers: a gate input … */
    int16_t *input; /* … and the same scaled */
    int64_t state_capacity;
    int32_t *votes;         /* [experts] scratch: how many sampled tokens of a prompt each is predicted for */
    int32_t *to_read;       /* [experts] scratch: experts to read */
    void *candidates;       /* [experts] scratch of the slots */
    uint8_t *is_chosen;     /* [experts] in this visit */
    float least_confidence; /* of a prediction, to read for it; above 1: never */
    float drive_busy;       /* share of the last tokens' time that the drive was reading */
    uint64_t paced_at_ns;   /* when that was last measured … */
    uint64_t paced_busy_ns; /* … and the reader's busy time then */
    int32_t voted_layer;    /* the layer that votes are of; -1 */
    float unvoted_count;    /* experts that were predicted for no sampled token of a prompt … */
    float unvoted_chosen;   /* … and how many of them were chosen all the same */
};

#endif
