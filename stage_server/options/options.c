// The sources of options, and which of them counts: presets, the file, the environment and the command line. See options.h.
#include "stage_server/options/options.h"

#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strings.h"
#include "common/rpc/protocol.h"
#include "stage_server/options/table.h"

static bool read_environment(struct option_reader *reader, const struct option_row *row, struct error *error)
{
	char name[64] = "PENSTOCK_";
	for (size_t i = 0, used = strlen(name); row->name[i] != '\0'; i++, used++) {
		name[used] = row->name[i] == '-' ? '_' : (char)toupper((unsigned char)row->name[i]);
		name[used + 1] = '\0';
	}
	const char *value = getenv(name);
	if (value == NULL || value[0] == '\0' || row->command_line_only)
		return true;
	if (row->kind != OPTION_LIST)
		return option_set(reader, row, value, OPTION_SOURCE_ENVIRONMENT, error) ||
		       error_wrap(error, "$%s", name);
	_cleanup_free_ char *words = strdup(value);
	char *rest = NULL;
	for (char *word = words != NULL ? strtok_r(words, " \t\n", &rest) : NULL; word != NULL;
	     word = strtok_r(NULL, " \t\n", &rest))
		if (!option_set(reader, row, word, OPTION_SOURCE_ENVIRONMENT, error))
			return error_wrap(error, "$%s", name);
	return words != NULL || error_set(error, ERROR_FAILED, "out of memory");
}

// PENSTOCK_... that are no options of the daemon: its libraries', deploy/'s and the tests'.
static bool is_known_beside(const char *name)
{
	static const char *const known[] = {"CUDA_LIBRARY_PATH", "CIFAR10", "PYTHON", "SLURM", "TEST", "ABUSE",
					    "STAND_IN"};
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strncmp(known[i], name, strlen(known[i])) == 0) // and all that begin so
			return true;
	return false;
}

// Of "MAX_SESSIONS", as read_environment names it.
static const struct option_row *find_in_environment(const char *name, size_t length)
{
	char key[64] = "";
	for (size_t i = 0; i < length && i + 1 < sizeof(key); i++)
		key[i] = name[i] == '_' ? '-' : isupper((unsigned char)name[i]) ? (char)tolower(name[i]) : '?';
	const struct option_row *row = option_find(key);
	return row != NULL && !row->command_line_only ? row : NULL;
}

char *options_strays(char **environment, char *into, size_t size)
{
	static const char prefix[] = "PENSTOCK_";
	size_t used = 0;
	into[0] = '\0';
	for (char **entry = environment; *entry != NULL && used < size; entry++) {
		size_t length = strcspn(*entry, "=");
		_cleanup_free_ char *name = strndup(*entry, length);
		if (name == NULL || strncmp(name, prefix, strlen(prefix)) != 0)
			continue;
		const char *rest = name + strlen(prefix);
		if (!is_known_beside(rest) && find_in_environment(rest, strlen(rest)) == NULL)
			used += (size_t)snprintf(into + used, size - used, "%s%s", used > 0 ? " " : "", name);
	}
	return into;
}

// What the command line says, before anything is done about it: `values` has one for each word that is an option.
struct command_line {
	const struct option_row **rows;
	const char **values;
	uint32_t count;
	bool help, version;
};

enum { FIRST_CODE = 256 };

static bool refuse_option(int code, const char *word, struct error *error)
{
	const char *why = code == ':'                                              ? "needs a value"
			  : optopt >= FIRST_CODE || optopt == 'h' || optopt == 'v' ? "takes no value"
										   : "is unknown, or short for several";
	if (strncmp(word, "--", 2) != 0)
		why = "is unknown";
	return error_set(error, ERROR_USAGE, "option %.80s %s; see penstockd --help", word, why);
}

static bool split_command_line(int argc, char **argv, struct command_line *line, struct error *error)
{
	struct option known[OPTION_TABLE_MAXIMUM + 3] = {{"help", no_argument, NULL, 'h'},
							 {"version", no_argument, NULL, 'v'}};
	int code;
	// Each has a code of its own: those that share one getopt takes for the same, and "--max" for the first of them.
	for (uint32_t i = 0; i < option_table_rows; i++)
		known[i + 2] = (struct option){option_table[i].name,
					       option_table[i].kind == OPTION_SWITCH ? no_argument : required_argument,
					       NULL, FIRST_CODE + (int)i};
	opterr = 0;
	optind = 0; // glibc: begin anew, also in the middle of an earlier word
	while ((code = getopt_long(argc, argv, ":", known, NULL)) != -1) {
		line->help |= code == 'h';
		line->version |= code == 'v';
		if (line->help || line->version) // what follows does not matter
			return true;
		if (code == '?' || code == ':')
			return refuse_option(code, argv[optind - 1], error);
		line->rows[line->count] = &option_table[code - FIRST_CODE];
		line->values[line->count++] = optarg != NULL ? optarg : "yes";
	}
	return optind >= argc ||
	       error_set(error, ERROR_USAGE, "unexpected argument \"%.80s\"; see penstockd --help", argv[optind]);
}

