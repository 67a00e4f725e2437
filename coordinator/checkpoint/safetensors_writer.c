// Writing safetensors files. See safetensors.h.
//
// The file's whole size is claimed before the first tensor comes, so a disk that is too full is known at once. It takes PATH's place
// only when every byte has come: see common/base/output_file.h.
#include "coordinator/checkpoint/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/output_file.h"
#include "common/base/strings.h"

enum { LENGTH_BYTES = 8, MAXIMUM_TENSORS = 65536 };

struct safetensors_writer {
	char *path;
	struct output_file *file;
	struct safetensors_entry *entries;
	uint64_t *put_bytes; // per entry, to know at the end that all came
	uint32_t count;
	uint64_t data_offset_bytes; // of the data part in the file
	uint64_t data_bytes;
};

static void writer_destroy(struct safetensors_writer *writer)
{
	if (writer == NULL)
		return;
	output_file_abort(writer->file);
	free(writer->path);
	free(writer->entries);
	free(writer->put_bytes);
	free(writer);
}

// Fills sizes and offsets: the tensors follow each other in the order given.
static bool place_entries(struct safetensors_writer *writer, struct error *error)
{
	for (uint32_t i = 0; i < writer->count; i++) {
		struct safetensors_entry *entry = &writer->entries[i];
		if (memchr(entry->name, '\0', sizeof(entry->name)) == NULL || entry->name[0] == '\0' ||
		    strcmp(entry->name, "__metadata__") == 0)
			return error_set(error, ERROR_FAILED, "tensor %u has no valid name", i);
		if (entry->rank > sizeof(entry->dimensions) / sizeof(entry->dimensions[0]))
			return error_set(error, ERROR_FAILED, "tensor %s has %u dimensions", entry->name, entry->rank);
		uint64_t count = 1, bytes = 0;
		bool is_too_large = false;
		for (uint32_t d = 0; d < entry->rank; d++)
			is_too_large |= __builtin_mul_overflow(count, entry->dimensions[d], &count);
		if (is_too_large || __builtin_mul_overflow(count, sizeof(float), &bytes))
			return error_set(error, ERROR_FAILED, "tensor %s is too large", entry->name);
		entry->offset_bytes = writer->data_bytes;
		entry->size_bytes = bytes;
		if (__builtin_add_overflow(writer->data_bytes, bytes, &writer->data_bytes) ||
		    writer->data_bytes > INT64_MAX / 2)
			return error_set(error, ERROR_FAILED, "the tensors are too large for one file");
	}
	return true;
}

static json_t *describe_entry(const struct safetensors_entry *entry)
{
	json_t *shape = json_array();
	for (uint32_t d = 0; d < entry->rank; d++)
		json_array_append_new(shape, json_integer((json_int_t)entry->dimensions[d]));
	return json_pack("{s:s, s:o, s:[I, I]}", "dtype", "F32", "shape", shape, "data_offsets",
			 (json_int_t)entry->offset_bytes,
			 (json_int_t)entry->offset_bytes + (json_int_t)entry->size_bytes);
}

