// See pickle.h. A pickle is a program for a machine with a stack and a memory of numbered values ("memo"). The opcodes are described in
// Python's Lib/pickletools.py.
#include "coordinator/dataset/pickle.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strings.h"

enum {
	PROTOCOL = 2,
	// A published file has 10000 labels and as many names of files. Values, stack, memo and items of lists have this bound each.
	MAXIMUM_VALUES = 1 << 20,
	MAXIMUM_NAME = 100, // of a module, or of a function
	MARK = UINT32_MAX,  // on the stack
};

// What a function's value has in `integer`.
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

// Of opcodes that other pickles have.
static const struct {
	uint8_t code;
	const char *name;
} other_opcodes[] = {
	{'i', "INST"},   {'o', "OBJ"},       {0x81, "NEWOBJ"},  {0x92, "NEWOBJ_EX"},     {0x93, "STACK_GLOBAL"},
	{'P', "PERSID"}, {'Q', "BINPERSID"}, {0x82, "EXT1"},    {0x83, "EXT2"},          {0x84, "EXT4"},
	{'S', "STRING"}, {'V', "UNICODE"},   {'I', "INT"},      {'L', "LONG"},           {'F', "FLOAT"},
	{'0', "POP"},    {'1', "POP_MARK"},  {'2', "DUP"},      {'d', "DICT"},           {'l', "LIST"},
	{'p', "PUT"},    {'g', "GET"},       {'B', "BINBYTES"}, {'C', "SHORT_BINBYTES"}, {0x8c, "SHORT_BINUNICODE"},
	{0x8a, "LONG1"}, {0x8b, "LONG4"},    {'G', "BINFLOAT"}, {0x94, "MEMOIZE"},       {0x95, "FRAME"},
};

struct pickle {
	const uint8_t *bytes;
	size_t size, at, opcode_at;
	struct pickle_value *values;
	uint32_t value_count, value_capacity;
	uint32_t *stack;
	uint32_t stack_count, stack_capacity;
	uint32_t *memo; // MARK: nothing
	uint32_t memo_capacity;
	uint32_t item_count; // of all lists, tuples and dictionaries
	uint32_t root;
};

// ---- Errors and growth

static bool refuse(const struct pickle *p, struct error *error, const char *what)
{
	return error_set(error, ERROR_USAGE, "byte %zu of the pickle: %s", p->opcode_at, what);
}

static bool out_of_memory(struct error *error)
{
	return error_set(error, ERROR_FAILED, "out of memory");
}

static bool grow(void **array, uint32_t *capacity, uint32_t wanted, size_t element)
{
	if (wanted <= *capacity)
		return true;
	uint32_t fresh = *capacity < 64 ? 64 : *capacity;
	while (fresh < wanted)
		fresh *= 2;
	void *grown = realloc(*array, fresh * element);
	if (grown == NULL)
		return false;
	*array = grown;
	*capacity = fresh;
	return true;
}

// ---- The stack

static bool push(struct pickle *p, uint32_t value, struct error *error)
{
	if (p->stack_count == MAXIMUM_VALUES)
		return refuse(p, error, "it has more values than the limit");
	if (!grow((void **)&p->stack, &p->stack_capacity, p->stack_count + 1, sizeof(*p->stack)))
		return out_of_memory(error);
	p->stack[p->stack_count++] = value;
	return true;
}

static bool push_new(struct pickle *p, struct pickle_value value, struct error *error)
{
	if (p->value_count == MAXIMUM_VALUES) {
		free(value.owned);
		return refuse(p, error, "it has more values than the limit");
	}
	if (!grow((void **)&p->values, &p->value_capacity, p->value_count + 1, sizeof(*p->values))) {
		free(value.owned);
		return out_of_memory(error);
	}
	p->values[p->value_count] = value;
	return push(p, p->value_count++, error);
}

// The value `below` the top, 0 for the top itself; NULL with an error when there is none, or a mark.
static struct pickle_value *peek(struct pickle *p, uint32_t below, struct error *error)
{
	if (below < p->stack_count && p->stack[p->stack_count - 1 - below] != MARK)
		return &p->values[p->stack[p->stack_count - 1 - below]];
	refuse(p, error, "it takes a value from an empty stack");
	return NULL;
}

