// Reading safetensors files. See safetensors.h; the writer is in safetensors_writer.c.
//
// A file may come from anywhere, so nothing in it is believed: each size is checked against the file's own
// before it is used, and the tensors must fill the data part without overlap and without a gap, as the format
// demands. The file is mapped, not read, so that a checkpoint larger than memory can be sent on tensor by
// tensor.
#include "coordinator/checkpoint/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/strings.h"

enum {
	LENGTH_BYTES = 8,
	// The format allows 100 MB. A header is some hundred bytes a tensor, and parsing one takes many times
	// its size.
	MAXIMUM_HEADER_BYTES = 16 << 20,
	MAXIMUM_TENSORS = 65536,
	NAME_SIZE = sizeof(((struct safetensors_entry *)0)->name),
	MAXIMUM_RANK = sizeof(((struct safetensors_entry *)0)->dimensions) / sizeof(uint64_t),
	PRINTABLE_SIZE = 100,
};

struct safetensors {
	uint8_t *mapping; // the whole file
	size_t mapping_bytes;
	const uint8_t *data; // in the mapping, or `copy`
	float *copy;         // of the data part where the header's length leaves it unaligned; NULL otherwise
	uint64_t data_bytes;
	struct safetensors_entry *entries; // by offset
	uint32_t count;
};

static uint64_t load_little_endian_64(const uint8_t *bytes)
{
	uint64_t value = 0;
	for (int i = 7; i >= 0; i--)
		value = value << 8 | bytes[i];
	return value;
}

// A whole number that is not negative.
static bool get_unsigned(const json_t *value, uint64_t *ret_value)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return false;
	*ret_value = (uint64_t)json_integer_value(value);
	return true;
}

static bool parse_dtype(const json_t *tensor, struct error *error)
{
	const char *dtype = json_string_value(json_object_get(tensor, "dtype"));
	char shown[PRINTABLE_SIZE];
	if (dtype == NULL)
		return error_set(error, ERROR_USAGE, "has no dtype");
	if (strcmp(dtype, "F32") != 0)
		return error_set(error, ERROR_USAGE, "dtype is %s; only F32 is read: convert the file to float32",
				 strings_printable(dtype, shown, sizeof(shown)));
	return true;
}

static bool parse_shape(const json_t *tensor, struct safetensors_entry *entry, uint64_t *ret_bytes, struct error *error)
{
	const json_t *shape = json_object_get(tensor, "shape");
	if (!json_is_array(shape))
		return error_set(error, ERROR_USAGE, "has no shape");
	if (json_array_size(shape) > MAXIMUM_RANK)
		return error_set(error, ERROR_USAGE, "has %zu dimensions; the most that is read is %d",
				 json_array_size(shape), (int)MAXIMUM_RANK);
	entry->rank = (uint32_t)json_array_size(shape);
	uint64_t bytes = sizeof(float);
	for (uint32_t i = 0; i < entry->rank; i++) {
		if (!get_unsigned(json_array_get(shape, i), &entry->dimensions[i]))
			return error_set(error, ERROR_USAGE, "dimension %u is not a whole number from 0", i);
		if (__builtin_mul_overflow(bytes, entry->dimensions[i], &bytes))
			return error_set(error, ERROR_USAGE, "the product of its dimensions overflows");
	}
	*ret_bytes = bytes;
	return true;
}

static bool parse_offsets(const json_t *tensor, uint64_t data_bytes, uint64_t shape_bytes,
			  struct safetensors_entry *entry, struct error *error)
{
	const json_t *offsets = json_object_get(tensor, "data_offsets");
	uint64_t begin, end;
	if (json_array_size(offsets) != 2 || !get_unsigned(json_array_get(offsets, 0), &begin) ||
	    !get_unsigned(json_array_get(offsets, 1), &end))
		return error_set(error, ERROR_USAGE, "data_offsets are not two whole numbers from 0");
	if (begin > end || end > data_bytes)
		return error_set(error, ERROR_USAGE,
				 "data_offsets [%" PRIu64 ", %" PRIu64 "] lie outside the file's %" PRIu64
				 " bytes of data: it is damaged or cut short",
				 begin, end, data_bytes);
	if (end - begin != shape_bytes)
		return error_set(error, ERROR_USAGE, "data_offsets span %" PRIu64 " bytes, its shape takes %" PRIu64,
				 end - begin, shape_bytes);
	entry->offset_bytes = begin;
	entry->size_bytes = end - begin;
	return true;
}

