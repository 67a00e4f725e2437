// The table of penstockd's options. See table.h.
#include "stage_server/options/table.h"

#include "common/rpc/protocol.h"
#include "common/rpc/rpc.h"

#define PLACE(field) offsetof(struct daemon_options, field)

static const char *const client_auths[] = {"require", "none", NULL}; // enum option_client_auth

static const struct option_row rows[] = {
	{"config", "FILE", OPTION_TEXT, PLACE(config), .traits = OPTION_NOT_IN_FILE,
	 .help = "read options from FILE: lines \"name = value\", with names without --; the environment "
		 "(PENSTOCK_LISTEN for listen, and so on) and the command line override it"},
	{"check-config", NULL, OPTION_SWITCH, PLACE(check_config), .traits = OPTION_COMMAND_LINE_ONLY,
	 .help = "check all options and the files that they name, then exit"},
	{"print-devices", NULL, OPTION_SWITCH, PLACE(print_devices), .traits = OPTION_COMMAND_LINE_ONLY,
	 .help = "print the devices that --device can name on this machine, then exit"},

	{"listen", "ADDRESS", OPTION_LIST, PLACE(listen), .maximum = 8, .preset = "127.0.0.1:7070",
	 .help = "address for coordinators and neighbours: HOST:PORT, [IPv6]:PORT or unix:/PATH; port 0 chooses a free "
		 "one; may be given several times"},
	{"metrics-listen", "ADDRESS", OPTION_TEXT, PLACE(metrics_listen),
	 .help = "serve /metrics, /livez and /readyz over HTTP on HOST:PORT (default: nowhere)"},
	{"ready-file", "PATH", OPTION_TEXT, PLACE(ready_file),
	 .help = "file with the first address and its real port, written when the daemon listens and removed when it "
		 "stops"},

	{"device", "NAME", OPTION_LIST, PLACE(device), .maximum = OPTION_LIST_MAXIMUM, .preset = "cpu",
	 .help = "cpu, or cuda:N for GPU N; give it once for each slot; the same device may be named several times"},
	{"threads", "N", OPTION_COUNT, PLACE(threads), 1, 1024,
	 .help = "cpu: threads that each stage computes with (default: all processors that the daemon may use)"},
	{"memory-limit", "SIZE", OPTION_BYTES, PLACE(memory_limit_bytes), 1 << 20, UINT64_MAX,
	 .help = "memory that all stages of a device together may use, such as 16GiB (default: what it has)"},
	{"tuning-file", "PATH", OPTION_TEXT, PLACE(tuning_file),
	 .help = "file for measured times of kernels (default: penstock/tuning in the user's cache folder)"},

	{"tls-cert-file", "FILE", OPTION_TEXT, PLACE(tls_cert_file),
	 .help = "this daemon's certificate and its chain, PEM; with it, all calls use TLS"},
	{"tls-key-file", "FILE", OPTION_TEXT, PLACE(tls_key_file), .help = "the certificate's private key, PEM"},
	{"tls-ca-file", "FILE", OPTION_TEXT, PLACE(tls_ca_file),
	 .help = "certificates of the authorities that sign the coordinators' and neighbours' certificates, PEM"},
	{"tls-server-name", "NAME", OPTION_TEXT, PLACE(tls_server_name),
	 .help = "name that neighbours' certificates must have (default: the host in the coordinator's hostfile)"},
	{"tls-client-auth", "WHEN", OPTION_CHOICE, PLACE(tls_client_auth), .choices = client_auths, .preset = "require",
	 .help = "whether callers need a certificate: require or none"},
	{"allow-name", "NAME", OPTION_LIST, PLACE(allow_name), .maximum = OPTION_LIST_MAXIMUM,
	 .help = "name that a caller's certificate must have; \"*.example.org\" is any host of a domain; may be given "
		 "several times (default: any name)"},
	{"insecure", NULL, OPTION_SWITCH, PLACE(insecure),
	 .help = "listen beyond loopback without TLS: anyone who reaches the port can train"},

	{"max-sessions", "N", OPTION_COUNT, PLACE(maximum_sessions), 1, 4096, .preset = "16",
	 .help = "maximum number of stages at once"},
	{"max-connections", "N", OPTION_COUNT, PLACE(maximum_connections), 1, 65536, .preset = "1024",
	 .help = "maximum number of open connections"},
	{"max-streams", "N", OPTION_COUNT, PLACE(maximum_streams), 1, 65536, .preset = "128",
	 .help = "maximum number of calls at once on a connection"},
	{"max-message-size", "SIZE", OPTION_BYTES, PLACE(maximum_message_bytes),
	 RPC_MAXIMUM_HEADER_BYTES + PROTOCOL_PARAMETER_CHUNK_BYTES, 1023 << 20, .preset = "9MiB",
	 .help = "largest message that is accepted"},
	{"max-metadata-size", "SIZE", OPTION_BYTES, PLACE(maximum_metadata_bytes), 1 << 10, 1 << 20, .preset = "16KiB",
	 .help = "largest metadata (headers) of a call"},
	{"max-buffered", "SIZE", OPTION_BYTES, PLACE(maximum_buffered_bytes), 64 << 20, UINT64_C(1) << 40,
	 .preset = "1GiB", .help = "maximum memory for buffers of all connections together"},
	{"idle-timeout", "SECONDS", OPTION_COUNT, PLACE(idle_timeout_s), 1, 86400, .preset = "300",
	 .help = "time after which a connection without a call is closed"},
	{"handshake-timeout", "SECONDS", OPTION_COUNT, PLACE(handshake_timeout_s), 1, 3600, .preset = "10",
	 .help = "time after which a connection that has not begun HTTP/2 is closed"},
	{"drain-timeout", "SECONDS", OPTION_COUNT, PLACE(drain_timeout_s), 1, 86400, .preset = "60",
	 .help = "time that running steps have to end after SIGTERM"},

	{"log-level", "LEVEL", OPTION_CHOICE, PLACE(log_level), .choices = log_level_names, .preset = "info",
	 .traits = OPTION_RELOADED, .help = "error, warning, info or debug"},
	{"log-format", "FORMAT", OPTION_CHOICE, PLACE(log_format), .choices = log_format_names, .preset = "text",
	 .traits = OPTION_RELOADED, .help = "text, or json with one object per line"},
};
_Static_assert(sizeof(rows) / sizeof(rows[0]) <= OPTION_TABLE_MAXIMUM, "every row has its place");

const struct option_table daemon_option_table = {
	.program = "penstockd",
	.rows = rows,
	.count = sizeof(rows) / sizeof(rows[0]),
	.introduction = "Usage: penstockd [OPTION]...\n"
			"Holds stages of models for coordinators (penstock train) and exchanges tensors\n"
			"with neighbouring daemons.\n"
			"\n",
	.conclusion = "  --help, --version\n"
		      "\n"
		      "It stops on SIGTERM and SIGINT, and informs the coordinators of running jobs.\n"
		      "Exit codes: 0 ended on request, 1 failed, 2 wrong usage.\n",
	.version = "penstockd " PENSTOCK_VERSION,
	.protocol = PROTOCOL_VERSION,
};
