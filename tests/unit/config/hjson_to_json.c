// Reads documents of Hjson from stdin, each after its length in a line, and answers each with a line: its JSON, or "refused: " and the
// mistakes. For hjson_against_python.py.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/config/hjson.h"

static void answer(const char *text, size_t size)
{
	struct mistakes mistakes = {0};
	struct hjson *document = NULL;
	struct error error;
	bool parsed = hjson_parse(text, size, &mistakes, &document);
	if (mistakes_report(&mistakes, "text", &error)) {
		json_dumpf(hjson_root(document), stdout, JSON_COMPACT | JSON_REAL_PRECISION(17));
		putchar('\n');
	} else {
		for (char *c = error.message; (c = strchr(c, '\n')) != NULL;)
			*c = ';';
		printf("refused: %s\n", error.message);
	}
	if (parsed)
		hjson_destroy(document);
	mistakes_fini(&mistakes);
}

int main(void)
{
	size_t size;
	while (scanf("%zu", &size) == 1 && getchar() == '\n' && size < 1 << 20) {
		char *text = malloc(size + 1);
		if (text == NULL || fread(text, 1, size, stdin) != size)
			return 1;
		answer(text, size);
		free(text);
	}
	return 0;
}
