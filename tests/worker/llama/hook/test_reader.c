/* reader.c: chunks, the order of demand reads and prefetches, promoting, cancelling, errors. */
#include "gated_drive.h"

#define CHUNK 131072 /* two steps, so that a prefetch is read in halves */
#define HALF (CHUNK / 2)

enum { FIRST = 10, A, B, C };

static uint8_t memory[4][4 * CHUNK];

static uint8_t *memory_of(int fd) {
    return memory[fd - FIRST];
}

static hypura_request request_of_file(int fd, int64_t length, hypura_batch *batch) {
    memset(batch, 0, sizeof(*batch));
    hypura_read read = {
        .fd = fd, .tag = fd, .length_bytes = length, .required_bytes = length, .dest = memory_of(fd)};
    memset(memory_of(fd), 0, sizeof(memory[0]));
    return (hypura_request){read, batch};
}

static void submit(hypura_reader *reader, int fd, int64_t length, hypura_batch *batch, hypura_urgency urgency) {
    hypura_request request = request_of_file(fd, length, batch);
    hypura_reader_submit_each(reader, &request, 1, urgency);
}

/* One thread, which is at the gate with the first chunk of a demand read: everything else is queued. */
static hypura_reader *busy_reader(hypura_batch *first) {
    drive_reset(false);
    hypura_reader *reader = hypura_reader_new(1, CHUNK);
    CHECK(reader != NULL);
    submit(reader, FIRST, CHUNK, first, HYPURA_DEMAND);
    drive_wait_for_readers(1);
    return reader;
}

static void a_read_is_split_into_chunks_and_lands_whole(void) {
    drive_reset(true);
    hypura_reader *reader = hypura_reader_new(3, CHUNK);
    hypura_batch batch;
    submit(reader, A, 3 * CHUNK + 5, &batch, HYPURA_DEMAND);
    CHECK_EQUAL(hypura_reader_wait(reader, &batch), 0);
    CHECK_EQUAL(drive_count(), 4);
    CHECK(drive_holds(memory_of(A), A, 0, 3 * CHUNK + 5));
    CHECK_EQUAL(memory_of(A)[3 * CHUNK + 5], 0);
    hypura_reader_figures figures;
    hypura_reader_read_figures(reader, &figures);
    CHECK_EQUAL(figures.bytes, 3 * CHUNK + 5);
    hypura_reader_free(reader);
}

static void a_bounced_read_copies_its_middle(void) {
    drive_reset(true);
    hypura_reader *reader = hypura_reader_new(2, CHUNK);
    hypura_batch batch = {0};
    memset(memory_of(B), 0, sizeof(memory[0]));
    hypura_read read = {.fd = B, .offset = 512, .length_bytes = 3 * CHUNK, .required_bytes = 2 * CHUNK + 1000,
                        .copy_dest = memory_of(B), .skip_bytes = 100, .copy_bytes = 2 * CHUNK + 900};
    hypura_reader_submit(reader, &read, 1, &batch);
    CHECK_EQUAL(hypura_reader_wait(reader, &batch), 0);
    CHECK(drive_holds(memory_of(B), B, 612, 2 * CHUNK + 900));
    CHECK_EQUAL(memory_of(B)[2 * CHUNK + 900], 0);
    hypura_reader_free(reader);
}

static void demand_reads_pass_prefetches(void) {
    hypura_batch first, prefetch, demand;
    hypura_reader *reader = busy_reader(&first);
    submit(reader, A, HALF, &prefetch, HYPURA_PREFETCH);
    submit(reader, B, CHUNK, &demand, HYPURA_DEMAND);
    drive_open();
    CHECK_EQUAL(hypura_reader_wait(reader, &prefetch), 0);
    CHECK_EQUAL(drive_file(1), B);
    CHECK_EQUAL(drive_file(2), A);
    hypura_reader_free(reader);
}

static void a_promoted_prefetch_is_read_first(void) {
    hypura_batch first, before, promoted, after;
    hypura_reader *reader = busy_reader(&first);
    submit(reader, A, HALF, &before, HYPURA_PREFETCH);
    submit(reader, B, CHUNK, &promoted, HYPURA_PREFETCH);
    submit(reader, C, HALF, &after, HYPURA_PREFETCH);
    hypura_reader_promote(reader, &promoted);
    CHECK_EQUAL(promoted.pending, 2);
    drive_open();
    CHECK_EQUAL(hypura_reader_wait(reader, &before), 0);
    CHECK_EQUAL(hypura_reader_wait(reader, &promoted), 0);
    CHECK_EQUAL(hypura_reader_wait(reader, &after), 0);
    int order[] = {FIRST, B, B, A, C};
    for (int32_t i = 0; i < 5; i++) {
        CHECK_EQUAL(drive_file(i), order[i]);
    }
    CHECK(drive_holds(memory_of(B), B, 0, CHUNK));
    hypura_reader_free(reader);
}

