// The safetensors file format: 8 bytes little-endian header length, a JSON header, then the tensors' bytes.
// Only float32 ("F32") is read and written here.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

struct safetensors_entry {
	char name[128];
	uint32_t rank;
	uint64_t dimensions[8];
	uint64_t offset_bytes, size_bytes; // within the data part
};

struct safetensors; // an open file, mapped

// Checks the whole header: sizes, overlaps, bounds, dtype. Errors name the file and the tensor.
bool safetensors_open(const char *path, struct safetensors **ret_file, struct error *error);
void safetensors_close(struct safetensors *file); // takes NULL
uint32_t safetensors_count(const struct safetensors *file);
const struct safetensors_entry *safetensors_entry(const struct safetensors *file, uint32_t index);
const struct safetensors_entry *safetensors_find(const struct safetensors *file, const char *name); // NULL: not there
const float *safetensors_data(const struct safetensors *file, const struct safetensors_entry *entry);

struct safetensors_writer; // PATH gets the new file by finish; until then, an earlier file stays

// Entries' names, ranks and dimensions are given before any data; offsets are filled here. ERROR_USAGE also when another process
// is writing the same file: it is locked until finish or abort.
bool safetensors_writer_create(const char *path, const struct safetensors_entry *entries, uint32_t count,
			       struct safetensors_writer **ret_writer, struct error *error);
// Part of entry `index`'s data; in any order.
bool safetensors_writer_put(struct safetensors_writer *writer, uint32_t index, uint64_t offset_bytes, const void *data,
			    uint64_t size_bytes, struct error *error);
bool safetensors_writer_finish(struct safetensors_writer *writer,
			       struct error *error);              // destroys the writer, also on failure
void safetensors_writer_abort(struct safetensors_writer *writer); // takes NULL; leaves nothing
