// The index of a set of safetensors files: {"metadata": {...}, "weight_map": {"tensor": "file", ...}}, beside the files.
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strings.h"
#include "coordinator/checkpoint/internal.h"

#define EXPECTED                                                                                                       \
	"expected a .safetensors file, as penstock train --save and safetensors.torch.save_file write, or the "        \
	"model.safetensors.index.json of a set of them"

// The files lie beside the index. A name with a folder could be any file of this machine.
static bool check_file_name(const char *name, struct error *error)
{
	char shown[SAFETENSORS_PRINTABLE_SIZE];
	strings_printable(name, shown, sizeof(shown));
	if (*name == '\0' || strchr(name, '/') != NULL || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return error_set(error, ERROR_USAGE,
				 "its file is \"%s\"; expected the name of a file in the index's own folder", shown);
	if (strncmp(shown, name, sizeof(shown) - 1) != 0 || strlen(name) >= sizeof(shown))
		return error_set(error, ERROR_USAGE, "its file \"%s\" has a name that is too long, or not text", shown);
	return true;
}

static bool find_file(struct index *index, const char *name, uint32_t *ret_file, struct error *error)
{
	for (uint32_t i = 0; i < index->file_count; i++)
		if (strcmp(index->files[i], name) == 0) {
			*ret_file = i;
			return true;
		}
	if (index->file_count == SAFETENSORS_MAXIMUM_FILES)
		return error_set(error, ERROR_USAGE, "the tensors are in more than %d files",
				 SAFETENSORS_MAXIMUM_FILES);
	index->files[index->file_count] = strdup(name);
	if (index->files[index->file_count] == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	*ret_file = index->file_count++;
	return true;
}

static bool add_tensor(struct index *index, const char *name, const json_t *value, struct error *error)
{
	struct index_tensor *tensor = &index->tensors[index->tensor_count];
	const char *file = json_string_value(value);
	if (file == NULL)
		return error_set(error, ERROR_USAGE, "its file is not a string");
	if (!check_file_name(file, error) || !find_file(index, file, &tensor->file, error))
		return false;
	tensor->name = strdup(name);
	if (tensor->name == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	index->tensor_count++;
	return true;
}

static int compare_names(const void *a, const void *b)
{
	const struct index_tensor *left = a, *right = b;
	return strcmp(left->name, right->name);
}

static bool read_map(json_t *map, struct index *index, struct error *error)
{
	const char *name;
	json_t *value;
	char shown[SAFETENSORS_PRINTABLE_SIZE];
	size_t count = json_object_size(map);
	if (!json_is_object(map) || count == 0)
		return error_set(error, ERROR_USAGE,
				 "is JSON without a \"weight_map\" of tensors, so it has no parameters: " EXPECTED);
	if (count > SAFETENSORS_MAXIMUM_TENSORS)
		return error_set(error, ERROR_USAGE, "weight_map has %zu tensors; the maximum is %d", count,
				 SAFETENSORS_MAXIMUM_TENSORS);
	index->tensors = calloc(count, sizeof(*index->tensors));
	index->files = calloc(SAFETENSORS_MAXIMUM_FILES, sizeof(*index->files));
	if (index->tensors == NULL || index->files == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	json_object_foreach(map, name, value) if (!add_tensor(index, name, value, error)) return error_wrap(
		error, "weight_map: tensor %s", strings_printable(name, shown, sizeof(shown)));
	qsort(index->tensors, index->tensor_count, sizeof(*index->tensors), compare_names);
	return true;
}

bool index_parse(const char *text, size_t length, struct index *ret_index, struct error *error)
{
	json_error_t at;
	struct index index = {0};
	char shown[SAFETENSORS_PRINTABLE_SIZE];
	json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &at);
	if (root == NULL)
		return error_set(error, ERROR_USAGE, "is JSON, but is not a valid index: line %d: %s: " EXPECTED,
				 at.line, strings_printable(at.text, shown, sizeof(shown)));
	bool ok = read_map(json_object_get(root, "weight_map"), &index, error);
	json_decref(root);
	if (ok)
		*ret_index = index;
	else
		index_fini(&index);
	return ok;
}

void index_fini(struct index *index)
{
	for (uint32_t i = 0; i < index->file_count; i++)
		free(index->files[i]);
	for (uint32_t i = 0; i < index->tensor_count; i++)
		free(index->tensors[i].name);
	free(index->files);
	free(index->tensors);
	*index = (struct index){0};
}

const struct index_tensor *index_find(const struct index *index, const char *name)
{
	struct index_tensor wanted = {.name = (char *)name};
	return bsearch(&wanted, index->tensors, index->tensor_count, sizeof(wanted), compare_names);
}
