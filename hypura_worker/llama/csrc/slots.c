/* Which experts are in which slots.
 *
 *   empty ─► being read, part by part ─► in memory ─replaced─► empty
 *               └ a prefetch that the router did not choose is cancelled while it is queued
 *
 * Replaced is the expert of the least worth: its likelihood of being chosen, divided by the visits for which it holds
 * its slot until it can be chosen (until its layer's next visit, and once around). An expert that the current visit
 * chose is never replaced, nor one that is being read.
 */
#include "slots.h"

#include "experts.h"

#include <math.h>
#include <string.h>

#define REQUESTS 64

typedef struct {
    float worth;
    int32_t slot;
} candidate;

static bool being_read(hypura_slot *slot) {
    for (int32_t p = 0; slot->reading && p < HYPURA_MAX_WEIGHTS; p++) {
        if (hypura_pending(&slot->parts[p])) {
            return true;
        }
    }
    slot->reading = 0;
    return false;
}

static bool has_error(const hypura_slot *slot) {
    for (int32_t p = 0; p < HYPURA_MAX_WEIGHTS; p++) {
        if (slot->parts[p].error != 0) {
            return true;
        }
    }
    return false;
}

void hypura_slots_drop(hypura_experts *experts, hypura_group *group, int32_t index) {
    hypura_slot *slot = &group->slot[index];
    if (slot->layer >= 0) {
        experts->layers[slot->layer].slot_of[slot->expert] = -1;
        slot->layer = -1;
    }
    slot->prefetched = 0;
    slot->last_used = 0;
}

int32_t hypura_slots_find(hypura_experts *experts, int32_t layer, int32_t expert) {
    hypura_group *group = experts->layers[layer].group;
    int32_t index = experts->layers[layer].slot_of[expert];
    if (index >= 0 && !being_read(&group->slot[index]) && has_error(&group->slot[index])) {
        hypura_slots_drop(experts, group, index); /* a prefetch that failed: a demand read may succeed */
        return -1;
    }
    return index;
}

/* Likelihood per visit that the slot is held: until its expert's layer comes, and once around. */
static float worth_of(const hypura_experts *experts, const hypura_slot *slot) {
    int32_t streamed = experts->streamed_count;
    int32_t now = experts->current >= 0 ? experts->layers[experts->current].streamed_index : streamed - 1;
    int32_t distance = (experts->layers[slot->layer].streamed_index - now - 1 + streamed) % streamed;
    const hypura_likelihood *l = experts->likelihood;
    float likelihood = l->likelihood[(size_t)slot->layer * (size_t)l->experts + (size_t)slot->expert];
    return likelihood / (float)(distance + 1 + streamed);
}

/* Up to count slots of this class whose experts may be replaced by something worth `limit`, the least worth first.
 * Prefetches that the router may still choose only where there is need. */
static int32_t find_victims(hypura_experts *experts, hypura_group *group, int32_t class, int32_t count, float limit,
                            bool need, candidate *found) {
    int32_t held = 0;
    for (int32_t s = class; s < group->usable && count > 0; s += group->classes) {
        hypura_slot *slot = &group->slot[s];
        if (slot->layer >= 0 && (slot->last_used == experts->clock || (slot->prefetched && !need))) {
            continue;
        }
        float worth = slot->layer < 0 ? -1.0f : worth_of(experts, slot);
        if (worth >= limit || (held == count && worth >= found[held - 1].worth) || being_read(slot)) {
            continue;
        }
        int32_t place = held < count ? held++ : held - 1;
        for (; place > 0 && found[place - 1].worth > worth; place--) {
            found[place] = found[place - 1];
        }
        found[place] = (candidate){worth, s};
    }
    return held;
}

/* All slots whose reads are to be cancelled are marked first, so that the queue of reads is walked only once. */
static void mark_unwanted(hypura_slot *slot, int32_t unwanted) {
    for (int32_t p = 0; p < HYPURA_MAX_WEIGHTS; p++) {
        slot->parts[p].unwanted = unwanted;
        slot->parts[p].dropped = unwanted ? 0 : slot->parts[p].dropped;
    }
}

