/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target (LLVMFuzzerTestOneInput) as an ordinary test: every file of its corpus, and a
 * bounded number of mutations of each, the same on every machine. With -Dfuzz_engine=true the same
 * target is linked with libFuzzer instead and searches by itself (clang):
 *
 *     fuzz-NAME CORPUS_DIR [MUTATIONS]
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_MAX (1u << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t state = 88172645463325252u;

static uint64_t next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static size_t read_file(const char *path, uint8_t *data)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(1);
    }
    size_t n = fread(data, 1, INPUT_MAX, f);
    fclose(f);
    return n;
}

/* One to four edits: flip a bit, set a byte, cut, double a piece. */
static size_t mutate(uint8_t *data, size_t size)
{
    for (uint64_t edits = 1 + next() % 4; edits && size; edits--) {
        size_t at = next() % size;
        size_t len = 1 + next() % 16;
        switch (next() % 4) {
        case 0:
            data[at] ^= (uint8_t)(1u << next() % 8);
            break;
        case 1:
            data[at] = (uint8_t)next();
            break;
        case 2:
            if (len > size - at)
                len = size - at;
            memmove(data + at, data + at + len, size - at - len);
            size -= len;
            break;
        default:
            if (len > size - at)
                len = size - at;
            if (size + len > INPUT_MAX)
                break;
            memmove(data + at + len, data + at, size - at);
            size += len;
        }
    }
    return size;
}

/* Each input lies in a block of its own size, so that a sanitizer sees a read past its end. */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        exit(1);
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

int main(int argc, char **argv)
{
    static uint8_t data[INPUT_MAX];
    static uint8_t seed[INPUT_MAX];
    long mutations = argc > 2 ? strtol(argv[2], NULL, 10) : 300;
    DIR *dir = argc > 1 ? opendir(argv[1]) : NULL;
    if (!dir) {
        fprintf(stderr, "usage: %s CORPUS_DIR [MUTATIONS]\n", argv[0]);
        return 2;
    }
    int files = 0;
    run(seed, 0);
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        size_t size = read_file(path, seed);
        run(seed, size);
        for (long i = 0; i < mutations; i++) {
            memcpy(data, seed, size);
            run(data, mutate(data, size));
        }
        files++;
    }
    closedir(dir);
    printf("%d files, %ld mutations of each\n", files, mutations);
    return files ? 0 : 1;
}
