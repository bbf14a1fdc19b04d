/* Where the fields of structs lie, for the checks in llama/library.py: of ggml's tensor, whose layout is upstream's,
 * and of the hook's own structs, which Python lays out too.
 *
 * tests/worker/llama/test_library.py reads the headers and finds a field that is missing here or in a mirror.
 */
#include "hook.h"

/* A tensor as ggml_mirror.h lays it out, for the comparison with a real one. */
HYPURA_API void hypura_describe(const struct ggml_tensor *tensor, int64_t *ne, uint64_t *nb, int32_t *type_op,
                                const void **pointers, const char **name) {
    for (int i = 0; i < GGML_MAX_DIMS; i++) {
        ne[i] = tensor->ne[i];
        nb[i] = tensor->nb[i];
    }
    type_op[0] = tensor->type;
    type_op[1] = tensor->op;
    pointers[0] = tensor->src[0];
    pointers[1] = tensor->src[1];
    pointers[2] = tensor->view_src;
    pointers[3] = tensor->data;
    pointers[4] = tensor->buffer;
    *name = tensor->name;
}

HYPURA_API size_t hypura_tensor_size(void) {
    return sizeof(struct ggml_tensor);
}

typedef struct {
    const char *structure, *field; /* field: NULL for the structure itself */
    uint64_t offset, size;
} layout;

#define STRUCT(type) {#type, NULL, 0, sizeof(type)}
#define FIELD(type, name) {#type, #name, offsetof(type, name), sizeof(((type *)0)->name)}

