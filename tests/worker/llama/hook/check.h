/* What a test program in C needs: checks that print where they failed, and a list of tests to run. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                    \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, __func__, #condition);   \
            exit(1);                                                                        \
        }                                                                                   \
    } while (0)

#define CHECK_EQUAL(found, expected)                                                                       \
    do {                                                                                                   \
        long long found_ = (long long)(found), expected_ = (long long)(expected);                          \
        if (found_ != expected_) {                                                                         \
            fprintf(stderr, "%s:%d: %s: %s is %lld, not %lld\n", __FILE__, __LINE__, __func__, #found,     \
                    found_, expected_);                                                                    \
            exit(1);                                                                                       \
        }                                                                                                  \
    } while (0)

/* Runs a test function; a test that hangs is ended by the caller's timeout, which prints this last line. */
#define RUN(test)                     \
    do {                              \
        printf("%s\n", #test);        \
        fflush(stdout);               \
        test();                       \
    } while (0)

#endif
