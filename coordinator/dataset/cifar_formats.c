// The two forms of CIFAR-10's files: records of a label and an image, and Python's pickles of an array of images and a list of labels.
// Both become records.
#include "coordinator/dataset/cifar_formats.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strings.h"
#include "coordinator/dataset/pickle.h"

const char *cifar_file_name(enum cifar_format format, bool test, int number, char into[CIFAR_NAME_SIZE])
{
	const char *suffix = format == CIFAR_BINARY ? ".bin" : "";
	if (test)
		snprintf(into, CIFAR_NAME_SIZE, "test_batch%s", suffix);
	else
		snprintf(into, CIFAR_NAME_SIZE, "data_batch_%d%s", number, suffix);
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

bool cifar_check_size(uint64_t bytes, struct error *error)
{
	if (bytes == 0)
		return error_set(error, ERROR_USAGE, "is empty");
	uint64_t whole = bytes / CIFAR_RECORD_BYTES, rest = bytes % CIFAR_RECORD_BYTES;
	if (rest != 0)
		return error_set(error, ERROR_USAGE,
				 "is cut short: %" PRIu64 " byte%s %" PRIu64 " whole record%s of %d bytes and %" PRIu64
				 " byte%s of another",
				 bytes, bytes == 1 ? " is" : "s are", whole, strings_plural(whole), CIFAR_RECORD_BYTES,
				 rest, strings_plural(rest));
	return true;
}

bool cifar_check_labels(const uint8_t *records, uint64_t count, struct error *error)
{
	for (uint64_t i = 0; i < count; i++) {
		unsigned label = records[i * CIFAR_RECORD_BYTES];
		if (label >= CIFAR_CLASSES)
			return error_set(error, ERROR_USAGE,
					 "record %" PRIu64 " (from 0) has label %u; labels are 0 to %d: this is not "
					 "CIFAR-10's binary format, or damaged",
					 i, label, CIFAR_CLASSES - 1);
	}
	return true;
}

static bool append_records(struct cifar *set, const uint8_t *records, uint64_t bytes, struct error *error)
{
	uint64_t count = bytes / CIFAR_RECORD_BYTES;
	if (!cifar_check_size(bytes, error) || !cifar_check_labels(records, count, error))
		return false;
	uint8_t *into = extend(set, count, error);
	if (into == NULL)
		return false;
	memcpy(into, records, bytes);
	set->count += count;
	return true;
}

// ---- Pickles

static bool find_members(const struct pickle *pickle, const struct pickle_value **ret_data,
			 const struct pickle_value **ret_labels, struct error *error)
{
	const struct pickle_value *root = pickle_root(pickle);
	const struct pickle_value *data = pickle_get(pickle, root, "data"),
				  *labels = pickle_get(pickle, root, "labels");
	if (root->kind != PICKLE_DICTIONARY)
		return error_set(error, ERROR_USAGE, "does not hold a dictionary, as CIFAR-10's files do");
	if (data == NULL || data->kind != PICKLE_ARRAY || data->bytes == NULL)
		return error_set(error, ERROR_USAGE, "its dictionary has no numpy array \"data\"");
	if (labels == NULL || labels->kind != PICKLE_LIST)
		return error_set(error, ERROR_USAGE, "its dictionary has no list \"labels\"");
	if (data->columns != CIFAR_IMAGE_BYTES)
		return error_set(error, ERROR_USAGE, "its data has %" PRIu64 " bytes per image; CIFAR-10's has %d",
				 data->columns, CIFAR_IMAGE_BYTES);
	if (data->rows != labels->count || data->rows == 0)
		return error_set(error, ERROR_USAGE, "has %" PRIu64 " image%s and %u label%s", data->rows,
				 strings_plural(data->rows), labels->count, strings_plural(labels->count));
	*ret_data = data;
	*ret_labels = labels;
	return true;
}

static bool copy_images(const struct pickle *pickle, const struct pickle_value *data, const struct pickle_value *labels,
			uint8_t *records, struct error *error)
{
	for (uint32_t i = 0; i < labels->count; i++) {
		const struct pickle_value *label = pickle_item(pickle, labels, i);
		uint8_t *record = records + (uint64_t)i * CIFAR_RECORD_BYTES;
		if (label->kind != PICKLE_INTEGER || label->integer < 0 || label->integer >= CIFAR_CLASSES)
			return error_set(error, ERROR_USAGE, "label %u (from 0) is not a number from 0 to %d", i,
					 CIFAR_CLASSES - 1);
		record[0] = (uint8_t)label->integer;
		memcpy(record + 1, data->bytes + (uint64_t)i * CIFAR_IMAGE_BYTES, CIFAR_IMAGE_BYTES);
	}
	return true;
}

static bool append_pickle(struct cifar *set, const uint8_t *bytes, uint64_t size, struct error *error)
{
	struct pickle *pickle;
	const struct pickle_value *data = NULL, *labels = NULL;
	if (!pickle_read(bytes, size, &pickle, error))
		return false;
	bool ok = find_members(pickle, &data, &labels, error);
	uint8_t *records = ok ? extend(set, labels->count, error) : NULL;
	ok = records != NULL && copy_images(pickle, data, labels, records, error);
	if (ok)
		set->count += labels->count;
	pickle_destroy(pickle);
	return ok;
}

bool cifar_append(struct cifar *set, enum cifar_format format, const uint8_t *bytes, uint64_t size, struct error *error)
{
	return format == CIFAR_BINARY ? append_records(set, bytes, size, error)
				      : append_pickle(set, bytes, size, error);
}
