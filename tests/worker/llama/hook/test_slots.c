/* slots.c: which experts are read, replaced, promoted and cancelled, and what a failed read leaves behind. */
#include "gated_drive.h"

#include "../../../../hypura_worker/llama/csrc/experts.h"

#include <math.h>

/* Layers of experts of two weights in one group of slots. File fd(layer, part) holds a layer's slices one by one. */
enum { LAYERS = 3, EXPERTS = 8, PARTS = 2, MOST_SLOTS = 8, SLICE = 4096, CHUNK = 65536 };

static struct {
    hypura_experts experts;
    hypura_layer layers[LAYERS];
    hypura_group group;
    hypura_slot slot[MOST_SLOTS];
    int32_t slot_of[LAYERS][EXPERTS];
    uint8_t pool[PARTS][MOST_SLOTS * SLICE];
    uint8_t bias[EXPERTS * 4], bias_pool[MOST_SLOTS * 4];
    hypura_likelihood likelihood;
    float likelihoods[LAYERS * EXPERTS];
    int32_t chosen[EXPERTS];
    char candidates[EXPERTS * 16];
} model;

static int fd_of(int32_t layer, int32_t part) {
    return 100 + layer * PARTS + part;
}

/* slots: of the group; readers: threads. Every expert is equally likely until the test says otherwise. */
static hypura_experts *make_model(int32_t slots, int32_t classes, int32_t readers, bool open) {
    drive_reset(open);
    memset(&model, 0, sizeof(model));
    memset(model.slot_of, -1, sizeof(model.slot_of));
    for (int32_t s = 0; s < MOST_SLOTS; s++) {
        model.slot[s].layer = -1;
    }
    model.group = (hypura_group){.slots = slots, .usable = slots, .classes = classes, .slot = model.slot};
    for (int32_t i = 0; i < EXPERTS * 4; i++) {
        model.bias[i] = (uint8_t)(i + 1);
    }
    for (int32_t l = 0; l < LAYERS; l++) {
        hypura_layer *layer = &model.layers[l];
        layer->experts = EXPERTS;
        layer->streamed_index = l;
        layer->next_streamed = l + 1 < LAYERS ? l + 1 : -1;
        layer->slot_of = model.slot_of[l];
        layer->group = &model.group;
        layer->expert_bytes = PARTS * SLICE;
        layer->weight_count = PARTS;
        layer->part_count = PARTS + 1;
        for (int32_t p = 0; p < PARTS; p++) {
            layer->read_order[p] = p;
            layer->parts[p] = (hypura_part){.pool = model.pool[p], .stride_bytes = SLICE, .slice_bytes = SLICE,
                                            .step_bytes = 1, .fd = fd_of(l, p)};
        }
        layer->parts[PARTS] = (hypura_part){
            .pool = model.bias_pool, .stride_bytes = 4, .slice_bytes = 4, .step_bytes = 1, .rows = model.bias};
    }
    for (int32_t i = 0; i < LAYERS * EXPERTS; i++) {
        model.likelihoods[i] = 0.5f;
    }
    model.likelihood = (hypura_likelihood){.layers = LAYERS, .experts = EXPERTS, .likelihood = model.likelihoods};
    model.experts = (hypura_experts){.reader = hypura_reader_new(readers, CHUNK),
                                     .layers = model.layers,
                                     .layer_count = LAYERS,
                                     .streamed_count = LAYERS,
                                     .likelihood = &model.likelihood,
                                     .clock = 1,
                                     .chosen = model.chosen,
                                     .candidates = model.candidates};
    CHECK(model.experts.reader != NULL);
    return &model.experts;
}

static void free_model(void) {
    drive_open();
    hypura_reader_free(model.experts.reader);
}

/* A new visit of the layer, which chooses these experts: those in memory are used, the others are read on demand. */
static bool visit(int32_t layer, const int32_t *chosen, int32_t count) {
    hypura_experts *experts = &model.experts;
    int32_t missing[EXPERTS], missing_count = 0;
    experts->clock++;
    experts->current = layer;
    experts->chosen_count = count;
    for (int32_t i = 0; i < count; i++) {
        experts->chosen[i] = chosen[i];
        int32_t slot = hypura_slots_find(experts, layer, chosen[i]);
        if (slot >= 0) {
            model.slot[slot].last_used = experts->clock;
            model.slot[slot].demand_parts = 0;
        } else {
            missing[missing_count++] = chosen[i];
        }
    }
    hypura_slots_resolve_prefetches(experts, layer);
    return hypura_slots_read(experts, layer, missing, missing_count, HYPURA_DEMAND, INFINITY);
}