// Values above the last mark.
static bool count_above_mark(const struct pickle *p, uint32_t *ret_count, struct error *error)
{
	for (uint32_t i = p->stack_count; i > 0; i--)
		if (p->stack[i - 1] == MARK) {
			*ret_count = p->stack_count - i;
			return true;
		}
	return refuse(p, error, "it takes values down to a mark, and the stack has no mark");
}

// Moves the top `count` values to the end of `into`.
static bool take_items(struct pickle *p, struct pickle_value *into, uint32_t count, struct error *error)
{
	if (count > MAXIMUM_VALUES - p->item_count)
		return refuse(p, error, "it has more values than the limit");
	if (!grow((void **)&into->items, &into->capacity, into->count + count, sizeof(*into->items)))
		return out_of_memory(error);
	for (uint32_t i = 0; i < count; i++)
		if (p->stack[p->stack_count - count + i] == MARK)
			return refuse(p, error, "it puts a mark into a list");
	if (count > 0)
		memcpy(into->items + into->count, p->stack + p->stack_count - count, count * sizeof(*into->items));
	into->count += count;
	p->item_count += count;
	p->stack_count -= count;
	return true;
}

// ---- The file's bytes

static bool take_bytes(struct pickle *p, size_t count, const uint8_t **ret_bytes, struct error *error)
{
	if (count > p->size - p->at)
		return refuse(p, error, "it is cut short");
	*ret_bytes = p->bytes + p->at;
	p->at += count;
	return true;
}

// Little-endian, of 1 to 4 bytes.
static bool take_number(struct pickle *p, size_t bytes, uint32_t *ret_number, struct error *error)
{
	const uint8_t *from = NULL;
	if (!take_bytes(p, bytes, &from, error))
		return false;
	*ret_number = 0;
	for (size_t i = 0; i < bytes; i++)
		*ret_number |= (uint32_t)from[i] << (8 * i);
	return true;
}

static bool take_line(struct pickle *p, char into[MAXIMUM_NAME], struct error *error)
{
	const uint8_t *from = p->bytes + p->at;
	const uint8_t *end = memchr(from, '\n', p->size - p->at);
	if (end == NULL || end - from >= MAXIMUM_NAME)
		return refuse(p, error, "it names a function that is not one of numpy's");
	memcpy(into, from, (size_t)(end - from));
	into[end - from] = '\0';
	p->at += (size_t)(end - from) + 1;
	return true;
}

// ---- Opcodes that push

static bool push_integer(struct pickle *p, size_t bytes, struct error *error)
{
	uint32_t number = 0;
	if (!take_number(p, bytes, &number, error))
		return false;
	int64_t integer = bytes == 4 ? (int32_t)number : (int64_t)number;
	return push_new(p, (struct pickle_value){.kind = PICKLE_INTEGER, .integer = integer}, error);
}

static bool push_string(struct pickle *p, enum pickle_kind kind, size_t length_bytes, struct error *error)
{
	struct pickle_value value = {.kind = kind};
	uint32_t length = 0;
	if (!take_number(p, length_bytes, &length, error) || !take_bytes(p, length, &value.bytes, error))
		return false;
	value.size = length;
	return push_new(p, value, error);
}

static bool push_function(struct pickle *p, struct error *error)
{
	char module[MAXIMUM_NAME], name[MAXIMUM_NAME], what[2 * MAXIMUM_NAME + 80];
	char shown[MAXIMUM_NAME], shown_name[MAXIMUM_NAME];
	if (!take_line(p, module, error) || !take_line(p, name, error))
		return false;
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
		if (strcmp(functions[i].module, module) == 0 && strcmp(functions[i].name, name) == 0)
			return push_new(
				p, (struct pickle_value){.kind = PICKLE_FUNCTION, .integer = functions[i].function},
				error);
	snprintf(what, sizeof(what), "it names %s.%s; only arrays of numpy are read, and nothing is executed",
		 strings_printable(module, shown, sizeof(shown)),
		 strings_printable(name, shown_name, sizeof(shown_name)));
	return refuse(p, error, what);
}