static int32_t chunks_dropped(const hypura_slot *slot) {
    int32_t dropped = 0;
    for (int32_t p = 0; p < HYPURA_MAX_WEIGHTS; p++) {
        dropped += slot->parts[p].dropped;
    }
    return dropped;
}

/* Empties every step-th slot, or, with `reading`, those of them that are being read and that the current visit does not
 * use; waits for reads that cannot be cancelled. */
static void empty_slots(hypura_experts *experts, hypura_group *group, int32_t from, int32_t step, bool reading) {
    for (int32_t s = from; s < group->usable; s += step) {
        hypura_slot *slot = &group->slot[s];
        mark_unwanted(slot, !reading || (being_read(slot) && slot->last_used != experts->clock));
    }
    hypura_reader_drop_unwanted(experts->reader);
    for (int32_t s = from; s < group->usable; s += step) {
        hypura_slot *slot = &group->slot[s];
        if (slot->parts[0].unwanted) {
            mark_unwanted(slot, 0);
            for (int32_t p = 0; p < HYPURA_MAX_WEIGHTS; p++) {
                hypura_reader_wait(experts->reader, &slot->parts[p]);
            }
            hypura_slots_drop(experts, group, s);
        }
    }
}

void hypura_slots_empty(hypura_experts *experts, hypura_group *group, int32_t from) {
    empty_slots(experts, group, from, 1, false);
}

/* The same as Slices.reads of streaming/geometry.py, for one expert. */
static hypura_request request_of(const hypura_part *part, hypura_slot *slot, int32_t slot_index, hypura_batch *batch) {
    int64_t step = part->step_bytes;
    int64_t start = part->offset_bytes + (int64_t)slot->expert * part->slice_bytes;
    int64_t front = start % step;
    uint8_t *landing = part->pool + (int64_t)slot_index * part->stride_bytes + part->shift_bytes;
    hypura_read read = {
        .fd = part->fd,
        .tag = slot->expert,
        .offset = start - front,
        .length_bytes = (front + part->slice_bytes + step - 1) / step * step,
        .required_bytes = front + part->slice_bytes,
    };
    if (part->bounce) {
        read.copy_dest = landing;
        read.skip_bytes = front;
        read.copy_bytes = part->slice_bytes;
    } else {
        read.dest = landing - front;
    }
    return (hypura_request){read, batch};
}

/* Submits the reads of these experts, REQUESTS at a time: every call wakes readers, which takes processor time from
 * computing. */
static void fill(hypura_experts *experts, int32_t index, const int32_t *list, int32_t count, hypura_urgency urgency) {
    hypura_layer *layer = &experts->layers[index];
    hypura_group *group = layer->group;
    hypura_request requests[REQUESTS];
    int32_t held = 0;
    /* Demand reads: one part of all experts, then the next, as the layer computes. Prefetches: one whole expert after
     * the other, so that cancelling leaves whole ones. */
    bool by_part = urgency == HYPURA_DEMAND;
    int32_t outer = by_part ? layer->weight_count : count, inner = by_part ? count : layer->weight_count;
    for (int32_t i = 0; i < outer; i++) {
        for (int32_t j = 0; j < inner; j++) {
            int32_t part = by_part ? layer->read_order[i] : layer->read_order[j];
            int32_t slot = layer->slot_of[list[by_part ? j : i]];
            if (slot < 0) {
                continue;
            }
            hypura_slot *target = &group->slot[slot];
            requests[held++] = request_of(&layer->parts[part], target, slot, &target->parts[part]);
            if (held == REQUESTS) {
                hypura_reader_submit_each(experts->reader, requests, held, urgency);
                held = 0;
            }
        }
    }
    hypura_reader_submit_each(experts->reader, requests, held, urgency);
    for (int32_t p = layer->weight_count; p < layer->part_count; p++) {
        const hypura_part *part = &layer->parts[p];
        for (int32_t i = 0; i < count; i++) {
            int32_t slot = layer->slot_of[list[i]];
            if (slot >= 0) {
                memcpy(part->pool + slot * part->stride_bytes + part->shift_bytes,
                       part->rows + list[i] * part->slice_bytes, (size_t)part->slice_bytes);
            }
        }
    }
}

