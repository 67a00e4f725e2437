// penstockd: holds stages of models on this node's device.
#include "common/base/log.h"
#include "stage_server/service/daemon.h"

int main(int argc, char **argv)
{
	struct daemon_options options;
	struct error error;
	switch (options_parse(argc, argv, &options, &error)) {
	case OPTIONS_DONE:
		return 0;
	case OPTIONS_WRONG:
		log_error("%s", error.message);
		return error_exit_code(&error);
	case OPTIONS_RUN:
		break;
	}
	log_set_level(options.log_level);
	if (!daemon_run(&options, &error)) {
		log_error("%s", error.message);
		return error_exit_code(&error);
	}
	return 0;
}
