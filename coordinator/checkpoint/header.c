// The JSON header of a safetensors file. A file may come from anywhere, so each size is checked against the file's own before it is
// used, and the tensors must fill the data part without overlap and without a gap, as the format demands.
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strings.h"
#include "coordinator/checkpoint/internal.h"

enum {
	NAME_SIZE = sizeof(((struct safetensors_entry *)0)->name),
	MAXIMUM_RANK = sizeof(((struct safetensors_entry *)0)->dimensions) / sizeof(uint64_t),
};

static const struct {
	const char *name;
	uint32_t bits; // of an element
	enum safetensors_type type;
} types[] = {
	{"F32", 32, SAFETENSORS_F32},      {"F16", 16, SAFETENSORS_F16},      {"BF16", 16, SAFETENSORS_BF16},
	{"F64", 64, SAFETENSORS_OTHER},    {"I64", 64, SAFETENSORS_OTHER},    {"I32", 32, SAFETENSORS_OTHER},
	{"I16", 16, SAFETENSORS_OTHER},    {"I8", 8, SAFETENSORS_OTHER},      {"U64", 64, SAFETENSORS_OTHER},
	{"U32", 32, SAFETENSORS_OTHER},    {"U16", 16, SAFETENSORS_OTHER},    {"U8", 8, SAFETENSORS_OTHER},
	{"BOOL", 8, SAFETENSORS_OTHER},    {"C64", 64, SAFETENSORS_OTHER},    {"F8_E4M3", 8, SAFETENSORS_OTHER},
	{"F8_E5M2", 8, SAFETENSORS_OTHER}, {"F8_E8M0", 8, SAFETENSORS_OTHER}, {"F6_E2M3", 6, SAFETENSORS_OTHER},
	{"F6_E3M2", 6, SAFETENSORS_OTHER}, {"F4", 4, SAFETENSORS_OTHER},
};

// A whole number that is not negative.
static bool get_unsigned(const json_t *value, uint64_t *ret_value)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return false;
	*ret_value = (uint64_t)json_integer_value(value);
	return true;
}

// `*ret_bits` is 0 for a type that is not known here, which a later version of the format may have.
static bool parse_type(const json_t *tensor, struct safetensors_entry *entry, uint32_t *ret_bits, struct error *error)
{
	const char *name = json_string_value(json_object_get(tensor, "dtype"));
	if (name == NULL)
		return error_set(error, ERROR_USAGE, "has no dtype");
	strings_printable(name, entry->type_name, sizeof(entry->type_name));
	entry->type = SAFETENSORS_OTHER;
	*ret_bits = 0;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(types[i].name, name) == 0) {
			entry->type = types[i].type;
			*ret_bits = types[i].bits;
		}
	return true;
}

static bool parse_shape(const json_t *tensor, struct safetensors_entry *entry, struct error *error)
{
	const json_t *shape = json_object_get(tensor, "shape");
	if (!json_is_array(shape))
		return error_set(error, ERROR_USAGE, "has no shape");
	if (json_array_size(shape) > MAXIMUM_RANK)
		return error_set(error, ERROR_USAGE, "has %zu dimensions; the maximum is %d", json_array_size(shape),
				 (int)MAXIMUM_RANK);
	entry->rank = (uint32_t)json_array_size(shape);
	entry->count = 1;
	for (uint32_t i = 0; i < entry->rank; i++) {
		if (!get_unsigned(json_array_get(shape, i), &entry->dimensions[i]))
			return error_set(error, ERROR_USAGE, "dimension %u is not a whole number of 0 or more", i);
		if (__builtin_mul_overflow(entry->count, entry->dimensions[i], &entry->count))
			return error_set(error, ERROR_USAGE, "the product of its dimensions overflows");
	}
	return true;
}

// `bits` of an element; 0: not known.
static bool parse_offsets(const json_t *tensor, uint64_t data_bytes, uint32_t bits, struct safetensors_entry *entry,
			  struct error *error)
{
	const json_t *offsets = json_object_get(tensor, "data_offsets");
	uint64_t begin, end, all_bits;
	if (json_array_size(offsets) != 2 || !get_unsigned(json_array_get(offsets, 0), &begin) ||
	    !get_unsigned(json_array_get(offsets, 1), &end))
		return error_set(error, ERROR_USAGE, "data_offsets are not two whole numbers of 0 or more");
	if (begin > end || end > data_bytes)
		return error_set(error, ERROR_USAGE,
				 "data_offsets [%" PRIu64 ", %" PRIu64 "] lie outside the file's %" PRIu64
				 " bytes of data: it is damaged or cut short",
				 begin, end, data_bytes);
	if (__builtin_mul_overflow(entry->count, (uint64_t)bits, &all_bits))
		return error_set(error, ERROR_USAGE, "the product of its dimensions overflows");
	if (bits > 0 && end - begin != all_bits / 8 + (all_bits % 8 != 0))
		return error_set(error, ERROR_USAGE, "data_offsets span %" PRIu64 " bytes, its shape needs %" PRIu64,
				 end - begin, all_bits / 8 + (all_bits % 8 != 0));
	entry->offset_bytes = begin;
	entry->size_bytes = end - begin;
	return true;
}