static void promoting_what_is_read_already_changes_nothing(void) {
    drive_reset(true);
    hypura_reader *reader = hypura_reader_new(1, CHUNK);
    hypura_batch batch;
    submit(reader, A, HALF, &batch, HYPURA_PREFETCH);
    CHECK_EQUAL(hypura_reader_wait(reader, &batch), 0);
    hypura_reader_promote(reader, &batch);
    CHECK_EQUAL(batch.pending, 0);
    CHECK_EQUAL(hypura_reader_wait(reader, &batch), 0);
    CHECK_EQUAL(drive_count(), 1);
    hypura_reader_free(reader);
}

static void a_cancelled_prefetch_is_never_read(void) {
    hypura_batch first, cancelled, kept;
    hypura_reader *reader = busy_reader(&first);
    submit(reader, A, 2 * CHUNK, &cancelled, HYPURA_PREFETCH);
    submit(reader, B, HALF, &kept, HYPURA_PREFETCH);
    CHECK_EQUAL(hypura_reader_cancel(reader, &cancelled), 4);
    CHECK_EQUAL(cancelled.unwanted, 0);
    CHECK(!hypura_pending(&cancelled));
    CHECK_EQUAL(hypura_reader_wait(reader, &cancelled), 0); /* at once, the gate is closed */
    drive_open();
    CHECK_EQUAL(hypura_reader_wait(reader, &kept), 0);
    CHECK_EQUAL(drive_reads_of(A), 0);
    CHECK(drive_holds(memory_of(B), B, 0, HALF));
    CHECK_EQUAL(memory_of(A)[0], 0);
    hypura_reader_free(reader);
}

static void cancelling_leaves_the_chunk_under_way(void) {
    drive_reset(false);
    hypura_reader *reader = hypura_reader_new(1, CHUNK);
    hypura_batch batch;
    submit(reader, A, 2 * CHUNK, &batch, HYPURA_PREFETCH);
    drive_wait_for_readers(1);
    CHECK_EQUAL(hypura_reader_cancel(reader, &batch), 3);
    CHECK(hypura_pending(&batch));
    drive_open();
    CHECK_EQUAL(hypura_reader_wait(reader, &batch), 0);
    CHECK_EQUAL(drive_reads_of(A), 1);
    CHECK(drive_holds(memory_of(A), A, 0, HALF));
    CHECK_EQUAL(memory_of(A)[HALF], 0);
    hypura_reader_free(reader);
}

static void demand_reads_cannot_be_cancelled(void) {
    hypura_batch first, demand, promoted;
    hypura_reader *reader = busy_reader(&first);
    submit(reader, A, CHUNK, &demand, HYPURA_DEMAND);
    submit(reader, B, CHUNK, &promoted, HYPURA_PREFETCH);
    hypura_reader_promote(reader, &promoted);
    CHECK_EQUAL(hypura_reader_cancel(reader, &demand), 0);
    CHECK_EQUAL(hypura_reader_cancel(reader, &promoted), 0);
    drive_open();
    CHECK_EQUAL(hypura_reader_wait(reader, &demand), 0);
    CHECK_EQUAL(hypura_reader_wait(reader, &promoted), 0);
    CHECK_EQUAL(drive_reads_of(A), 1);
    CHECK_EQUAL(drive_reads_of(B), 2);
    hypura_reader_free(reader);
}

static void marked_batches_are_dropped_in_one_walk(void) {
    hypura_batch first, batches[3];
    hypura_reader *reader = busy_reader(&first);
    for (int32_t i = 0; i < 3; i++) {
        submit(reader, A + i, CHUNK, &batches[i], HYPURA_PREFETCH);
    }
    batches[0].unwanted = batches[2].unwanted = 1;
    hypura_reader_drop_unwanted(reader);
    CHECK_EQUAL(batches[0].dropped, 2);
    CHECK_EQUAL(batches[1].dropped, 0);
    CHECK_EQUAL(batches[2].dropped, 2);
    drive_open();
    CHECK_EQUAL(hypura_reader_wait(reader, &batches[1]), 0);
    CHECK_EQUAL(drive_reads_of(A) + drive_reads_of(C), 0);
    CHECK_EQUAL(drive_reads_of(B), 2);
    hypura_reader_free(reader);
}

struct waiter {
    hypura_reader *reader;
    hypura_batch *batch;
    int32_t error;
};

static void *wait_for_batch(void *argument) {
    struct waiter *waiter = argument;
    waiter->error = hypura_reader_wait(waiter->reader, waiter->batch);
    return NULL;
}

