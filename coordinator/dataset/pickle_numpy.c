// See pickle_numpy.h.
#include "coordinator/dataset/pickle_numpy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strings.h"
#include "coordinator/dataset/pickle_machine.h"

// The `integer` of a PICKLE_FUNCTION.
enum function { RECONSTRUCT, ARRAY_TYPE, ELEMENT_TYPE, ENCODE };

static const struct {
	const char *module, *name;
	enum function function;
} functions[] = {
	{"numpy.core.multiarray", "_reconstruct", RECONSTRUCT},
	{"numpy._core.multiarray", "_reconstruct", RECONSTRUCT}, // numpy 2
	{"numpy", "ndarray", ARRAY_TYPE},
	{"numpy", "dtype", ELEMENT_TYPE},
	{"_codecs", "encode", ENCODE}, // how Python 3 writes bytes in protocol 2
};

bool pickle_push_function(struct pickle *p, struct error *error)
{
	char module[PICKLE_MAXIMUM_NAME], name[PICKLE_MAXIMUM_NAME], what[2 * PICKLE_MAXIMUM_NAME + 80];
	char shown[PICKLE_MAXIMUM_NAME], shown_name[PICKLE_MAXIMUM_NAME];
	if (!pickle_take_line(p, module, error) || !pickle_take_line(p, name, error))
		return false;
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
		if (strcmp(functions[i].module, module) == 0 && strcmp(functions[i].name, name) == 0)
			return pickle_push_new(
				p, (struct pickle_value){.kind = PICKLE_FUNCTION, .integer = functions[i].function},
				error);
	snprintf(what, sizeof(what), "it names %s.%s; only arrays of numpy are read, and nothing is executed",
		 strings_printable(module, shown, sizeof(shown)),
		 strings_printable(name, shown_name, sizeof(shown_name)));
	return pickle_refuse(p, error, what);
}

// ---- Calls

static const struct pickle_value *item(const struct pickle *p, const struct pickle_value *tuple, uint32_t index)
{
	static const struct pickle_value none = {.kind = PICKLE_NONE};
	return tuple->kind == PICKLE_TUPLE && index < tuple->count ? &p->values[tuple->items[index]] : &none;
}

// Converts text whose characters are all below 256 to bytes. Returns `*ret_bytes` owned.
static bool encode_latin1(const struct pickle_value *text, uint8_t **ret_bytes, size_t *ret_size)
{
	uint8_t *bytes = malloc(text->size + 1);
	size_t size = 0;
	for (size_t i = 0; bytes != NULL && i < text->size; i++) {
		uint8_t first = text->bytes[i], second = i + 1 < text->size ? text->bytes[i + 1] : 0;
		if (first < 0x80) {
			bytes[size++] = first;
		} else if ((first == 0xc2 || first == 0xc3) && (second & 0xc0) == 0x80) {
			bytes[size++] = (uint8_t)(first << 6 | (second & 0x3f));
			i++;
		} else {
			free(bytes);
			return false;
		}
	}
	*ret_bytes = bytes;
	*ret_size = size;
	return bytes != NULL;
}

static bool call(const struct pickle *p, int64_t function, const struct pickle_value *arguments,
		 struct pickle_value *ret_result, struct error *error)
{
	const struct pickle_value *first = item(p, arguments, 0), *second = item(p, arguments, 1);
	switch (function) {
	case RECONSTRUCT: // (ndarray, (0,), b'b'): an empty array, to be filled
		if (first->kind != PICKLE_FUNCTION || first->integer != ARRAY_TYPE)
			break;
		*ret_result = (struct pickle_value){.kind = PICKLE_ARRAY};
		return true;
	case ELEMENT_TYPE: // ('u1', ...)
		if (!pickle_is_string(first, "u1"))
			return pickle_refuse(p, error, "its array is not of uint8 (\"u1\"), as CIFAR-10's is");
		*ret_result = (struct pickle_value){.kind = PICKLE_ELEMENT};
		return true;
	case ENCODE: // (text, 'latin1')
		if (first->kind != PICKLE_TEXT || !pickle_is_string(second, "latin1"))
			break;
		*ret_result = (struct pickle_value){.kind = PICKLE_BYTES};
		if (!encode_latin1(first, &ret_result->owned, &ret_result->size))
			break;
		ret_result->bytes = ret_result->owned;
		return true;
	}
	return pickle_refuse(p, error, "it calls a function with other values than CIFAR-10's files do");
}

bool pickle_reduce(struct pickle *p, struct error *error)
{
	const struct pickle_value *arguments = pickle_peek(p, 0, error);
	const struct pickle_value *function = arguments != NULL ? pickle_peek(p, 1, error) : NULL;
	struct pickle_value result = {0};
	if (function == NULL)
		return false;
	if (function->kind != PICKLE_FUNCTION || arguments->kind != PICKLE_TUPLE)
		return pickle_refuse(p, error, "it calls a value that is not a function");
	if (!call(p, function->integer, arguments, &result, error))
		return false;
	p->stack_count -= 2;
	return pickle_push_new(p, result, error);
}

// `state` is (version, (rows, columns), element, is column-major, bytes).
static bool fill_array(const struct pickle *p, struct pickle_value *array, const struct pickle_value *state,
		       struct error *error)
{
	const struct pickle_value *shape = item(p, state, 1), *order = item(p, state, 3), *data = item(p, state, 4);
	const struct pickle_value *rows = item(p, shape, 0), *columns = item(p, shape, 1);
	if (state->kind != PICKLE_TUPLE || state->count != 5 || shape->kind != PICKLE_TUPLE || shape->count != 2 ||
	    rows->kind != PICKLE_INTEGER || columns->kind != PICKLE_INTEGER || rows->integer < 0 ||
	    columns->integer < 0 || item(p, state, 2)->kind != PICKLE_ELEMENT)
		return pickle_refuse(p, error, "its array is not a table of bytes");
	if (order->kind != PICKLE_BOOLEAN || order->integer != 0)
		return pickle_refuse(p, error, "its array is in column-major order; CIFAR-10's is in row-major order");
	uint64_t size;
	if (data->kind != PICKLE_BYTES ||
	    __builtin_mul_overflow((uint64_t)rows->integer, (uint64_t)columns->integer, &size) || size != data->size)
		return pickle_refuse(p, error, "its array has another number of bytes than its shape");
	array->rows = (uint64_t)rows->integer;
	array->columns = (uint64_t)columns->integer;
	array->bytes = data->bytes;
	array->size = data->size;
	return true;
}

bool pickle_build(struct pickle *p, struct error *error)
{
	const struct pickle_value *state = pickle_peek(p, 0, error);
	struct pickle_value *value = state != NULL ? pickle_peek(p, 1, error) : NULL;
	if (value == NULL)
		return false;
	bool ok = value->kind == PICKLE_ELEMENT; // the state of a type of one byte has no meaning
	if (value->kind == PICKLE_ARRAY)
		ok = fill_array(p, value, state, error);
	else if (!ok)
		pickle_refuse(p, error, "it fills a value that is not an array");
	p->stack_count--;
	return ok;
}
