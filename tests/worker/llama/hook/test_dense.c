/* dense.c, kv.c and arena.c: which nodes stop for streamed tensors, and what a learning pass shows. */
#define _GNU_SOURCE
#include "fake_ggml.h"

#include "../../../../hypura_worker/llama/csrc/dense.h"

bool hypura_dense_eval(struct ggml_tensor *node, bool ask, void *context);
bool hypura_dense_abort(void *context);
void hypura_dense_insert(hypura_dense *dense, struct ggml_tensor *tensor, int32_t unit);
bool hypura_kv_release(hypura_kv *kv);
int64_t hypura_kv_resident(const hypura_kv *kv);

enum { UNITS = 48, TABLE = 128 };

static struct {
    hypura_arena *arena;
    struct ggml_backend_buffer *buffer;
    struct ggml_tensor tensor[UNITS];
    hypura_dense_tensor table[TABLE];
    hypura_dense dense;
    int32_t acquired[GGML_MAX_SRC], acquired_count, acquire_calls, release_calls, result;
} m;

static int32_t acquire(const int32_t *units, int32_t count) {
    m.acquire_calls++;
    m.acquired_count = count;
    memcpy(m.acquired, units, (size_t)count * sizeof(*units));
    return m.result;
}

static int32_t release(void) {
    m.release_calls++;
    return 0;
}

static void make_model(void) {
    memset(&m, 0, sizeof(m));
    m.arena = make_arena(4096, &m.buffer);
    m.dense = (hypura_dense){.ggml = &fake_ggml, .arena = m.arena, .table = m.table, .table_length = TABLE,
                             .acquire = acquire, .release = release};
    for (int32_t u = 0; u < UNITS; u++) {
        m.tensor[u] = make_streamed(m.buffer, "weight", u);
        CHECK_EQUAL(m.buffer->iface.init_tensor(m.buffer, &m.tensor[u]), 0);
        CHECK(strncmp(m.tensor[u].name, "blk.", 4) != 0); /* the loader does not find it in the file */
        hypura_dense_insert(&m.dense, &m.tensor[u], u);
    }
    hypura_arena_restore_names(m.arena);
    CHECK_EQUAL(hypura_arena_count(m.arena), UNITS);
    CHECK(strcmp(m.tensor[7].name, "blk.7.weight") == 0);
    CHECK(strcmp(hypura_arena_arrivals(m.arena)[7].name, "blk.7.weight") == 0);
}

static struct ggml_tensor node_of(struct ggml_tensor *first, struct ggml_tensor *second) {
    static float result[4];
    struct ggml_tensor node = make_tensor(MUL_MAT, result, 4, 1, sizeof(float));
    node.src[0] = first;
    node.src[1] = second;
    return node;
}

static void a_node_stops_for_its_own_units(void) {
    make_model();
    float data[4] = {0};
    struct ggml_tensor input = make_tensor(NONE, data, 4, 1, sizeof(float));
    for (int32_t u = 0; u < UNITS; u++) {
        struct ggml_tensor node = node_of(&m.tensor[u], &input);
        CHECK(hypura_dense_eval(&node, true, &m.dense));
        CHECK_EQUAL(m.acquired_count, 1);
        CHECK_EQUAL(m.acquired[0], u);
        CHECK(hypura_dense_eval(&node, false, &m.dense));
        CHECK_EQUAL(m.release_calls, u + 1);
    }
    struct ggml_tensor twice = node_of(&m.tensor[3], &m.tensor[3]), other = node_of(&input, &input);
    twice.src[9] = &m.tensor[4]; /* behind a hole */
    CHECK(hypura_dense_eval(&twice, true, &m.dense));
    CHECK_EQUAL(m.acquired_count, 2);
    CHECK(!hypura_dense_eval(&other, true, &m.dense));
    CHECK(!hypura_dense_abort(&m.dense));
    free_arena(m.arena, m.buffer);
}