static void cancelling_wakes_a_thread_that_waits_for_the_batch(void) {
    hypura_batch first, batch;
    hypura_reader *reader = busy_reader(&first);
    submit(reader, A, CHUNK, &batch, HYPURA_PREFETCH);
    struct waiter waiter = {reader, &batch, -1};
    pthread_t thread;
    CHECK_EQUAL(pthread_create(&thread, NULL, wait_for_batch, &waiter), 0);
    reader_wait_for_callers(reader, 1);
    CHECK_EQUAL(hypura_reader_cancel(reader, &batch), 2);
    CHECK_EQUAL(pthread_join(thread, NULL), 0); /* the gate is still closed */
    CHECK_EQUAL(waiter.error, 0);
    drive_open();
    hypura_reader_free(reader);
}

static void an_error_is_the_batch_s_own(void) {
    drive_reset(true);
    drive_fail(A, EIO);
    hypura_reader *reader = hypura_reader_new(2, CHUNK);
    hypura_batch failed, whole;
    submit(reader, A, 2 * CHUNK, &failed, HYPURA_DEMAND);
    submit(reader, B, 2 * CHUNK, &whole, HYPURA_DEMAND);
    CHECK_EQUAL(hypura_reader_wait(reader, &failed), EIO);
    CHECK_EQUAL(failed.failed_tag, A);
    CHECK_EQUAL(hypura_reader_wait(reader, &whole), 0);
    hypura_reader_free(reader);
}

static void a_file_that_ends_early_is_an_error(void) {
    drive_reset(true);
    drive.file_bytes = CHUNK + 100;
    hypura_reader *reader = hypura_reader_new(2, CHUNK);
    hypura_batch batch;
    submit(reader, A, CHUNK + 101, &batch, HYPURA_DEMAND);
    CHECK_EQUAL(hypura_reader_wait(reader, &batch), -1);
    memset(&batch, 0, sizeof(batch));
    hypura_read read = {
        .fd = A, .length_bytes = 2 * CHUNK, .required_bytes = CHUNK + 100, .dest = memory_of(A)}; /* rounded up */
    hypura_reader_submit(reader, &read, 1, &batch);
    CHECK_EQUAL(hypura_reader_wait(reader, &batch), 0);
    CHECK(drive_holds(memory_of(A), A, 0, CHUNK + 100));
    hypura_reader_free(reader);
}

static void freeing_drops_what_is_queued(void) {
    hypura_batch first, queued;
    hypura_reader *reader = busy_reader(&first);
    submit(reader, A, 2 * CHUNK, &queued, HYPURA_PREFETCH);
    pthread_mutex_lock(&reader->lock);
    reader->ending = true; /* as hypura_reader_free does, which waits for the thread at the gate */
    pthread_mutex_unlock(&reader->lock);
    drive_open();
    hypura_reader_free(reader);
    CHECK_EQUAL(drive_reads_of(A), 0);
    CHECK_EQUAL(drive_reads_of(FIRST), 1);
}

static void many_batches_from_two_callers(void) {
    drive_reset(true);
    enum { BATCHES = 64 };
    static uint8_t place[BATCHES][4096];
    hypura_batch batches[BATCHES] = {{0}};
    hypura_reader *reader = hypura_reader_new(4, CHUNK);
    for (int32_t i = 0; i < BATCHES; i++) {
        hypura_read read = {.fd = FIRST, .offset = i * 4096, .length_bytes = 4096, .required_bytes = 4096, .dest = place[i]};
        hypura_request request = {read, &batches[i]};
        hypura_reader_submit_each(reader, &request, 1, i % 3 ? HYPURA_PREFETCH : HYPURA_DEMAND);
    }
    struct waiter waiter = {reader, &batches[1], -1};
    pthread_t thread;
    CHECK_EQUAL(pthread_create(&thread, NULL, wait_for_batch, &waiter), 0);
    for (int32_t i = BATCHES - 1; i >= 0; i--) {
        if (i % 5 == 2) {
            hypura_reader_promote(reader, &batches[i]);
        }
        CHECK_EQUAL(hypura_reader_wait(reader, &batches[i]), 0);
        CHECK(drive_holds(place[i], FIRST, i * 4096, 4096));
    }
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
    CHECK_EQUAL(waiter.error, 0);
    hypura_reader_free(reader);
}

int main(void) {
    RUN(a_read_is_split_into_chunks_and_lands_whole);
    RUN(a_bounced_read_copies_its_middle);
    RUN(demand_reads_pass_prefetches);
    RUN(a_promoted_prefetch_is_read_first);
    RUN(promoting_what_is_read_already_changes_nothing);
    RUN(a_cancelled_prefetch_is_never_read);
    RUN(cancelling_leaves_the_chunk_under_way);
    RUN(cancelling_wakes_a_thread_that_waits_for_the_batch);
    RUN(demand_reads_cannot_be_cancelled);
    RUN(marked_batches_are_dropped_in_one_walk);
    RUN(an_error_is_the_batch_s_own);
    RUN(a_file_that_ends_early_is_an_error);
    RUN(freeing_drops_what_is_queued);
    RUN(many_batches_from_two_callers);
    return 0;
}