static bool read_command_line(struct option_reader *reader, const struct command_line *line, bool only_config,
			      struct error *error)
{
	for (uint32_t i = 0; i < line->count; i++)
		if ((line->rows[i] == &option_table[0]) == only_config &&
		    !option_set(reader, line->rows[i], line->values[i], OPTION_SOURCE_COMMAND_LINE, error))
			return error_wrap(error, "--%s", line->rows[i]->name);
	return true;
}

static bool set_presets(struct option_reader *reader, struct error *error)
{
	for (uint32_t i = 0; i < option_table_rows; i++) {
		const struct option_row *row = &option_table[i];
		if (row->preset != NULL && !option_set(reader, row, row->preset, OPTION_SOURCE_NONE, error))
			return false;
	}
	return true;
}

static bool read_sources(struct option_reader *reader, const struct command_line *line, struct error *error)
{
	const struct option_row *config = &option_table[0];
	if (!set_presets(reader, error) || !read_environment(reader, config, error) ||
	    !read_command_line(reader, line, true, error))
		return false;
	if (reader->options.config != NULL && !config_file_read(reader, reader->options.config, error))
		return false;
	for (const struct option_row *row = config + 1; row < option_table + option_table_rows; row++)
		if (!read_environment(reader, row, error))
			return false;
	return read_command_line(reader, line, false, error);
}

// As far as it is known after a mistake elsewhere.
static enum log_format find_log_format(struct option_reader *reader, const struct command_line *line)
{
	struct error ignored;
	const struct option_row *row = option_find("log-format");
	read_environment(reader, row, &ignored);
	for (uint32_t i = 0; i < line->count; i++)
		if (line->rows[i] == row)
			option_set(reader, row, line->values[i], OPTION_SOURCE_COMMAND_LINE, &ignored);
	return reader->options.log_format;
}

char *options_changes(const struct daemon_options *before, const struct daemon_options *after, char *into, size_t size)
{
	size_t used = 0;
	into[0] = '\0';
	for (uint32_t i = 0; i < option_table_rows && used < size; i++) {
		const struct option_row *row = &option_table[i];
		if (!row->reloaded && !option_is_same(row, before, after))
			used += (size_t)snprintf(into + used, size - used, "%s%s", used > 0 ? " " : "", row->name);
	}
	return into;
}

void options_fini(struct daemon_options *options)
{
	for (uint32_t i = 0; i < option_table_rows; i++)
		option_free(options, &option_table[i]);
	*options = (struct daemon_options){0};
}

enum options_result options_parse(int argc, char **argv, struct daemon_options *ret_options, struct error *error)
{
	struct option_reader reader = {.sources = calloc(option_table_rows, sizeof(enum option_source))};
	struct command_line line = {.rows = calloc((size_t)argc, sizeof(*line.rows)),
				    .values = calloc((size_t)argc, sizeof(*line.values))};
	enum options_result result = OPTIONS_WRONG;
	if (reader.sources == NULL || line.rows == NULL || line.values == NULL) {
		error_set(error, ERROR_FAILED, "out of memory");
		goto out;
	}
	for (uint32_t i = 0; i < option_table_rows; i++)
		reader.sources[i] = OPTION_SOURCE_NONE;
	if (!split_command_line(argc, argv, &line, error)) {
		ret_options->log_format = find_log_format(&reader, &line);
		goto out;
	}
	if (line.help || line.version) {
		if (line.help)
			option_table_print();
		else
			printf("penstockd %s (protocol %d)\n", PENSTOCK_VERSION, PROTOCOL_VERSION);
		result = OPTIONS_DONE;
	} else if (read_sources(&reader, &line, error)) {
		result = OPTIONS_RUN;
		*ret_options = reader.options;
	} else {
		ret_options->log_format = find_log_format(&reader, &line);
	}
out:
	if (result != OPTIONS_RUN)
		options_fini(&reader.options);
	free(reader.sources);
	free(line.rows);
	free(line.values);
	return result;
}
