// A reader of Python's pickles, limited to the contents of CIFAR-10's files: dictionaries, lists, tuples, numbers, strings, and arrays of
// numpy, in protocol 2. Nothing is executed (pickle_numpy.h). Everything else is refused with its name and its position. One thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

enum pickle_kind {
	PICKLE_NONE,
	PICKLE_BOOLEAN,
	PICKLE_INTEGER,
	PICKLE_BYTES,
	PICKLE_TEXT,
	PICKLE_TUPLE,
	PICKLE_LIST,
	PICKLE_DICTIONARY,
	PICKLE_ARRAY,
	PICKLE_FUNCTION, // the name of a function or type
	PICKLE_ELEMENT,  // the type of an array's elements
};

struct pickle_value {
	enum pickle_kind kind;
	int64_t integer; // PICKLE_BOOLEAN too
	// PICKLE_BYTES and PICKLE_TEXT (UTF-8, not checked); PICKLE_ARRAY: its elements, NULL: not filled
	const uint8_t *bytes;
	size_t size;
	uint64_t rows, columns; // PICKLE_ARRAY, of bytes (uint8), row-major
	uint32_t count;         // PICKLE_TUPLE, PICKLE_LIST; PICKLE_DICTIONARY: keys and values alternate
	// Private to the reader:
	uint32_t *items, capacity;
	uint8_t *owned; // the bytes, if they are not in the file
};

struct pickle;

// `bytes` must live as long as the pickle. ERROR_USAGE says what is wrong and at which byte.
bool pickle_read(const uint8_t *bytes, size_t size, struct pickle **ret_pickle, struct error *error);
void pickle_destroy(struct pickle *pickle); // takes NULL
const struct pickle_value *pickle_root(const struct pickle *pickle);
const struct pickle_value *pickle_item(const struct pickle *pickle, const struct pickle_value *list, uint32_t index);
// The value of a key that is bytes or text. NULL: the key is missing, or `dictionary` is not a dictionary.
const struct pickle_value *pickle_get(const struct pickle *pickle, const struct pickle_value *dictionary,
				      const char *key);
