// Opening and reading safetensors files. See safetensors.h; the writer is in safetensors_writer.c.
//
// The tensors are read as they are wanted, so a file larger than memory can be sent on piece by piece. They are not mapped: a file that
// another process shortens would end this one with SIGBUS, where a read can tell.
#include "coordinator/checkpoint/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/strings.h"
#include "common/model/data_type.h"
#include "coordinator/checkpoint/internal.h"

enum { ELEMENTS_AT_ONCE = 8192 }; // that are widened

struct open_file {
	char *path;
	int descriptor;
	uint64_t size_bytes, data_offset_bytes;
	struct timespec modified;
};

struct safetensors {
	struct open_file *files;
	uint32_t file_count;
	struct safetensors_entry *entries; // of the files one after the other, by offset
	uint32_t count;
};

// ---- One file

static bool open_regular(const char *path, struct open_file *ret_file, struct error *error)
{
	struct stat status;
	// Not to wait for the other end, should this be a pipe.
	int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (descriptor < 0)
		return error_set(error, ERROR_USAGE, "%s", strerror(errno));
	bool ok = fstat(descriptor, &status) == 0 || error_set(error, ERROR_FAILED, "%s", strerror(errno));
	if (ok && S_ISDIR(status.st_mode))
		ok = error_set(
			error, ERROR_USAGE,
			"is a folder: name a file in it, such as model.safetensors or model.safetensors.index.json");
	else if (ok && !S_ISREG(status.st_mode))
		ok = error_set(error, ERROR_USAGE, "is not a regular file");
	else if (ok && status.st_size == 0)
		ok = error_set(error, ERROR_USAGE, "is empty");
	char *copy = ok ? strdup(path) : NULL;
	if (ok && copy == NULL)
		ok = error_set(error, ERROR_FAILED, "out of memory");
	if (!ok) {
		close(descriptor);
		return false;
	}
	*ret_file = (struct open_file){.path = copy,
				       .descriptor = descriptor,
				       .size_bytes = (uint64_t)status.st_size,
				       .modified = status.st_mtim};
	return true;
}

// What is there when it was not changed since it was opened.
static bool read_at(const struct open_file *file, uint64_t offset, void *into, uint64_t bytes, struct error *error)
{
	uint8_t *to = into;
	struct stat status;
	for (uint64_t done = 0; done < bytes;) {
		ssize_t got = pread(file->descriptor, to + done, bytes - done, (off_t)(offset + done));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_set(error, ERROR_FAILED, "read: %s", strerror(errno));
		if (got == 0)
			return error_set(error, ERROR_FAILED, "was cut short while it was being read");
		done += (uint64_t)got;
	}
	if (fstat(file->descriptor, &status) != 0)
		return error_set(error, ERROR_FAILED, "%s", strerror(errno));
	return ((uint64_t)status.st_size == file->size_bytes && status.st_mtim.tv_sec == file->modified.tv_sec &&
		status.st_mtim.tv_nsec == file->modified.tv_nsec) ||
	       error_set(error, ERROR_FAILED, "was changed by another program while it was being read");
}

static uint64_t load_little_endian_64(const uint8_t *bytes)
{
	uint64_t value = 0;
	for (int i = 7; i >= 0; i--)
		value = value << 8 | bytes[i];
	return value;
}

static bool check_length(uint64_t length, uint64_t size_bytes, struct error *error)
{
	if (length > size_bytes - SAFETENSORS_LENGTH_BYTES)
		return error_set(error, ERROR_USAGE,
				 "names a header of %" PRIu64 " byte%s and has %" PRIu64
				 ": it is cut short, or not a safetensors file",
				 length, strings_plural(length), size_bytes - SAFETENSORS_LENGTH_BYTES);
	return length <= SAFETENSORS_MAXIMUM_HEADER_BYTES ||
	       error_set(error, ERROR_USAGE, "names a header of %" PRIu64 " bytes; the maximum is %d", length,
			 SAFETENSORS_MAXIMUM_HEADER_BYTES);
}

