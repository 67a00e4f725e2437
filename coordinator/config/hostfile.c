// DeepSpeed's hostfile. See hostfile.h. Names are not resolved here: that is the RPC client's job.
#include "coordinator/config/hostfile.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/address.h"
#include "common/base/strings.h"

enum { MAXIMUM_SLOTS = 64, MAXIMUM_LINE_BYTES = 1024, MAXIMUM_LINES = 100000, MORE_SIZE = 24 };

// What was ignored so far.
struct ignored {
	char text[HOSTFILE_IGNORED_SIZE];
	unsigned more; // words that it has no room for
};

struct place { // where we are in the file, for messages
	const char *path;
	unsigned line;
};

// The default port is added where there is none.
static bool parse_address(const char *word, struct place place, char *ret_address, size_t size, struct error *error)
{
	struct address address;
	char text[ADDRESS_SIZE];
	if (!address_parse(word, ADDRESS_NODE, &address, error))
		return error_wrap(error, "%s:%u", place.path, place.line);
	if (address.kind != ADDRESS_SOCKET && address.port == ADDRESS_NO_PORT)
		address.port = HOSTFILE_DEFAULT_PORT;
	if (strlen(address_write(&address, text, sizeof(text))) >= size)
		return error_set(error, ERROR_USAGE, "%s:%u: address \"%.40s...\" is longer than %zu characters",
				 place.path, place.line, word, size - 1);
	memcpy(ret_address, text, strlen(text) + 1);
	return true;
}

static bool is_slots(const char *word)
{
	return strncmp(word, "slots=", 6) == 0;
}

static bool parse_slots(const char *word, struct place place, uint32_t *ret_slots, struct error *error)
{
	int64_t slots;
	if (*ret_slots > 0)
		return error_set(error, ERROR_USAGE, "%s:%u: \"%.40s\": the line already has slots=N", place.path,
				 place.line, word);
	if (!isdigit((unsigned char)word[6]) || !strings_parse_integer(word + 6, 1, MAXIMUM_SLOTS, &slots, NULL))
		return error_set(error, ERROR_USAGE,
				 "%s:%u: slots=%.40s: the number of slots must be a whole number from 1 to %d; remove "
				 "the line to exclude the host",
				 place.path, place.line, word + 6, MAXIMUM_SLOTS);
	*ret_slots = (uint32_t)slots;
	return true;
}

// Cuts a line at its comment: a # that starts a word. (A # inside a word may belong to a unix path.)
static void cut_comment(char *line)
{
	for (char *c = line; *c != '\0'; c++)
		if (*c == '#' && (c == line || isspace((unsigned char)c[-1]))) {
			*c = '\0';
			return;
		}
}

// The line's next word, or NULL. Messages quote it, so it is made printable; a question mark is in no host's name.
static char *next_word(char *line, char **rest)
{
	char *word = strtok_r(line, " \t\r\n\v\f", rest);
	if (word != NULL)
		strings_make_printable(word);
	return word;
}

static void note_ignored(const char *word, struct place place, struct ignored *ignored)
{
	char item[80];
	size_t used = strlen(ignored->text);
	snprintf(item, sizeof(item), "%s\"%.40s\" in line %u", used > 0 ? ", " : "", word, place.line);
	if (ignored->more > 0 || used + strlen(item) + MORE_SIZE > HOSTFILE_IGNORED_SIZE)
		ignored->more++;
	else
		strcpy(ignored->text + used, item);
}

static bool refuse_without_slots(const char *address, const char *other, struct place place, struct error *error)
{
	static const char *const names[] = {"slots", NULL};
	char hint[STRINGS_GUESS_SIZE] = "", name[64] = "";
	if (other != NULL) {
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(other, "="), other);
		if (strcmp(name, "max_slots") != 0)
			strings_guess_of(name, names, hint, sizeof(hint));
		return error_set(error, ERROR_USAGE,
				 "%s:%u: \"%.80s\" has no slots=N, and \"%.80s\" is unknown%s: write \"%.80s slots=1\"",
				 place.path, place.line, address, other, hint, address);
	}
	return error_set(error, ERROR_USAGE,
			 "%s:%u: \"%.80s\" has no slots: write how many devices may be used, as in \"%.80s slots=1\"",
			 place.path, place.line, address, address);
}

// Sets ret_host->slots to 0 for a line without a host.
static bool parse_line(char *line, struct place place, struct host *ret_host, struct ignored *ignored,
		       struct error *error)
{
	cut_comment(line);
	char *rest = NULL;
	char *address = next_word(line, &rest);
	const char *other = NULL;
	ret_host->slots = 0;
	if (address == NULL)
		return true;
	if (!parse_address(address, place, ret_host->address, sizeof(ret_host->address), error))
		return false;
	for (char *word = next_word(NULL, &rest); word != NULL; word = next_word(NULL, &rest)) {
		if (is_slots(word) && !parse_slots(word, place, &ret_host->slots, error))
			return false;
		if (is_slots(word))
			continue;
		note_ignored(word, place, ignored);
		if (other == NULL)
			other = word;
	}
	return ret_host->slots > 0 || refuse_without_slots(address, other, place, error);
}