static void wait_for_all_reads(void) {
    for (int32_t s = 0; s < MOST_SLOTS; s++) {
        for (int32_t p = 0; p < PARTS; p++) {
            hypura_reader_wait(model.experts.reader, &model.slot[s].parts[p]);
        }
    }
}

static bool prefetch(int32_t layer, int32_t expert, float limit) {
    model.layers[layer].may_hold_prefetches = 1;
    return hypura_slots_read(&model.experts, layer, &expert, 1, HYPURA_PREFETCH, limit);
}

static bool in_memory(int32_t layer, int32_t expert) {
    return hypura_slots_find(&model.experts, layer, expert) >= 0;
}

/* Whether the expert's slot holds its weights and biases. */
static bool is_whole(int32_t layer, int32_t expert) {
    int32_t s = hypura_slots_find(&model.experts, layer, expert);
    bool whole = s >= 0 && memcmp(model.bias_pool + s * 4, model.bias + expert * 4, 4) == 0;
    for (int32_t p = 0; whole && p < PARTS; p++) {
        whole = drive_holds(model.pool[p] + s * SLICE, fd_of(layer, p), expert * SLICE, SLICE);
    }
    return whole;
}

/* What holds for every state: a slot's expert points at it, and no expert points at another's slot. */
static void check_consistent(void) {
    for (int32_t s = 0; s < MOST_SLOTS; s++) {
        if (model.slot[s].layer >= 0) {
            CHECK_EQUAL(model.slot_of[model.slot[s].layer][model.slot[s].expert], s);
        }
    }
    for (int32_t l = 0; l < LAYERS; l++) {
        for (int32_t e = 0; e < EXPERTS; e++) {
            int32_t s = model.slot_of[l][e];
            CHECK(s < model.group.usable);
            CHECK(s < 0 || (model.slot[s].layer == l && model.slot[s].expert == e));
            CHECK(s < 0 || s % model.group.classes == e % model.group.classes);
        }
    }
}

static void demand_reads_fill_empty_slots(void) {
    hypura_experts *experts = make_model(4, 1, 2, true);
    int32_t chosen[] = {6, 1, 3};
    CHECK(visit(0, chosen, 3));
    for (int32_t p = 0; p < PARTS; p++) {
        CHECK(hypura_slots_wait(experts, 0, p));
    }
    CHECK(!hypura_slots_any_pending(experts, 0));
    for (int32_t i = 0; i < 3; i++) {
        CHECK(is_whole(0, chosen[i]));
    }
    CHECK(!in_memory(0, 0) && !in_memory(1, 6));
    check_consistent();
    free_model();
}

static void demand_reads_follow_the_order_of_use(void) {
    hypura_experts *experts = make_model(4, 1, 1, false);
    model.layers[0].read_order[0] = 1;
    model.layers[0].read_order[1] = 0;
    CHECK(visit(0, (int32_t[]){2, 5}, 2));
    drive_open();
    CHECK(hypura_slots_wait(experts, 0, 0));
    int order[] = {fd_of(0, 1), fd_of(0, 1), fd_of(0, 0), fd_of(0, 0)};
    for (int32_t i = 0; i < 4; i++) {
        CHECK_EQUAL(drive_file(i), order[i]);
    }
    free_model();
}

static void the_least_likely_expert_is_replaced(void) {
    hypura_experts *experts = make_model(4, 1, 2, true);
    CHECK(visit(0, (int32_t[]){0, 1, 2, 3}, 4));
    wait_for_all_reads();
    model.likelihoods[2] = 0.1f;
    CHECK(visit(0, (int32_t[]){4}, 1));
    wait_for_all_reads();
    CHECK(!in_memory(0, 2));
    CHECK(in_memory(0, 0) && in_memory(0, 1) && in_memory(0, 3));
    CHECK(is_whole(0, 4));
    CHECK_EQUAL(experts->figures.prefetched_bytes, 0);
    check_consistent();
    free_model();
}

