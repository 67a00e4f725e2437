// coordinator/dataset/pickle: what is accepted is values that can all be read, and arrays whose bytes are as many as their shape says.
#include <string.h>

#include "coordinator/dataset/pickle.h"
#include "tests/fuzz/fuzz.h"

enum { DEPTH = 4 };

static void visit(const struct pickle *pickle, const struct pickle_value *value, int depth)
{
	for (size_t i = 0; i < value->size && value->bytes != NULL; i++)
		(void)((const volatile uint8_t *)value->bytes)[i]; // read, so that a place outside the file is seen
	if (value->kind == PICKLE_ARRAY && value->bytes != NULL)
		DEMAND(value->rows * value->columns == value->size);
	bool has_items = value->kind == PICKLE_LIST || value->kind == PICKLE_TUPLE || value->kind == PICKLE_DICTIONARY;
	DEMAND(has_items || value->count == 0);
	DEMAND(value->kind != PICKLE_DICTIONARY || value->count % 2 == 0);
	for (uint32_t i = 0; has_items && depth > 0 && i < value->count && i < 16; i++)
		visit(pickle, pickle_item(pickle, value, i), depth - 1); // a list may hold itself
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pickle *pickle = NULL;
	struct error error = {0};
	if (!pickle_read(data, size, &pickle, &error)) {
		DEMAND(pickle == NULL && error.code == ERROR_USAGE && error.message[0] != '\0');
		return 0;
	}
	visit(pickle, pickle_root(pickle), DEPTH);
	(void)pickle_get(pickle, pickle_root(pickle), "data");
	pickle_destroy(pickle);
	return 0;
}
