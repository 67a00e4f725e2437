// The configuration file, read by inih: it gives pairs, and this counts lines for the messages.
#include <ini.h>
#include <stdio.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/strings.h"
#include "stage_server/options/table.h"

enum { MAXIMUM_FILE_BYTES = 1 << 20 };

struct file {
	struct option_reader *reader;
	const char *path;
	FILE *stream;
	unsigned line;
	unsigned lines[OPTION_TABLE_MAXIMUM]; // where an option stands that may stand once; 0: nowhere yet
	struct error *error;
	bool failed;
};

static void refuse(struct file *file, const char *message)
{
	if (!file->failed) // the first mistake is the one to mend
		error_set(file->error, ERROR_USAGE, "%s:%u: %s", file->path, file->line, message);
	file->failed = true;
}

static void refuse_section(struct file *file, const char *name, int length)
{
	char text[80];
	snprintf(text, sizeof(text), "sections are not supported: remove [%.*s]", length < 40 ? length : 40, name);
	strings_make_printable(text);
	refuse(file, text);
}

// inih's reader: one line into `into`. inih would take the rest of a longer one for the next line.
static char *read_line(char *into, int size, void *user)
{
	struct file *file = user;
	if (file->failed || fgets(into, size, file->stream) == NULL)
		return NULL;
	file->line++;
	size_t length = strlen(into);
	bool whole = length > 0 && into[length - 1] == '\n';
	if (!whole && (length == 0 || !feof(file->stream))) {
		refuse(file, length + 1 == (size_t)size ? "the line is too long" : "the line contains a zero byte");
		return NULL;
	}
	size_t indent = strspn(into, " \t\r\v\f"); // inih would take an indented line for more of the last value
	memmove(into, into + indent, length - indent + 1);
	if (into[0] == '[') // inih says nothing of a section that has no keys
		refuse_section(file, into + 1, (int)strcspn(into + 1, "]\r\n"));
	return into;
}

// Whether there is what others read as a comment; a # within a word is one of its letters.
static bool has_number_sign(const char *value)
{
	return value[0] == '#' || strstr(value, " #") != NULL || strstr(value, "\t#") != NULL;
}

// Called for each "key = value" of the line read last; 0 is a mistake.
static int take_pair(void *user, const char *section, const char *key, const char *value)
{
	struct file *file = user;
	struct error error;
	char text[ERROR_MESSAGE_SIZE];
	if (file->failed)
		return 0;
	if (section[0] != '\0') {
		refuse_section(file, section, (int)strlen(section)); // behind a byte order mark
		return 0;
	}
	const struct option_row *row = option_find(&daemon_option_table, key);
	if (row == NULL || (row->traits & (OPTION_NOT_IN_FILE | OPTION_COMMAND_LINE_ONLY)) != 0) {
		struct strings_guess guess = {.word = key};
		char hint[STRINGS_GUESS_SIZE];
		for (const struct option_row *other = daemon_option_table.rows;
		     other < daemon_option_table.rows + daemon_option_table.count; other++)
			if ((other->traits & (OPTION_NOT_IN_FILE | OPTION_COMMAND_LINE_ONLY)) == 0)
				strings_guess_try(&guess, other->name);
		snprintf(text, sizeof(text),
			 "unknown key \"%.40s\"%s; penstockd --help lists the options; write them without --", key,
			 strings_guess_write(&guess, "", hint, sizeof(hint)));
		strings_make_printable(text);
		refuse(file, text);
		return 0;
	}
	unsigned *line = &file->lines[row - daemon_option_table.rows];
	if (row->kind != OPTION_LIST && *line != 0) {
		snprintf(text, sizeof(text), "%s was already given on line %u", row->name, *line);
		refuse(file, text);
		return 0;
	}
	*line = file->line;
	if (has_number_sign(value)) {
		snprintf(text, sizeof(text), "%s: # does not begin a comment after a value; write ;", row->name);
		refuse(file, text);
		return 0;
	}
	if (option_reader_set(file->reader, row, value, OPTION_SOURCE_FILE, &error))
		return 1;
	error_wrap(&error, "%s", row->name);
	strings_make_printable(error.message);
	refuse(file, error.message);
	return 0;
}

bool config_file_read(struct option_reader *reader, const char *path, struct error *error)
{
	struct file file = {.reader = reader, .path = path, .error = error};
	_cleanup_free_ char *text = NULL;
	size_t size;
	if (!file_read(path, MAXIMUM_FILE_BYTES, &text, &size, error))
		return error_wrap(error, "--config %s", path);
	if (size == 0)
		return true;
	file.stream = fmemopen(text, size, "r");
	if (file.stream == NULL)
		return error_set(error, ERROR_FAILED, "--config %s: %m", path);
	int mistake = ini_parse_stream(read_line, &file, take_pair, &file);
	fclose(file.stream);
	if (file.failed)
		return false;
	if (mistake < 0)
		return error_set(error, ERROR_FAILED, "--config %s: out of memory", path);
	return mistake == 0 || error_set(error, ERROR_USAGE, "%s:%d: this is not \"key = value\"", path, mistake);
}
