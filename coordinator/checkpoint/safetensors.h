// The safetensors file format: 8 bytes little-endian header length, a JSON header, then the tensors' bytes. Also sets of such files
// with an index, as Hugging Face's libraries write large networks (NAME.safetensors.index.json).
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

// Of a tensor's elements in a file. Those that can be read become float32, exactly.
enum safetensors_type { SAFETENSORS_F32, SAFETENSORS_F16, SAFETENSORS_BF16, SAFETENSORS_OTHER };

struct safetensors_entry {
	char name[128];
	uint32_t rank;
	uint64_t dimensions[8];
	uint64_t offset_bytes, size_bytes; // within the data part of its file
	uint64_t count;                    // of its elements
	enum safetensors_type type;
	char type_name[16]; // as the file has it, such as "I64"
	uint32_t file;      // which one of a set
};

struct safetensors; // an open file, or set of files

// Checks the whole header: sizes, overlaps, bounds. A tensor of any type is accepted. Opens all files of an index. Errors name the file
// and the tensor; ERROR_USAGE also for files of other formats, with what to do: those of torch.save are named as such.
bool safetensors_open(const char *path, struct safetensors **ret_file, struct error *error);
void safetensors_close(struct safetensors *file); // takes NULL
uint32_t safetensors_count(const struct safetensors *file);
const struct safetensors_entry *safetensors_entry(const struct safetensors *file, uint32_t index);
const struct safetensors_entry *safetensors_find(const struct safetensors *file, const char *name); // NULL: not there
// ERROR_USAGE when the entry's type is SAFETENSORS_OTHER.
bool safetensors_check_type(const struct safetensors_entry *entry, struct error *error);
// Reads `count` elements from element `first` on as float32. Errors name the file: it was shortened or changed after it was opened, or
// cannot be read. The entry's type is not SAFETENSORS_OTHER.
bool safetensors_read(const struct safetensors *file, const struct safetensors_entry *entry, uint64_t first,
		      uint64_t count, float *ret_values, struct error *error);

struct safetensors_writer; // PATH gets the new file by finish; until then, an earlier file stays

// Entries' names, ranks and dimensions are given before any data; offsets are filled here. The type is F32. ERROR_USAGE also when
// another process is writing the same file: it is locked until finish or abort.
bool safetensors_writer_create(const char *path, const struct safetensors_entry *entries, uint32_t count,
			       struct safetensors_writer **ret_writer, struct error *error);
// Part of entry `index`'s data; in any order.
bool safetensors_writer_put(struct safetensors_writer *writer, uint32_t index, uint64_t offset_bytes, const void *data,
			    uint64_t size_bytes, struct error *error);
bool safetensors_writer_finish(struct safetensors_writer *writer,
			       struct error *error);              // destroys the writer, also on failure
void safetensors_writer_abort(struct safetensors_writer *writer); // takes NULL; leaves nothing
