// coordinator/checkpoint/safetensors: what is accepted has tensors that fill the data part without a gap, whose bytes can be read;
// written anew, it is the same tensors.
#include <string.h>

#include "coordinator/checkpoint/safetensors.h"
#include "tests/fuzz/fuzz.h"

enum { MAXIMUM_WRITTEN = 16 };

static uint64_t shape_bytes(const struct safetensors_entry *entry)
{
	uint64_t bytes = sizeof(float);
	for (uint32_t i = 0; i < entry->rank; i++)
		bytes *= entry->dimensions[i];
	return bytes;
}

static void check_tensors(const struct safetensors *file, size_t size)
{
	uint64_t end = 0;
	for (uint32_t i = 0; i < safetensors_count(file); i++) {
		const struct safetensors_entry *entry = safetensors_entry(file, i);
		DEMAND(entry->rank <= 8 && entry->name[0] != '\0' && strlen(entry->name) < sizeof(entry->name));
		DEMAND(entry->size_bytes == shape_bytes(entry) && entry->offset_bytes == end);
		DEMAND(safetensors_find(file, entry->name) == entry);
		end += entry->size_bytes;
		const float *values = safetensors_data(file, entry);
		DEMAND(entry->size_bytes == 0 || (uintptr_t)values % _Alignof(float) == 0);
		for (uint64_t k = 0; k < entry->size_bytes / sizeof(float); k++)
			(void)*(const volatile float *)&values[k]; // read, so that a place outside the file is seen
	}
	DEMAND(end <= size);
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
	for (uint32_t i = 0; i < count; i++)
		entries[i] = *safetensors_entry(file, i);
	DEMAND(safetensors_writer_create(path, entries, count, &writer, &error));
	for (uint32_t i = 0; i < count; i++)
		DEMAND(safetensors_writer_put(writer, i, 0, safetensors_data(file, safetensors_entry(file, i)),
					      entries[i].size_bytes, &error));
	DEMAND(safetensors_writer_finish(writer, &error));
	DEMAND(safetensors_open(path, &again, &error) && safetensors_count(again) == count);
	for (uint32_t i = 0; i < count; i++) {
		const struct safetensors_entry *before = safetensors_entry(file, i);
		const struct safetensors_entry *after = safetensors_find(again, before->name);
		DEMAND(after != NULL && after->rank == before->rank && after->size_bytes == before->size_bytes);
		DEMAND(memcmp(after->dimensions, before->dimensions, sizeof(after->dimensions)) == 0);
		DEMAND(memcmp(safetensors_data(again, after), safetensors_data(file, before), after->size_bytes) == 0);
	}
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
