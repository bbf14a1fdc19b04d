/* The parts of ggml that the hook touches: the layout of a tensor, and the functions and operation numbers it needs.
 *
 * Layouts mirror ggml.h and ggml-backend-impl.h of ggml 0.25; Python compares them with the loaded library before
 * anything else is called.
 */
#ifndef HYPURA_GGML_MIRROR_H
#define HYPURA_GGML_MIRROR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GGML_MAX_DIMS 4
#define GGML_MAX_SRC 10
#define GGML_MAX_NAME 64
#define GGML_MAX_OP_PARAMS 64

#define HYPURA_TYPE_F32 0
#define HYPURA_TYPE_I32 26

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

/* The tensor that this one is a view of, or itself. */
static inline const struct ggml_tensor *hypura_root_of(const struct ggml_tensor *tensor) {
    return tensor->view_src ? tensor->view_src : tensor;
}

static inline bool hypura_moves_no_bytes(const hypura_ggml *ggml, int32_t op) {
    return op == ggml->op_none || op == ggml->op_reshape || op == ggml->op_view || op == ggml->op_permute ||
           op == ggml->op_transpose;
}

/* Whether the tensor's bytes are in memory that this process may read. */
static inline bool hypura_on_host(const hypura_ggml *ggml, const struct ggml_tensor *tensor) {
    const struct ggml_tensor *root = hypura_root_of(tensor);
    return root->buffer != NULL && tensor->data != NULL && ggml->buffer_is_host(root->buffer);
}

#endif