// From the top `count` values.
static bool push_tuple(struct pickle *p, uint32_t count, bool has_mark, struct error *error)
{
	struct pickle_value tuple = {.kind = PICKLE_TUPLE};
	if (count > p->stack_count)
		return refuse(p, error, "it takes a value from an empty stack");
	if (!take_items(p, &tuple, count, error)) {
		free(tuple.items);
		return false;
	}
	p->stack_count -= has_mark;
	uint32_t *items = tuple.items;
	uint32_t before = p->value_count;
	if (push_new(p, tuple, error))
		return true;
	if (p->value_count == before) // else the pickle has them
		free(items);
	return false;
}

// ---- The memo

static bool store(struct pickle *p, size_t index_bytes, struct error *error)
{
	uint32_t index = 0, before = p->memo_capacity;
	if (!take_number(p, index_bytes, &index, error) || peek(p, 0, error) == NULL)
		return false;
	if (index >= MAXIMUM_VALUES)
		return refuse(p, error, "it stores more values than the limit");
	if (!grow((void **)&p->memo, &p->memo_capacity, index + 1, sizeof(*p->memo)))
		return out_of_memory(error);
	for (uint32_t i = before; i < p->memo_capacity; i++)
		p->memo[i] = MARK;
	p->memo[index] = p->stack[p->stack_count - 1];
	return true;
}

static bool fetch(struct pickle *p, size_t index_bytes, struct error *error)
{
	uint32_t index = 0;
	if (!take_number(p, index_bytes, &index, error))
		return false;
	if (index >= p->memo_capacity || p->memo[index] == MARK)
		return refuse(p, error, "it fetches a value that it has not stored");
	return push(p, p->memo[index], error);
}

// ---- Opcodes that fill lists and dictionaries

// `count` values above the collection, and a mark between them or not.
static bool extend(struct pickle *p, enum pickle_kind kind, uint32_t count, bool has_mark, struct error *error)
{
	struct pickle_value *collection = peek(p, count + has_mark, error);
	if (collection == NULL)
		return false;
	if (collection->kind != kind)
		return refuse(p, error, "it puts values into a value that is not a list or dictionary");
	if (kind == PICKLE_DICTIONARY && count % 2 != 0)
		return refuse(p, error, "it puts a key without a value into a dictionary");
	if (!take_items(p, collection, count, error))
		return false;
	p->stack_count -= has_mark;
	return true;
}

static bool extend_to_mark(struct pickle *p, enum pickle_kind kind, struct error *error)
{
	uint32_t count = 0;
	return count_above_mark(p, &count, error) && extend(p, kind, count, true, error);
}

// ---- Calls, by what they return

static const struct pickle_value *item(const struct pickle *p, const struct pickle_value *tuple, uint32_t index)
{
	static const struct pickle_value none = {.kind = PICKLE_NONE};
	return tuple->kind == PICKLE_TUPLE && index < tuple->count ? &p->values[tuple->items[index]] : &none;
}

static bool is_string(const struct pickle_value *value, const char *text)
{
	return (value->kind == PICKLE_BYTES || value->kind == PICKLE_TEXT) && value->size == strlen(text) &&
	       memcmp(value->bytes, text, value->size) == 0;
}

// Text whose characters are all below 256, to their bytes. `*ret_bytes` is owned by the caller.
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
		if (!is_string(first, "u1"))
			return refuse(p, error, "its array is not of uint8 (\"u1\"), as CIFAR-10's is");
		*ret_result = (struct pickle_value){.kind = PICKLE_ELEMENT};
		return true;
	case ENCODE: // (text, 'latin1')
		if (first->kind != PICKLE_TEXT || !is_string(second, "latin1"))
			break;
		*ret_result = (struct pickle_value){.kind = PICKLE_BYTES};
		if (!encode_latin1(first, &ret_result->owned, &ret_result->size))
			break;
		ret_result->bytes = ret_result->owned;
		return true;
	}
	return refuse(p, error, "it calls a function with other values than CIFAR-10's files do");
}

