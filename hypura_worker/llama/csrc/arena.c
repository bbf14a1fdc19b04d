/* A buffer type whose tensors have addresses but no bytes.
 *
 * llama.cpp's loader gets this type for every streamed tensor. Allocating reserves address
 * space without access, so that a tensor that was never pointed at real memory faults
 * instead of reading zeros. init_tensor renames each tensor, so that the loader, which finds
 * a tensor's file position by its name, skips it.
 */
#define _GNU_SOURCE
#include "arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

#define ALIGNMENT 64
#define MAX_GATHERED 4

typedef struct {
    const char *(*get_name)(void *type);
    void *(*alloc_buffer)(void *type, size_t size);
    size_t (*get_alignment)(void *type);
    size_t (*get_max_size)(void *type);
    size_t (*get_alloc_size)(void *type, const struct ggml_tensor *tensor);
    bool (*is_host)(void *type);
} buffer_type_interface;

typedef struct {
    buffer_type_interface iface;
    void *device;
    void *context;
} buffer_type;

typedef struct {
    void (*free_buffer)(struct ggml_backend_buffer *buffer);
    void *(*get_base)(struct ggml_backend_buffer *buffer);
    int32_t (*init_tensor)(struct ggml_backend_buffer *buffer, struct ggml_tensor *tensor);
    void (*memset_tensor)(struct ggml_backend_buffer *, struct ggml_tensor *, uint8_t, size_t, size_t);
    void (*set_tensor)(struct ggml_backend_buffer *, struct ggml_tensor *, const void *, size_t, size_t);
    void (*get_tensor)(struct ggml_backend_buffer *, const struct ggml_tensor *, void *, size_t, size_t);
    void *set_tensor_2d;
    void *get_tensor_2d;
    void *cpy_tensor;
    void (*clear)(struct ggml_backend_buffer *, uint8_t);
    void *reset;
} buffer_interface;

struct ggml_backend_buffer {
    buffer_interface iface;
    buffer_type *type;
    void *context;
    size_t size;
    int32_t usage;
};

/* ggml_backend_buffer_init takes its interface by value. */
typedef struct ggml_backend_buffer *(*buffer_init_fn)(buffer_type *, buffer_interface, void *, size_t);

struct hypura_arena {
    buffer_type type;
    const struct ggml_tensor *gathered[MAX_GATHERED];
    int32_t gathered_count;
    const int32_t *tokens; /* of the current pass, in rising order */
    int32_t token_count;
    const hypura_ggml *ggml;
    hypura_arrival *arrivals;
    int32_t count;
    int32_t capacity;
    int32_t misuse; /* the loader wrote to, or read from, a tensor without bytes */
};

static const char *type_name(void *type) {
    (void)type;
    return "hypura";
}

static size_t type_alignment(void *type) {
    (void)type;
    return ALIGNMENT;
}

static size_t type_max_size(void *type) {
    (void)type;
    return SIZE_MAX;
}

static bool type_is_host(void *type) {
    (void)type;
    return true;
}

static void buffer_free(struct ggml_backend_buffer *buffer) {
    munmap(buffer->context, buffer->size);
}

static void *buffer_base(struct ggml_backend_buffer *buffer) {
    return buffer->context;
}

static int32_t buffer_init_tensor(struct ggml_backend_buffer *buffer, struct ggml_tensor *tensor) {
    hypura_arena *arena = buffer->type->context;
    if (tensor->view_src != NULL) {
        return 0;
    }
    if (arena->count == arena->capacity) {
        int32_t capacity = arena->capacity ? 2 * arena->capacity : 256;
        hypura_arrival *grown = realloc(arena->arrivals, (size_t)capacity * sizeof(*grown));
        if (grown == NULL) {
            return -1;
        }
        arena->arrivals = grown;
        arena->capacity = capacity;
    }
    hypura_arrival *arrival = &arena->arrivals[arena->count];
    arrival->tensor = tensor;
    memcpy(arrival->name, tensor->name, GGML_MAX_NAME);
    snprintf(tensor->name, GGML_MAX_NAME, "hypura streams %d", arena->count);
    arena->count++;
    return 0;
}

static void misused(struct ggml_backend_buffer *buffer) {
    ((hypura_arena *)buffer->type->context)->misuse = 1;
}

static void buffer_memset(struct ggml_backend_buffer *b, struct ggml_tensor *t, uint8_t v, size_t o, size_t n) {
    (void)t, (void)v, (void)o, (void)n;
    misused(b);
}

static void buffer_set(struct ggml_backend_buffer *b, struct ggml_tensor *t, const void *d, size_t o, size_t n) {
    (void)t, (void)d, (void)o, (void)n;
    misused(b);
}

static void buffer_get(struct ggml_backend_buffer *b, const struct ggml_tensor *t, void *d, size_t o, size_t n) {
    (void)t, (void)o;
    memset(d, 0, n);
    misused(b);
}

/* The loader clears what it allocates; there is nothing to clear. */
static void buffer_clear(struct ggml_backend_buffer *buffer, uint8_t value) {
    (void)buffer, (void)value;
}

