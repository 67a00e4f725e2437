// See nodes_arguments.h.
#include "coordinator/command/nodes_arguments.h"

#include "coordinator/command/command.h"
#include "coordinator/command/job_nodes.h"

#define PLACE(field) offsetof(struct nodes_arguments, field)

enum { MAXIMUM_ITERATIONS = 1000000000, NODES = 1 << NODES_COMMAND_NODES, TOP = 1 << NODES_COMMAND_TOP };

static bool take_once(void *into, const char *value, struct error *error)
{
	struct nodes_arguments *arguments = into;
	arguments->iterations = 1;
	return true;
}

static const struct option_row rows[] = {
	{"hostfile", "FILE", OPTION_TEXT, PLACE(hostfile), .letter = 'H',
	 .help = "file of nodes, with a line \"host[:port] slots=N\" for each"},
	{"json", "FILE", OPTION_TEXT, PLACE(json), .only = NODES,
	 .help = "write a JSON line for each daemon; - is standard output, instead of the tables"},
	{"job", "NAME", OPTION_TEXT, PLACE(job), .only = TOP, .help = "show only this job"},
	{"interval", "SECONDS", OPTION_NUMBER, PLACE(interval_s), .lowest = 0.1, .highest = 3600.0, .only = TOP,
	 .preset = "2", .help = "seconds between updates, from 0.1 to 3600"},
	{"iterations", "N", OPTION_LONG, PLACE(iterations), 1, MAXIMUM_ITERATIONS, .only = TOP,
	 .help = "print N plain pages, then exit"},
	{"once", NULL, OPTION_OWN, .take = take_once, .only = TOP, .help = "the same as --iterations 1"},

	TLS_ARGUMENTS_ROWS(struct nodes_arguments, tls_arguments.),
};

// `words` are the hosts that are named one by one, up to a NULL.
static bool read_hosts(const char *program, char **words, uint32_t count, struct nodes_arguments *arguments,
		       struct error *error)
{
	if (arguments->hostfile != NULL && count > 0)
		return error_set(error, ERROR_USAGE, "-H and hosts (\"%.80s\") exclude each other; see %s --help",
				 words[0], program);
	if (arguments->hostfile == NULL && count == 0)
		return error_set(error, ERROR_USAGE, "no daemons are given: write -H HOSTFILE, or hosts; see %s --help",
				 program);
	if (arguments->hostfile == NULL)
		return hostfile_from_words(words, count, &arguments->hosts, error);
	if (!hostfile_read(arguments->hostfile, &arguments->hosts, error))
		return false;
	job_nodes_warn(arguments->hostfile, &arguments->hosts);
	return true;
}

enum options_result nodes_arguments_parse(enum nodes_command command, int argc, char **argv, const char *introduction,
					  const char *conclusion, struct nodes_arguments *ret_arguments,
					  struct error *error)
{
	const struct option_table table = {.program = command == NODES_COMMAND_TOP ? "penstock top" : "penstock nodes",
					   .rows = rows,
					   .count = sizeof(rows) / sizeof(rows[0]),
					   .command = command,
					   .introduction = introduction,
					   .conclusion = conclusion,
					   .version = COMMAND_VERSION};
	struct nodes_arguments arguments = {0};
	int first_host;
	enum options_result result = options_parse(&table, argc, argv, &arguments, &first_host, error);
	if (result != OPTIONS_RUN)
		return result;
	if (!tls_arguments_open(&arguments.tls_arguments, &arguments.tls, error) ||
	    !read_hosts(table.program, argv + first_host, (uint32_t)(argc - first_host), &arguments, error)) {
		nodes_arguments_fini(&arguments);
		return OPTIONS_WRONG;
	}
	*ret_arguments = arguments;
	return OPTIONS_RUN;
}

void nodes_arguments_fini(struct nodes_arguments *arguments)
{
	hostfile_fini(&arguments->hosts);
	rpc_tls_destroy(arguments->tls);
	arguments->tls = NULL;
}
