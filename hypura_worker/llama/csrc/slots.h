/* Slots: memory for experts, and which experts are in it. See slots.c. */
#ifndef HYPURA_SLOTS_H
#define HYPURA_SLOTS_H

#include "ggml_mirror.h"
#include "reader.h"

#define HYPURA_MAX_WEIGHTS 4
#define HYPURA_MAX_PARTS 12

typedef struct hypura_experts hypura_experts;

/* One tensor's share of the experts of a layer. Weights are read from a file; what is small
 * and in memory already (biases, scales) is copied from rows. */
typedef struct {
    struct ggml_tensor *tensor;
    uint8_t *pool;        /* the group's memory for this component */
    int64_t stride_bytes; /* from slot to slot */
    int64_t shift_bytes;  /* from the start of a place to the slice */
    int64_t slice_bytes;
    int64_t offset_bytes; /* of expert 0 in the file */
    int64_t step_bytes;   /* reads start and end at multiples of this in the file */
    const uint8_t *rows;  /* NULL for weights */
    int32_t fd;
    int32_t bounce;
} hypura_part;

typedef struct {
    int32_t layer; /* -1: empty */
    int32_t expert;
    uint64_t last_used;   /* the visit that last used it; 0: none */
    int32_t prefetched;   /* read before the router chose it, and not chosen yet */
    int32_t reading;      /* a read of some part may still be under way */
    int32_t demand_parts; /* bits: parts that the visit which last used it began to read; only their errors count */
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

/* All of these are called on the engine's thread. */

void hypura_slots_drop(hypura_experts *experts, hypura_group *group, int32_t slot);
/* The slot of an expert whose bytes are in memory or being read; -1 if there is none. */
int32_t hypura_slots_find(hypura_experts *experts, int32_t layer, int32_t expert);
/* Reads these experts of the layer into slots, replacing experts that are worth less than limit: true if there was
 * room for all. */
bool hypura_slots_read(hypura_experts *experts, int32_t layer, const int32_t *missing, int32_t count,
                       hypura_urgency urgency, float limit);
/* Between passes: reads an expert into an empty slot while no request is waiting; false if none is empty. */
bool hypura_slots_warm(hypura_experts *experts, int32_t layer, int32_t expert);
void hypura_slots_stop_warming(hypura_experts *experts);
/* Empties the group's slots from this one on; waits for reads into them that cannot be cancelled. */
void hypura_slots_empty(hypura_experts *experts, hypura_group *group, int32_t from);
/* Once the layer has chosen: promotes the prefetches it chose to demand reads, and cancels the others as far as they
 * are still queued; true if it chose some of them. */
bool hypura_slots_resolve_prefetches(hypura_experts *experts, int32_t layer);
/* Cancels the prefetch of an expert, as far as it is still queued. */
void hypura_slots_cancel_prefetch(hypura_experts *experts, int32_t layer, int32_t expert);
/* Whether this part of the slot, which the current visit uses, is still being read. A part whose read was begun before
 * the visit and failed is read again: that error may be gone. */
bool hypura_slots_pending(hypura_experts *experts, int32_t layer, int32_t slot, int32_t part);
/* Whether this part of any chosen expert is still being read. */
bool hypura_slots_part_pending(hypura_experts *experts, int32_t layer, int32_t part);
/* Whether any part of a chosen expert is still being read. */
bool hypura_slots_any_pending(hypura_experts *experts, int32_t layer);
/* False, with the reason in the figures, if this part of a chosen expert could not be read. */
bool hypura_slots_check(hypura_experts *experts, int32_t layer, int32_t part);
/* Waits for this part of every chosen expert; false, with the reason in the figures, if one could not be read. */
bool hypura_slots_wait(hypura_experts *experts, int32_t layer, int32_t part);

#endif
