// The table of options, the environment and the command line. See options.h.
#include "stage_server/options/options.h"

#include <ctype.h>
#include <getopt.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strings.h"
#include "common/rpc/protocol.h"
#include "common/rpc/rpc.h"
#include "stage_server/options/table.h"

#define PLACE(field) offsetof(struct daemon_options, field)

static const char *const log_levels[] = {"error", "warning", "info", "debug", NULL}; // enum log_level
static const char *const log_formats[] = {"text", "json", NULL};                     // enum log_format
static const char *const client_auths[] = {"require", "none", NULL};                 // enum option_client_auth

const struct option_row option_table[] = {
	{"config", "FILE", OPTION_TEXT, PLACE(config), .not_in_file = true,
	 .help = "reads options from FILE, a line \"name = value\" each, under their names without --; what the "
		 "environment (PENSTOCK_LISTEN for listen, and so on) and the command line say counts more"},
	{"check-config", NULL, OPTION_SWITCH, PLACE(check_config), .command_line_only = true,
	 .help = "reads all options, and the files they name, says what is wrong, and ends"},
	{"print-devices", NULL, OPTION_SWITCH, PLACE(print_devices), .command_line_only = true,
	 .help = "prints the devices that --device can name on this machine, and ends"},

	{"listen", "ADDRESS", OPTION_LIST, PLACE(listen), .maximum = 8, .preset = "127.0.0.1:7070",
	 .help = "where coordinators and neighbours come to: HOST:PORT, [IPv6]:PORT or unix:/PATH; port 0 takes a free "
		 "one; may be given several times"},
	{"metrics-listen", "ADDRESS", OPTION_TEXT, PLACE(metrics_listen),
	 .help = "serves /metrics, /livez and /readyz over HTTP on HOST:PORT (default: nowhere)"},
	{"ready-file", "PATH", OPTION_TEXT, PLACE(ready_file),
	 .help = "written when the daemon listens: one line, the first address with its real port"},

	{"device", "NAME", OPTION_LIST, PLACE(device), .maximum = OPTION_LIST_MAXIMUM, .preset = "cpu",
	 .help = "cpu, or cuda:N, the GPU with that number; once for each slot that the daemon offers, and one device "
		 "may "
		 "be named several times"},
	{"threads", "N", OPTION_COUNT, PLACE(threads), 1, 1024,
	 .help = "cpu: threads that each stage computes with (default: as many as there are cores)"},
	{"memory-limit", "SIZE", OPTION_BYTES, PLACE(memory_limit_bytes), 1 << 20, UINT64_MAX,
	 .help = "memory that all stages of a device together may use, such as 16GiB (default: what it has)"},
	{"tuning-file", "PATH", OPTION_TEXT, PLACE(tuning_file),
	 .help = "where choices of kernels timed once per shape are kept (default: penstock/ in the user's cache "
		 "folder)"},

	{"tls-cert-file", "FILE", OPTION_TEXT, PLACE(tls_cert_file),
	 .help = "this daemon's certificate and what it was signed by, PEM; with it, all calls are made over TLS"},
	{"tls-key-file", "FILE", OPTION_TEXT, PLACE(tls_key_file), .help = "the certificate's private key, PEM"},
	{"tls-ca-file", "FILE", OPTION_TEXT, PLACE(tls_ca_file),
	 .help = "certificates of the authorities that coordinators and neighbours must be signed by, PEM"},
	{"tls-server-name", "NAME", OPTION_TEXT, PLACE(tls_server_name),
	 .help = "what neighbours' certificates must name (default: the host that the coordinator's hostfile says)"},
	{"tls-client-auth", "WHEN", OPTION_CHOICE, PLACE(tls_client_auth), .choices = client_auths, .preset = "require",
	 .help = "whether who calls must show a certificate: require or none"},
	{"allow-name", "NAME", OPTION_LIST, PLACE(allow_name), .maximum = OPTION_LIST_MAXIMUM,
	 .help = "name that a caller's certificate must bear, \"*.example.org\" for any host of a domain; may be given "
		 "several times (default: whoever the authorities signed)"},
	{"insecure", NULL, OPTION_SWITCH, PLACE(insecure),
	 .help = "lets the daemon listen beyond loopback without TLS: whoever reaches the port may train"},

	{"max-sessions", "N", OPTION_COUNT, PLACE(maximum_sessions), 1, 4096, .preset = "16",
	 .help = "stages that may be held at once"},
	{"max-connections", "N", OPTION_COUNT, PLACE(maximum_connections), 1, 65536, .preset = "1024",
	 .help = "connections that may be open at once"},
	{"max-streams", "N", OPTION_COUNT, PLACE(maximum_streams), 1, 65536, .preset = "128",
	 .help = "calls at once on one connection"},
	{"max-message-size", "SIZE", OPTION_BYTES, PLACE(maximum_message_bytes),
	 RPC_MAXIMUM_HEADER_BYTES + PROTOCOL_PARAMETER_CHUNK_BYTES, 1023 << 20, .preset = "9MiB",
	 .help = "largest message that is received"},
	{"max-metadata-size", "SIZE", OPTION_BYTES, PLACE(maximum_metadata_bytes), 1 << 10, 1 << 20, .preset = "16KiB",
	 .help = "largest metadata (headers) of a call"},
	{"max-buffered", "SIZE", OPTION_BYTES, PLACE(maximum_buffered_bytes), 64 << 20, UINT64_C(1) << 40,
	 .preset = "1GiB", .help = "memory that all connections together may hold in buffers"},
	{"idle-timeout", "SECONDS", OPTION_COUNT, PLACE(idle_timeout_s), 1, 86400, .preset = "300",
	 .help = "after which a connection without a call is closed"},
	{"handshake-timeout", "SECONDS", OPTION_COUNT, PLACE(handshake_timeout_s), 1, 3600, .preset = "10",
	 .help = "after which a connection that has not begun to speak HTTP/2 is closed"},
	{"drain-timeout", "SECONDS", OPTION_COUNT, PLACE(drain_timeout_s), 1, 86400, .preset = "60",
	 .help = "how long running steps may take to end after SIGTERM"},

	{"log-level", "LEVEL", OPTION_CHOICE, PLACE(log_level), .choices = log_levels, .preset = "info",
	 .reloaded = true, .help = "error, warning, info or debug"},
	{"log-format", "FORMAT", OPTION_CHOICE, PLACE(log_format), .choices = log_formats, .preset = "text",
	 .reloaded = true, .help = "text or json, an object a line"},
};
const uint32_t option_table_rows = sizeof(option_table) / sizeof(option_table[0]);

