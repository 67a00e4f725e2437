// What the fuzz targets share. A target is a file of its own with LLVMFuzzerTestOneInput: it gives the bytes to a function that
// takes bytes from outside, and where that accepts them, demands what its header promises. One thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// A property that must hold: a finding, with its place, where it does not.
#define DEMAND(condition)                                                                                              \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);                 \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

// A regular file in memory with these bytes, the same one at every call. Returns its path.
const char *fuzz_file(const void *data, size_t size);
// A folder in memory, where there is one, that is gone when the process ends in good order. Returns its path.
const char *fuzz_folder(void);

// Bytes as a list of small choices; zeros when they are used up.
struct fuzz_choices {
	const uint8_t *data;
	size_t size;
};
static inline uint8_t fuzz_choose(struct fuzz_choices *choices)
{
	if (choices->size == 0)
		return 0;
	choices->size--;
	return *choices->data++;
}
static inline uint32_t fuzz_choose_from(struct fuzz_choices *choices, uint32_t minimum, uint32_t maximum)
{
	return minimum + fuzz_choose(choices) % (maximum - minimum + 1);
}