static bool add_host(struct hostfile *hosts, unsigned *lines, const struct host *host, struct place place,
		     struct error *error)
{
	// A host's name is the same in any case, a path is not.
	bool is_path = address_is_socket(host->address);
	for (uint32_t i = 0; i < hosts->count; i++)
		if ((is_path ? strcmp : strcasecmp)(hosts->hosts[i].address, host->address) == 0)
			return error_set(error, ERROR_USAGE,
					 "%s:%u: %s appears twice, first in line %u: write one line with all its slots",
					 place.path, place.line, host->address, lines[i]);
	if (hosts->count == HOSTFILE_MAXIMUM_HOSTS)
		return error_set(error, ERROR_USAGE, "%s:%u: more than %d hosts", place.path, place.line,
				 HOSTFILE_MAXIMUM_HOSTS);
	lines[hosts->count] = place.line;
	hosts->hosts[hosts->count++] = *host;
	return true;
}

static bool read_lines(FILE *file, const char *path, struct hostfile *hosts, unsigned *lines, struct error *error)
{
	char line[MAXIMUM_LINE_BYTES];
	struct place place = {.path = path, .line = 0};
	struct ignored ignored = {.more = 0};
	while (fgets(line, sizeof(line), file) != NULL) {
		place.line++;
		if (place.line == 1 && strncmp(line, "\xef\xbb\xbf", 3) == 0)
			return error_set(error, ERROR_USAGE,
					 "%s:1: begins with a byte-order mark: save it as UTF-8 without one", path);
		if (strchr(line, '\n') == NULL && !feof(file))
			return error_set(error, ERROR_USAGE,
					 "%s:%u: the line is longer than %d characters, or holds a zero byte", path,
					 place.line, MAXIMUM_LINE_BYTES - 2);
		if (place.line > MAXIMUM_LINES)
			return error_set(error, ERROR_USAGE, "%s: more than %d lines", path, MAXIMUM_LINES);
		struct host host = {0};
		if (!parse_line(line, place, &host, &ignored, error))
			return false;
		if (host.slots > 0 && !add_host(hosts, lines, &host, place, error))
			return false;
	}
	if (ferror(file))
		return error_set(error, ERROR_USAGE, "%s: cannot be read: %s", path, strerror(errno));
	if (hosts->count == 0)
		return error_set(error, ERROR_USAGE, "%s: has no hosts: write one line \"host slots=N\" for each",
				 path);
	memcpy(hosts->ignored, ignored.text, sizeof(hosts->ignored));
	if (ignored.more > 0)
		snprintf(hosts->ignored + strlen(ignored.text), MORE_SIZE, " and %u more", ignored.more);
	return true;
}

static FILE *open_file(const char *path, struct error *error)
{
	int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // not to wait, should this be a pipe
	struct stat status;
	if (descriptor < 0 || fstat(descriptor, &status) < 0)
		error_set(error, ERROR_USAGE, "hostfile %s: %s", path, strerror(errno));
	else if (!S_ISREG(status.st_mode))
		error_set(error, ERROR_USAGE, "hostfile %s: is not a regular file", path);
	else {
		FILE *file = fdopen(descriptor, "r");
		if (file != NULL)
			return file;
		error_set(error, ERROR_FAILED, "hostfile %s: %s", path, strerror(errno));
	}
	if (descriptor >= 0)
		close(descriptor);
	return NULL;
}

bool hostfile_read(const char *path, struct hostfile *ret_hostfile, struct error *error)
{
	FILE *file = open_file(path, error);
	if (file == NULL)
		return false;
	struct hostfile hosts = {.hosts = calloc(HOSTFILE_MAXIMUM_HOSTS, sizeof(*hosts.hosts))};
	_cleanup_free_ unsigned *lines = calloc(HOSTFILE_MAXIMUM_HOSTS, sizeof(*lines));
	bool ok = hosts.hosts != NULL && lines != NULL;
	if (!ok)
		error_set(error, ERROR_FAILED, "%s: no memory for the list of hosts", path);
	ok = ok && read_lines(file, path, &hosts, lines, error);
	fclose(file);
	if (!ok) {
		hostfile_fini(&hosts);
		return false;
	}
	*ret_hostfile = hosts;
	return true;
}

bool hostfile_from_words(char *const *words, uint32_t count, struct hostfile *ret_hostfile, struct error *error)
{
	struct hostfile hosts = {.hosts = calloc(HOSTFILE_MAXIMUM_HOSTS, sizeof(*hosts.hosts))};
	_cleanup_free_ unsigned *numbers = calloc(HOSTFILE_MAXIMUM_HOSTS, sizeof(*numbers));
	bool ok = (hosts.hosts != NULL && numbers != NULL) ||
		  error_set(error, ERROR_FAILED, "no memory for the list of hosts");
	for (uint32_t i = 0; i < count && ok; i++) {
		struct host host = {.slots = 1};
		struct place place = {.path = "HOST", .line = i + 1};
		ok = parse_address(words[i], place, host.address, sizeof(host.address), error) &&
		     add_host(&hosts, numbers, &host, place, error);
	}
	if (!ok) {
		hostfile_fini(&hosts);
		return false;
	}
	*ret_hostfile = hosts;
	return true;
}

uint32_t hostfile_slots(const struct hostfile *hostfile)
{
	uint32_t slots = 0; // at most HOSTFILE_MAXIMUM_HOSTS times MAXIMUM_SLOTS
	for (uint32_t i = 0; i < hostfile->count; i++)
		slots += hostfile->hosts[i].slots;
	return slots;
}

const struct host *hostfile_slot(const struct hostfile *hostfile, uint32_t index, uint32_t *ret_slot)
{
	const struct host *host = hostfile->hosts;
	while (index >= host->slots)
		index -= host++->slots;
	*ret_slot = index;
	return host;
}

void hostfile_fini(struct hostfile *hostfile)
{
	free(hostfile->hosts);
	*hostfile = (struct hostfile){0};
}
