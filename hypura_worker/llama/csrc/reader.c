/* Threads that read extents of files.
 *
 * One queue, first come first served, of chunks; each thread takes one, reads it whole
 * (a read may return less than it was asked for), and counts it off its batch. Waiting
 * is for a batch. Reads never write to the drive.
 */
#define _GNU_SOURCE
#include "hook.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BOUNCE_ALIGNMENT 65536

typedef struct {
    hypura_read read;
    hypura_batch *batch;
} job;

struct hypura_reader {
    pthread_mutex_t lock;
    pthread_cond_t work;
    pthread_cond_t done;
    job *jobs; /* a ring that grows */
    int64_t capacity, head, count;
    int64_t chunk_bytes;
    bool ending;
    int32_t threads;
    pthread_t *ids;
    uint64_t bytes;        /* read so far */
    uint64_t wait_ns;      /* spent in hypura_reader_wait */
    int32_t delay_ms;      /* for tests: each read is this late */
};

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
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

static void *work(void *argument) {
    hypura_reader *reader = argument;
    uint8_t *bounce = NULL;
    pthread_mutex_lock(&reader->lock);
    for (;;) {
        while (reader->count == 0 && !reader->ending) {
            pthread_cond_wait(&reader->work, &reader->lock);
        }
        if (reader->ending) {
            break;
        }
        job next = reader->jobs[reader->head];
        reader->head = (reader->head + 1) % reader->capacity;
        reader->count--;
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
        reader->bytes += bytes;
        if (error != 0 && next.batch->error == 0) {
            next.batch->error = error;
            next.batch->failed_tag = next.read.tag;
        }
        if (--next.batch->pending == 0) {
            pthread_cond_broadcast(&reader->done);
        }
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

/* With the lock held. False when there is no memory for the queue. */
static bool push(hypura_reader *reader, const hypura_read *read, hypura_batch *batch) {
    if (reader->count == reader->capacity) {
        int64_t capacity = reader->capacity ? 2 * reader->capacity : 1024;
        job *grown = malloc((size_t)capacity * sizeof(*grown));
        if (grown == NULL) {
            return false;
        }
        for (int64_t i = 0; i < reader->count; i++) {
            grown[i] = reader->jobs[(reader->head + i) % reader->capacity];
        }
        free(reader->jobs);
        reader->jobs = grown;
        reader->head = 0;
        reader->capacity = capacity;
    }
    reader->jobs[(reader->head + reader->count) % reader->capacity] = (job){*read, batch};
    reader->count++;
    batch->pending++;
    return true;
}

/* Splits each read into chunks. A bounced read is cut so that the pieces it copies join. */
HYPURA_API void hypura_reader_submit(hypura_reader *reader, const hypura_read *reads, int32_t count,
                                     hypura_batch *batch) {
    pthread_mutex_lock(&reader->lock);
    for (int32_t i = 0; i < count; i++) {
        hypura_read rest = reads[i];
        bool queued = true;
        while (queued && rest.length_bytes > reader->chunk_bytes) {
            hypura_read chunk = rest;
            chunk.length_bytes = reader->chunk_bytes;
            if (chunk.required_bytes > reader->chunk_bytes) {
                chunk.required_bytes = reader->chunk_bytes;
            }
            if (chunk.copy_dest != NULL && chunk.copy_bytes > reader->chunk_bytes - chunk.skip_bytes) {
                chunk.copy_bytes = reader->chunk_bytes - chunk.skip_bytes;
            }
            queued = push(reader, &chunk, batch);
            rest.offset += reader->chunk_bytes;
            rest.length_bytes -= reader->chunk_bytes;
            rest.required_bytes -= chunk.required_bytes;
            if (rest.copy_dest != NULL) {
                rest.copy_dest += chunk.copy_bytes;
                rest.copy_bytes -= chunk.copy_bytes;
                rest.skip_bytes = 0;
            } else {
                rest.dest += reader->chunk_bytes;
            }
        }
        if (queued && rest.required_bytes > 0) {
            queued = push(reader, &rest, batch);
        }
        if (!queued && batch->error == 0) {
            batch->error = ENOMEM;
            batch->failed_tag = reads[i].tag;
        }
    }
    pthread_cond_broadcast(&reader->work);
    pthread_mutex_unlock(&reader->lock);
}

/* Blocks until every read of the batch has ended; returns its error. */
HYPURA_API int32_t hypura_reader_wait(hypura_reader *reader, hypura_batch *batch) {
    pthread_mutex_lock(&reader->lock);
    if (batch->pending > 0) {
        uint64_t start = now_ns();
        while (batch->pending > 0) {
            pthread_cond_wait(&reader->done, &reader->lock);
        }
        reader->wait_ns += now_ns() - start;
    }
    int32_t error = batch->error;
    pthread_mutex_unlock(&reader->lock);
    return error;
}

HYPURA_API void hypura_reader_counters(hypura_reader *reader, uint64_t *bytes, uint64_t *wait_ns) {
    pthread_mutex_lock(&reader->lock);
    *bytes = reader->bytes;
    *wait_ns = reader->wait_ns;
    pthread_mutex_unlock(&reader->lock);
}

HYPURA_API void hypura_reader_delay(hypura_reader *reader, int32_t milliseconds) {
    pthread_mutex_lock(&reader->lock);
    reader->delay_ms = milliseconds;
    pthread_mutex_unlock(&reader->lock);
}

/* Reads that were not begun are dropped; those under way are waited for. */
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
    free(reader->jobs);
    free(reader->ids);
    free(reader);
}