static bool parse_tensor(const char *name, const json_t *tensor, uint64_t data_bytes, struct safetensors_entry *entry,
			 struct error *error)
{
	uint64_t shape_bytes = 0;
	if (*name == '\0' || strlen(name) >= NAME_SIZE)
		return error_set(error, ERROR_USAGE, "the name is empty or longer than %d bytes", (int)NAME_SIZE - 1);
	if (strcmp(strings_printable(name, entry->name, NAME_SIZE), name) != 0)
		return error_set(error, ERROR_USAGE, "the name holds a control character");
	if (!json_is_object(tensor))
		return error_set(error, ERROR_USAGE, "is not a JSON object");
	return parse_dtype(tensor, error) && parse_shape(tensor, entry, &shape_bytes, error) &&
	       parse_offsets(tensor, data_bytes, shape_bytes, entry, error);
}

static bool check_metadata(json_t *metadata, struct error *error)
{
	const char *key;
	json_t *value;
	if (!json_is_object(metadata))
		return error_set(error, ERROR_USAGE, "__metadata__ is not a JSON object");
	json_object_foreach(metadata, key, value) if (!json_is_string(value)) return error_set(
		error, ERROR_USAGE, "__metadata__ holds something that is not a string");
	return true;
}

static int compare_offsets(const void *a, const void *b)
{
	const struct safetensors_entry *left = a, *right = b;
	if (left->offset_bytes != right->offset_bytes)
		return left->offset_bytes < right->offset_bytes ? -1 : 1;
	if (left->size_bytes != right->size_bytes)
		return left->size_bytes < right->size_bytes ? -1 : 1;
	return strcmp(left->name, right->name);
}

// Sorted, the tensors must follow each other exactly, from the first byte to the last.
static bool check_coverage(struct safetensors *file, struct error *error)
{
	qsort(file->entries, file->count, sizeof(*file->entries), compare_offsets);
	uint64_t end = 0;
	for (uint32_t i = 0; i < file->count; i++) {
		const struct safetensors_entry *entry = &file->entries[i];
		if (entry->offset_bytes < end)
			return error_set(error, ERROR_USAGE, "tensors %s and %s overlap", file->entries[i - 1].name,
					 entry->name);
		if (entry->offset_bytes > end)
			return error_set(error, ERROR_USAGE, "%" PRIu64 " bytes before tensor %s belong to no tensor",
					 entry->offset_bytes - end, entry->name);
		end += entry->size_bytes;
	}
	if (end != file->data_bytes)
		return error_set(error, ERROR_USAGE, "%" PRIu64 " bytes after the last tensor belong to no tensor",
				 file->data_bytes - end);
	return true;
}

static bool parse_tensors(struct safetensors *file, json_t *header, struct error *error)
{
	const char *name;
	json_t *value;
	char shown[PRINTABLE_SIZE];
	if (!json_is_object(header))
		return error_set(error, ERROR_USAGE, "the header is not a JSON object");
	if (json_object_size(header) > MAXIMUM_TENSORS)
		return error_set(error, ERROR_USAGE, "holds %zu tensors; the most that is read is %d",
				 json_object_size(header), MAXIMUM_TENSORS);
	file->entries = calloc(json_object_size(header) + 1, sizeof(*file->entries));
	if (file->entries == NULL)
		return error_set(error, ERROR_FAILED, "no memory for the list of tensors");
	json_object_foreach(header, name, value)
	{
		if (strcmp(name, "__metadata__") == 0) {
			if (!check_metadata(value, error))
				return false;
			continue;
		}
		if (!parse_tensor(name, value, file->data_bytes, &file->entries[file->count], error)) {
			error_wrap(error, "tensor %s", strings_printable(name, shown, sizeof(shown)));
			return false;
		}
		file->count++;
	}
	return check_coverage(file, error);
}