static void of_equally_likely_experts_the_one_needed_last_is_replaced(void) {
    make_model(3, 1, 2, true);
    for (int32_t l = 0; l < LAYERS; l++) {
        CHECK(visit(l, (int32_t[]){l}, 1));
        wait_for_all_reads();
    }
    CHECK(visit(0, (int32_t[]){7}, 1)); /* layer 0 itself comes last after its own visit */
    CHECK(!in_memory(0, 0) && in_memory(1, 1) && in_memory(2, 2));
    wait_for_all_reads();
    check_consistent();
    free_model();
}

static void what_the_visit_chose_is_not_replaced(void) {
    hypura_experts *experts = make_model(4, 1, 2, true);
    CHECK(visit(0, (int32_t[]){0, 1, 2, 3}, 4));
    wait_for_all_reads();
    model.likelihoods[0] = model.likelihoods[1] = 1e-4f;
    CHECK(visit(0, (int32_t[]){0, 1, 6, 7}, 4));
    wait_for_all_reads();
    CHECK(is_whole(0, 0) && is_whole(0, 1) && is_whole(0, 6) && is_whole(0, 7));
    CHECK(!visit(0, (int32_t[]){0, 1, 2, 6, 7}, 5)); /* more than there are slots */
    CHECK(hypura_slots_find(experts, 0, 0) >= 0);
    wait_for_all_reads();
    check_consistent();
    free_model();
}

static void an_expert_that_is_being_read_is_not_replaced(void) {
    hypura_experts *experts = make_model(2, 1, 4, false);
    CHECK(visit(0, (int32_t[]){0}, 1));
    drive_wait_for_readers(2);
    model.likelihoods[0] = 1e-4f;
    experts->clock++; /* the visit is over */
    CHECK(prefetch(1, 0, 1.0f)); /* into the other slot, which is empty */
    CHECK(!prefetch(1, 1, 1.0f)); /* both are being read */
    CHECK(in_memory(0, 0) && in_memory(1, 0) && !in_memory(1, 1));
    drive_open();
    wait_for_all_reads();
    CHECK(is_whole(0, 0) && is_whole(1, 0));
    CHECK(prefetch(1, 1, 1.0f));
    CHECK(!in_memory(0, 0));
    wait_for_all_reads();
    check_consistent();
    free_model();
}

static void a_prefetch_replaces_only_what_is_worth_less(void) {
    make_model(2, 1, 2, true);
    CHECK(visit(0, (int32_t[]){0, 1}, 2));
    wait_for_all_reads();
    model.experts.clock++;
    model.experts.current = 0;
    model.likelihoods[0] = 0.8f;
    model.likelihoods[1] = 0.2f;
    float worth_of_0 = 0.8f / 6, worth_of_1 = 0.2f / 6; /* 3 visits until layer 0 comes, and once around */
    CHECK(!prefetch(1, 3, worth_of_1 * 0.99f));
    CHECK(in_memory(0, 0) && in_memory(0, 1) && !in_memory(1, 3));
    CHECK(prefetch(1, 3, worth_of_0 * 0.99f));
    CHECK(in_memory(0, 0) && !in_memory(0, 1) && in_memory(1, 3));
    wait_for_all_reads();
    check_consistent();
    free_model();
}

static void a_chosen_prefetch_is_promoted(void) {
    hypura_experts *experts = make_model(4, 1, 1, false);
    CHECK(visit(0, (int32_t[]){0}, 1)); /* the only thread is at the gate with it */
    drive_wait_for_readers(1);
    CHECK(prefetch(1, 2, 1.0f));
    CHECK(prefetch(1, 3, 1.0f));
    CHECK_EQUAL(experts->figures.prefetched_bytes, 2 * PARTS * SLICE);
    CHECK(visit(1, (int32_t[]){3}, 1)); /* the later one was right */
    CHECK_EQUAL(experts->figures.prefetched_used_bytes, PARTS * SLICE);
    CHECK_EQUAL(experts->figures.prefetched_bytes, PARTS * SLICE); /* the other was taken back */
    CHECK(in_memory(1, 3) && !in_memory(1, 2));
    CHECK_EQUAL(model.layers[1].may_hold_prefetches, 0);
    CHECK(hypura_slots_part_pending(experts, 1, 0));
    drive_open();
    CHECK(hypura_slots_wait(experts, 1, 0) && hypura_slots_wait(experts, 1, 1));
    CHECK(is_whole(1, 3));
    CHECK_EQUAL(drive_reads_of(fd_of(1, 0)), 1); /* of expert 3 alone */
    wait_for_all_reads();
    check_consistent();
    free_model();
}

