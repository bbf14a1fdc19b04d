/* Threads that read extents of files.
 *
 * Two queues of chunks, each first in, first out: demand reads, and prefetches, which are taken while no demand read is
 * queued. A thread takes a chunk, reads it whole (a system call may return less than requested), and counts it off its
 * batch. Callers wait for a batch. Nothing is ever written to the drive.
 */
#define _GNU_SOURCE
#include "reader.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BOUNCE_ALIGNMENT 65536
#define CHUNK_STEP 65536 /* chunks are multiples of it */
#define PIECE_NS 500000u   /* prefetches are cut in halves where a chunk takes longer … */
#define RATED_NS 50000000u /* … measured over so much reading */

typedef struct {
    hypura_read read;
    hypura_batch *batch;
} job;

typedef struct {
    job *jobs; /* a ring that grows */
    int64_t capacity, head, count;
} queue;

struct hypura_reader {
    pthread_mutex_t lock;
    pthread_cond_t work;
    pthread_cond_t done;
    queue queues[HYPURA_URGENCIES];
    int64_t chunk_bytes;
    bool ending;
    int32_t threads;
    int32_t idle;         /* threads that wait for work */
    int32_t waiting;      /* callers of hypura_reader_wait … */
    hypura_batch *awaited; /* … and the batch of the last caller; NULL: not known */
    int32_t active;       /* chunks being read */
    pthread_t *ids;
    hypura_reader_figures figures;
    uint64_t busy_since_ns;
    uint64_t rated_bytes, rated_ns; /* of the figures, when the drive's speed was last measured … */
    bool fast_drive;            /* … and a chunk took less than PIECE_NS */
    int32_t delay_ms;      /* for tests: each read is this late */
};

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static job *at(const queue *q, int64_t index) {
    return &q->jobs[(q->head + index) % q->capacity];
}

/* False when there is no memory for the queue. */
static bool put(queue *q, const job *next) {
    if (q->count == q->capacity) {
        int64_t capacity = q->capacity ? 2 * q->capacity : 1024;
        job *grown = malloc((size_t)capacity * sizeof(*grown));
        if (grown == NULL) {
            return false;
        }
        for (int64_t i = 0; i < q->count; i++) {
            grown[i] = *at(q, i);
        }
        free(q->jobs);
        *q = (queue){grown, capacity, 0, q->count};
    }
    *at(q, q->count++) = *next;
    return true;
}

/* With the lock held: the next chunk to read, if this thread may take one. */
static bool take(hypura_reader *reader, job *next) {
    for (int32_t u = HYPURA_DEMAND; u < HYPURA_URGENCIES; u++) {
        queue *q = &reader->queues[u];
        if (q->count > 0) {
            *next = *at(q, 0);
            q->head = (q->head + 1) % q->capacity;
            q->count--;
            return true;
        }
    }
    return false;
}

/* 0, an errno, or -1 when the file ended before required_bytes. */
static int32_t read_whole(const hypura_read *read, uint8_t *dest, uint64_t *bytes) {
    int64_t got = 0;
    while (got < read->required_bytes) {
        ssize_t n = pread(read->fd, dest + got, (size_t)(read->length_bytes - got), read->offset + got);
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return errno;
        }
        if (n == 0) {
            return -1;
        }
        got += n;
        *bytes += (uint64_t)n;
    }
    return 0;
}

static int32_t run(const hypura_read *read, uint8_t *bounce, uint64_t *bytes) {
    if (read->copy_dest == NULL) {
        return read_whole(read, read->dest, bytes);
    }
    if (bounce == NULL) {
        return ENOMEM;
    }
    int32_t error = read_whole(read, bounce, bytes);
    if (error == 0) {
        memcpy(read->copy_dest, bounce + read->skip_bytes, (size_t)read->copy_bytes);
    }
    return error;
}

/* With the lock held: so many chunks of the batch are done. Callers that wait for another batch are left asleep:
 * waking them takes processor time from computing. */
static void finish(hypura_reader *reader, hypura_batch *batch, int32_t chunks) {
    __atomic_store_n(&batch->pending, batch->pending - chunks, __ATOMIC_RELEASE);
    bool elsewhere = reader->waiting == 0 || (reader->waiting == 1 && reader->awaited != NULL && reader->awaited != batch);
    if (batch->pending == 0 && !elsewhere) {
        pthread_cond_broadcast(&reader->done);
    }
}

/* With the lock held: how many threads to wake for new chunks. */
static int32_t idle_for(const hypura_reader *reader, int64_t chunks) {
    return chunks < reader->idle ? (int32_t)chunks : reader->idle;
}

/* Better without the lock: a thread that is woken needs it at once. */
static void wake(hypura_reader *reader, int32_t threads) {
    for (int32_t i = 0; i < threads; i++) {
        pthread_cond_signal(&reader->work);
    }
}

