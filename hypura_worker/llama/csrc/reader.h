/* Threads that read extents of files. They know neither ggml nor slots. See reader.c. */
#ifndef HYPURA_READER_H
#define HYPURA_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "attributes.h"

/* One extent. It lands at dest, or, when copy_dest is set, passes through a bounce
 * buffer of the reading thread, and bytes [skip, skip + copy_bytes) of it land there. */
typedef struct {
    int32_t fd;
    int32_t tag;            /* the caller's; reported when the read fails */
    int64_t offset;         /* in the file */
    int64_t length_bytes;   /* requested; may pass the end of the file */
    int64_t required_bytes; /* fewer is a failure */
    uint8_t *dest;
    uint8_t *copy_dest;
    int64_t skip_bytes;
    int64_t copy_bytes;
} hypura_read;

/* Reads that are waited for together. Zeroed by the caller; must outlive its reads. */
typedef struct {
    int32_t pending; /* written under the reader's lock; 0 is seen without it */
    int32_t error;   /* errno of the first failure; -1: the file ended early; 0: none */
    int32_t failed_tag;
    int32_t unwanted; /* see hypura_reader_drop_unwanted */
    int32_t dropped;  /* chunks that it took out of the queue */
} hypura_batch;

typedef struct {
    hypura_read read;
    hypura_batch *batch;
} hypura_request;

/* Demand reads come first; prefetches are read only while there are none, and can be cancelled. */
typedef enum { HYPURA_DEMAND, HYPURA_PREFETCH, HYPURA_URGENCIES } hypura_urgency;

typedef struct hypura_reader hypura_reader;

typedef struct {
    uint64_t bytes;       /* read since the start */
    uint64_t wait_ns;     /* spent waiting for reads */
    uint64_t busy_ns;     /* with at least one read under way */
} hypura_reader_figures;

/* Queues reads, each of a batch of its own. */
void hypura_reader_submit_each(hypura_reader *reader, const hypura_request *requests, int32_t count,
                               hypura_urgency urgency);
/* Makes demand reads of what is still queued of a prefetch. */
void hypura_reader_promote(hypura_reader *reader, hypura_batch *batch);
/* Drops what is still queued of the prefetches that are marked unwanted, in one walk of the queue, and counts it in
 * each; chunks that a thread has taken are read all the same. The caller sets the marks and takes them off. */
void hypura_reader_drop_unwanted(hypura_reader *reader);
/* The same for one batch; returns how many chunks were dropped. */
int32_t hypura_reader_cancel(hypura_reader *reader, hypura_batch *batch);
int32_t hypura_reader_wait(hypura_reader *reader, hypura_batch *batch);
void hypura_reader_read_figures(hypura_reader *reader, hypura_reader_figures *figures);

static inline bool hypura_pending(const hypura_batch *batch) {
    return __atomic_load_n(&batch->pending, __ATOMIC_ACQUIRE) != 0;
}

#endif
