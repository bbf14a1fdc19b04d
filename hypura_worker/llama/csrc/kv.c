/* Memory of the KV cache: where it is, how much of it was ever written, and giving the rest back.
 *
 * llama.cpp clears the cache when it makes it, and so takes all of its memory before the first token. K lies
 * token by token, and V too where attention is one fused node (else it is transposed), so that pages are filled
 * from the front as the context grows; cleared pages that were never filled read as zeros whether they exist or not.
 */
#define _DEFAULT_SOURCE
#define _DARWIN_C_SOURCE
#include "kv.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MOST_PAGES 4096 /* in one call of mincore */

/* Remember the tensor that this one is a view of, if its name says that it is of the cache and it is not known yet. */
static void note(hypura_kv *kv, const struct ggml_tensor *shown, const char *name) {
    const struct ggml_tensor *root = hypura_root_of(shown);
    bool passed = root->op != kv->ggml->op_none || strncmp(root->name, name, strlen(name)) != 0 ||
                 !hypura_on_host(kv->ggml, root);
    for (int32_t t = 0; t < kv->count; t++) {
        passed |= kv->tensors[t].data == root->data;
    }
    if (!passed && kv->count < HYPURA_MAX_KV) {
        int64_t tokens = root->ne[1] * root->ne[2] * root->ne[3];
        kv->tensors[kv->count++] = (hypura_kv_tensor){root->data, (int64_t)root->nb[1], tokens};
    }
}

void hypura_kv_note(hypura_kv *kv, const struct ggml_tensor *node) {
    if (node->op == kv->ggml->op_flash_attn_ext) {
        note(kv, node->src[1], "cache_");
        note(kv, node->src[2], "cache_");
    } else if (node->op == kv->ggml->op_mul_mat) {
        note(kv, node->src[0], "cache_k");
    }
}

/* The whole pages of a tensor. */
static size_t pages_of(const hypura_kv_tensor *tensor, uint8_t **first) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t start = ((uintptr_t)tensor->data + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)tensor->data + (uintptr_t)(tensor->token_bytes * tensor->tokens)) / page * page;
    *first = (uint8_t *)start;
    return end > start ? (end - start) / page : 0;
}

/* Give back all pages, whose content is lost; false where the system cannot do so. */
HYPURA_API bool hypura_kv_release(hypura_kv *kv) {
#ifdef __linux__
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int32_t t = 0; t < kv->count; t++) {
        uint8_t *first;
        size_t count = pages_of(&kv->tensors[t], &first);
        if (count == 0) {
            continue;
        }
        /* A huge page would be filled by its first token. */
        madvise(first, count * page, MADV_NOHUGEPAGE);
        if (madvise(first, count * page, MADV_DONTNEED) != 0) {
            return false;
        }
    }
    return true;
#else
    (void)kv;
    return false; /* macOS keeps what MADV_DONTNEED names */
#endif
}

/* Bytes that are in memory. */
HYPURA_API int64_t hypura_kv_resident(const hypura_kv *kv) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), resident = 0;
    unsigned char present[MOST_PAGES];
    for (int32_t t = 0; t < kv->count; t++) {
        uint8_t *first;
        size_t count = pages_of(&kv->tensors[t], &first);
        for (size_t done = 0; done < count;) {
            size_t some = count - done < MOST_PAGES ? count - done : MOST_PAGES;
            if (mincore(first + done * page, some * page, (void *)present) != 0) {
                return -1;
            }
            for (size_t i = 0; i < some; i++) {
                resident += present[i] & 1;
            }
            done += some;
        }
    }
    return (int64_t)(resident * page);
}