/* With the lock held: measures the drive's speed now and then. */
static void measure_speed(hypura_reader *reader) {
    uint64_t ns = reader->figures.busy_ns - reader->rated_ns, bytes = reader->figures.bytes - reader->rated_bytes;
    if (ns >= RATED_NS) {
        reader->fast_drive = (double)reader->chunk_bytes * (double)ns < (double)bytes * PIECE_NS;
        reader->rated_ns += ns;
        reader->rated_bytes += bytes;
    }
}

/* With the lock held, before (change 1) or after (-1) a thread reads a chunk. */
static void count_active(hypura_reader *reader, int32_t change) {
    if (reader->active == 0) {
        reader->busy_since_ns = now_ns();
    }
    reader->active += change;
    if (reader->active == 0) {
        reader->figures.busy_ns += now_ns() - reader->busy_since_ns;
        measure_speed(reader);
    }
}

static void *work(void *argument) {
    hypura_reader *reader = argument;
    uint8_t *bounce = NULL;
    pthread_mutex_lock(&reader->lock);
    for (;;) {
        job next;
        bool taken = false;
        while (!reader->ending && !(taken = take(reader, &next))) {
            reader->idle++;
            pthread_cond_wait(&reader->work, &reader->lock);
            reader->idle--;
        }
        if (!taken) {
            break;
        }
        count_active(reader, 1);
        int32_t delay_ms = reader->delay_ms;
        pthread_mutex_unlock(&reader->lock);

        if (delay_ms > 0) {
            struct timespec pause = {delay_ms / 1000, (delay_ms % 1000) * 1000000L};
            nanosleep(&pause, NULL);
        }
        if (next.read.copy_dest != NULL && bounce == NULL) {
            size_t size = (size_t)reader->chunk_bytes + 2 * BOUNCE_ALIGNMENT;
            if (posix_memalign((void **)&bounce, BOUNCE_ALIGNMENT, size) != 0) {
                bounce = NULL;
            }
        }
        uint64_t bytes = 0;
        int32_t error = run(&next.read, bounce, &bytes);

        pthread_mutex_lock(&reader->lock);
        reader->figures.bytes += bytes;
        count_active(reader, -1);
        if (error != 0 && next.batch->error == 0) {
            next.batch->error = error;
            next.batch->failed_tag = next.read.tag;
        }
        finish(reader, next.batch, 1);
    }
    pthread_mutex_unlock(&reader->lock);
    free(bounce);
    return NULL;
}

HYPURA_API hypura_reader *hypura_reader_new(int32_t threads, int64_t chunk_bytes) {
    hypura_reader *reader = calloc(1, sizeof(*reader));
    if (reader == NULL) {
        return NULL;
    }
    reader->chunk_bytes = chunk_bytes;
    reader->ids = calloc((size_t)threads, sizeof(pthread_t));
    if (reader->ids == NULL) {
        free(reader);
        return NULL;
    }
    pthread_mutex_init(&reader->lock, NULL);
    pthread_cond_init(&reader->work, NULL);
    pthread_cond_init(&reader->done, NULL);
    while (reader->threads < threads && pthread_create(&reader->ids[reader->threads], NULL, work, reader) == 0) {
        reader->threads++;
    }
    return reader;
}

HYPURA_API int32_t hypura_reader_threads(const hypura_reader *reader) {
    return reader->threads;
}

/* Prefetches are read in halves of a chunk: demand reads then wait less for those under way, and more of a wrong
 * prefetch can be cancelled. Where a whole chunk takes hardly any time, the processor time of two reads costs more. */
static int64_t chunk_of(const hypura_reader *reader, hypura_urgency urgency) {
    int64_t half = reader->chunk_bytes / 2 / CHUNK_STEP * CHUNK_STEP;
    return urgency == HYPURA_PREFETCH && half > 0 && !reader->fast_drive ? half : reader->chunk_bytes;
}

/* With the lock held: splits a read into chunks. A bounced read is cut so that the pieces it copies join. */
static void queue_read(hypura_reader *reader, const hypura_read *read, hypura_batch *batch, hypura_urgency urgency) {
    queue *q = &reader->queues[urgency];
    int64_t before = q->count, most = chunk_of(reader, urgency);
    hypura_read rest = *read;
    bool queued = true;
    while (queued && rest.length_bytes > most) {
        hypura_read chunk = rest;
        chunk.length_bytes = most;
        if (chunk.required_bytes > most) {
            chunk.required_bytes = most;
        }
        if (chunk.copy_dest != NULL && chunk.copy_bytes > most - chunk.skip_bytes) {
            chunk.copy_bytes = most - chunk.skip_bytes;
        }
        queued = put(q, &(job){chunk, batch});
        rest.offset += most;
        rest.length_bytes -= most;
        rest.required_bytes -= chunk.required_bytes;
        if (rest.copy_dest != NULL) {
            rest.copy_dest += chunk.copy_bytes;
            rest.copy_bytes -= chunk.copy_bytes;
            rest.skip_bytes = 0;
        } else {
            rest.dest += most;
        }
    }
    if (queued && rest.required_bytes > 0) {
        queued = put(q, &(job){rest, batch});
    }
    if (!queued && batch->error == 0) {
        batch->error = ENOMEM;
        batch->failed_tag = read->tag;
    }
    __atomic_store_n(&batch->pending, batch->pending + (int32_t)(q->count - before), __ATOMIC_RELEASE);
}

