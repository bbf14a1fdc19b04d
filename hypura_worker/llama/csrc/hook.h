/* The part of the worker that llama.cpp calls: see docs/llama-seam.md.
 *
 *   abi.c      a buffer type whose tensors have addresses but no bytes
 *   reader.c   threads that read extents of files
 *   experts.c  per-node callback for streamed experts: rewrites expert ids to slots
 *   dense.c    per-node callback for streamed layers: waits for a layer's weights
 *
 * Python decides (which slot, which read, when); C answers what is asked thousands
 * of times per token. Layouts mirror ggml.h and ggml-backend-impl.h of ggml 0.25;
 * Python checks them against the loaded library before anything else is called.
 */
#ifndef HYPURA_HOOK_H
#define HYPURA_HOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HYPURA_API __attribute__((visibility("default")))

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
    int32_t op_none, op_get_rows, op_mul_mat_id, op_add_id, op_repeat;
    int32_t op_reshape, op_view, op_permute, op_transpose;
} hypura_ggml;

/* ---- abi.c: tensors without bytes ---- */

typedef struct {
    struct ggml_tensor *tensor;
    char name[GGML_MAX_NAME]; /* as the loader named it; the tensor carries another until restored */
} hypura_arrival;

typedef struct hypura_arena hypura_arena;

/* ---- reader.c: reads ---- */

/* One extent. It lands at dest, or, when copy_dest is set, passes through a bounce
 * buffer of the reading thread, and bytes [skip, skip + copy_bytes) of it land there. */
typedef struct {
    int32_t fd;
    int32_t tag;            /* the caller's; reported when the read fails */
    int64_t offset;         /* in the file */
    int64_t length_bytes;   /* asked for; may pass the end of the file */
    int64_t required_bytes; /* fewer is a failure */
    uint8_t *dest;
    uint8_t *copy_dest;
    int64_t skip_bytes;
    int64_t copy_bytes;
} hypura_read;

/* Reads that are waited for together. Zeroed by the caller; must outlive them. */
typedef struct {
    int32_t pending;
    int32_t error; /* errno of the first failure; -1: the file ended early; 0: none */
    int32_t failed_tag;
    int32_t reserved;
} hypura_batch;

typedef struct hypura_reader hypura_reader;

/* ---- experts.c ---- */

/* Called when chosen experts are not in memory. ids: every chosen expert, token by
 * token. Returns 0 when all are; anything else fails the decode. */
typedef int32_t (*hypura_miss_fn)(int32_t layer, const int32_t *ids, int32_t per_token, int32_t tokens);

typedef struct {
    int32_t experts;      /* 0: this layer is not streamed */
    int32_t *slot_of;     /* by expert; -1: not in memory */
    uint64_t *last_used;  /* by expert; the clock at its last use */
    uint64_t *uses;       /* by expert; in how many visits it was chosen */
} hypura_expert_layer;

typedef struct {
    const hypura_ggml *ggml;
    hypura_arena *arena;
    hypura_expert_layer *layers;
    int32_t layer_count;
    int32_t failed;          /* 1: a miss could not be served; 2: the guard */
    hypura_miss_fn miss;
    uint64_t clock;          /* visits of layers so far */
    uint64_t hits;           /* distinct experts per visit, found in memory */
    uint64_t misses;
    struct ggml_tensor *rewritten; /* the ids of this layer that are slots by now */
    int32_t *ids;            /* scratch */
    int64_t ids_capacity;
    char guard[2 * GGML_MAX_NAME + 8]; /* the node that broke the guard */
} hypura_experts;

/* ---- dense.c ---- */

/* Called when a node needs units (layers' streamed tensors) that are not held.
 * Afterwards exactly these are held. Returns 0, or anything else to fail the decode. */
typedef int32_t (*hypura_acquire_fn)(const int32_t *units, int32_t count);

typedef struct {
    struct ggml_tensor *tensor;
    int32_t unit;
    int32_t reserved;
} hypura_dense_tensor;

typedef struct {
    const hypura_ggml *ggml;
    hypura_arena *arena;
    hypura_dense_tensor *table; /* open addressing by tensor pointer; a power of two long */
    int32_t table_length;
    int32_t failed;
    hypura_acquire_fn acquire;
    int32_t held[GGML_MAX_SRC];
    int32_t held_count;
    int32_t reserved;
} hypura_dense;

/* True if the tensor, or what it is a view of, lives in the arena. */
bool hypura_in_arena(const hypura_arena *arena, const struct ggml_tensor *tensor);

#endif
