// A program's options as a table: a row says what one is called, what its value may be, where that goes, and what --help says of it. Command
// line, --help and messages are read off the table; getopt_long takes the words apart. It reads no file and looks at no environment; who does
// sets what is found there by the same rows (option_set), under the name that option_variable gives.
// One thread at a time.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

enum { OPTION_TABLE_MAXIMUM = 80, OPTION_LIST_MAXIMUM = 32 };

// Texts stay where they were given.
struct option_list {
	const char *values[OPTION_LIST_MAXIMUM];
	uint32_t count;
};

enum option_kind {
	OPTION_SWITCH, // bool; no value on the command line, "yes" or "no" elsewhere
	OPTION_TEXT,   // const char *, not empty
	OPTION_LIST,   // struct option_list; may be given `maximum` times
	OPTION_COUNT,  // uint32_t, or int32_t, from minimum to maximum
	OPTION_LONG,   // uint64_t, or int64_t, likewise
	OPTION_BYTES,  // uint64_t, likewise; "16GiB"
	OPTION_NUMBER, // double, from lowest to highest
	OPTION_CHOICE, // an enum, the index of one of `choices`
	OPTION_NAME,   // const char *, one of `choices`
	OPTION_OWN,    // what `take` makes of it
};

struct option_row {
	const char *name;  // --NAME
	const char *value; // what --help calls the value; NULL: there is none, on the command line
	enum option_kind kind;
	size_t place; // in the struct that is filled
	uint64_t minimum, maximum;
	double lowest, highest;
	const char *const *choices; // ends with NULL
	// OPTION_OWN: `into` is the whole struct, `value` NULL where there is none. The message does not name the option.
	bool (*take)(void *into, const char *value, struct error *error);
	const char *preset;   // the value when nobody gives one; NULL: the struct keeps its own
	char letter;          // -L, the same
	const char *also[2];  // other names
	bool value_may_lack;  // of OPTION_OWN; the value is then given as --NAME=VALUE
	bool value_is_digits; // with value_may_lack: it may also be the next word, if that begins with a digit

	// Of a table for several commands: 1 << command for each that has it, 0: all. The others refuse it, saying what there is
	// `instead`; or do not know it, when that is NULL or another row has the name.
	unsigned only;
	const char *instead;
	unsigned traits; // bits that mean what the program says

	const char *heading; // a line above the row; begins a part of --help
	const char *help;    // NULL: that of the next row, which --help prints on the same line
};

struct option_table {
	const char *program; // with its command, as messages and --help call it: "penstock train"
	const struct option_row *rows;
	uint32_t count; // OPTION_TABLE_MAXIMUM at most
	unsigned command;
	const char *introduction, *conclusion; // of --help; NULL: none
	const char *version;                   // what --version prints, with the wire's `protocol` where that is not 0
	unsigned protocol;
};

enum options_result { OPTIONS_RUN, OPTIONS_DONE /* --help, --version: printed */, OPTIONS_WRONG };

// A command line, taken apart.
struct option_words {
	struct option_word {
		const struct option_row *row;
		const char *value; // NULL: there is none
	} * words;                 // owned
	uint32_t count;
	int operands; // argv's first word that is no option, of which getopt has put all behind the options
};

// Names, and whether there is a value, are checked; values are not. After a mistake `ret_words` has what was before it; in any case it wants
// option_words_fini.
enum options_result options_split(const struct option_table *table, int argc, char **argv,
				  struct option_words *ret_words, struct error *error);
void option_words_fini(struct option_words *words);
// The whole way: presets, then the command line. `ret_operands` is argv's first word that is no option (argc: there is none), NULL: such
// words are refused.
enum options_result options_parse(const struct option_table *table, int argc, char **argv, void *into,
				  int *ret_operands, struct error *error);

// Sets an option of `into`, or adds to its list. `value` is borrowed for as long as `into` is used. The message does not name the option.
bool option_set(const struct option_row *row, const char *value, void *into, struct error *error);
bool options_set_presets(const struct option_table *table, void *into, struct error *error);
bool option_is_same(const struct option_row *row, const void *before, const void *after); // not of OPTION_OWN

const struct option_row *option_find(const struct option_table *table, const char *name); // NULL: there is none
bool option_is_had(const struct option_table *table, const struct option_row *row);       // by the table's command
// The variable of the environment that stands for an option: PENSTOCK_NAME, in capitals and with _ for -. Returns `into`.
char *option_variable(const struct option_row *row, char *into, size_t size);

void options_print(const struct option_table *table); // --help, on stdout