static const char introduction[] =
	"Usage: penstockd [OPTION]...\n"
	"Holds stages of models for coordinators (penstock train) and exchanges tensors with neighbouring daemons.\n"
	"\n";
static const char conclusion[] = "  --help, --version\n"
				 "\n"
				 "It ends on SIGTERM and SIGINT, telling the coordinators of running jobs.\n"
				 "Exit codes: 0 ended on request, 1 failed, 2 wrong usage.\n";

// ---- --help

enum { HELP_COLUMN = 30, HELP_WIDTH = 118 };

static void print_row(const struct option_row *row)
{
	char left[64], text[400];
	snprintf(left, sizeof(left), "  --%s%s%s", row->name, row->value != NULL ? " " : "",
		 row->value != NULL ? row->value : "");
	int used = printf("%-*s", HELP_COLUMN - 1, left);
	if (row->preset != NULL)
		snprintf(text, sizeof(text), "%s (default %s)", row->help, row->preset);
	else
		snprintf(text, sizeof(text), "%s", row->help);
	char *rest = NULL;
	for (char *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
		if (used + 1 + (int)strlen(word) > HELP_WIDTH)
			used = printf("\n%*s", HELP_COLUMN - 1, "") - 1;
		used += printf(" %s", word);
	}
	putchar('\n');
}

static void print_help(void)
{
	fputs(introduction, stdout);
	for (uint32_t i = 0; i < option_table_rows; i++)
		print_row(&option_table[i]);
	fputs(conclusion, stdout);
}

// ---- One value

const struct option_row *option_find(const char *name)
{
	for (uint32_t i = 0; i < option_table_rows; i++)
		if (strcmp(option_table[i].name, name) == 0)
			return &option_table[i];
	return NULL;
}

static bool parse_choice(const char *const *choices, const char *value, int *ret_index, struct error *error)
{
	char known[128] = "";
	for (int i = 0; choices[i] != NULL; i++) {
		if (strcmp(choices[i], value) == 0) {
			*ret_index = i;
			return true;
		}
		snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s",
			 i == 0                   ? ""
			 : choices[i + 1] == NULL ? " or "
						  : ", ",
			 choices[i]);
	}
	return error_set(error, ERROR_USAGE, "\"%.40s\" is not %s", value, known);
}

