/* The parts of ggml that the hook uses, without ggml: operation numbers, tensors, and buffers of the arena.
 *
 * Included once per test program, before anything of the hook but gated_drive.h; it includes arena.c, whose structs of
 * ggml it needs.
 */
#ifndef FAKE_GGML_H
#define FAKE_GGML_H

#include "../../../../hypura_worker/llama/csrc/arena.c"

#include "check.h"

#undef ALIGNMENT

enum { NONE, GET_ROWS, MUL_MAT_ID, ADD_ID, REPEAT, MUL_MAT, ADD, SOFT_MAX, UNARY, RESHAPE, VIEW, PERMUTE, TRANSPOSE, MUL,
       FLASH_ATTN_EXT, OTHER };

static struct ggml_backend_buffer fake_host; /* where tensors of ordinary memory live */

static bool fake_is_host(struct ggml_backend_buffer *buffer) {
    (void)buffer;
    return true;
}

static struct ggml_backend_buffer *fake_buffer_init(buffer_type *type, buffer_interface iface, void *context,
                                                    size_t size) {
    struct ggml_backend_buffer *buffer = calloc(1, sizeof(*buffer));
    *buffer = (struct ggml_backend_buffer){.iface = iface, .type = type, .context = context, .size = size};
    return buffer;
}

static const hypura_ggml fake_ggml = {
    .buffer_init = (void *(*)(void *, const void *, void *, size_t))(void *)fake_buffer_init,
    .buffer_is_host = fake_is_host,
    .op_none = NONE, .op_get_rows = GET_ROWS, .op_mul_mat_id = MUL_MAT_ID, .op_add_id = ADD_ID, .op_repeat = REPEAT,
    .op_mul_mat = MUL_MAT, .op_add = ADD, .op_soft_max = SOFT_MAX, .op_unary = UNARY, .op_reshape = RESHAPE,
    .op_view = VIEW, .op_permute = PERMUTE, .op_transpose = TRANSPOSE, .op_mul = MUL, .op_flash_attn_ext = FLASH_ATTN_EXT};

/* A tensor of ordinary memory: two dimensions, each row behind the other. */
static struct ggml_tensor make_tensor(int32_t op, void *data, int64_t ne0, int64_t ne1, size_t element_bytes) {
    struct ggml_tensor tensor = {.type = HYPURA_TYPE_F32, .op = op, .data = data, .buffer = &fake_host};
    tensor.ne[0] = ne0;
    tensor.ne[1] = ne1;
    tensor.ne[2] = tensor.ne[3] = 1;
    tensor.nb[0] = element_bytes;
    tensor.nb[1] = element_bytes * (size_t)ne0;
    tensor.nb[2] = tensor.nb[3] = tensor.nb[1] * (size_t)ne1;
    return tensor;
}

/* An arena, and the buffer in which llama.cpp's loader would put streamed tensors. */
static hypura_arena *make_arena(size_t bytes, struct ggml_backend_buffer **buffer) {
    hypura_arena *arena = hypura_arena_new(&fake_ggml, NULL);
    CHECK(arena != NULL);
    buffer_type *type = hypura_arena_type(arena);
    *buffer = type->iface.alloc_buffer(type, bytes);
    CHECK(*buffer != NULL);
    return arena;
}

static void free_arena(hypura_arena *arena, struct ggml_backend_buffer *buffer) {
    CHECK_EQUAL(hypura_arena_misuse(arena), 0);
    buffer->iface.free_buffer(buffer);
    free(buffer);
    hypura_arena_free(arena);
}

/* A tensor without bytes, as the loader puts it into the arena's buffer; its name is the loader's until
 * hypura_arena_restore_names. */
static struct ggml_tensor make_streamed(struct ggml_backend_buffer *buffer, const char *name, int number) {
    struct ggml_tensor tensor = make_tensor(NONE, buffer->iface.get_base(buffer), 1, 1, 1);
    tensor.buffer = buffer;
    snprintf(tensor.name, sizeof(tensor.name), "blk.%d.%s", number, name);
    return tensor;
}

#endif
