/* How functions are compiled. */
#ifndef HYPURA_ATTRIBUTES_H
#define HYPURA_ATTRIBUTES_H

#include <stdint.h> /* also tells whose C library this is */

/* What Python calls is all that the library shows. */
#define HYPURA_API __attribute__((visibility("default")))

/* Compiled twice where the loader can choose: for every processor, and for those with 256-bit vectors. */
#if defined(__x86_64__) && defined(__GLIBC__)
#define HYPURA_WIDE __attribute__((target_clones("avx2", "default")))
#else
#define HYPURA_WIDE
#endif

#endif
