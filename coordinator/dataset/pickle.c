// See pickle.h. The opcodes are described in Python's Lib/pickletools.py.
#include "coordinator/dataset/pickle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/dataset/pickle_machine.h"
#include "coordinator/dataset/pickle_numpy.h"

enum { PROTOCOL = 2 };

// Opcodes of other pickles, for messages.
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

// ---- Opcodes that push

static bool push_integer(struct pickle *p, size_t bytes, struct error *error)
{
	uint32_t number = 0;
	if (!pickle_take_number(p, bytes, &number, error))
		return false;
	int64_t integer = bytes == 4 ? (int32_t)number : (int64_t)number;
	return pickle_push_new(p, (struct pickle_value){.kind = PICKLE_INTEGER, .integer = integer}, error);
}

static bool push_string(struct pickle *p, enum pickle_kind kind, size_t length_bytes, struct error *error)
{
	struct pickle_value value = {.kind = kind};
	uint32_t length = 0;
	if (!pickle_take_number(p, length_bytes, &length, error) || !pickle_take_bytes(p, length, &value.bytes, error))
		return false;
	value.size = length;
	return pickle_push_new(p, value, error);
}

// Makes a tuple of the top `count` values.
static bool push_tuple(struct pickle *p, uint32_t count, bool has_mark, struct error *error)
{
	struct pickle_value tuple = {.kind = PICKLE_TUPLE};
	if (count > p->stack_count)
		return pickle_refuse(p, error, "it takes a value from an empty stack");
	if (!pickle_take_items(p, &tuple, count, error)) {
		free(tuple.items);
		return false;
	}
	p->stack_count -= has_mark;
	uint32_t *items = tuple.items;
	uint32_t before = p->value_count;
	if (pickle_push_new(p, tuple, error))
		return true;
	if (p->value_count == before) // else the pickle owns them
		free(items);
	return false;
}

// ---- Opcodes that fill lists and dictionaries

// Moves the top `count` values into the collection below them. With `has_mark`, a mark is between.
static bool extend(struct pickle *p, enum pickle_kind kind, uint32_t count, bool has_mark, struct error *error)
{
	struct pickle_value *collection = pickle_peek(p, count + has_mark, error);
	if (collection == NULL)
		return false;
	if (collection->kind != kind)
		return pickle_refuse(p, error, "it puts values into a value that is not a list or dictionary");
	if (kind == PICKLE_DICTIONARY && count % 2 != 0)
		return pickle_refuse(p, error, "it puts a key without a value into a dictionary");
	if (!pickle_take_items(p, collection, count, error))
		return false;
	p->stack_count -= has_mark;
	return true;
}

static bool extend_to_mark(struct pickle *p, enum pickle_kind kind, struct error *error)
{
	uint32_t count = 0;
	return pickle_count_above_mark(p, &count, error) && extend(p, kind, count, true, error);
}

// ---- All opcodes

static bool refuse_opcode(const struct pickle *p, uint8_t code, struct error *error)
{
	char what[100];
	const char *name = "unknown";
	for (size_t i = 0; i < sizeof(other_opcodes) / sizeof(other_opcodes[0]); i++)
		if (other_opcodes[i].code == code)
			name = other_opcodes[i].name;
	snprintf(what, sizeof(what), "opcode 0x%02x (%s) is not used in CIFAR-10's files", code, name);
	return pickle_refuse(p, error, what);
}

static bool run_tuple(struct pickle *p, struct error *error)
{
	uint32_t count = 0;
	return pickle_count_above_mark(p, &count, error) && push_tuple(p, count, true, error);
}

static bool run(struct pickle *p, uint8_t code, struct error *error)
{
	switch (code) {
	case '(':
		return pickle_push(p, PICKLE_MARK, error);
	case ')':
		return push_tuple(p, 0, false, error);
	case ']':
		return pickle_push_new(p, (struct pickle_value){.kind = PICKLE_LIST}, error);
	case '}':
		return pickle_push_new(p, (struct pickle_value){.kind = PICKLE_DICTIONARY}, error);
	case 'N':
		return pickle_push_new(p, (struct pickle_value){.kind = PICKLE_NONE}, error);
	case 0x88:
	case 0x89:
		return pickle_push_new(p, (struct pickle_value){.kind = PICKLE_BOOLEAN, .integer = code == 0x88},
				       error);
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
		return pickle_push_function(p, error);
	case 't':
		return run_tuple(p, error);
	case 0x85:
	case 0x86:
	case 0x87:
		return push_tuple(p, code - 0x84u, false, error);
	case 'q':
		return pickle_store(p, 1, error);
	case 'r':
		return pickle_store(p, 4, error);
	case 'h':
		return pickle_fetch(p, 1, error);
	case 'j':
		return pickle_fetch(p, 4, error);
	case 'a':
		return extend(p, PICKLE_LIST, 1, false, error);
	case 'e':
		return extend_to_mark(p, PICKLE_LIST, error);
	case 's':
		return extend(p, PICKLE_DICTIONARY, 2, false, error);
	case 'u':
		return extend_to_mark(p, PICKLE_DICTIONARY, error);
	case 'R':
		return pickle_reduce(p, error);
	case 'b':
		return pickle_build(p, error);
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
		if (!pickle_take_bytes(p, 1, &code, error))
			return false;
		if (*code == '.')
			break;
		if (!run(p, *code, error))
			return false;
	}
	if (p->stack_count != 1 || p->stack[0] == PICKLE_MARK)
		return pickle_refuse(p, error, "it ends with more or less than one value");
	p->root = p->stack[0];
	return p->at == p->size || pickle_refuse(p, error, "it ends before the file does");
}

bool pickle_read(const uint8_t *bytes, size_t size, struct pickle **ret_pickle, struct error *error)
{
	struct pickle *p = calloc(1, sizeof(*p));
	if (p == NULL)
		return pickle_out_of_memory(error);
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
		if (pickle_is_string(pickle_item(pickle, dictionary, i), key))
			found = pickle_item(pickle, dictionary, i + 1); // the last one counts, as in Python
	return found;
}
