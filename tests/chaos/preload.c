/* Faults below libc, for the processes that preload this: what the file HYPURA_FAULTS names says is done.
 *
 * The file holds one line: a word and a number, read anew every few calls.
 *   eio 0        reads of model files (*.gguf) fail with EIO
 *   short 0      they return half of what they could
 *   end 0        they return nothing, as if the file ended
 *   slow MS      they are so late
 *   clock S      the wall clock is so many seconds off
 *   full 0       nothing can be written to files: the disk is full
 *   request 0    the next message that a worker receives is lost, and its connection with it
 *   reply 0      the next message that a worker sends is lost likewise
 *   hog 0        the next worker that reads a model takes all the memory there is
 * The last three are done once by one process, which then removes the file.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

typedef struct {
    char what[16];
    long amount;
} fault;

static int (*real_clock_gettime)(clockid_t, struct timespec *);
static ssize_t (*real_pread)(int, void *, size_t, off_t);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_recvmsg)(int, struct msghdr *, int);
static ssize_t (*real_sendmsg)(int, const struct msghdr *, int);

__attribute__((constructor)) static void find(void) {
    real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    real_pread = dlsym(RTLD_NEXT, "pread64");
    real_write = dlsym(RTLD_NEXT, "write");
    real_recvmsg = dlsym(RTLD_NEXT, "recvmsg");
    real_sendmsg = dlsym(RTLD_NEXT, "sendmsg");
}

static fault now(void) {
    fault found = {"", 0};
    const char *path = getenv("HYPURA_FAULTS");
    int descriptor = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor >= 0) {
        char line[64] = "";
        if (read(descriptor, line, sizeof line - 1) > 0) {
            sscanf(line, "%15s %ld", found.what, &found.amount);
        }
        close(descriptor);
    }
    return found;
}

static int is(const fault *found, const char *what) {
    return strcmp(found->what, what) == 0;
}

static int is_model(int descriptor) {
    char link[40], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    return length > 5 && memcmp(path + length - 5, ".gguf", 5) == 0;
}

static int is_worker(void) {
    static int known = -1;
    if (known < 0) {
        char line[512] = "";
        int descriptor = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
        ssize_t length = descriptor < 0 ? 0 : read(descriptor, line, sizeof line - 1);
        if (descriptor >= 0) {
            close(descriptor);
        }
        known = memmem(line, length > 0 ? (size_t)length : 0, "hypura_worker", 13) != NULL;
    }
    return known;
}

/* Until the system kills this process; beyond a limit of our own, where no cgroup does. */
static void hog(void) {
    for (size_t taken = 0; taken < (size_t)8 << 30; taken += 16 << 20) {
        char *more = malloc(16 << 20);
        if (more == NULL) {
            break;
        }
        memset(more, 1, 16 << 20);
    }
    abort();
}

ssize_t write(int descriptor, const void *buffer, size_t length) {
    struct stat status;
    fault found = now();
    if (is(&found, "full") && fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode)) {
        errno = ENOSPC;
        return -1;
    }
    return real_write(descriptor, buffer, length);
}

ssize_t pread64(int descriptor, void *buffer, size_t length, off_t offset) {
    fault found = now();
    if (found.what[0] != 0 && is_model(descriptor)) {
        if (is(&found, "eio")) {
            errno = EIO;
            return -1;
        }
        if (is(&found, "end")) {
            return 0;
        }
        if (is(&found, "short") && length >= 8192) {
            length = length / 2 / 4096 * 4096; /* direct reads stay aligned */
        }
        if (is(&found, "hog") && is_worker() && unlink(getenv("HYPURA_FAULTS")) == 0) {
            hog();
        }
        if (is(&found, "slow")) {
            usleep((useconds_t)found.amount * 1000);
        }
    }
    return real_pread(descriptor, buffer, length, offset);
}

ssize_t pread(int descriptor, void *buffer, size_t length, off_t offset) {
    return pread64(descriptor, buffer, length, offset);
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    int code = real_clock_gettime(clock, at);
    if (code == 0 && clock == CLOCK_REALTIME) {
        static __thread int calls;
        static __thread long offset;
        if (calls++ % 64 == 0) {
            fault found = now();
            offset = is(&found, "clock") ? found.amount : 0;
        }
        at->tv_sec += offset;
    }
    return code;
}

/* Whether this process is to lose a message, and was the first to see it. */
static int loses(int descriptor, const char *what) {
    static __thread int calls;
    if (!is_worker() || calls++ % 4 != 0) {
        return 0;
    }
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    if (getsockname(descriptor, (struct sockaddr *)&address, &size) != 0 || address.ss_family != AF_UNIX) {
        return 0;
    }
    fault found = now();
    if (!is(&found, what) || unlink(getenv("HYPURA_FAULTS")) != 0) {
        return 0;
    }
    shutdown(descriptor, SHUT_RDWR);
    errno = ECONNRESET;
    return 1;
}

ssize_t recvmsg(int descriptor, struct msghdr *message, int flags) {
    return loses(descriptor, "request") ? -1 : real_recvmsg(descriptor, message, flags);
}

ssize_t sendmsg(int descriptor, const struct msghdr *message, int flags) {
    return loses(descriptor, "reply") ? -1 : real_sendmsg(descriptor, message, flags);
}