void hypura_reader_submit_each(hypura_reader *reader, const hypura_request *requests, int32_t count,
                               hypura_urgency urgency) {
    pthread_mutex_lock(&reader->lock);
    int64_t before = reader->queues[urgency].count;
    for (int32_t i = 0; i < count; i++) {
        queue_read(reader, &requests[i].read, requests[i].batch, urgency);
    }
    int32_t threads = idle_for(reader, reader->queues[urgency].count - before);
    pthread_mutex_unlock(&reader->lock);
    wake(reader, threads);
}

HYPURA_API void hypura_reader_submit(hypura_reader *reader, const hypura_read *reads, int32_t count,
                                     hypura_batch *batch) {
    for (int32_t i = 0; i < count; i++) {
        hypura_reader_submit_each(reader, &(hypura_request){reads[i], batch}, 1, HYPURA_DEMAND);
    }
}

void hypura_reader_promote(hypura_reader *reader, hypura_batch *batch) {
    pthread_mutex_lock(&reader->lock);
    queue *q = &reader->queues[HYPURA_PREFETCH];
    int64_t kept = 0;
    for (int64_t i = 0; i < q->count; i++) {
        job next = *at(q, i);
        if (next.batch != batch || !put(&reader->queues[HYPURA_DEMAND], &next)) {
            *at(q, kept++) = next;
        }
    }
    int32_t threads = idle_for(reader, q->count - kept);
    q->count = kept;
    pthread_mutex_unlock(&reader->lock);
    wake(reader, threads);
}

void hypura_reader_drop_unwanted(hypura_reader *reader) {
    pthread_mutex_lock(&reader->lock);
    queue *q = &reader->queues[HYPURA_PREFETCH];
    int64_t kept = 0;
    for (int64_t i = 0; i < q->count; i++) {
        job next = *at(q, i);
        if (next.batch->unwanted) {
            next.batch->dropped++;
            finish(reader, next.batch, 1);
        } else {
            *at(q, kept++) = next;
        }
    }
    q->count = kept;
    pthread_mutex_unlock(&reader->lock);
}

int32_t hypura_reader_cancel(hypura_reader *reader, hypura_batch *batch) {
    batch->unwanted = 1;
    batch->dropped = 0;
    hypura_reader_drop_unwanted(reader);
    batch->unwanted = 0;
    return batch->dropped;
}

/* Blocks until every read of the batch has ended; returns its error. */
HYPURA_API int32_t hypura_reader_wait(hypura_reader *reader, hypura_batch *batch) {
    pthread_mutex_lock(&reader->lock);
    if (batch->pending > 0) {
        uint64_t start = now_ns();
        reader->waiting++;
        reader->awaited = batch;
        while (batch->pending > 0) {
            pthread_cond_wait(&reader->done, &reader->lock);
        }
        reader->waiting--;
        reader->awaited = NULL;
        reader->figures.wait_ns += now_ns() - start;
    }
    int32_t error = batch->error;
    pthread_mutex_unlock(&reader->lock);
    return error;
}

HYPURA_API void hypura_reader_read_figures(hypura_reader *reader, hypura_reader_figures *figures) {
    pthread_mutex_lock(&reader->lock);
    *figures = reader->figures;
    figures->busy_ns += reader->active > 0 ? now_ns() - reader->busy_since_ns : 0;
    pthread_mutex_unlock(&reader->lock);
}

HYPURA_API void hypura_reader_delay(hypura_reader *reader, int32_t milliseconds) {
    pthread_mutex_lock(&reader->lock);
    reader->delay_ms = milliseconds;
    pthread_mutex_unlock(&reader->lock);
}

/* Drops reads that were not begun, and waits for those under way. */
HYPURA_API void hypura_reader_free(hypura_reader *reader) {
    pthread_mutex_lock(&reader->lock);
    reader->ending = true;
    pthread_cond_broadcast(&reader->work);
    pthread_mutex_unlock(&reader->lock);
    for (int32_t i = 0; i < reader->threads; i++) {
        pthread_join(reader->ids[i], NULL);
    }
    pthread_cond_destroy(&reader->work);
    pthread_cond_destroy(&reader->done);
    pthread_mutex_destroy(&reader->lock);
    for (int32_t u = 0; u < HYPURA_URGENCIES; u++) {
        free(reader->queues[u].jobs);
    }
    free(reader->ids);
    free(reader);
}