static void a_view_follows_its_tensor(void) {
    make_model();
    float weights[16] = {0};
    struct ggml_tensor view = m.tensor[5];
    view.op = VIEW;
    view.view_src = &m.tensor[5];
    view.view_offs = 2 * sizeof(float);
    hypura_tensor_place(&m.tensor[5], weights);
    struct ggml_tensor node = node_of(&view, NULL), alone = view;
    CHECK(hypura_dense_eval(&node, true, &m.dense));
    CHECK_EQUAL(m.acquired[0], 5);
    CHECK(view.data == &weights[2]);
    alone.src[0] = &m.tensor[5];
    CHECK(!hypura_dense_eval(&alone, true, &m.dense)); /* a view moves no bytes */
    free_arena(m.arena, m.buffer);
}

static void a_unit_that_cannot_be_served_aborts_the_pass(void) {
    make_model();
    m.result = 1;
    struct ggml_tensor node = node_of(&m.tensor[0], NULL);
    hypura_dense_eval(&node, true, &m.dense);
    CHECK(hypura_dense_abort(&m.dense));
    int32_t calls = m.acquire_calls;
    hypura_dense_eval(&node, true, &m.dense); /* llama.cpp computes up to its next check */
    CHECK_EQUAL(m.acquire_calls, calls);
    free_arena(m.arena, m.buffer);
}

static void a_learning_pass_never_stops_and_shows_the_cache(void) {
    make_model();
    enum { TOKENS = 64, TOKEN_BYTES = 4096 };
    uint8_t *memory = mmap(NULL, 2 * TOKENS * TOKEN_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    memset(memory, 1, 2 * TOKENS * TOKEN_BYTES); /* llama.cpp clears the whole cache */
    static hypura_kv kv;
    kv = (hypura_kv){.ggml = &fake_ggml};
    m.dense.learning = &kv;
    struct ggml_tensor k = make_tensor(NONE, memory, TOKEN_BYTES / 4, TOKENS, 4), v = k;
    v.data = memory + TOKENS * TOKEN_BYTES;
    snprintf(k.name, sizeof(k.name), "cache_k_l0");
    snprintf(v.name, sizeof(v.name), "cache_v_l0");
    struct ggml_tensor view = k, attention = node_of(&m.tensor[1], &view);
    view.view_src = &k;
    attention.op = FLASH_ATTN_EXT;
    attention.src[2] = &v;
    CHECK(!hypura_dense_eval(&attention, true, &m.dense));
    CHECK(!hypura_dense_eval(&attention, true, &m.dense));
    CHECK_EQUAL(m.acquire_calls, 2); /* the order of use */
    CHECK(hypura_dense_abort(&m.dense));
    CHECK_EQUAL(kv.count, 2);
    CHECK_EQUAL(kv.tensors[0].token_bytes, TOKEN_BYTES);
    CHECK_EQUAL(kv.tensors[1].tokens, TOKENS);
    CHECK_EQUAL(hypura_kv_resident(&kv), 2 * TOKENS * TOKEN_BYTES);
#ifdef __linux__
    CHECK(hypura_kv_release(&kv));
    CHECK_EQUAL(hypura_kv_resident(&kv), 0);
    memory[5 * TOKEN_BYTES] = 1;
    CHECK(hypura_kv_resident(&kv) > 0);
    CHECK_EQUAL(memory[TOKEN_BYTES], 0);
#endif
    munmap(memory, 2 * TOKENS * TOKEN_BYTES);
    free_arena(m.arena, m.buffer);
}

static void the_loader_must_not_touch_bytes(void) {
    make_model();
    char data[4] = {1, 1, 1, 1};
    m.buffer->iface.clear(m.buffer, 0);
    CHECK_EQUAL(hypura_arena_misuse(m.arena), 0);
    m.buffer->iface.get_tensor(m.buffer, &m.tensor[0], data, 0, sizeof(data));
    CHECK_EQUAL(hypura_arena_misuse(m.arena), 1);
    CHECK_EQUAL(data[0], 0);
    m.arena->misuse = 0;
    m.buffer->iface.set_tensor(m.buffer, &m.tensor[0], data, 0, sizeof(data));
    CHECK_EQUAL(hypura_arena_misuse(m.arena), 1);
    m.arena->misuse = 0;
    free_arena(m.arena, m.buffer);
}

int main(void) {
    RUN(a_node_stops_for_its_own_units);
    RUN(a_view_follows_its_tensor);
    RUN(a_unit_that_cannot_be_served_aborts_the_pass);
    RUN(a_learning_pass_never_stops_and_shows_the_cache);
    RUN(the_loader_must_not_touch_bytes);
    return 0;
}