static bool parse_header(struct safetensors *file, struct error *error)
{
	if (file->mapping_bytes < LENGTH_BYTES)
		return error_set(error, ERROR_USAGE, "is %zu bytes: too short for a safetensors file",
				 file->mapping_bytes);
	uint64_t length = load_little_endian_64(file->mapping);
	if (length > file->mapping_bytes - LENGTH_BYTES)
		return error_set(error, ERROR_USAGE,
				 "names a header of %" PRIu64
				 " bytes and has %zu: it is cut short, or no safetensors file",
				 length, file->mapping_bytes - LENGTH_BYTES);
	if (length > MAXIMUM_HEADER_BYTES)
		return error_set(error, ERROR_USAGE,
				 "names a header of %" PRIu64 " bytes; the longest that is read is %d", length,
				 MAXIMUM_HEADER_BYTES);
	file->data = file->mapping + LENGTH_BYTES + length;
	file->data_bytes = file->mapping_bytes - LENGTH_BYTES - length;

	json_error_t at;
	json_t *header =
		json_loadb((const char *)file->mapping + LENGTH_BYTES, (size_t)length, JSON_REJECT_DUPLICATES, &at);
	char shown[PRINTABLE_SIZE];
	if (header == NULL)
		return error_set(error, ERROR_USAGE, "the header is not valid JSON: byte %d: %s", at.position,
				 strings_printable(at.text, shown, sizeof(shown)));
	bool ok = parse_tensors(file, header, error);
	json_decref(header);
	return ok;
}

// Writers pad the header so that the data is aligned; the format does not demand it of them.
static bool align_data(struct safetensors *file, struct error *error)
{
	if ((uintptr_t)file->data % _Alignof(float) == 0 || file->data_bytes == 0)
		return true;
	file->copy = malloc(file->data_bytes);
	if (file->copy == NULL)
		return error_set(error, ERROR_FAILED, "no memory for %" PRIu64 " bytes of unaligned data",
				 file->data_bytes);
	memcpy(file->copy, file->data, file->data_bytes);
	file->data = (const uint8_t *)file->copy;
	return true;
}

static bool map_file(struct safetensors *file, const char *path, struct error *error)
{
	// Not to wait for the other end, should this be a pipe.
	int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (descriptor < 0)
		return error_set(error, ERROR_USAGE, "%s", strerror(errno));
	struct stat status;
	bool ok = false;
	if (fstat(descriptor, &status) < 0) {
		error_set(error, ERROR_FAILED, "%s", strerror(errno));
	} else if (!S_ISREG(status.st_mode)) {
		error_set(error, ERROR_USAGE, "is not a regular file");
	} else if (status.st_size == 0) {
		error_set(error, ERROR_USAGE, "is empty");
	} else {
		void *mapping = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
		ok = mapping != MAP_FAILED;
		if (ok) {
			file->mapping = mapping;
			file->mapping_bytes = (size_t)status.st_size;
		} else {
			error_set(error, ERROR_FAILED, "cannot be mapped: %s", strerror(errno));
		}
	}
	close(descriptor);
	return ok;
}

bool safetensors_open(const char *path, struct safetensors **ret_file, struct error *error)
{
	struct safetensors *file = calloc(1, sizeof(*file));
	if (file == NULL)
		return error_set(error, ERROR_FAILED, "%s: no memory", path);
	if (!map_file(file, path, error) || !parse_header(file, error) || !align_data(file, error)) {
		safetensors_close(file);
		return error_wrap(error, "%s", path);
	}
	*ret_file = file;
	return true;
}

void safetensors_close(struct safetensors *file)
{
	if (file == NULL)
		return;
	if (file->mapping != NULL)
		munmap(file->mapping, file->mapping_bytes);
	free(file->copy);
	free(file->entries);
	free(file);
}

uint32_t safetensors_count(const struct safetensors *file)
{
	return file->count;
}

const struct safetensors_entry *safetensors_entry(const struct safetensors *file, uint32_t index)
{
	return &file->entries[index];
}

const struct safetensors_entry *safetensors_find(const struct safetensors *file, const char *name)
{
	for (uint32_t i = 0; i < file->count; i++)
		if (strcmp(file->entries[i].name, name) == 0)
			return &file->entries[i];
	return NULL;
}

const float *safetensors_data(const struct safetensors *file, const struct safetensors_entry *entry)
{
	return (const float *)(const void *)(file->data + entry->offset_bytes);
}