static void *type_alloc(void *type, size_t size) {
    hypura_arena *arena = ((buffer_type *)type)->context;
    size_t reserved = size ? size : ALIGNMENT;
    void *base = mmap(NULL, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        return NULL;
    }
    buffer_interface iface = {
        .free_buffer = buffer_free,
        .get_base = buffer_base,
        .init_tensor = buffer_init_tensor,
        .memset_tensor = buffer_memset,
        .set_tensor = buffer_set,
        .get_tensor = buffer_get,
        .clear = buffer_clear,
    };
    return ((buffer_init_fn)(void *)arena->ggml->buffer_init)(type, iface, base, reserved);
}

HYPURA_API hypura_arena *hypura_arena_new(const hypura_ggml *ggml, void *device) {
    hypura_arena *arena = calloc(1, sizeof(*arena));
    if (arena == NULL) {
        return NULL;
    }
    arena->ggml = ggml;
    arena->type.iface = (buffer_type_interface){
        .get_name = type_name,
        .alloc_buffer = type_alloc,
        .get_alignment = type_alignment,
        .get_max_size = type_max_size,
        .is_host = type_is_host,
    };
    arena->type.device = device;
    arena->type.context = arena;
    return arena;
}

/* The ggml_backend_buffer_type_t to hand to the loader. */
HYPURA_API void *hypura_arena_type(hypura_arena *arena) {
    return &arena->type;
}

HYPURA_API int32_t hypura_arena_count(const hypura_arena *arena) {
    return arena->count;
}

HYPURA_API const hypura_arrival *hypura_arena_arrivals(const hypura_arena *arena) {
    return arena->arrivals;
}

HYPURA_API int32_t hypura_arena_misuse(const hypura_arena *arena) {
    return arena->misuse;
}

HYPURA_API void hypura_arena_restore_names(hypura_arena *arena) {
    for (int32_t i = 0; i < arena->count; i++) {
        memcpy(arena->arrivals[i].tensor->name, arena->arrivals[i].name, GGML_MAX_NAME);
    }
}

/* After the model, and so its buffers, are freed. */
HYPURA_API void hypura_arena_free(hypura_arena *arena) {
    free(arena->arrivals);
    free(arena);
}

bool hypura_in_arena(const hypura_arena *arena, const struct ggml_tensor *tensor) {
    const struct ggml_tensor *root = hypura_root_of(tensor);
    return root->buffer != NULL && root->buffer->type == &arena->type;
}

/* From now on, rows of this tensor are in memory only for the tokens of the current pass. False: too many tensors. */
HYPURA_API bool hypura_arena_gather(hypura_arena *arena, const struct ggml_tensor *tensor) {
    if (arena->gathered_count == MAX_GATHERED) {
        return false;
    }
    arena->gathered[arena->gathered_count++] = tensor;
    return true;
}

/* The distinct tokens of the next pass, in rising order; kept until the next call. */
HYPURA_API void hypura_arena_expect(hypura_arena *arena, const int32_t *tokens, int32_t count) {
    arena->tokens = tokens;
    arena->token_count = count;
}

static bool is_expected(const hypura_arena *arena, int32_t token) {
    int32_t low = 0, high = arena->token_count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (arena->tokens[middle] < token) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < arena->token_count && arena->tokens[low] == token;
}

/* Some architectures have unnamed inputs with the pass's tokens: these are recognised by their values. */
static bool holds_tokens(const hypura_arena *arena, const struct ggml_tensor *ids) {
    if (strstr(ids->name, "inp_tokens") != NULL) {
        return true; /* a copy is named after the original */
    }
    if (ids->op != arena->ggml->op_none || ids->type != HYPURA_TYPE_I32 || !hypura_on_host(arena->ggml, ids)) {
        return false;
    }
    const int32_t *values = ids->data;
    for (int64_t i = 0; i < ids->ne[0] * ids->ne[1] * ids->ne[2] * ids->ne[3]; i++) {
        if (!is_expected(arena, values[i])) {
            return false;
        }
    }
    return true;
}

bool hypura_arena_misread(const hypura_arena *arena, const struct ggml_tensor *node) {
    if (arena->gathered_count == 0 || hypura_moves_no_bytes(arena->ggml, node->op)) {
        return false;
    }
    for (int i = 0; i < GGML_MAX_SRC; i++) { /* ggml allows holes: a source that is optional may be missing */
        if (node->src[i] == NULL) {
            continue;
        }
        const struct ggml_tensor *root = hypura_root_of(node->src[i]);
        for (int32_t g = 0; g < arena->gathered_count; g++) {
            bool by_row = node->op == arena->ggml->op_get_rows && i == 0 && node->src[0] == root;
            if (root == arena->gathered[g] && !(by_row && holds_tokens(arena, node->src[1]))) {
                return true;
            }
        }
    }
    return false;
}

/* Point a tensor at the hook's memory. */
HYPURA_API void hypura_tensor_place(struct ggml_tensor *tensor, void *data) {
    tensor->data = data;
}

/* Give a tensor of experts as many places as there are slots. */
HYPURA_API void hypura_tensor_slots(struct ggml_tensor *tensor, int32_t dimension, int64_t slots, size_t stride) {
    tensor->ne[dimension] = slots;
    tensor->nb[dimension] = stride;
    for (int i = dimension + 1; i < GGML_MAX_DIMS; i++) {
        tensor->nb[i] = tensor->nb[i - 1] * (size_t)tensor->ne[i - 1];
    }
}
