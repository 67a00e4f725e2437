// What safetensors.c (opening and reading), header.c (one file's header), index.c (the index of a set) and foreign.c (files of other
// formats) share.
#pragma once

#include <stddef.h>
#include <time.h>

#include "coordinator/checkpoint/safetensors.h"

enum {
	SAFETENSORS_LENGTH_BYTES = 8, // of the header's length, which begins a file
	SAFETENSORS_MAXIMUM_TENSORS = 65536,
	SAFETENSORS_MAXIMUM_FILES = 1024, // of a set
	// The format allows 100 MB. A header is some hundred bytes a tensor, and parsing one takes many times its size. An index as well.
	SAFETENSORS_MAXIMUM_HEADER_BYTES = 16 << 20,
	SAFETENSORS_PRINTABLE_SIZE = 100,
};

// ---- header.c
// Reads the JSON `text`. `*ret_entries` is owned by the caller, sorted by offset, without overlap or gap in `data_bytes`. Errors name
// the tensor, not the file.
bool header_parse(const char *text, size_t length, uint64_t data_bytes, struct safetensors_entry **ret_entries,
		  uint32_t *ret_count, struct error *error);

// ---- index.c
struct index_tensor {
	char *name;
	uint32_t file;
};
struct index {
	char **files; // names, without folders
	uint32_t file_count;
	struct index_tensor *tensors; // by name
	uint32_t tensor_count;
};
bool index_parse(const char *text, size_t length, struct index *ret_index, struct error *error);
void index_fini(struct index *index);
const struct index_tensor *index_find(const struct index *index, const char *name); // NULL: not there

// ---- foreign.c
// False with an error when the file begins as one of another format does. `path` is for the message, which does not begin with it.
bool foreign_check(const char *path, const uint8_t *start, size_t size, struct error *error);