static bool read_start(const struct open_file *file, uint8_t start[SAFETENSORS_LENGTH_BYTES], struct error *error)
{
	uint64_t size = file->size_bytes < SAFETENSORS_LENGTH_BYTES ? file->size_bytes : SAFETENSORS_LENGTH_BYTES;
	memset(start, 0, SAFETENSORS_LENGTH_BYTES);
	if (!read_at(file, 0, start, size, error) || !foreign_check(file->path, start, size, error))
		return false;
	return size == SAFETENSORS_LENGTH_BYTES ||
	       error_set(error, ERROR_USAGE, "is %" PRIu64 " byte%s: too short for a safetensors file", size,
			 strings_plural(size));
}

static bool add_entries(struct safetensors *set, uint32_t file, const struct safetensors_entry *entries, uint32_t count,
			struct error *error)
{
	struct safetensors_entry *grown = realloc(set->entries, ((size_t)set->count + count + 1) * sizeof(*grown));
	if (grown == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	set->entries = grown;
	memcpy(grown + set->count, entries, count * sizeof(*entries));
	for (uint32_t i = 0; i < count; i++)
		grown[set->count + i].file = file;
	set->count += count;
	return true;
}

static bool read_header(struct safetensors *set, uint32_t number, struct error *error)
{
	uint8_t start[SAFETENSORS_LENGTH_BYTES];
	struct open_file *file = &set->files[number];
	if (!read_start(file, start, error))
		return false;
	uint64_t length = load_little_endian_64(start);
	if (!check_length(length, file->size_bytes, error))
		return false;
	_cleanup_free_ char *text = malloc(length + 1);
	_cleanup_free_ struct safetensors_entry *entries = NULL;
	uint32_t count = 0;
	if (text == NULL)
		return error_set(error, ERROR_FAILED, "no memory for a header of %" PRIu64 " bytes", length);
	file->data_offset_bytes = SAFETENSORS_LENGTH_BYTES + length;
	return read_at(file, SAFETENSORS_LENGTH_BYTES, text, length, error) &&
	       header_parse(text, length, file->size_bytes - file->data_offset_bytes, &entries, &count, error) &&
	       add_entries(set, number, entries, count, error);
}

// ---- A set of files

// JSON is told by its first character: as the length of a header it would be longer than any file. An array is no index, but JSON that is
// told so.
static bool is_json(const struct open_file *file)
{
	uint8_t start[SAFETENSORS_LENGTH_BYTES] = {0};
	struct error ignored;
	uint64_t size = file->size_bytes < sizeof(start) ? file->size_bytes : sizeof(start);
	if (!read_at(file, 0, start, size, &ignored))
		return false;
	return strchr("{[ \t\r\n", start[0]) != NULL && start[0] != '\0' &&
	       (size < sizeof(start) || load_little_endian_64(start) > file->size_bytes);
}

static bool read_index(const struct open_file *file, struct index *ret_index, struct error *error)
{
	if (file->size_bytes > SAFETENSORS_MAXIMUM_HEADER_BYTES)
		return error_set(error, ERROR_USAGE, "is an index of %" PRIu64 " bytes; the maximum is %d",
				 file->size_bytes, SAFETENSORS_MAXIMUM_HEADER_BYTES);
	_cleanup_free_ char *text = malloc(file->size_bytes + 1);
	if (text == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	return read_at(file, 0, text, file->size_bytes, error) && index_parse(text, file->size_bytes, ret_index, error);
}

static bool open_member(struct safetensors *set, const char *index_path, const char *name, struct error *error)
{
	const char *slash = strrchr(index_path, '/');
	_cleanup_free_ char *path = NULL;
	if (asprintf(&path, "%.*s%s", slash != NULL ? (int)(slash + 1 - index_path) : 0, index_path, name) < 0) {
		path = NULL;
		return error_set(error, ERROR_FAILED, "out of memory");
	}
	if (!open_regular(path, &set->files[set->file_count], error) || !read_header(set, set->file_count++, error))
		return error_wrap(error, "its file %s", name);
	return true;
}

// The index says in which file each tensor is: one that is in two files counts where the index has it.
static bool keep_indexed(struct safetensors *set, const struct index *index, struct error *error)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < set->count; i++) {
		const struct index_tensor *tensor = index_find(index, set->entries[i].name);
		if (tensor != NULL && tensor->file == set->entries[i].file)
			set->entries[kept++] = set->entries[i];
	}
	set->count = kept;
	for (uint32_t i = 0; kept < index->tensor_count && i < index->tensor_count; i++) {
		char shown[SAFETENSORS_PRINTABLE_SIZE];
		const struct index_tensor *tensor = &index->tensors[i];
		if (safetensors_find(set, tensor->name) == NULL)
			return error_set(error, ERROR_USAGE, "tensor %s is not in %s, but the index says that it is",
					 strings_printable(tensor->name, shown, sizeof(shown)),
					 index->files[tensor->file]);
	}
	return true;
}

