// See options.h.
#include "stage_server/service/options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "common/base/strings.h"
#include "common/rpc/protocol.h"

enum { DEFAULT_MAXIMUM_SESSIONS = 16 };

static const char help[] =
	"Usage: penstockd [OPTION]...\n"
	"Holds stages of models for coordinators (penstock train) and exchanges tensors with neighbouring daemons.\n"
	"\n"
	"  --listen ADDRESS          where coordinators and neighbours come to: HOST:PORT, [IPv6]:PORT or unix:/PATH;\n"
	"                            port 0 takes a free one; may be given several times (default 127.0.0.1:7070)\n"
	"  --metrics-listen ADDRESS  serves /metrics, /livez and /readyz over HTTP on HOST:PORT (default: nowhere)\n"
	"  --device NAME             cpu (default), or cuda:N, the GPU with that number; once for each slot that the "
	"daemon\n"
	"                            offers, and one device may be named several times\n"
	"  --threads N               cpu: threads that each stage computes with (default: as many as there are cores)\n"
	"  --memory-limit SIZE       memory that all stages of a device together may use, such as 16GiB (default: what "
	"it "
	"has)\n"
	"  --max-sessions N          stages that may be held at once (default 16)\n"
	"  --tuning-file PATH        where choices of kernels timed once per shape are kept\n"
	"                            (default: penstock/ in the user's cache folder)\n"
	"  --ready-file PATH         written when the daemon listens: one line, the first address with its real port\n"
	"  --log-level LEVEL         error, warning, info (default) or debug\n"
	"  --help, --version\n"
	"\n"
	"It ends on SIGTERM and SIGINT, telling the coordinators of running jobs.\n"
	"Exit codes: 0 ended on request, 1 failed, 2 wrong usage.\n";

enum option_code {
	OPTION_LISTEN = 256,
	OPTION_METRICS_LISTEN,
	OPTION_DEVICE,
	OPTION_THREADS,
	OPTION_MEMORY_LIMIT,
	OPTION_MAX_SESSIONS,
	OPTION_TUNING_FILE,
	OPTION_READY_FILE,
	OPTION_LOG_LEVEL,
	OPTION_HELP,
	OPTION_VERSION,
};

static const struct option known[] = {
	{"listen", required_argument, NULL, OPTION_LISTEN},
	{"metrics-listen", required_argument, NULL, OPTION_METRICS_LISTEN},
	{"device", required_argument, NULL, OPTION_DEVICE},
	{"threads", required_argument, NULL, OPTION_THREADS},
	{"memory-limit", required_argument, NULL, OPTION_MEMORY_LIMIT},
	{"max-sessions", required_argument, NULL, OPTION_MAX_SESSIONS},
	{"tuning-file", required_argument, NULL, OPTION_TUNING_FILE},
	{"ready-file", required_argument, NULL, OPTION_READY_FILE},
	{"log-level", required_argument, NULL, OPTION_LOG_LEVEL},
	{"help", no_argument, NULL, OPTION_HELP},
	{"version", no_argument, NULL, OPTION_VERSION},
	{0},
};

static bool parse_count(const char *name, int64_t maximum, uint32_t *ret_count, struct error *error)
{
	int64_t value;
	if (!strings_parse_integer(optarg, 1, maximum, &value, error))
		return error_wrap(error, "--%s", name);
	*ret_count = (uint32_t)value;
	return true;
}

static bool take(int code, struct daemon_options *options, struct error *error)
{
	switch (code) {
	case OPTION_LISTEN:
		if (options->listen_count == OPTIONS_MAXIMUM_ADDRESSES)
			return error_set(error, ERROR_USAGE, "--listen: at most %d addresses",
					 OPTIONS_MAXIMUM_ADDRESSES);
		options->listen[options->listen_count++] = optarg;
		return true;
	case OPTION_METRICS_LISTEN:
		options->metrics_listen = optarg;
		return true;
	case OPTION_DEVICE:
		if (options->device_count == DEVICES_MAXIMUM)
			return error_set(error, ERROR_USAGE, "--device: at most %d", DEVICES_MAXIMUM);
		options->devices[options->device_count++] = optarg;
		return true;
	case OPTION_THREADS:
		return parse_count("threads", 1024, &options->threads, error);
	case OPTION_MEMORY_LIMIT:
		if (!strings_parse_bytes(optarg, &options->memory_limit_bytes, error))
			return error_wrap(error, "--memory-limit");
		return options->memory_limit_bytes > 0 ||
		       error_set(error, ERROR_USAGE, "--memory-limit: must be above 0");
	case OPTION_MAX_SESSIONS:
		return parse_count("max-sessions", 4096, &options->maximum_sessions, error);
	case OPTION_TUNING_FILE:
		options->tuning_file = optarg;
		return true;
	case OPTION_READY_FILE:
		options->ready_file = optarg;
		return true;
	default:
		return log_level_parse(optarg, &options->log_level) ||
		       error_set(error, ERROR_USAGE, "--log-level: \"%.40s\" is not error, warning, info or debug",
				 optarg);
	}
}

enum options_result options_parse(int argc, char **argv, struct daemon_options *ret_options, struct error *error)
{
	struct daemon_options options = {.maximum_sessions = DEFAULT_MAXIMUM_SESSIONS, .log_level = LOG_LEVEL_INFO};
	int code;
	opterr = 0;
	optind = 1;
	while ((code = getopt_long(argc, argv, ":", known, NULL)) != -1) {
		if (code == OPTION_HELP) {
			fputs(help, stdout);
			return OPTIONS_DONE;
		}
		if (code == OPTION_VERSION) {
			printf("penstockd %s (protocol %d)\n", PENSTOCK_VERSION, PROTOCOL_VERSION);
			return OPTIONS_DONE;
		}
		if (code == '?' || code == ':') {
			error_set(error, ERROR_USAGE,
				  code == '?' ? "unknown option %s; see penstockd --help"
					      : "option %s needs a value; see penstockd --help",
				  argv[optind - 1]);
			return OPTIONS_WRONG;
		}
		if (!take(code, &options, error))
			return OPTIONS_WRONG;
	}
	if (optind < argc) {
		error_set(error, ERROR_USAGE, "unexpected argument \"%.80s\"; see penstockd --help", argv[optind]);
		return OPTIONS_WRONG;
	}
	if (options.listen_count == 0)
		options.listen[options.listen_count++] = "127.0.0.1:7070";
	if (options.device_count == 0)
		options.devices[options.device_count++] = "cpu";
	*ret_options = options;
	return OPTIONS_RUN;
}