bool hypura_slots_read(hypura_experts *experts, int32_t index, const int32_t *list, int32_t count,
                       hypura_urgency urgency, float limit) {
    hypura_layer *layer = &experts->layers[index];
    hypura_group *group = layer->group;
    bool demand = urgency == HYPURA_DEMAND;
    candidate *found = experts->candidates;
    bool room = true;
    for (int32_t class = 0; class < group->classes; class++) {
        int32_t wanted = 0, given = 0;
        for (int32_t i = 0; i < count; i++) {
            wanted += list[i] % group->classes == class;
        }
        int32_t held = find_victims(experts, group, class, wanted, limit, false, found);
        if (demand && held < wanted) {
            empty_slots(experts, group, class, group->classes, true); /* cancels prefetches that are still being read */
            held = find_victims(experts, group, class, wanted, limit, true, found);
        }
        room = room && held == wanted;
        for (int32_t i = 0; i < count && given < held; i++) {
            if (list[i] % group->classes != class) {
                continue;
            }
            int32_t s = found[given++].slot;
            hypura_slots_drop(experts, group, s);
            hypura_slot *slot = &group->slot[s];
            memset(slot->parts, 0, sizeof(slot->parts));
            slot->layer = index;
            slot->expert = list[i];
            slot->last_used = demand ? experts->clock : 0;
            slot->prefetched = !demand;
            slot->reading = 1;
            slot->demand_parts = demand ? ~0 : 0;
            layer->slot_of[list[i]] = s;
            if (!demand) {
                experts->figures.prefetched_bytes += (uint64_t)layer->expert_bytes;
            }
        }
    }
    fill(experts, index, list, count, urgency);
    return room;
}

bool hypura_slots_warm(hypura_experts *experts, int32_t layer, int32_t expert) {
    if (experts->layers[layer].slot_of[expert] >= 0) {
        return true;
    }
    uint64_t before = experts->figures.prefetched_bytes;
    bool room = hypura_slots_read(experts, layer, &expert, 1, HYPURA_PREFETCH, 0); /* empty slots only */
    if (room) {
        experts->layers[layer].group->slot[experts->layers[layer].slot_of[expert]].prefetched = 0;
    }
    experts->figures.prefetched_bytes = before;
    experts->warming = 1;
    return room;
}

void hypura_slots_stop_warming(hypura_experts *experts) {
    bool warming = experts->warming != 0;
    experts->warming = 0;
    for (int32_t l = 0; l < experts->layer_count && warming; l++) {
        hypura_layer *layer = &experts->layers[l];
        for (int32_t e = 0; e < layer->experts; e++) {
            if (layer->slot_of[e] >= 0) {
                mark_unwanted(&layer->group->slot[layer->slot_of[e]], 1);
            }
        }
    }
    if (warming) {
        hypura_reader_drop_unwanted(experts->reader);
    }
    for (int32_t l = 0; l < experts->layer_count && warming; l++) {
        hypura_layer *layer = &experts->layers[l];
        for (int32_t e = 0; e < layer->experts; e++) {
            int32_t s = layer->slot_of[e];
            if (s >= 0) {
                mark_unwanted(&layer->group->slot[s], 0);
                if (chunks_dropped(&layer->group->slot[s]) > 0) {
                    hypura_slots_drop(experts, layer->group, s);
                }
            }
        }
    }
}

bool hypura_slots_resolve_prefetches(hypura_experts *experts, int32_t index) {
    hypura_layer *layer = &experts->layers[index];
    hypura_group *group = layer->group;
    bool any_used = false;
    for (int32_t s = 0; s < group->usable && layer->may_hold_prefetches > 0; s++) {
        hypura_slot *slot = &group->slot[s];
        if (slot->layer != index || !slot->prefetched) {
            continue;
        }
        bool used = slot->last_used == experts->clock, complete = true;
        any_used = any_used || used;
        for (int32_t p = 0; p < layer->weight_count && slot->reading; p++) {
            hypura_batch *batch = &slot->parts[p];
            if (!hypura_pending(batch)) {
                continue;
            }
            if (used) {
                hypura_reader_promote(experts->reader, batch);
            } else if (hypura_reader_cancel(experts->reader, batch) > 0) {
                complete = false;
                experts->figures.prefetched_bytes -= (uint64_t)layer->parts[p].slice_bytes;
            }
        }
        slot->prefetched = 0;
        if (used) {
            experts->figures.prefetched_used_bytes += (uint64_t)layer->expert_bytes;
        } else if (!complete) {
            hypura_slots_drop(experts, group, s);
        }
    }
    layer->may_hold_prefetches = 0;
    return any_used;
}

