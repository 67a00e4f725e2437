// See pickle_machine.h.
#include "coordinator/dataset/pickle_machine.h"

#include <stdlib.h>
#include <string.h>

// ---- Errors

bool pickle_refuse(const struct pickle *p, struct error *error, const char *what)
{
	return error_set(error, ERROR_USAGE, "byte %zu of the pickle: %s", p->opcode_at, what);
}

bool pickle_out_of_memory(struct error *error)
{
	return error_set(error, ERROR_FAILED, "out of memory");
}

// ---- Values and the stack

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

bool pickle_is_string(const struct pickle_value *value, const char *text)
{
	return (value->kind == PICKLE_BYTES || value->kind == PICKLE_TEXT) && value->size == strlen(text) &&
	       memcmp(value->bytes, text, value->size) == 0;
}

bool pickle_push(struct pickle *p, uint32_t value, struct error *error)
{
	if (p->stack_count == PICKLE_MAXIMUM_VALUES)
		return pickle_refuse(p, error, "it has more values than the limit");
	if (!grow((void **)&p->stack, &p->stack_capacity, p->stack_count + 1, sizeof(*p->stack)))
		return pickle_out_of_memory(error);
	p->stack[p->stack_count++] = value;
	return true;
}

bool pickle_push_new(struct pickle *p, struct pickle_value value, struct error *error)
{
	if (p->value_count == PICKLE_MAXIMUM_VALUES) {
		free(value.owned);
		return pickle_refuse(p, error, "it has more values than the limit");
	}
	if (!grow((void **)&p->values, &p->value_capacity, p->value_count + 1, sizeof(*p->values))) {
		free(value.owned);
		return pickle_out_of_memory(error);
	}
	p->values[p->value_count] = value;
	return pickle_push(p, p->value_count++, error);
}

struct pickle_value *pickle_peek(struct pickle *p, uint32_t below, struct error *error)
{
	if (below < p->stack_count && p->stack[p->stack_count - 1 - below] != PICKLE_MARK)
		return &p->values[p->stack[p->stack_count - 1 - below]];
	pickle_refuse(p, error, "it takes a value from an empty stack");
	return NULL;
}

bool pickle_count_above_mark(const struct pickle *p, uint32_t *ret_count, struct error *error)
{
	for (uint32_t i = p->stack_count; i > 0; i--)
		if (p->stack[i - 1] == PICKLE_MARK) {
			*ret_count = p->stack_count - i;
			return true;
		}
	return pickle_refuse(p, error, "it takes values down to a mark, and the stack has no mark");
}

bool pickle_take_items(struct pickle *p, struct pickle_value *into, uint32_t count, struct error *error)
{
	if (count > PICKLE_MAXIMUM_VALUES - p->item_count)
		return pickle_refuse(p, error, "it has more values than the limit");
	if (!grow((void **)&into->items, &into->capacity, into->count + count, sizeof(*into->items)))
		return pickle_out_of_memory(error);
	for (uint32_t i = 0; i < count; i++)
		if (p->stack[p->stack_count - count + i] == PICKLE_MARK)
			return pickle_refuse(p, error, "it puts a mark into a list");
	if (count > 0)
		memcpy(into->items + into->count, p->stack + p->stack_count - count, count * sizeof(*into->items));
	into->count += count;
	p->item_count += count;
	p->stack_count -= count;
	return true;
}

// ---- The memo

bool pickle_store(struct pickle *p, size_t index_bytes, struct error *error)
{
	uint32_t index = 0, before = p->memo_capacity;
	if (!pickle_take_number(p, index_bytes, &index, error) || pickle_peek(p, 0, error) == NULL)
		return false;
	if (index >= PICKLE_MAXIMUM_VALUES)
		return pickle_refuse(p, error, "it stores more values than the limit");
	if (!grow((void **)&p->memo, &p->memo_capacity, index + 1, sizeof(*p->memo)))
		return pickle_out_of_memory(error);
	for (uint32_t i = before; i < p->memo_capacity; i++)
		p->memo[i] = PICKLE_MARK;
	p->memo[index] = p->stack[p->stack_count - 1];
	return true;
}

bool pickle_fetch(struct pickle *p, size_t index_bytes, struct error *error)
{
	uint32_t index = 0;
	if (!pickle_take_number(p, index_bytes, &index, error))
		return false;
	if (index >= p->memo_capacity || p->memo[index] == PICKLE_MARK)
		return pickle_refuse(p, error, "it fetches a value that it has not stored");
	return pickle_push(p, p->memo[index], error);
}

// ---- The file's bytes

bool pickle_take_bytes(struct pickle *p, size_t count, const uint8_t **ret_bytes, struct error *error)
{
	if (count > p->size - p->at)
		return pickle_refuse(p, error, "it is cut short");
	*ret_bytes = p->bytes + p->at;
	p->at += count;
	return true;
}

bool pickle_take_number(struct pickle *p, size_t bytes, uint32_t *ret_number, struct error *error)
{
	const uint8_t *from = NULL;
	if (!pickle_take_bytes(p, bytes, &from, error))
		return false;
	*ret_number = 0;
	for (size_t i = 0; i < bytes; i++)
		*ret_number |= (uint32_t)from[i] << (8 * i);
	return true;
}

bool pickle_take_line(struct pickle *p, char into[PICKLE_MAXIMUM_NAME], struct error *error)
{
	const uint8_t *from = p->bytes + p->at;
	const uint8_t *end = memchr(from, '\n', p->size - p->at);
	if (end == NULL || end - from >= PICKLE_MAXIMUM_NAME)
		return pickle_refuse(p, error, "it names a function that is not one of numpy's");
	memcpy(into, from, (size_t)(end - from));
	into[end - from] = '\0';
	p->at += (size_t)(end - from) + 1;
	return true;
}
