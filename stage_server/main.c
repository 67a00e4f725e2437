// penstockd: holds stages of models on this node's device.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/descriptors.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/rpc/rpc.h"
#include "stage_server/service/daemon.h"
#include "stage_server/service/inspect.h"

static bool run(struct daemon_options *options, int argc, char **argv, struct error *error)
{
	if (options->check_config) {
		if (!inspect_options(options, error))
			return false;
		puts("the configuration is valid");
		return true;
	}
	if (options->print_devices) {
		inspect_devices(options);
		return true;
	}
	return daemon_run(options, argc, argv, error);
}

// The exit code of what prints and ends.
static int end_of_print(void)
{
	struct error error;
	if (file_flush_output(&error))
		return 0;
	log_error("%s", error.message);
	return error_exit_code(&error);
}

int main(int argc, char **argv)
{
	sigset_t hang_up;
	descriptors_reserve_standard();
	signal(SIGXFSZ, SIG_IGN); // a file over the limit (ulimit -f) is an error of that file: EFBIG
	// One that comes before the daemon can read its files again waits until then, where it would end the process.
	sigemptyset(&hang_up);
	sigaddset(&hang_up, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &hang_up, NULL);
	struct daemon_options options = {.log_format = LOG_FORMAT_TEXT};
	struct error error;
	log_find_journal();
	switch (daemon_options_parse(argc, argv, &options, &error)) {
	case OPTIONS_DONE:
		return end_of_print();
	case OPTIONS_WRONG:
		log_set_format(options.log_format);
		log_error("%s", error.message);
		return error_exit_code(&error);
	case OPTIONS_RUN:
		break;
	}
	log_set_level(options.log_level);
	log_set_format(options.log_format);
	char strays[300];
	if (daemon_options_strays(environ, strays, sizeof(strays))[0] != '\0')
		log_warning("ignored: unknown variables in the environment: %s", strays);
	bool ok = run(&options, argc, argv, &error);
	if (!ok)
		log_error("%s", error.message);
	daemon_options_fini(&options);
	rpc_exit(ok ? end_of_print() : error_exit_code(&error));
}
