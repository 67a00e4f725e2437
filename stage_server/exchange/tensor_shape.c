// See tensor_shape.h.
#include "stage_server/exchange/tensor_shape.h"

#include <stdio.h>

const char *tensor_dimensions_text(size_t rank, const uint32_t *dimensions, char into[DIMENSIONS_TEXT_SIZE])
{
	enum { LONGEST = sizeof(", 4294967295") };
	size_t length = 0;
	into[0] = '\0';
	for (size_t i = 0; i < rank && length + LONGEST <= DIMENSIONS_TEXT_SIZE; i++)
		length += (size_t)snprintf(into + length, DIMENSIONS_TEXT_SIZE - length, "%s%u", i == 0 ? "" : ", ",
					   dimensions[i]);
	return into;
}