static void a_prefetch_that_was_read_before_it_is_rejected_stays(void) {
    hypura_experts *experts = make_model(4, 1, 2, true);
    CHECK(prefetch(1, 2, 1.0f));
    wait_for_all_reads();
    CHECK(visit(1, (int32_t[]){5}, 1));
    CHECK(is_whole(1, 2));
    CHECK_EQUAL(experts->figures.prefetched_bytes, PARTS * SLICE);
    CHECK_EQUAL(experts->figures.prefetched_used_bytes, 0);
    CHECK_EQUAL(model.slot[hypura_slots_find(experts, 1, 2)].prefetched, 0);
    wait_for_all_reads();
    free_model();
}

static void a_rejected_prefetch_that_is_half_read_leaves_its_slot(void) {
    hypura_experts *experts = make_model(4, 1, 1, false);
    CHECK(prefetch(1, 2, 1.0f)); /* the first part is at the gate, the second queued */
    drive_wait_for_readers(1);
    int32_t slot = hypura_slots_find(experts, 1, 2);
    CHECK(visit(1, (int32_t[]){5}, 1));
    CHECK(!in_memory(1, 2));
    CHECK(hypura_slots_find(experts, 1, 5) != slot); /* a thread still reads into it */
    CHECK_EQUAL(experts->figures.prefetched_bytes, SLICE);
    drive_open();
    CHECK(hypura_slots_wait(experts, 1, 0) && hypura_slots_wait(experts, 1, 1));
    CHECK(is_whole(1, 5));
    wait_for_all_reads();
    check_consistent();
    free_model();
}

static void a_single_prefetch_is_cancelled(void) {
    hypura_experts *experts = make_model(4, 1, 1, false);
    CHECK(visit(0, (int32_t[]){0}, 1));
    drive_wait_for_readers(1);
    CHECK(prefetch(1, 2, 1.0f) && prefetch(1, 3, 1.0f));
    hypura_slots_cancel_prefetch(experts, 1, 2);
    hypura_slots_cancel_prefetch(experts, 1, 4); /* was never prefetched */
    hypura_slots_cancel_prefetch(experts, 0, 0); /* a demand read */
    CHECK(!in_memory(1, 2) && in_memory(1, 3) && in_memory(0, 0));
    CHECK_EQUAL(experts->figures.prefetched_bytes, PARTS * SLICE);
    drive_open();
    wait_for_all_reads();
    CHECK(is_whole(1, 3) && is_whole(0, 0));
    CHECK_EQUAL(drive_reads_of(fd_of(1, 0)), 1);
    check_consistent();
    free_model();
}

static void demand_reads_take_the_slots_of_prefetches(void) {
    hypura_experts *experts = make_model(2, 1, 1, false);
    CHECK(prefetch(2, 0, 1.0f) && prefetch(2, 1, 1.0f));
    drive_wait_for_readers(1);
    pthread_t opener; /* the demand reads wait for the part that a thread has taken; what is queued is cancelled before */
    CHECK_EQUAL(pthread_create(&opener, NULL, drive_open_for_a_caller, experts->reader), 0);
    CHECK(visit(0, (int32_t[]){4, 5}, 2));
    CHECK_EQUAL(pthread_join(opener, NULL), 0);
    CHECK(hypura_slots_wait(experts, 0, 0) && hypura_slots_wait(experts, 0, 1));
    CHECK(is_whole(0, 4) && is_whole(0, 5));
    CHECK(!in_memory(2, 0) && !in_memory(2, 1));
    check_consistent();
    free_model();
}

