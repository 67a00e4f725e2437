// penstockd's configuration file: what is accepted is within the table's limits, and written anew it reads the same; what is refused is
// refused with the file's line.
#include <string.h>

#include "common/base/strings.h"
#include "stage_server/options/table.h"
#include "tests/fuzz/fuzz.h"

static bool read_options(const char *path, struct daemon_options *ret_options, struct error *error)
{
	char *arguments[] = {"penstockd", "--config", (char *)path, NULL};
	enum options_result result = daemon_options_parse(3, arguments, ret_options, error);
	DEMAND(result == OPTIONS_RUN || result == OPTIONS_WRONG);
	return result == OPTIONS_RUN;
}

// As a line of the file, where the option has a value.
static void write_row(FILE *out, const struct option_row *row, const struct daemon_options *options)
{
	const void *place = (const char *)options + row->place;
	const struct option_list *list = place;
	int choices = 0;
	if ((row->traits & (OPTION_NOT_IN_FILE | OPTION_COMMAND_LINE_ONLY)) != 0)
		return;
	switch (row->kind) {
	case OPTION_TEXT:
		if (*(char *const *)place != NULL)
			fprintf(out, "%s=%s\n", row->name, *(char *const *)place);
		break;
	case OPTION_LIST:
		DEMAND(list->count <= row->maximum);
		for (uint32_t i = 0; i < list->count; i++)
			fprintf(out, "%s=%s\n", row->name, list->values[i]);
		break;
	case OPTION_COUNT:
		DEMAND(*(const uint32_t *)place <= row->maximum);
		if (*(const uint32_t *)place >= row->minimum)
			fprintf(out, "%s=%u\n", row->name, *(const uint32_t *)place);
		break;
	case OPTION_BYTES:
		DEMAND(*(const uint64_t *)place <= row->maximum);
		if (*(const uint64_t *)place >= row->minimum)
			fprintf(out, "%s=%llu\n", row->name, (unsigned long long)*(const uint64_t *)place);
		break;
	case OPTION_CHOICE:
		while (row->choices[choices] != NULL)
			choices++;
		DEMAND(*(const int *)place >= 0 && *(const int *)place < choices);
		fprintf(out, "%s=%s\n", row->name, row->choices[*(const int *)place]);
		break;
	case OPTION_SWITCH:
		fprintf(out, "%s=%s\n", row->name, *(const bool *)place ? "yes" : "no");
		break;
	default: // kinds that the daemon has none of
		abort();
	}
}

// Owned.
static char *text_of(const struct daemon_options *options, size_t *ret_size)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, ret_size);
	for (uint32_t i = 0; i < daemon_option_table.count; i++)
		write_row(out, &daemon_option_table.rows[i], options);
	fclose(out);
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct daemon_options options;
	struct error error = {0};
	const char *path = fuzz_file(data, size);
	if (!read_options(path, &options, &error)) {
		char shown[ERROR_MESSAGE_SIZE]; // it goes to a terminal
		DEMAND(error.code == ERROR_USAGE && strncmp(error.message, path, strlen(path)) == 0);
		DEMAND(strcmp(strings_printable(error.message, shown, sizeof(shown)), error.message) == 0);
		return 0;
	}
	size_t first_size = 0, second_size = 0;
	char *first = text_of(&options, &first_size);
	daemon_options_fini(&options);
	if (!read_options(fuzz_file(first, first_size), &options, &error)) {
		fprintf(stderr, "%s\n%s", error.message, first);
		abort();
	}
	char *second = text_of(&options, &second_size);
	daemon_options_fini(&options);
	DEMAND(first_size == second_size && memcmp(first, second, first_size) == 0);
	free(first);
	free(second);
	return 0;
}
