// See value.h.
#include "common/graph/value.h"

#include <stdio.h>

uint64_t value_elements(const struct value *value)
{
	uint64_t elements = 1;
	for (uint32_t i = 0; i < value->rank; i++)
		elements *= value->dims[i];
	return elements;
}

char *value_format_dims(uint32_t rank, const uint32_t *dims, char *into, uint32_t size)
{
	uint32_t written = (uint32_t)snprintf(into, size, "(");
	for (uint32_t i = 0; i < rank && written < size; i++)
		written += (uint32_t)snprintf(into + written, size - written, i == 0 ? "%u" : ", %u", dims[i]);
	if (written < size)
		snprintf(into + written, size - written, ")");
	return into;
}
