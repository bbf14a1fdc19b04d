/* How functions are compiled. */
#ifndef HYPURA_ATTRIBUTES_H
#define HYPURA_ATTRIBUTES_H

#include <stdint.h> /* also defines __GLIBC__ */

/* What Python calls is all that the library shows. */
#define HYPURA_API __attribute__((visibility("default")))

/* Compiled twice where the loader can choose: for every processor, and for those with 256-bit vectors. HYPURA_NO_CLONES
 * is set for ThreadSanitizer, which is not ready yet when the loader chooses. */
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(HYPURA_NO_CLONES)
#define HYPURA_WIDE __attribute__((target_clones("avx2", "default")))
#else
#define HYPURA_WIDE
#endif

#endif