void hypura_slots_cancel_prefetch(hypura_experts *experts, int32_t index, int32_t expert) {
    hypura_layer *layer = &experts->layers[index];
    int32_t s = layer->slot_of[expert], cancelled = 0;
    hypura_slot *slot = s >= 0 ? &layer->group->slot[s] : NULL;
    for (int32_t p = 0; slot != NULL && slot->prefetched && slot->reading && p < layer->weight_count; p++) {
        if (hypura_reader_cancel(experts->reader, &slot->parts[p]) > 0) {
            experts->figures.prefetched_bytes -= (uint64_t)layer->parts[p].slice_bytes;
            cancelled++;
        }
    }
    if (cancelled > 0) {
        hypura_slots_drop(experts, layer->group, s);
    }
}

/* After a failure: empties the slots of chosen experts that could not be read. */
static void forget_failed(hypura_experts *experts, hypura_layer *layer) {
    for (int32_t i = 0; i < experts->chosen_count; i++) {
        int32_t s = layer->slot_of[experts->chosen[i]];
        for (int32_t p = 0; s >= 0 && p < layer->weight_count; p++) {
            hypura_reader_wait(experts->reader, &layer->group->slot[s].parts[p]);
        }
        if (s >= 0 && has_error(&layer->group->slot[s])) {
            hypura_slots_drop(experts, layer->group, s);
        }
    }
}

bool hypura_slots_pending(hypura_experts *experts, int32_t index, int32_t slot_index, int32_t part) {
    const hypura_layer *layer = &experts->layers[index];
    hypura_slot *slot = &layer->group->slot[slot_index];
    hypura_batch *batch = &slot->parts[part];
    if (hypura_pending(batch)) {
        return true;
    }
    if (batch->error == 0 || (slot->demand_parts >> part & 1) != 0) {
        return false;
    }
    *batch = (hypura_batch){0};
    slot->demand_parts |= 1 << part;
    slot->reading = 1;
    hypura_request again = request_of(&layer->parts[part], slot, slot_index, batch);
    hypura_reader_submit_each(experts->reader, &again, 1, HYPURA_DEMAND);
    return true;
}

bool hypura_slots_check(hypura_experts *experts, int32_t index, int32_t part) {
    hypura_layer *layer = &experts->layers[index];
    for (int32_t i = 0; i < experts->chosen_count; i++) {
        const hypura_slot *slot = &layer->group->slot[layer->slot_of[experts->chosen[i]]];
        const hypura_batch *batch = &slot->parts[part];
        if (!hypura_pending(batch) && batch->error != 0 && (slot->demand_parts >> part & 1) != 0) {
            experts->figures.failed = HYPURA_READ_FAILED;
            experts->figures.failed_layer = index;
            experts->figures.failed_expert = batch->failed_tag;
            experts->figures.error = batch->error;
            forget_failed(experts, layer);
            return false;
        }
    }
    return true;
}

bool hypura_slots_wait(hypura_experts *experts, int32_t index, int32_t part) {
    const hypura_layer *layer = &experts->layers[index];
    for (int32_t i = 0; i < experts->chosen_count; i++) {
        int32_t slot = layer->slot_of[experts->chosen[i]];
        while (hypura_slots_pending(experts, index, slot, part)) {
            hypura_reader_wait(experts->reader, &layer->group->slot[slot].parts[part]);
        }
    }
    return hypura_slots_check(experts, index, part);
}

bool hypura_slots_part_pending(hypura_experts *experts, int32_t index, int32_t part) {
    for (int32_t i = 0; i < experts->chosen_count; i++) {
        if (hypura_slots_pending(experts, index, experts->layers[index].slot_of[experts->chosen[i]], part)) {
            return true;
        }
    }
    return false;
}

bool hypura_slots_any_pending(hypura_experts *experts, int32_t index) {
    for (int32_t p = 0; p < experts->layers[index].weight_count; p++) {
        if (hypura_slots_part_pending(experts, index, p)) {
            return true;
        }
    }
    return false;
}
