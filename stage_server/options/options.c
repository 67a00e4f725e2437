// The sources of options, and which of them counts: presets, the file, the environment and the command line. See options.h.
#include "stage_server/options/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strings.h"
#include "stage_server/options/table.h"

enum { VARIABLE_SIZE = 64 };

static const struct option_table *const table = &daemon_option_table;

// ---- One option from one source

// A copy that lives as long as the options. NULL: out of memory.
static const char *keep(struct daemon_options *options, const char *value)
{
	char **grown = realloc(options->kept, (options->kept_count + 1) * sizeof(*grown));
	if (grown == NULL)
		return NULL;
	options->kept = grown;
	grown[options->kept_count] = strdup(value);
	return grown[options->kept_count] != NULL ? grown[options->kept_count++] : NULL;
}

bool option_reader_set(struct option_reader *reader, const struct option_row *row, const char *value,
		       enum option_source source, struct error *error)
{
	enum option_source *before = &reader->sources[row - table->rows];
	if (row->kind == OPTION_LIST && *before != source)
		*(struct option_list *)((char *)&reader->options + row->place) = (struct option_list){0};
	*before = source;
	if (source == OPTION_SOURCE_FILE || source == OPTION_SOURCE_ENVIRONMENT) {
		value = keep(&reader->options, value);
		if (value == NULL)
			return error_set(error, ERROR_FAILED, "out of memory");
	}
	return option_set(row, value, &reader->options, error);
}

static bool is_config(const struct option_row *row)
{
	return row->place == offsetof(struct daemon_options, config);
}

// ---- The environment

static bool read_words(struct option_reader *reader, const struct option_row *row, const char *value,
		       struct error *error)
{
	_cleanup_free_ char *words = strdup(value);
	char *rest = NULL;
	if (words == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	for (char *word = strtok_r(words, " \t\n", &rest); word != NULL; word = strtok_r(NULL, " \t\n", &rest))
		if (!option_reader_set(reader, row, word, OPTION_SOURCE_ENVIRONMENT, error))
			return false;
	return true;
}

static bool read_variable(struct option_reader *reader, const struct option_row *row, struct error *error)
{
	char name[VARIABLE_SIZE];
	const char *value = getenv(option_variable(row, name, sizeof(name)));
	if (value == NULL || value[0] == '\0' || (row->traits & OPTION_COMMAND_LINE_ONLY) != 0)
		return true;
	bool ok = row->kind == OPTION_LIST ? read_words(reader, row, value, error)
					   : option_reader_set(reader, row, value, OPTION_SOURCE_ENVIRONMENT, error);
	return ok || error_wrap(error, "$%s", name);
}

static bool read_environment(struct option_reader *reader, bool only_config, struct error *error)
{
	for (const struct option_row *row = table->rows; row < table->rows + table->count; row++)
		if (is_config(row) == only_config && !read_variable(reader, row, error))
			return false;
	return true;
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

static bool is_an_options(const char *variable)
{
	char name[VARIABLE_SIZE];
	for (const struct option_row *row = table->rows; row < table->rows + table->count; row++)
		if ((row->traits & OPTION_COMMAND_LINE_ONLY) == 0 &&
		    strcmp(option_variable(row, name, sizeof(name)), variable) == 0)
			return true;
	return false;
}

char *daemon_options_strays(char **environment, char *into, size_t size)
{
	static const char prefix[] = "PENSTOCK_";
	size_t used = 0;
	into[0] = '\0';
	for (char **entry = environment; *entry != NULL && used < size; entry++) {
		_cleanup_free_ char *name = strndup(*entry, strcspn(*entry, "="));
		if (name == NULL || strncmp(name, prefix, strlen(prefix)) != 0)
			continue;
		if (!is_known_beside(name + strlen(prefix)) && !is_an_options(name))
			used += (size_t)snprintf(into + used, size - used, "%s%s", used > 0 ? " " : "", name);
	}
	return into;
}

// ---- All sources

static bool read_command_line(struct option_reader *reader, const struct option_words *words, bool only_config,
			      struct error *error)
{
	for (uint32_t i = 0; i < words->count; i++) {
		const struct option_row *row = words->words[i].row;
		if (is_config(row) == only_config &&
		    !option_reader_set(reader, row, words->words[i].value, OPTION_SOURCE_COMMAND_LINE, error))
			return error_wrap(error, "--%s", row->name);
	}
	return true;
}

// The file's name comes first, from wherever it comes.
static bool read_sources(struct option_reader *reader, const struct option_words *words, struct error *error)
{
	return options_set_presets(table, &reader->options, error) && read_environment(reader, true, error) &&
	       read_command_line(reader, words, true, error) &&
	       (reader->options.config == NULL || config_file_read(reader, reader->options.config, error)) &&
	       read_environment(reader, false, error) && read_command_line(reader, words, false, error);
}

// As far as it is known after a mistake elsewhere.
static enum log_format find_log_format(struct option_reader *reader, const struct option_words *words)
{
	struct error ignored;
	const struct option_row *row = option_find(table, "log-format");
	read_variable(reader, row, &ignored);
	for (uint32_t i = 0; i < words->count; i++)
		if (words->words[i].row == row)
			option_reader_set(reader, row, words->words[i].value, OPTION_SOURCE_COMMAND_LINE, &ignored);
	return reader->options.log_format;
}

char *daemon_options_changes(const struct daemon_options *before, const struct daemon_options *after, char *into,
			     size_t size)
{
	size_t used = 0;
	into[0] = '\0';
	for (uint32_t i = 0; i < table->count && used < size; i++) {
		const struct option_row *row = &table->rows[i];
		if ((row->traits & OPTION_RELOADED) == 0 && !option_is_same(row, before, after))
			used += (size_t)snprintf(into + used, size - used, "%s%s", used > 0 ? " " : "", row->name);
	}
	return into;
}

void daemon_options_fini(struct daemon_options *options)
{
	for (uint32_t i = 0; i < options->kept_count; i++)
		free(options->kept[i]);
	free(options->kept);
	*options = (struct daemon_options){0};
}

enum options_result daemon_options_parse(int argc, char **argv, struct daemon_options *ret_options, struct error *error)
{
	struct option_reader reader = {.options = {.kept_count = 0}};
	struct option_words words;
	enum options_result result = options_split(table, argc, argv, &words, error);
	if (result == OPTIONS_RUN && words.operands < argc) {
		error_set(error, ERROR_USAGE, "unexpected argument \"%.80s\"; see penstockd --help",
			  argv[words.operands]);
		result = OPTIONS_WRONG;
	}
	if (result == OPTIONS_RUN && !read_sources(&reader, &words, error))
		result = OPTIONS_WRONG;
	if (result == OPTIONS_WRONG)
		ret_options->log_format = find_log_format(&reader, &words);
	if (result == OPTIONS_RUN)
		*ret_options = reader.options;
	else
		daemon_options_fini(&reader.options);
	option_words_fini(&words);
	return result;
}