// The header as JSON, padded with blanks so that the data behind it is aligned to 8 bytes.
static bool make_header(const struct safetensors_writer *writer, char **ret_text, size_t *ret_bytes,
			struct error *error)
{
	// "pt" is what PyTorch's loaders expect to find here.
	json_t *header = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
	bool ok = header != NULL;
	for (uint32_t i = 0; ok && i < writer->count; i++) {
		const struct safetensors_entry *entry = &writer->entries[i];
		if (json_object_get(header, entry->name) != NULL) {
			json_decref(header);
			return error_set(error, ERROR_FAILED, "tensor %s appears twice", entry->name);
		}
		ok = json_object_set_new(header, entry->name, describe_entry(entry)) == 0;
	}
	char *text = ok ? json_dumps(header, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
	json_decref(header);
	size_t length = text == NULL ? 0 : strlen(text);
	size_t padded = (length + 7) / 8 * 8;
	char *grown = text == NULL ? NULL : realloc(text, padded + 1);
	if (grown == NULL) {
		free(text);
		return error_set(error, ERROR_FAILED,
				 "no memory for the header, or a tensor's name is not valid UTF-8");
	}
	memset(grown + length, ' ', padded - length);
	*ret_text = grown;
	*ret_bytes = padded;
	return true;
}

static bool write_at(const struct safetensors_writer *writer, uint64_t offset, const void *data, uint64_t bytes,
		     struct error *error)
{
	const uint8_t *from = data;
	int descriptor = output_file_descriptor(writer->file);
	while (bytes > 0) {
		ssize_t written = pwrite(descriptor, from, bytes < 1 << 30 ? bytes : 1 << 30, (off_t)offset);
		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return error_set(error, ERROR_FAILED, "%s: write: %s", writer->path,
					 written == 0 ? "no bytes were written" : strerror(errno));
		from += written;
		offset += (uint64_t)written;
		bytes -= (uint64_t)written;
	}
	return true;
}

static bool claim_space(struct safetensors_writer *writer, struct error *error)
{
	uint64_t total = writer->data_offset_bytes + writer->data_bytes;
	int failure, descriptor = output_file_descriptor(writer->file);
	do
		failure = posix_fallocate(descriptor, 0, (off_t)total);
	while (failure == EINTR);
	if (failure == EOPNOTSUPP || failure == EINVAL || failure == ENODEV) // a file system that cannot: sparse, then
		failure = ftruncate(descriptor, (off_t)total) < 0 ? errno : 0;
	char amount[32];
	if (failure != 0)
		return error_set(error, ERROR_FAILED, "%s: no room for %s: %s", writer->path,
				 strings_format_bytes(total, amount, sizeof(amount)), strerror(failure));
	return true;
}

static bool writer_start(struct safetensors_writer *writer, struct error *error)
{
	_cleanup_free_ char *header = NULL;
	size_t header_bytes = 0;
	if (!place_entries(writer, error) || !make_header(writer, &header, &header_bytes, error)) {
		error_wrap(error, "%s", writer->path);
		return false;
	}
	uint8_t length[LENGTH_BYTES];
	for (int i = 0; i < LENGTH_BYTES; i++)
		length[i] = (uint8_t)((uint64_t)header_bytes >> (8 * i));
	writer->data_offset_bytes = LENGTH_BYTES + header_bytes;
	return output_file_create(writer->path, true, &writer->file, error) && claim_space(writer, error) &&
	       write_at(writer, 0, length, sizeof(length), error) &&
	       write_at(writer, LENGTH_BYTES, header, header_bytes, error);
}

bool safetensors_writer_create(const char *path, const struct safetensors_entry *entries, uint32_t count,
			       struct safetensors_writer **ret_writer, struct error *error)
{
	if (count > MAXIMUM_TENSORS)
		return error_set(error, ERROR_FAILED, "%s: %u tensors; the maximum is %d", path, count,
				 MAXIMUM_TENSORS);
	struct safetensors_writer *writer = calloc(1, sizeof(*writer));
	if (writer == NULL)
		return error_set(error, ERROR_FAILED, "%s: no memory", path);
	writer->count = count;
	writer->path = strdup(path);
	writer->entries = calloc((size_t)count + 1, sizeof(*writer->entries));
	writer->put_bytes = calloc((size_t)count + 1, sizeof(*writer->put_bytes));
	bool ok = writer->path != NULL && writer->entries != NULL && writer->put_bytes != NULL;
	if (!ok) {
		error_set(error, ERROR_FAILED, "%s: no memory", path);
	} else {
		if (count > 0)
			memcpy(writer->entries, entries, count * sizeof(*entries));
		ok = writer_start(writer, error);
	}
	if (!ok) {
		writer_destroy(writer);
		return false;
	}
	*ret_writer = writer;
	return true;
}

bool safetensors_writer_put(struct safetensors_writer *writer, uint32_t index, uint64_t offset_bytes, const void *data,
			    uint64_t size_bytes, struct error *error)
{
	if (index >= writer->count)
		return error_set(error, ERROR_FAILED, "%s: unknown tensor %u", writer->path, index);
	const struct safetensors_entry *entry = &writer->entries[index];
	if (offset_bytes > entry->size_bytes || size_bytes > entry->size_bytes - offset_bytes)
		return error_set(error, ERROR_FAILED,
				 "%s: %" PRIu64 " bytes at %" PRIu64 " do not fit tensor %s of %" PRIu64 " bytes",
				 writer->path, size_bytes, offset_bytes, entry->name, entry->size_bytes);
	if (!write_at(writer, writer->data_offset_bytes + entry->offset_bytes + offset_bytes, data, size_bytes, error))
		return false;
	writer->put_bytes[index] += size_bytes;
	return true;
}

static bool check_complete(const struct safetensors_writer *writer, struct error *error)
{
	for (uint32_t i = 0; i < writer->count; i++)
		if (writer->put_bytes[i] != writer->entries[i].size_bytes)
			return error_set(error, ERROR_FAILED, "%s: tensor %s got %" PRIu64 " of its %" PRIu64 " bytes",
					 writer->path, writer->entries[i].name, writer->put_bytes[i],
					 writer->entries[i].size_bytes);
	return true;
}

bool safetensors_writer_finish(struct safetensors_writer *writer, struct error *error)
{
	bool ok = check_complete(writer, error) && output_file_finish(steal_pointer(writer->file), error);
	writer_destroy(writer);
	return ok;
}

void safetensors_writer_abort(struct safetensors_writer *writer)
{
	writer_destroy(writer);
}