static bool parse_tensor(const char *name, const json_t *tensor, uint64_t data_bytes, struct safetensors_entry *entry,
			 struct error *error)
{
	uint32_t bits = 0;
	if (*name == '\0' || strlen(name) >= NAME_SIZE)
		return error_set(error, ERROR_USAGE, "the name is empty or longer than %d bytes", (int)NAME_SIZE - 1);
	if (strcmp(strings_printable(name, entry->name, NAME_SIZE), name) != 0)
		return error_set(error, ERROR_USAGE, "the name holds a control character");
	if (!json_is_object(tensor))
		return error_set(error, ERROR_USAGE, "is not a JSON object");
	return parse_type(tensor, entry, &bits, error) && parse_shape(tensor, entry, error) &&
	       parse_offsets(tensor, data_bytes, bits, entry, error);
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
static bool check_coverage(struct safetensors_entry *entries, uint32_t count, uint64_t data_bytes, struct error *error)
{
	qsort(entries, count, sizeof(*entries), compare_offsets);
	uint64_t end = 0;
	for (uint32_t i = 0; i < count; i++) {
		const struct safetensors_entry *entry = &entries[i];
		if (entry->offset_bytes < end)
			return error_set(error, ERROR_USAGE, "tensors %s and %s overlap", entries[i - 1].name,
					 entry->name);
		if (entry->offset_bytes > end)
			return error_set(error, ERROR_USAGE, "%" PRIu64 " byte%s before tensor %s %s to no tensor",
					 entry->offset_bytes - end, strings_plural(entry->offset_bytes - end),
					 entry->name, entry->offset_bytes - end == 1 ? "belongs" : "belong");
		end += entry->size_bytes;
	}
	if (end != data_bytes)
		return error_set(error, ERROR_USAGE, "%" PRIu64 " byte%s after the last tensor %s to no tensor",
				 data_bytes - end, strings_plural(data_bytes - end),
				 data_bytes - end == 1 ? "belongs" : "belong");
	return true;
}

static bool parse_tensors(json_t *header, uint64_t data_bytes, struct safetensors_entry *entries, uint32_t *ret_count,
			  struct error *error)
{
	const char *name;
	json_t *value;
	char shown[SAFETENSORS_PRINTABLE_SIZE];
	uint32_t count = 0;
	json_object_foreach(header, name, value)
	{
		if (strcmp(name, "__metadata__") == 0) {
			if (!check_metadata(value, error))
				return false;
			continue;
		}
		if (!parse_tensor(name, value, data_bytes, &entries[count], error))
			return error_wrap(error, "tensor %s", strings_printable(name, shown, sizeof(shown)));
		count++;
	}
	*ret_count = count;
	return check_coverage(entries, count, data_bytes, error);
}

static bool parse_object(json_t *header, uint64_t data_bytes, struct safetensors_entry **ret_entries,
			 uint32_t *ret_count, struct error *error)
{
	if (!json_is_object(header))
		return error_set(error, ERROR_USAGE, "the header is not a JSON object");
	if (json_object_size(header) > SAFETENSORS_MAXIMUM_TENSORS)
		return error_set(error, ERROR_USAGE, "holds %zu tensors; the maximum is %d", json_object_size(header),
				 SAFETENSORS_MAXIMUM_TENSORS);
	struct safetensors_entry *entries = calloc(json_object_size(header) + 1, sizeof(*entries));
	if (entries == NULL)
		return error_set(error, ERROR_FAILED, "no memory for the list of tensors");
	if (!parse_tensors(header, data_bytes, entries, ret_count, error)) {
		free(entries);
		return false;
	}
	*ret_entries = entries;
	return true;
}

bool header_parse(const char *text, size_t length, uint64_t data_bytes, struct safetensors_entry **ret_entries,
		  uint32_t *ret_count, struct error *error)
{
	json_error_t at;
	json_t *header = json_loadb(text, length, JSON_REJECT_DUPLICATES, &at);
	char shown[SAFETENSORS_PRINTABLE_SIZE];
	if (header == NULL)
		return error_set(error, ERROR_USAGE, "the header is not valid JSON: byte %d: %s", at.position,
				 strings_printable(at.text, shown, sizeof(shown)));
	bool ok = parse_object(header, data_bytes, ret_entries, ret_count, error);
	json_decref(header);
	return ok;
}