static const layout LAYOUTS[] = {
    STRUCT(hypura_likelihood),
    FIELD(hypura_likelihood, layers), FIELD(hypura_likelihood, experts), FIELD(hypura_likelihood, per_token),
    FIELD(hypura_likelihood, averages), FIELD(hypura_likelihood, likelihood), FIELD(hypura_likelihood, visited),
    FIELD(hypura_likelihood, scratch), FIELD(hypura_likelihood, weights), FIELD(hypura_likelihood, prior),
    FIELD(hypura_likelihood, seen), FIELD(hypura_likelihood, answers),
    STRUCT(hypura_coactivation),
    FIELD(hypura_coactivation, experts), FIELD(hypura_coactivation, last), FIELD(hypura_coactivation, last_tokens),
    FIELD(hypura_coactivation, last_per_token), FIELD(hypura_coactivation, pairs), FIELD(hypura_coactivation, leads),
    FIELD(hypura_coactivation, follows), FIELD(hypura_coactivation, tokens), FIELD(hypura_coactivation, ids),
    FIELD(hypura_coactivation, ids_capacity),
    STRUCT(hypura_confidence),
    FIELD(hypura_confidence, weights), FIELD(hypura_confidence, squares),
    STRUCT(hypura_read),
    FIELD(hypura_read, fd), FIELD(hypura_read, tag), FIELD(hypura_read, offset), FIELD(hypura_read, length_bytes),
    FIELD(hypura_read, required_bytes), FIELD(hypura_read, dest), FIELD(hypura_read, copy_dest),
    FIELD(hypura_read, skip_bytes), FIELD(hypura_read, copy_bytes),
    STRUCT(hypura_batch),
    FIELD(hypura_batch, pending), FIELD(hypura_batch, error), FIELD(hypura_batch, failed_tag),
    FIELD(hypura_batch, unwanted), FIELD(hypura_batch, dropped),
    STRUCT(hypura_reader_figures),
    FIELD(hypura_reader_figures, bytes), FIELD(hypura_reader_figures, wait_ns), FIELD(hypura_reader_figures, busy_ns),
    STRUCT(hypura_ggml),
    FIELD(hypura_ggml, buffer_init), FIELD(hypura_ggml, buffer_is_host), FIELD(hypura_ggml, tensor_get),
    FIELD(hypura_ggml, tensor_set), FIELD(hypura_ggml, op_none), FIELD(hypura_ggml, op_get_rows),
    FIELD(hypura_ggml, op_mul_mat_id), FIELD(hypura_ggml, op_add_id), FIELD(hypura_ggml, op_repeat),
    FIELD(hypura_ggml, op_mul_mat), FIELD(hypura_ggml, op_add), FIELD(hypura_ggml, op_soft_max),
    FIELD(hypura_ggml, op_unary), FIELD(hypura_ggml, op_reshape), FIELD(hypura_ggml, op_view),
    FIELD(hypura_ggml, op_permute), FIELD(hypura_ggml, op_transpose), FIELD(hypura_ggml, op_mul),
    FIELD(hypura_ggml, op_flash_attn_ext),
    STRUCT(hypura_arrival),
    FIELD(hypura_arrival, tensor), FIELD(hypura_arrival, name),
    STRUCT(hypura_kv_tensor),
    FIELD(hypura_kv_tensor, data), FIELD(hypura_kv_tensor, token_bytes), FIELD(hypura_kv_tensor, tokens),
    STRUCT(hypura_kv),
    FIELD(hypura_kv, ggml), FIELD(hypura_kv, count), FIELD(hypura_kv, reserved), FIELD(hypura_kv, tensors),
    STRUCT(hypura_part),
    FIELD(hypura_part, tensor), FIELD(hypura_part, pool), FIELD(hypura_part, stride_bytes),
    FIELD(hypura_part, shift_bytes), FIELD(hypura_part, slice_bytes), FIELD(hypura_part, offset_bytes),
    FIELD(hypura_part, step_bytes), FIELD(hypura_part, rows), FIELD(hypura_part, fd), FIELD(hypura_part, bounce),
    STRUCT(hypura_slot),
    FIELD(hypura_slot, layer), FIELD(hypura_slot, expert), FIELD(hypura_slot, last_used),
    FIELD(hypura_slot, prefetched), FIELD(hypura_slot, reading), FIELD(hypura_slot, demand_parts),
    FIELD(hypura_slot, reserved), FIELD(hypura_slot, parts),
    STRUCT(hypura_group),
    FIELD(hypura_group, slots), FIELD(hypura_group, usable), FIELD(hypura_group, classes),
    FIELD(hypura_group, reserved), FIELD(hypura_group, slot),
    STRUCT(hypura_router),
    FIELD(hypura_router, weights), FIELD(hypura_router, rows), FIELD(hypura_router, scales),
    FIELD(hypura_router, logit_bias), FIELD(hypura_router, choice_bias), FIELD(hypura_router, norm),
    FIELD(hypura_router, width), FIELD(hypura_router, gating),
    STRUCT(hypura_lookahead),
    FIELD(hypura_lookahead, logits), FIELD(hypura_lookahead, logit_shift), FIELD(hypura_lookahead, shift_tokens),
    FIELD(hypura_lookahead, fresh), FIELD(hypura_lookahead, reserved), FIELD(hypura_lookahead, predicted_count),
    FIELD(hypura_lookahead, predicted), FIELD(hypura_lookahead, evidence), FIELD(hypura_lookahead, confidence),
    STRUCT(hypura_layer),
    FIELD(hypura_layer, experts), FIELD(hypura_layer, streamed_index), FIELD(hypura_layer, next_streamed),
    FIELD(hypura_layer, may_hold_prefetches), FIELD(hypura_layer, slot_of), FIELD(hypura_layer, group),
    FIELD(hypura_layer, expert_bytes), FIELD(hypura_layer, weight_count), FIELD(hypura_layer, part_count),
    FIELD(hypura_layer, parts), FIELD(hypura_layer, read_order), FIELD(hypura_layer, ordered_count),
    FIELD(hypura_layer, tokens_since_miss), FIELD(hypura_layer, router), FIELD(hypura_layer, lookahead),
    STRUCT(hypura_experts_figures),
    FIELD(hypura_experts_figures, hits), FIELD(hypura_experts_figures, misses),
    FIELD(hypura_experts_figures, prefetched_bytes), FIELD(hypura_experts_figures, prefetched_used_bytes),
    FIELD(hypura_experts_figures, hook_ns), FIELD(hypura_experts_figures, rows_apart),
    FIELD(hypura_experts_figures, failed), FIELD(hypura_experts_figures, failed_layer),
    FIELD(hypura_experts_figures, failed_expert), FIELD(hypura_experts_figures, error),
    FIELD(hypura_experts_figures, guard),
    STRUCT(hypura_graph_calls),
    FIELD(hypura_graph_calls, backend), FIELD(hypura_graph_calls, graph), FIELD(hypura_graph_calls, clear),
    FIELD(hypura_graph_calls, add_node), FIELD(hypura_graph_calls, compute),
    STRUCT(hypura_experts),
    FIELD(hypura_experts, ggml), FIELD(hypura_experts, arena), FIELD(hypura_experts, reader),
    FIELD(hypura_experts, layers), FIELD(hypura_experts, layer_count), FIELD(hypura_experts, streamed_count),
    FIELD(hypura_experts, per_token), FIELD(hypura_experts, layer_outputs_known), FIELD(hypura_experts, likelihood),
    FIELD(hypura_experts, coactivation), FIELD(hypura_experts, products), FIELD(hypura_experts, figures),
    FIELD(hypura_experts, clock), FIELD(hypura_experts, current), FIELD(hypura_experts, visit_tokens),
    FIELD(hypura_experts, learning), FIELD(hypura_experts, warming), FIELD(hypura_experts, unused),
    FIELD(hypura_experts, rewritten), FIELD(hypura_experts, ids), FIELD(hypura_experts, ids_capacity),
    FIELD(hypura_experts, chosen), FIELD(hypura_experts, chosen_count), FIELD(hypura_experts, reserved),
    FIELD(hypura_experts, probabilities), FIELD(hypura_experts, probabilities_capacity), FIELD(hypura_experts, scores),
    FIELD(hypura_experts, lift), FIELD(hypura_experts, state), FIELD(hypura_experts, input),
    FIELD(hypura_experts, state_capacity), FIELD(hypura_experts, votes), FIELD(hypura_experts, to_read),
    FIELD(hypura_experts, candidates), FIELD(hypura_experts, is_chosen), FIELD(hypura_experts, least_confidence),
    FIELD(hypura_experts, drive_busy), FIELD(hypura_experts, paced_at_ns), FIELD(hypura_experts, paced_busy_ns),
    FIELD(hypura_experts, voted_layer), FIELD(hypura_experts, unvoted_count), FIELD(hypura_experts, unvoted_chosen),
    STRUCT(hypura_dense_tensor),
    FIELD(hypura_dense_tensor, tensor), FIELD(hypura_dense_tensor, unit), FIELD(hypura_dense_tensor, reserved),
    STRUCT(hypura_dense),
    FIELD(hypura_dense, ggml), FIELD(hypura_dense, arena), FIELD(hypura_dense, table),
    FIELD(hypura_dense, table_length), FIELD(hypura_dense, failed), FIELD(hypura_dense, acquire),
    FIELD(hypura_dense, release), FIELD(hypura_dense, holding), FIELD(hypura_dense, reserved),
    FIELD(hypura_dense, learning),
};

/* All of them; count: how many. */
HYPURA_API const layout *hypura_layouts(int32_t *count) {
    *count = sizeof(LAYOUTS) / sizeof(*LAYOUTS);
    return LAYOUTS;
}
