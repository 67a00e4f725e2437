// A pickle is a program for a machine. This is the machine: values, a stack of them, a memory of numbered values ("memo"), and a position
// in the file. The opcodes are in pickle.c and pickle_numpy.c. One thread.
#pragma once

#include "coordinator/dataset/pickle.h"

enum {
	// The limit of values, and also of the stack, of the memo and of the items of all lists. A published file has 10000 labels and as
	// many file names.
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
	uint32_t *memo; // PICKLE_MARK: no value
	uint32_t memo_capacity;
	uint32_t item_count; // of all lists, tuples and dictionaries
	uint32_t root;
};

// Both set an error and return false; pickle_refuse names the position of the current opcode.
bool pickle_refuse(const struct pickle *p, struct error *error, const char *what);
bool pickle_out_of_memory(struct error *error);

bool pickle_is_string(const struct pickle_value *value, const char *text); // bytes or text

bool pickle_push(struct pickle *p, uint32_t value, struct error *error);
// Pushes a new value. Takes its `owned` bytes in all cases, and its items if value_count has grown, even if it returns false.
bool pickle_push_new(struct pickle *p, struct pickle_value value, struct error *error);
// The value `below` places under the top of the stack. NULL with an error if there is no value, or a mark.
struct pickle_value *pickle_peek(struct pickle *p, uint32_t below, struct error *error);
// The number of values above the last mark.
bool pickle_count_above_mark(const struct pickle *p, uint32_t *ret_count, struct error *error);
// Moves the top `count` values to the end of `into`.
bool pickle_take_items(struct pickle *p, struct pickle_value *into, uint32_t count, struct error *error);

// Stores the top value in the memo; pushes a value of the memo. The index follows in the file.
bool pickle_store(struct pickle *p, size_t index_bytes, struct error *error);
bool pickle_fetch(struct pickle *p, size_t index_bytes, struct error *error);

// The next bytes of the file, borrowed.
bool pickle_take_bytes(struct pickle *p, size_t count, const uint8_t **ret_bytes, struct error *error);
// Little-endian, of 1 to 4 bytes.
bool pickle_take_number(struct pickle *p, size_t bytes, uint32_t *ret_number, struct error *error);
// Without its end.
bool pickle_take_line(struct pickle *p, char into[PICKLE_MAXIMUM_NAME], struct error *error);
