/* reader.c on a drive that the test controls: every read waits at a gate until the test lets it through.
 *
 * Byte i of file f is pattern_of(f, i). Reads are logged in the order in which they pass the gate, so that a test sees
 * the order of reads without measuring time. Included once per test program, before anything else.
 */
#ifndef GATED_DRIVE_H
#define GATED_DRIVE_H

#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

#define DRIVE_LOG 4096

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;          /* reads pass */
    int32_t waiting;    /* reads at the gate */
    int32_t count;      /* reads that passed … */
    struct {
        int fd;
        int64_t offset, length;
    } log[DRIVE_LOG];   /* … in order */
    int failing_fd;     /* reads of this file fail … */
    int error;          /* … with this errno; 0: none fails */
    int64_t file_bytes; /* where every file ends */
} drive = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, true, 0, 0, {{0, 0, 0}}, -1, 0, INT64_MAX};

static uint8_t pattern_of(int fd, int64_t offset) {
    return (uint8_t)(fd * 31 + offset * 7 + offset / 251);
}

static ssize_t drive_pread(int fd, void *buffer, size_t length, off_t offset) {
    pthread_mutex_lock(&drive.lock);
    drive.waiting++;
    pthread_cond_broadcast(&drive.changed);
    while (!drive.open) {
        pthread_cond_wait(&drive.changed, &drive.lock);
    }
    drive.waiting--;
    CHECK(drive.count < DRIVE_LOG);
    drive.log[drive.count].fd = fd;
    drive.log[drive.count].offset = offset;
    drive.log[drive.count].length = (int64_t)length;
    drive.count++;
    int error = fd == drive.failing_fd ? drive.error : 0;
    int64_t left = offset < drive.file_bytes ? drive.file_bytes - offset : 0;
    pthread_cond_broadcast(&drive.changed);
    pthread_mutex_unlock(&drive.lock);
    if (error != 0) {
        errno = error;
        return -1;
    }
    int64_t given = (int64_t)length < left ? (int64_t)length : left;
    for (int64_t i = 0; i < given; i++) {
        ((uint8_t *)buffer)[i] = pattern_of(fd, offset + i);
    }
    return (ssize_t)given;
}

#define pread drive_pread
#include "../../../../hypura_worker/llama/csrc/reader.c"
#undef pread

/* A drive as new: nothing logged, the gate closed or open. */
static inline void drive_reset(bool open) {
    pthread_mutex_lock(&drive.lock);
    drive.open = open;
    drive.count = drive.error = 0;
    drive.failing_fd = -1;
    drive.file_bytes = INT64_MAX;
    pthread_mutex_unlock(&drive.lock);
}

static inline void drive_close(void) {
    pthread_mutex_lock(&drive.lock);
    drive.open = false;
    pthread_mutex_unlock(&drive.lock);
}

static inline void drive_open(void) {
    pthread_mutex_lock(&drive.lock);
    drive.open = true;
    pthread_cond_broadcast(&drive.changed);
    pthread_mutex_unlock(&drive.lock);
}

/* Returns when so many reads are at the gate. */
static inline void drive_wait_for_readers(int32_t readers) {
    pthread_mutex_lock(&drive.lock);
    while (drive.waiting < readers) {
        pthread_cond_wait(&drive.changed, &drive.lock);
    }
    pthread_mutex_unlock(&drive.lock);
}

/* Returns when so many callers wait for a batch. */
static inline void reader_wait_for_callers(hypura_reader *reader, int32_t callers) {
    for (int32_t waiting = -1; waiting < callers; sched_yield()) {
        pthread_mutex_lock(&reader->lock);
        waiting = reader->waiting;
        pthread_mutex_unlock(&reader->lock);
    }
}

/* A thread that opens the gate once a caller waits for a batch, so that what the caller did before is seen. */
static inline void *drive_open_for_a_caller(void *reader) {
    reader_wait_for_callers(reader, 1);
    drive_open();
    return NULL;
}

static inline void drive_fail(int fd, int error) {
    pthread_mutex_lock(&drive.lock);
    drive.failing_fd = fd;
    drive.error = error;
    pthread_mutex_unlock(&drive.lock);
}

static inline int32_t drive_count(void) {
    pthread_mutex_lock(&drive.lock);
    int32_t count = drive.count;
    pthread_mutex_unlock(&drive.lock);
    return count;
}

/* How many reads of this file passed. */
static inline int32_t drive_reads_of(int fd) {
    int32_t found = 0;
    pthread_mutex_lock(&drive.lock);
    for (int32_t i = 0; i < drive.count; i++) {
        found += drive.log[i].fd == fd;
    }
    pthread_mutex_unlock(&drive.lock);
    return found;
}

/* The file of the i-th read that passed. */
static inline int drive_file(int32_t i) {
    pthread_mutex_lock(&drive.lock);
    CHECK(i < drive.count);
    int fd = drive.log[i].fd;
    pthread_mutex_unlock(&drive.lock);
    return fd;
}

static inline bool drive_holds(const uint8_t *bytes, int fd, int64_t offset, int64_t length) {
    for (int64_t i = 0; i < length; i++) {
        if (bytes[i] != pattern_of(fd, offset + i)) {
            return false;
        }
    }
    return true;
}

#endif