static void experts_go_to_slots_of_their_class(void) {
    make_model(8, 4, 2, true);
    CHECK(visit(0, (int32_t[]){1, 5}, 2));
    wait_for_all_reads();
    CHECK(visit(1, (int32_t[]){1}, 1)); /* class 1 has two slots, both full; others are empty */
    wait_for_all_reads();
    CHECK(is_whole(1, 1));
    CHECK_EQUAL(in_memory(0, 1) + in_memory(0, 5), 1);
    CHECK(visit(2, (int32_t[]){0, 1, 4, 5}, 4)); /* two experts of class 0 and two of class 1 */
    wait_for_all_reads();
    CHECK(is_whole(2, 0) && is_whole(2, 1) && is_whole(2, 4) && is_whole(2, 5));
    check_consistent();
    free_model();
}

static void a_failed_demand_read_fails_the_pass_and_empties_the_slot(void) {
    hypura_experts *experts = make_model(4, 1, 2, true);
    drive_fail(fd_of(0, 1), EIO);
    CHECK(visit(0, (int32_t[]){2, 3}, 2));
    CHECK(hypura_slots_wait(experts, 0, 0));
    CHECK(!hypura_slots_wait(experts, 0, 1));
    CHECK_EQUAL(experts->figures.failed, HYPURA_READ_FAILED);
    CHECK_EQUAL(experts->figures.failed_layer, 0);
    CHECK(experts->figures.failed_expert == 2 || experts->figures.failed_expert == 3);
    CHECK_EQUAL(experts->figures.error, EIO);
    CHECK(!in_memory(0, 2) && !in_memory(0, 3));
    check_consistent();
    free_model();
}

static void a_failed_prefetch_is_read_again_on_demand(void) {
    hypura_experts *experts = make_model(4, 1, 2, true);
    drive_fail(fd_of(1, 0), EIO);
    CHECK(prefetch(1, 2, 1.0f));
    wait_for_all_reads();
    drive_fail(-1, 0);
    CHECK(visit(1, (int32_t[]){2}, 1));
    CHECK(hypura_slots_wait(experts, 1, 0) && hypura_slots_wait(experts, 1, 1));
    CHECK_EQUAL(experts->figures.failed, 0);
    CHECK(is_whole(1, 2));
    free_model();
}

static void a_prefetch_that_fails_during_the_visit_is_read_again(void) {
    hypura_experts *experts = make_model(4, 1, 1, false);
    drive_fail(fd_of(1, 0), EIO);
    CHECK(prefetch(1, 2, 1.0f));
    drive_wait_for_readers(1);
    CHECK(visit(1, (int32_t[]){2}, 1)); /* it is on its way: chosen, and not read again yet */
    drive_open();
    hypura_reader_wait(experts->reader, &model.slot[model.slot_of[1][2]].parts[0]);
    drive_fail(-1, 0);
    CHECK(hypura_slots_wait(experts, 1, 0) && hypura_slots_wait(experts, 1, 1));
    CHECK_EQUAL(experts->figures.failed, 0);
    CHECK(is_whole(1, 2));
    CHECK_EQUAL(drive_reads_of(fd_of(1, 0)), 2);
    free_model();
}

static void warming_fills_empty_slots_until_a_pass_begins(void) {
    hypura_experts *experts = make_model(3, 1, 1, false);
    CHECK(hypura_slots_warm(experts, 0, 1));
    drive_wait_for_readers(1);
    CHECK(hypura_slots_warm(experts, 1, 2));
    CHECK(hypura_slots_warm(experts, 2, 3));
    CHECK(!hypura_slots_warm(experts, 2, 4)); /* no slot is empty, and warming replaces nothing */
    CHECK(hypura_slots_warm(experts, 0, 1));  /* is there already */
    CHECK_EQUAL(experts->figures.prefetched_bytes, 0);
    hypura_slots_stop_warming(experts);
    CHECK(!in_memory(0, 1) && !in_memory(1, 2) && !in_memory(2, 3));
    CHECK_EQUAL(drive_reads_of(fd_of(1, 0)), 0);
    hypura_slots_stop_warming(experts);
    drive_open();
    wait_for_all_reads();
    CHECK(hypura_slots_warm(experts, 1, 2));
    wait_for_all_reads();
    hypura_slots_stop_warming(experts);
    CHECK(is_whole(1, 2)); /* what is read stays */
    check_consistent();
    free_model();
}