static bool open_indexed(struct safetensors *set, const char *path, struct error *error)
{
	struct index index;
	if (!read_index(&set->files[0], &index, error))
		return false;
	close(set->files[0].descriptor);
	free(steal_pointer(set->files[0].path));
	set->file_count = 0;
	struct open_file *files = realloc(set->files, index.file_count * sizeof(*files));
	bool ok = files != NULL || error_set(error, ERROR_FAILED, "out of memory");
	if (ok)
		set->files = files;
	for (uint32_t i = 0; ok && i < index.file_count; i++)
		ok = open_member(set, path, index.files[i], error);
	ok = ok && keep_indexed(set, &index, error);
	index_fini(&index);
	return ok;
}

static bool open_all(struct safetensors *set, const char *path, struct error *error)
{
	set->files = calloc(1, sizeof(*set->files));
	if (set->files == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	if (!open_regular(path, &set->files[0], error))
		return false;
	set->file_count = 1;
	return is_json(&set->files[0]) ? open_indexed(set, path, error) : read_header(set, 0, error);
}

bool safetensors_open(const char *path, struct safetensors **ret_file, struct error *error)
{
	struct safetensors *set = calloc(1, sizeof(*set));
	if (set == NULL)
		return error_set(error, ERROR_FAILED, "%s: out of memory", path);
	if (!open_all(set, path, error)) {
		safetensors_close(set);
		return error_wrap(error, "%s", path);
	}
	*ret_file = set;
	return true;
}

void safetensors_close(struct safetensors *file)
{
	if (file == NULL)
		return;
	for (uint32_t i = 0; i < file->file_count; i++) {
		close(file->files[i].descriptor);
		free(file->files[i].path);
	}
	free(file->files);
	free(file->entries);
	free(file);
}

// ---- The tensors

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

bool safetensors_check_type(const struct safetensors_entry *entry, struct error *error)
{
	return entry->type != SAFETENSORS_OTHER ||
	       error_set(error, ERROR_USAGE,
			 "%s has type %s in the file; F32, F16 and BF16 are read: convert it to float32", entry->name,
			 entry->type_name);
}

static bool read_widened(const struct open_file *file, enum data_type type, uint64_t offset, uint64_t count,
			 float *ret_values, struct error *error)
{
	uint16_t narrow[ELEMENTS_AT_ONCE];
	for (uint64_t done = 0; done < count;) {
		uint64_t some = count - done < ELEMENTS_AT_ONCE ? count - done : ELEMENTS_AT_ONCE;
		if (!read_at(file, offset + done * sizeof(narrow[0]), narrow, some * sizeof(narrow[0]), error))
			return false;
		data_type_widen(type, some, narrow, ret_values + done);
		done += some;
	}
	return true;
}

bool safetensors_read(const struct safetensors *file, const struct safetensors_entry *entry, uint64_t first,
		      uint64_t count, float *ret_values, struct error *error)
{
	const struct open_file *from = &file->files[entry->file];
	uint64_t start = from->data_offset_bytes + entry->offset_bytes;
	enum data_type type = entry->type == SAFETENSORS_F16 ? DATA_FLOAT16 : DATA_BFLOAT16;
	if (first > entry->count || count > entry->count - first)
		return error_set(error, ERROR_FAILED, "%s: tensor %s has no elements %" PRIu64 "+%" PRIu64, from->path,
				 entry->name, first, count);
	bool ok = safetensors_check_type(entry, error);
	if (ok && entry->type == SAFETENSORS_F32)
		ok = read_at(from, start + first * sizeof(float), ret_values, count * sizeof(float), error);
	else if (ok)
		ok = read_widened(from, type, start + first * sizeof(uint16_t), count, ret_values, error);
	return ok || error_wrap(error, "%s", from->path);
}