static bool parse_bytes(const struct option_row *row, const char *value, uint64_t *ret_bytes, struct error *error)
{
	char minimum[32], maximum[32];
	uint64_t bytes;
	if (!strings_parse_bytes(value, &bytes, error))
		return false;
	*ret_bytes = bytes;
	if (bytes >= row->minimum && bytes <= row->maximum)
		return true;
	return row->maximum == UINT64_MAX
		       ? error_set(error, ERROR_USAGE, "\"%.40s\" is less than %s; is the unit missing, as in 16GiB?",
				   value, strings_format_bytes(row->minimum, minimum, sizeof(minimum)))
		       : error_set(error, ERROR_USAGE, "\"%.40s\" is not from %s to %s", value,
				   strings_format_bytes(row->minimum, minimum, sizeof(minimum)),
				   strings_format_bytes(row->maximum, maximum, sizeof(maximum)));
}

static bool set_text(char **place, const char *value, struct error *error)
{
	if (value[0] == '\0')
		return error_set(error, ERROR_USAGE, "the value is empty");
	char *copy = strdup(value);
	if (copy == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	free(*place);
	*place = copy;
	return true;
}

static void clear_list(struct option_list *list)
{
	for (uint32_t i = 0; i < list->count; i++)
		free(list->values[i]);
	*list = (struct option_list){0};
}

static bool add_to_list(struct option_list *list, uint64_t maximum, const char *value, struct error *error)
{
	if (list->count == maximum)
		return error_set(error, ERROR_USAGE, "at most %" PRIu64 " of them", maximum);
	if (!set_text(&list->values[list->count], value, error))
		return false;
	list->count++;
	return true;
}

bool option_set(struct option_reader *reader, const struct option_row *row, const char *value,
		enum option_source source, struct error *error)
{
	static const char *const answers[] = {"no", "yes", NULL};
	void *place = (char *)&reader->options + row->place;
	enum option_source *before = &reader->sources[row - option_table];
	int64_t count = 0;
	int index = 0;
	bool ok = false;
	switch (row->kind) {
	case OPTION_TEXT:
		ok = set_text(place, value, error);
		break;
	case OPTION_LIST:
		if (*before != source)
			clear_list(place);
		ok = add_to_list(place, row->maximum, value, error);
		break;
	case OPTION_COUNT:
		ok = strings_parse_integer(value, (int64_t)row->minimum, (int64_t)row->maximum, &count, error);
		*(uint32_t *)place = (uint32_t)count;
		break;
	case OPTION_BYTES:
		ok = parse_bytes(row, value, place, error);
		break;
	case OPTION_CHOICE:
		ok = parse_choice(row->choices, value, &index, error);
		*(int *)place = index;
		break;
	case OPTION_SWITCH:
		ok = parse_choice(answers, value, &index, error);
		*(bool *)place = index == 1;
		break;
	}
	*before = source;
	return ok;
}

// ---- The sources

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
	struct option known[sizeof(option_table) / sizeof(option_table[0]) + 3] = {{"help", no_argument, NULL, 'h'},
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

static bool same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_list(const struct option_list *a, const struct option_list *b)
{
	bool same = a->count == b->count;
	for (uint32_t i = 0; same && i < a->count; i++)
		same = same_text(a->values[i], b->values[i]);
	return same;
}

static bool same_value(const struct option_row *row, const struct daemon_options *before,
		       const struct daemon_options *after)
{
	const void *a = (const char *)before + row->place, *b = (const char *)after + row->place;
	switch (row->kind) {
	case OPTION_TEXT:
		return same_text(*(char *const *)a, *(char *const *)b);
	case OPTION_LIST:
		return same_list(a, b);
	case OPTION_COUNT:
		return *(const uint32_t *)a == *(const uint32_t *)b;
	case OPTION_BYTES:
		return *(const uint64_t *)a == *(const uint64_t *)b;
	case OPTION_CHOICE:
		return *(const int *)a == *(const int *)b;
	case OPTION_SWITCH:
		return *(const bool *)a == *(const bool *)b;
	}
	return true;
}

char *options_changes(const struct daemon_options *before, const struct daemon_options *after, char *into, size_t size)
{
	size_t used = 0;
	into[0] = '\0';
	for (uint32_t i = 0; i < option_table_rows && used < size; i++) {
		const struct option_row *row = &option_table[i];
		if (!row->reloaded && !same_value(row, before, after))
			used += (size_t)snprintf(into + used, size - used, "%s%s", used > 0 ? " " : "", row->name);
	}
	return into;
}

void options_fini(struct daemon_options *options)
{
	for (uint32_t i = 0; i < option_table_rows; i++) {
		void *place = (char *)options + option_table[i].place;
		if (option_table[i].kind == OPTION_LIST)
			clear_list(place);
		else if (option_table[i].kind == OPTION_TEXT)
			free(*(char **)place);
	}
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
			print_help();
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