static void emptying_cancels_and_waits(void) {
    hypura_experts *experts = make_model(4, 1, 1, true);
    CHECK(visit(0, (int32_t[]){0, 1, 2, 3}, 4));
    wait_for_all_reads();
    drive_reset(false);
    experts->clock++; /* the visit is over */
    CHECK(prefetch(1, 4, 1.0f) && prefetch(1, 5, 1.0f));
    drive_wait_for_readers(1);
    pthread_t opener;
    CHECK_EQUAL(pthread_create(&opener, NULL, drive_open_for_a_caller, experts->reader), 0);
    hypura_slots_empty(experts, &model.group, 0);
    CHECK_EQUAL(pthread_join(opener, NULL), 0);
    CHECK_EQUAL(drive_count(), 1); /* the part that a thread had taken; the others never reached the drive */
    for (int32_t l = 0; l < LAYERS; l++) {
        for (int32_t e = 0; e < EXPERTS; e++) {
            CHECK(!in_memory(l, e));
        }
    }
    for (int32_t s = 0; s < 4; s++) {
        CHECK_EQUAL(model.slot[s].layer, -1);
        CHECK_EQUAL(model.slot[s].parts[0].pending + model.slot[s].parts[1].pending, 0);
    }
    check_consistent();
    free_model();
}

/* Thousands of random visits and prefetches: nothing is ever used that was not read. */
static void random_visits_use_only_what_is_whole(void) {
    uint32_t random = 12345;
    hypura_experts *experts = make_model(6, 2, 3, true);
    for (int32_t turn = 0; turn < 3000; turn++) {
        int32_t layer = turn % LAYERS, chosen[2];
        random = random * 1664525u + 1013904223u;
        chosen[0] = (int32_t)(random >> 16) % EXPERTS;
        chosen[1] = (chosen[0] + 1 + (int32_t)(random >> 24) % (EXPERTS - 1)) % EXPERTS;
        for (int32_t e = 0; e < EXPERTS; e++) {
            model.likelihoods[layer * EXPERTS + e] = (float)((random >> e) % 100 + 1) / 100;
        }
        CHECK(visit(layer, chosen, 2));
        int32_t next = (layer + 1) % LAYERS, guess = (int32_t)(random >> 8) % EXPERTS;
        if (!in_memory(next, guess)) {
            prefetch(next, guess, 0.05f);
        }
        if (random % 7 == 0) {
            hypura_slots_cancel_prefetch(experts, next, guess);
        }
        for (int32_t p = 0; p < PARTS; p++) {
            CHECK(hypura_slots_wait(experts, layer, p));
        }
        CHECK(is_whole(layer, chosen[0]) && is_whole(layer, chosen[1]));
        check_consistent();
        if (drive_count() > DRIVE_LOG / 2) {
            wait_for_all_reads();
            drive_reset(true);
        }
    }
    CHECK(experts->figures.prefetched_used_bytes <= experts->figures.prefetched_bytes);
    CHECK(experts->figures.prefetched_used_bytes > 0);
    free_model();
}

int main(void) {
    RUN(demand_reads_fill_empty_slots);
    RUN(demand_reads_follow_the_order_of_use);
    RUN(the_least_likely_expert_is_replaced);
    RUN(of_equally_likely_experts_the_one_needed_last_is_replaced);
    RUN(what_the_visit_chose_is_not_replaced);
    RUN(an_expert_that_is_being_read_is_not_replaced);
    RUN(a_prefetch_replaces_only_what_is_worth_less);
    RUN(a_chosen_prefetch_is_promoted);
    RUN(a_prefetch_that_was_read_before_it_is_rejected_stays);
    RUN(a_rejected_prefetch_that_is_half_read_leaves_its_slot);
    RUN(a_single_prefetch_is_cancelled);
    RUN(demand_reads_take_the_slots_of_prefetches);
    RUN(experts_go_to_slots_of_their_class);
    RUN(a_failed_demand_read_fails_the_pass_and_empties_the_slot);
    RUN(a_failed_prefetch_is_read_again_on_demand);
    RUN(a_prefetch_that_fails_during_the_visit_is_read_again);
    RUN(warming_fills_empty_slots_until_a_pass_begins);
    RUN(emptying_cancels_and_waits);
    RUN(random_visits_use_only_what_is_whole);
    return 0;
}
