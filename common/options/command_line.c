// The command line, taken apart by getopt_long, whose options are made of the table's rows. See table.h.
#include <ctype.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strings.h"
#include "common/options/table.h"

// Each row has a code of its own, for its name and its other names: of those that share one getopt takes "--max" for the first.
enum { CODE_HELP = 256, CODE_VERSION, CODE_FIRST_ROW };
enum { NAMES = 3, OPTIONS_MAXIMUM = OPTION_TABLE_MAXIMUM * NAMES + 3 };

// What getopt is told.
struct getopt_tables {
	struct option options[OPTIONS_MAXIMUM];
	uint32_t count;
	char letters[2 * OPTION_TABLE_MAXIMUM + 3];
	const struct option_row *lettered[CHAR_MAX + 1]; // the row of each of them
};

static void add_option(struct getopt_tables *tables, const char *name, int has_value, int code)
{
	if (name != NULL)
		tables->options[tables->count++] = (struct option){name, has_value, NULL, code};
}

static void add_row(struct getopt_tables *tables, const struct option_row *row, int code)
{
	int has_value = row->value == NULL ? no_argument : row->value_may_lack ? optional_argument : required_argument;
	add_option(tables, row->name, has_value, code);
	add_option(tables, row->also[0], has_value, code);
	add_option(tables, row->also[1], has_value, code);
	if (row->letter != '\0') {
		char letter[] = {row->letter, has_value == no_argument ? '\0' : ':', '\0'};
		strcat(tables->letters, letter);
		tables->lettered[(unsigned char)row->letter] = row;
	}
}

// A row that the command has not is there for its message, where no other has its name.
static void fill_tables(const struct option_table *table, struct getopt_tables *tables)
{
	*tables = (struct getopt_tables){
		.letters = ":h"}; // ':' tells a value that is missing from an option that is unknown
	add_option(tables, "help", no_argument, CODE_HELP);
	add_option(tables, "version", no_argument, CODE_VERSION);
	for (uint32_t i = 0; i < table->count; i++) {
		const struct option_row *row = &table->rows[i];
		if (option_is_had(table, row) ||
		    (row->instead != NULL && !option_is_had(table, option_find(table, row->name))))
			add_row(tables, row, CODE_FIRST_ROW + (int)i);
	}
}

// Of a word that begins several options' names these, as "--a or --b"; else "". Of one that begins none the name that is closest.
static const char *find_names(const struct getopt_tables *tables, const char *word, char *into, size_t size)
{
	char name[128], last[128] = "";
	struct strings_guess guess = {.word = name};
	uint32_t found = 0;
	size_t used = 0;
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(word, "="), word);
	into[0] = '\0';
	for (uint32_t i = 0; i < tables->count; i++) {
		const char *option = tables->options[i].name;
		strings_guess_try(&guess, option);
		if (strncmp(option, name, strlen(name)) != 0)
			continue;
		if (found++ > 0 && used < size)
			used += (size_t)snprintf(into + used, size - used, "%s--%s", used > 0 ? ", " : " (is it ",
						 last);
		snprintf(last, sizeof(last), "%s", option);
	}
	if (found > 1 && used < size)
		snprintf(into + used, size - used, " or --%s?)", last);
	return found > 1 ? into : strings_guess_write(&guess, "--", into, size);
}

static bool refuse(const struct option_table *table, const struct getopt_tables *tables, int code, char **argv,
		   struct error *error)
{
	const char letter[] = {'-', (char)optopt, '\0'};
	char names[400] = "";
	const char *option = argv[optind - 1];
	const char *why = code == ':' ? "needs a value" : optopt != 0 ? "takes no value" : "is unknown";
	if (code == '?' && optopt == 0 && strncmp(option, "--", 2) == 0)
		find_names(tables, option + 2, names, sizeof(names));
	// A letter, or a byte that is none, which is negative: of "-xy" getopt may still be at the word, and then the last word is the one
	// before.
	if (code == '?' && optopt != 0 && optopt < CODE_HELP) {
		option = letter;
		why = "is unknown";
	}
	return error_set(error, ERROR_USAGE, "option %.80s %s%s; see %s --help", option, why, names, table->program);
}

static void print_version(const struct option_table *table)
{
	printf("%s", table->version);
	if (table->protocol > 0)
		printf(" (protocol %u)", table->protocol);
	putchar('\n');
}

// getopt has no option whose value may be the next word and may be left out.
static const char *find_value(const struct option_row *row, int argc, char **argv)
{
	if (optarg == NULL && row->value_is_digits && optind < argc && isdigit((unsigned char)argv[optind][0]))
		return argv[optind++];
	return optarg;
}

// Most options that the words can be: each letter of "-abc" is one.
static size_t count_letters(int argc, char **argv)
{
	size_t count = 1;
	for (int i = 1; i < argc; i++)
		count += strlen(argv[i]);
	return count;
}

enum options_result options_split(const struct option_table *table, int argc, char **argv,
				  struct option_words *ret_words, struct error *error)
{
	struct getopt_tables tables;
	int code;
	*ret_words = (struct option_words){.words = calloc(count_letters(argc, argv), sizeof(*ret_words->words))};
	if (ret_words->words == NULL) {
		error_set(error, ERROR_FAILED, "out of memory");
		return OPTIONS_WRONG;
	}
	fill_tables(table, &tables);
	opterr = 0;
	optind = 0; // glibc: begin anew, also in the middle of an earlier word
	while ((code = getopt_long(argc, argv, tables.letters, tables.options, NULL)) != -1) {
		if (code == CODE_HELP || code == 'h') { // what follows does not matter
			options_print(table);
			return OPTIONS_DONE;
		}
		if (code == CODE_VERSION) {
			print_version(table);
			return OPTIONS_DONE;
		}
		if (code == '?' || code == ':') {
			refuse(table, &tables, code, argv, error);
			return OPTIONS_WRONG;
		}
		const struct option_row *row =
			code >= CODE_FIRST_ROW ? &table->rows[code - CODE_FIRST_ROW] : tables.lettered[code];
		if (!option_is_had(table, row)) {
			error_set(error, ERROR_USAGE, "--%s is not an option of %s: %s", row->name, table->program,
				  row->instead);
			return OPTIONS_WRONG;
		}
		ret_words->words[ret_words->count++] =
			(struct option_word){.row = row, .value = find_value(row, argc, argv)};
	}
	ret_words->operands = optind;
	return OPTIONS_RUN;
}

void option_words_fini(struct option_words *words)
{
	free(words->words);
	*words = (struct option_words){0};
}

static bool set_words(const struct option_words *words, void *into, struct error *error)
{
	for (uint32_t i = 0; i < words->count; i++)
		if (!option_set(words->words[i].row, words->words[i].value, into, error))
			return error_wrap(error, "--%s", words->words[i].row->name);
	return true;
}

enum options_result options_parse(const struct option_table *table, int argc, char **argv, void *into,
				  int *ret_operands, struct error *error)
{
	struct option_words words;
	enum options_result result = options_split(table, argc, argv, &words, error);
	if (result == OPTIONS_RUN && !(options_set_presets(table, into, error) && set_words(&words, into, error)))
		result = OPTIONS_WRONG;
	if (result == OPTIONS_RUN && ret_operands == NULL && words.operands < argc) {
		error_set(error, ERROR_USAGE, "unexpected argument \"%.80s\"; see %s --help", argv[words.operands],
			  table->program);
		result = OPTIONS_WRONG;
	}
	if (result == OPTIONS_RUN && ret_operands != NULL)
		*ret_operands = words.operands;
	option_words_fini(&words);
	return result;
}
