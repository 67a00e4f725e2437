// The two forms of CIFAR's files: records of labels and an image, and Python's pickles of an array of images and a list of labels.
// Both become records.
#include "coordinator/dataset/cifar_formats.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strings.h"
#include "coordinator/dataset/pickle.h"

const struct cifar_version cifar_10 = {
	.name = "CIFAR-10",
	.classes = CIFAR_CLASSES,
	.label_bytes = 1,
	.labels = "labels",
	.training_files = 5,
	.training_name = "data_batch_%d",
	.test_name = "test_batch",
	.subfolders = {"cifar-10-batches-bin/", "cifar-10-batches-py/"},
	.archives = {"cifar-10-binary.tar.gz", "cifar-10-python.tar.gz"},
};

const struct cifar_version cifar_100 = {
	.name = "CIFAR-100",
	.classes = 100,
	.label_bytes = 2, // coarse and fine
	.label_at = 1,
	.labels = "fine_labels",
	.training_files = 1,
	.training_name = "train",
	.test_name = "test",
	.subfolders = {"cifar-100-binary/", "cifar-100-python/"},
	.archives = {"cifar-100-binary.tar.gz", "cifar-100-python.tar.gz"},
};

const char *cifar_file_name(const struct cifar_version *version, enum cifar_form form, bool test, int number,
			    char into[CIFAR_NAME_SIZE])
{
	// NOLINTNEXTLINE(clang-diagnostic-format-nonliteral): from the table above
	snprintf(into, CIFAR_NAME_SIZE, test ? version->test_name : version->training_name, number);
	if (form == CIFAR_BINARY)
		strcat(into, ".bin");
	return into;
}

// Room for `count` more records; NULL with an error.
static uint8_t *extend(struct cifar *set, uint64_t count, struct error *error)
{
	uint8_t *grown = realloc(set->records, (set->count + count) * CIFAR_RECORD_BYTES);
	if (grown == NULL) {
		error_set(error, ERROR_FAILED, "no memory for its %" PRIu64 " images", count);
		return NULL;
	}
	set->records = grown;
	return grown + set->count * CIFAR_RECORD_BYTES;
}

// ---- Records

static uint32_t record_bytes(const struct cifar_version *version)
{
	return version->label_bytes + CIFAR_IMAGE_BYTES;
}

bool cifar_check_size(const struct cifar_version *version, uint64_t bytes, struct error *error)
{
	if (bytes == 0)
		return error_set(error, ERROR_USAGE, "is empty");
	uint64_t whole = bytes / record_bytes(version), rest = bytes % record_bytes(version);
	if (rest != 0)
		return error_set(error, ERROR_USAGE,
				 "is cut short: %" PRIu64 " byte%s %" PRIu64 " whole record%s of %d bytes and %" PRIu64
				 " byte%s of another",
				 bytes, bytes == 1 ? " is" : "s are", whole, strings_plural(whole),
				 (int)record_bytes(version), rest, strings_plural(rest));
	return true;
}

static bool check_labels(const struct cifar_version *version, const uint8_t *records, uint64_t count,
			 struct error *error)
{
	for (uint64_t i = 0; i < count; i++) {
		unsigned label = records[i * record_bytes(version) + version->label_at];
		if (label >= version->classes)
			return error_set(error, ERROR_USAGE,
					 "record %" PRIu64 " (from 0) has label %u; labels are 0 to %u: this is not "
					 "%s's binary format, or damaged",
					 i, label, version->classes - 1, version->name);
	}
	return true;
}

static bool append_records(const struct cifar_version *version, const uint8_t *records, uint64_t bytes,
			   struct cifar *set, struct error *error)
{
	if (!cifar_check_size(version, bytes, error))
		return false;
	uint64_t count = bytes / record_bytes(version);
	if (!check_labels(version, records, count, error))
		return false;
	uint8_t *into = extend(set, count, error);
	for (uint64_t i = 0; into != NULL && i < count; i++) {
		const uint8_t *record = records + i * record_bytes(version);
		into[i * CIFAR_RECORD_BYTES] = record[version->label_at];
		memcpy(into + i * CIFAR_RECORD_BYTES + 1, record + version->label_bytes, CIFAR_IMAGE_BYTES);
	}
	set->count += into != NULL ? count : 0;
	return into != NULL;
}

