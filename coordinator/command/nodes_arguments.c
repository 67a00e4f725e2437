// See nodes_arguments.h.
#include "coordinator/command/nodes_arguments.h"

#include <getopt.h>
#include <string.h>

#include "common/base/strings.h"
#include "coordinator/command/command.h"
#include "coordinator/command/tls_arguments.h"

enum { DEFAULT_INTERVAL_MS = 2000, ALL = NODES_COMMAND_NODES | NODES_COMMAND_TOP };
#define MINIMUM_INTERVAL   0.1
#define MAXIMUM_INTERVAL   3600.0
#define MAXIMUM_ITERATIONS 1000000000

enum { OPTION_JSON = COMMAND_OPTION_HELP + 1, OPTION_JOB, OPTION_INTERVAL, OPTION_ITERATIONS, OPTION_ONCE };

static const struct {
	struct option option;
	int commands;
} known[] = {
	{{"hostfile", required_argument, NULL, 'H'}, ALL},
	{{"help", no_argument, NULL, COMMAND_OPTION_HELP}, ALL},
	{{"json", required_argument, NULL, OPTION_JSON}, NODES_COMMAND_NODES},
	{{"job", required_argument, NULL, OPTION_JOB}, NODES_COMMAND_TOP},
	{{"interval", required_argument, NULL, OPTION_INTERVAL}, NODES_COMMAND_TOP},
	{{"iterations", required_argument, NULL, OPTION_ITERATIONS}, NODES_COMMAND_TOP},
	{{"once", no_argument, NULL, OPTION_ONCE}, NODES_COMMAND_TOP},
};
enum { KNOWN = sizeof(known) / sizeof(known[0]) };

static bool parse_interval(const char *text, uint32_t *ret_ms, struct error *error)
{
	double seconds;
	if (!strings_parse_number(text, &seconds, NULL) || seconds < MINIMUM_INTERVAL || seconds > MAXIMUM_INTERVAL)
		return error_set(error, ERROR_USAGE, "--interval: \"%.40s\" is not a number of seconds from %g to %g",
				 text, MINIMUM_INTERVAL, MAXIMUM_INTERVAL);
	*ret_ms = (uint32_t)(seconds * 1000.0 + 0.5);
	return true;
}

static bool parse_iterations(const char *text, uint64_t *ret_iterations, struct error *error)
{
	int64_t value;
	if (!strings_parse_integer(text, 1, MAXIMUM_ITERATIONS, &value, error))
		return error_wrap(error, "--iterations");
	*ret_iterations = (uint64_t)value;
	return true;
}

static bool take_option(int code, char **argv, const char **hostfile, struct tls_arguments *tls,
			struct nodes_arguments *arguments, struct error *error)
{
	bool ok;
	if (tls_arguments_take(tls, code, &ok, error))
		return ok;
	switch (code) {
	case 'H':
		*hostfile = optarg;
		return true;
	case 'h':
	case COMMAND_OPTION_HELP:
		arguments->help = true;
		return true;
	case OPTION_JSON:
		arguments->json = optarg;
		return true;
	case OPTION_JOB:
		arguments->job = optarg;
		return true;
	case OPTION_INTERVAL:
		return parse_interval(optarg, &arguments->interval_ms, error);
	case OPTION_ITERATIONS:
		return parse_iterations(optarg, &arguments->iterations, error);
	case OPTION_ONCE:
		arguments->iterations = 1;
		return true;
	}
	return command_refuse_option(code, argv, error);
}

static bool read_hosts(int argc, char **argv, const char *hostfile, struct nodes_arguments *arguments,
		       struct error *error)
{
	bool has_file = hostfile != NULL && *hostfile != '\0';
	if (has_file && optind < argc)
		return error_set(error, ERROR_USAGE,
				 "-H and hosts (\"%.80s\") exclude each other; see penstock %s --help", argv[optind],
				 argv[0]);
	if (!has_file && optind == argc)
		return error_set(error, ERROR_USAGE, "-H HOSTFILE is missing, or hosts; see penstock %s --help",
				 argv[0]);
	arguments->has_slots = has_file;
	return has_file ? hostfile_read(hostfile, &arguments->hosts, error)
			: hostfile_from_words(argv + optind, (uint32_t)(argc - optind), &arguments->hosts, error);
}

bool nodes_arguments_parse(int argc, char **argv, enum nodes_command command, struct nodes_arguments *ret_arguments,
			   struct error *error)
{
	struct nodes_arguments arguments = {.interval_ms = DEFAULT_INTERVAL_MS};
	static const struct option tls_options[] = {TLS_ARGUMENTS_ROWS};
	struct option options[KNOWN + sizeof(tls_options) / sizeof(tls_options[0]) + 1] = {0};
	struct tls_arguments tls = {0};
	const char *hostfile = NULL;
	int count = 0, code;
	for (int i = 0; i < KNOWN; i++)
		if ((known[i].commands & command) != 0)
			options[count++] = known[i].option;
	memcpy(&options[count], tls_options, sizeof(tls_options));
	opterr = 0;
	optind = 1;
	while ((code = getopt_long(argc, argv, ":H:h", options, NULL)) != -1 && !arguments.help)
		if (!take_option(code, argv, &hostfile, &tls, &arguments, error))
			return false;
	if (!arguments.help &&
	    !(tls_arguments_open(&tls, &arguments.tls, error) && read_hosts(argc, argv, hostfile, &arguments, error))) {
		nodes_arguments_fini(&arguments);
		return false;
	}
	*ret_arguments = arguments;
	return true;
}

void nodes_arguments_fini(struct nodes_arguments *arguments)
{
	hostfile_fini(&arguments->hosts);
	rpc_tls_destroy(arguments->tls);
	arguments->tls = NULL;
}
