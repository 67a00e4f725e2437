// coordinator/sweep's sweep.json: what is accepted has every cell of its grid once, and written anew it is the same file.
#include <string.h>

#include "common/base/strings.h"
#include "coordinator/sweep/file.h"
#include "tests/fuzz/fuzz.h"

// Owned.
static char *text_of(const struct sweep *sweep, size_t *ret_size)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, ret_size);
	DEMAND(sweep_file_write(sweep, out));
	fclose(out);
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sweep *sweep = NULL, *again = NULL;
	struct error error = {0};
	const char *path = fuzz_file(data, size);
	if (!sweep_file_read(path, &sweep, &error)) {
		DEMAND(error.code == ERROR_USAGE && strstr(error.message, path) != NULL);
		return 0;
	}
	DEMAND(sweep->count == grid_count(&sweep->grid));
	for (uint32_t i = 0; i < sweep->count; i++) {
		char shown[ERROR_MESSAGE_SIZE];
		const struct sweep_result *result = &sweep->results[i];
		DEMAND(sweep_find(sweep, result->cell) == result);
		DEMAND(strcmp(strings_printable(result->message, shown, sizeof(shown)), result->message) == 0);
	}
	size_t first_size = 0, second_size = 0;
	char *first = text_of(sweep, &first_size);
	sweep_destroy(sweep);
	if (!sweep_file_read(fuzz_file(first, first_size), &again, &error)) {
		fprintf(stderr, "%s\n%s", error.message, first);
		abort();
	}
	char *second = text_of(again, &second_size);
	sweep_destroy(again);
	DEMAND(first_size == second_size && memcmp(first, second, first_size) == 0);
	free(first);
	free(second);
	return 0;
}
