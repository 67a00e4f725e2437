// What an option is (table.c has them all), how its value is set (value.c), and what reads the three sources (options.c,
// config_file.c). Beside those only tests include this.
#pragma once

#include "stage_server/options/options.h"

enum option_kind {
	OPTION_TEXT, // char *
	OPTION_LIST, // struct option_list; the command line and the file give it several times, the environment in words
	OPTION_COUNT,  // uint32_t, from minimum to maximum
	OPTION_BYTES,  // uint64_t, likewise
	OPTION_CHOICE, // an enum, the index of one of `choices`
	OPTION_SWITCH, // bool; "yes" or "no" in the file and the environment, no value on the command line
};

struct option_row {
	const char *name;  // --NAME, the file's key NAME, the environment's PENSTOCK_NAME with _ for - in capitals
	const char *value; // what --help calls the value; NULL: a switch
	enum option_kind kind;
	size_t place; // in struct daemon_options
	uint64_t minimum, maximum;
	const char *const *choices; // ends with NULL
	const char *preset;         // the value when nobody gives one; NULL: all zero
	bool command_line_only, not_in_file;
	bool reloaded; // SIGHUP applies it
	const char *help;
};

enum option_source { OPTION_SOURCE_FILE, OPTION_SOURCE_ENVIRONMENT, OPTION_SOURCE_COMMAND_LINE, OPTION_SOURCE_NONE };

// Options while they are being read.
struct option_reader {
	struct daemon_options options;
	enum option_source *sources; // of each row's value: [options_table_rows], OPTION_SOURCE_NONE: not given
};

enum { OPTION_TABLE_MAXIMUM = 64 };

// The first row is --config.
extern const struct option_row option_table[];
extern const uint32_t option_table_rows;

const struct option_row *option_find(const char *name); // NULL: there is none
void option_table_print(void);                          // --help, on stdout

// Sets an option, or adds to its list. The message does not name the option.
bool option_set(struct option_reader *reader, const struct option_row *row, const char *value,
		enum option_source source, struct error *error);
void option_free(struct daemon_options *options, const struct option_row *row); // what its value owns
bool option_is_same(const struct option_row *row, const struct daemon_options *before,
		    const struct daemon_options *after);

// Reads `path`: lines "key = value", with # or ; before a comment. An error names the file and the line.
bool config_file_read(struct option_reader *reader, const char *path, struct error *error);