static bool reduce(struct pickle *p, struct error *error)
{
	const struct pickle_value *arguments = peek(p, 0, error);
	const struct pickle_value *function = arguments != NULL ? peek(p, 1, error) : NULL;
	struct pickle_value result = {0};
	if (function == NULL)
		return false;
	if (function->kind != PICKLE_FUNCTION || arguments->kind != PICKLE_TUPLE)
		return refuse(p, error, "it calls a value that is not a function");
	if (!call(p, function->integer, arguments, &result, error))
		return false;
	p->stack_count -= 2;
	return push_new(p, result, error);
}

// State (version, (rows, columns), element, is Fortran's order, bytes).
static bool fill_array(const struct pickle *p, struct pickle_value *array, const struct pickle_value *state,
		       struct error *error)
{
	const struct pickle_value *shape = item(p, state, 1), *order = item(p, state, 3), *data = item(p, state, 4);
	const struct pickle_value *rows = item(p, shape, 0), *columns = item(p, shape, 1);
	if (state->kind != PICKLE_TUPLE || state->count != 5 || shape->kind != PICKLE_TUPLE || shape->count != 2 ||
	    rows->kind != PICKLE_INTEGER || columns->kind != PICKLE_INTEGER || rows->integer < 0 ||
	    columns->integer < 0 || item(p, state, 2)->kind != PICKLE_ELEMENT)
		return refuse(p, error, "its array is not a table of bytes");
	if (order->kind != PICKLE_BOOLEAN || order->integer != 0)
		return refuse(p, error, "its array is in column-major order; CIFAR-10's is in row-major order");
	uint64_t size;
	if (data->kind != PICKLE_BYTES ||
	    __builtin_mul_overflow((uint64_t)rows->integer, (uint64_t)columns->integer, &size) || size != data->size)
		return refuse(p, error, "its array has another number of bytes than its shape");
	array->rows = (uint64_t)rows->integer;
	array->columns = (uint64_t)columns->integer;
	array->bytes = data->bytes;
	array->size = data->size;
	return true;
}

static bool build(struct pickle *p, struct error *error)
{
	const struct pickle_value *state = peek(p, 0, error);
	struct pickle_value *value = state != NULL ? peek(p, 1, error) : NULL;
	if (value == NULL)
		return false;
	bool ok = value->kind == PICKLE_ELEMENT; // its state has nothing for single bytes
	if (value->kind == PICKLE_ARRAY)
		ok = fill_array(p, value, state, error);
	else if (!ok)
		refuse(p, error, "it fills a value that is not an array");
	p->stack_count--;
	return ok;
}

// ---- The machine

static bool refuse_opcode(const struct pickle *p, uint8_t code, struct error *error)
{
	char what[100];
	const char *name = "unknown";
	for (size_t i = 0; i < sizeof(other_opcodes) / sizeof(other_opcodes[0]); i++)
		if (other_opcodes[i].code == code)
			name = other_opcodes[i].name;
	snprintf(what, sizeof(what), "opcode 0x%02x (%s) is not used in CIFAR-10's files", code, name);
	return refuse(p, error, what);
}

static bool run_tuple(struct pickle *p, struct error *error)
{
	uint32_t count = 0;
	return count_above_mark(p, &count, error) && push_tuple(p, count, true, error);
}

