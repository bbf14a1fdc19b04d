/* The part of the worker that llama.cpp calls: see docs/llama-seam.md.
 *
 *   attributes.h    how functions are compiled
 *   ggml_mirror.h   the parts of ggml that the hook touches
 *   layouts.c       where the fields of all structs lie, for the check by Python
 *
 *   reader          threads that read extents of files                 } know neither
 *   prediction      what is learned of a model's routing               } ggml nor slots
 *
 *   arena           a buffer type whose tensors have addresses but no bytes
 *   kv              memory of the KV cache
 *   dense           per-node callback for streamed layers: waits for a tensor's weights
 *   experts         per-node callback for streamed experts: rewrites expert ids to slot numbers
 *     slots         which experts are in which slots
 *     routers       the layers' routers, found in the graph
 *     prefetch      reads of experts that the next layers will probably choose
 *     products      products of experts, row by row as the experts arrive
 *
 * Python lays everything out before the context is made; from then on C answers the calls that llama.cpp makes
 * thousands of times per token. Python compares its mirrors of these structs with them, field by field, when it loads
 * the hook.
 */
#ifndef HYPURA_HOOK_H
#define HYPURA_HOOK_H

#include "arena.h"
#include "dense.h"
#include "experts.h"
#include "kv.h"
#include "prediction.h"
#include "prefetch.h"
#include "products.h"
#include "reader.h"
#include "routers.h"
#include "slots.h"

#endif
