/* What Python calls is all that the library shows. */
#ifndef HYPURA_VISIBILITY_H
#define HYPURA_VISIBILITY_H

#define HYPURA_API __attribute__((visibility("default")))

#endif