static bool run(struct pickle *p, uint8_t code, struct error *error)
{
	switch (code) {
	case '(':
		return push(p, MARK, error);
	case ')':
		return push_tuple(p, 0, false, error);
	case ']':
		return push_new(p, (struct pickle_value){.kind = PICKLE_LIST}, error);
	case '}':
		return push_new(p, (struct pickle_value){.kind = PICKLE_DICTIONARY}, error);
	case 'N':
		return push_new(p, (struct pickle_value){.kind = PICKLE_NONE}, error);
	case 0x88:
	case 0x89:
		return push_new(p, (struct pickle_value){.kind = PICKLE_BOOLEAN, .integer = code == 0x88}, error);
	case 'K':
		return push_integer(p, 1, error);
	case 'M':
		return push_integer(p, 2, error);
	case 'J':
		return push_integer(p, 4, error);
	case 'U':
		return push_string(p, PICKLE_BYTES, 1, error);
	case 'T':
		return push_string(p, PICKLE_BYTES, 4, error);
	case 'X':
		return push_string(p, PICKLE_TEXT, 4, error);
	case 'c':
		return push_function(p, error);
	case 't':
		return run_tuple(p, error);
	case 0x85:
	case 0x86:
	case 0x87:
		return push_tuple(p, code - 0x84u, false, error);
	case 'q':
		return store(p, 1, error);
	case 'r':
		return store(p, 4, error);
	case 'h':
		return fetch(p, 1, error);
	case 'j':
		return fetch(p, 4, error);
	case 'a':
		return extend(p, PICKLE_LIST, 1, false, error);
	case 'e':
		return extend_to_mark(p, PICKLE_LIST, error);
	case 's':
		return extend(p, PICKLE_DICTIONARY, 2, false, error);
	case 'u':
		return extend_to_mark(p, PICKLE_DICTIONARY, error);
	case 'R':
		return reduce(p, error);
	case 'b':
		return build(p, error);
	default:
		return refuse_opcode(p, code, error);
	}
}

static bool check_protocol(struct pickle *p, struct error *error)
{
	if (p->size < 2 || p->bytes[0] != 0x80)
		return error_set(error, ERROR_USAGE, "is not a pickle of protocol %d", PROTOCOL);
	p->at = 2;
	return p->bytes[1] == PROTOCOL ||
	       error_set(error, ERROR_USAGE, "is a pickle of protocol %u; CIFAR-10's files have protocol %d",
			 p->bytes[1], PROTOCOL);
}

static bool run_all(struct pickle *p, struct error *error)
{
	if (!check_protocol(p, error))
		return false;
	for (;;) {
		const uint8_t *code = NULL;
		p->opcode_at = p->at;
		if (!take_bytes(p, 1, &code, error))
			return false;
		if (*code == '.')
			break;
		if (!run(p, *code, error))
			return false;
	}
	if (p->stack_count != 1 || p->stack[0] == MARK)
		return refuse(p, error, "it ends with more or less than one value");
	p->root = p->stack[0];
	return p->at == p->size || refuse(p, error, "it ends before the file does");
}

bool pickle_read(const uint8_t *bytes, size_t size, struct pickle **ret_pickle, struct error *error)
{
	struct pickle *p = calloc(1, sizeof(*p));
	if (p == NULL)
		return out_of_memory(error);
	p->bytes = bytes;
	p->size = size;
	if (!run_all(p, error)) {
		pickle_destroy(p);
		return false;
	}
	*ret_pickle = p;
	return true;
}

void pickle_destroy(struct pickle *pickle)
{
	if (pickle == NULL)
		return;
	for (uint32_t i = 0; i < pickle->value_count; i++) {
		free(pickle->values[i].items);
		free(pickle->values[i].owned);
	}
	free(pickle->values);
	free(pickle->stack);
	free(pickle->memo);
	free(pickle);
}

const struct pickle_value *pickle_root(const struct pickle *pickle)
{
	return &pickle->values[pickle->root];
}

const struct pickle_value *pickle_item(const struct pickle *pickle, const struct pickle_value *list, uint32_t index)
{
	return &pickle->values[list->items[index]];
}

const struct pickle_value *pickle_get(const struct pickle *pickle, const struct pickle_value *dictionary,
				      const char *key)
{
	const struct pickle_value *found = NULL;
	for (uint32_t i = 0; dictionary->kind == PICKLE_DICTIONARY && i + 1 < dictionary->count; i += 2)
		if (is_string(pickle_item(pickle, dictionary, i), key))
			found = pickle_item(pickle, dictionary, i + 1); // the last one counts, as in Python
	return found;
}