bool cifar_append_set(const struct cifar *more, struct cifar *set, struct error *error)
{
	uint8_t *into = extend(set, more->count, error);
	if (into == NULL)
		return false;
	memcpy(into, more->records, more->count * CIFAR_RECORD_BYTES);
	set->count += more->count;
	return true;
}

// ---- Pickles

static bool find_members(const struct cifar_version *version, const struct pickle *pickle,
			 const struct pickle_value **ret_data, const struct pickle_value **ret_labels,
			 struct error *error)
{
	const struct pickle_value *root = pickle_root(pickle);
	const struct pickle_value *data = pickle_get(pickle, root, "data"),
				  *labels = pickle_get(pickle, root, version->labels);
	if (root->kind != PICKLE_DICTIONARY)
		return error_set(error, ERROR_USAGE, "does not hold a dictionary, as %s's files do", version->name);
	if (data == NULL || data->kind != PICKLE_ARRAY || data->bytes == NULL)
		return error_set(error, ERROR_USAGE, "its dictionary has no numpy array \"data\"");
	if (labels == NULL || labels->kind != PICKLE_LIST)
		return error_set(error, ERROR_USAGE, "its dictionary has no list \"%s\"", version->labels);
	if (data->columns != CIFAR_IMAGE_BYTES)
		return error_set(error, ERROR_USAGE, "its data has %" PRIu64 " bytes per image; %s's has %d",
				 data->columns, version->name, CIFAR_IMAGE_BYTES);
	if (data->rows != labels->count || data->rows == 0)
		return error_set(error, ERROR_USAGE, "has %" PRIu64 " image%s and %u label%s", data->rows,
				 strings_plural(data->rows), labels->count, strings_plural(labels->count));
	*ret_data = data;
	*ret_labels = labels;
	return true;
}

static bool copy_images(const struct cifar_version *version, const struct pickle *pickle,
			const struct pickle_value *data, const struct pickle_value *labels, uint8_t *records,
			struct error *error)
{
	for (uint32_t i = 0; i < labels->count; i++) {
		const struct pickle_value *label = pickle_item(pickle, labels, i);
		uint8_t *record = records + (uint64_t)i * CIFAR_RECORD_BYTES;
		if (label->kind != PICKLE_INTEGER || label->integer < 0 || label->integer >= version->classes)
			return error_set(error, ERROR_USAGE, "label %u (from 0) is not a number from 0 to %u", i,
					 version->classes - 1);
		record[0] = (uint8_t)label->integer;
		memcpy(record + 1, data->bytes + (uint64_t)i * CIFAR_IMAGE_BYTES, CIFAR_IMAGE_BYTES);
	}
	return true;
}

static bool append_pickle(const struct cifar_version *version, const uint8_t *bytes, uint64_t size, struct cifar *set,
			  struct error *error)
{
	struct pickle *pickle;
	const struct pickle_value *data = NULL, *labels = NULL;
	if (!pickle_read(bytes, size, &pickle, error))
		return false;
	bool ok = find_members(version, pickle, &data, &labels, error);
	uint8_t *records = ok ? extend(set, labels->count, error) : NULL;
	ok = records != NULL && copy_images(version, pickle, data, labels, records, error);
	if (ok)
		set->count += labels->count;
	pickle_destroy(pickle);
	return ok;
}

bool cifar_append(const struct cifar_version *version, enum cifar_form form, const uint8_t *bytes, uint64_t size,
		  struct cifar *set, struct error *error)
{
	return form == CIFAR_BINARY ? append_records(version, bytes, size, set, error)
				    : append_pickle(version, bytes, size, set, error);
}
