// The machine that a pickle is a program for: values, a stack of them, a memory of numbered values ("memo"), and the bytes that are still
// to be read. What the opcodes do with it: pickle.c and pickle_numpy.c. One thread.
#pragma once

#include "coordinator/dataset/pickle.h"

enum {
	// A published file has 10000 labels and as many names of files. Values, stack, memo and items of lists have this limit each.
	PICKLE_MAXIMUM_VALUES = 1 << 20,
	PICKLE_MAXIMUM_NAME = 100, // of a module, or of a function
	PICKLE_MARK = UINT32_MAX,  // on the stack
};

struct pickle {
	const uint8_t *bytes;
	size_t size, at, opcode_at;
	struct pickle_value *values;
	uint32_t value_count, value_capacity;
	uint32_t *stack;
	uint32_t stack_count, stack_capacity;
	uint32_t *memo; // PICKLE_MARK: nothing
	uint32_t memo_capacity;
	uint32_t item_count; // of all lists, tuples and dictionaries
	uint32_t root;
};

// Both return false: an error about the current opcode, and one about memory.
bool pickle_refuse(const struct pickle *p, struct error *error, const char *what);
bool pickle_out_of_memory(struct error *error);

bool pickle_is_string(const struct pickle_value *value, const char *text); // bytes or text

bool pickle_push(struct pickle *p, uint32_t value, struct error *error);
// Takes what the value owns in `owned`.
bool pickle_push_new(struct pickle *p, struct pickle_value value, struct error *error);
// The value `below` the top, 0 for the top itself; NULL with an error when there is none, or a mark.
struct pickle_value *pickle_peek(struct pickle *p, uint32_t below, struct error *error);
// The number of values above the last mark.
bool pickle_count_above_mark(const struct pickle *p, uint32_t *ret_count, struct error *error);
// Moves the top `count` values to the end of `into`.
bool pickle_take_items(struct pickle *p, struct pickle_value *into, uint32_t count, struct error *error);

// The top value goes to the memo, or a value of the memo to the stack. Its index comes next in the file.
bool pickle_store(struct pickle *p, size_t index_bytes, struct error *error);
bool pickle_fetch(struct pickle *p, size_t index_bytes, struct error *error);

// The next bytes of the file; borrowed from it.
bool pickle_take_bytes(struct pickle *p, size_t count, const uint8_t **ret_bytes, struct error *error);
// Little-endian, of 1 to 4 bytes.
bool pickle_take_number(struct pickle *p, size_t bytes, uint32_t *ret_number, struct error *error);
bool pickle_take_line(struct pickle *p, char into[PICKLE_MAXIMUM_NAME], struct error *error);
