// coordinator/checkpoint/safetensors: what is accepted has tensors that fill the data part without a gap, whose elements can be read;
// written anew as float32, it is the same values.
#include <stdlib.h>
#include <string.h>

#include "coordinator/checkpoint/safetensors.h"
#include "tests/fuzz/fuzz.h"

enum { MAXIMUM_WRITTEN = 16 };

static uint64_t shape_elements(const struct safetensors_entry *entry)
{
	uint64_t elements = 1;
	for (uint32_t i = 0; i < entry->rank; i++)
		elements *= entry->dimensions[i];
	return elements;
}

// Returns owned; NULL for a type that is not read.
static float *read_all(const struct safetensors *file, const struct safetensors_entry *entry)
{
	struct error error;
	if (!safetensors_check_type(entry, &error))
		return NULL;
	float *values = malloc(entry->count * sizeof(float) + 1);
	DEMAND(values != NULL && safetensors_read(file, entry, 0, entry->count, values, &error));
	DEMAND(!safetensors_read(file, entry, entry->count, 1, values, &error));
	return values;
}

static void check_tensors(const struct safetensors *file, size_t size)
{
	uint64_t end = 0;
	for (uint32_t i = 0; i < safetensors_count(file); i++) {
		const struct safetensors_entry *entry = safetensors_entry(file, i);
		DEMAND(entry->rank <= 8 && entry->name[0] != '\0' && strlen(entry->name) < sizeof(entry->name));
		DEMAND(entry->count == shape_elements(entry) && entry->offset_bytes == end);
		DEMAND(safetensors_find(file, entry->name) == entry);
		end += entry->size_bytes;
		free(read_all(file, entry));
	}
	DEMAND(end <= size);
}

static void check_written(const struct safetensors *file, const struct safetensors *again)
{
	for (uint32_t i = 0; i < safetensors_count(file); i++) {
		const struct safetensors_entry *before = safetensors_entry(file, i);
		const struct safetensors_entry *after = safetensors_find(again, before->name);
		DEMAND(after != NULL && after->rank == before->rank && after->count == before->count);
		DEMAND(memcmp(after->dimensions, before->dimensions, sizeof(after->dimensions)) == 0);
		float *ours = read_all(file, before), *theirs = read_all(again, after);
		DEMAND(memcmp(theirs, ours, after->count * sizeof(float)) == 0);
		free(ours);
		free(theirs);
	}
}

static void check_round_trip(const struct safetensors *file)
{
	char path[128];
	struct safetensors_entry entries[MAXIMUM_WRITTEN] = {0};
	struct safetensors_writer *writer = NULL;
	struct safetensors *again = NULL;
	struct error error;
	uint32_t count = safetensors_count(file);
	if (count == 0 || count > MAXIMUM_WRITTEN)
		return;
	snprintf(path, sizeof(path), "%s/written.safetensors", fuzz_folder());
	for (uint32_t i = 0; i < count; i++) {
		entries[i] = *safetensors_entry(file, i);
		if (entries[i].type == SAFETENSORS_OTHER)
			return;
	}
	DEMAND(safetensors_writer_create(path, entries, count, &writer, &error));
	for (uint32_t i = 0; i < count; i++) {
		float *values = read_all(file, safetensors_entry(file, i));
		DEMAND(safetensors_writer_put(writer, i, 0, values, entries[i].count * sizeof(float), &error));
		free(values);
	}
	DEMAND(safetensors_writer_finish(writer, &error));
	DEMAND(safetensors_open(path, &again, &error) && safetensors_count(again) == count);
	check_written(file, again);
	safetensors_close(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct safetensors *file = NULL;
	struct error error = {0};
	if (!safetensors_open(fuzz_file(data, size), &file, &error)) {
		DEMAND(file == NULL && error.code == ERROR_USAGE && error.message[0] != '\0');
		return 0;
	}
	check_tensors(file, size);
	check_round_trip(file);
	safetensors_close(file);
	return 0;
}
