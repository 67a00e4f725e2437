// See reload.h.
#include "stage_server/service/reload.h"

#include "common/base/log.h"
#include "stage_server/service/inspect.h"

static void apply_log(struct daemon_options *options, const struct daemon_options *fresh)
{
	enum log_level before = options->log_level;
	options->log_level = fresh->log_level;
	options->log_format = fresh->log_format;
	log_set_format(fresh->log_format);
	log_set_level(fresh->log_level);
	if (before != fresh->log_level)
		log_info("log-level is %s now, it was %s", log_level_names[fresh->log_level], log_level_names[before]);
}

bool reload_options(struct daemon_options *options, struct access *access, int argc, char **argv, struct error *error)
{
	struct daemon_options fresh;
	char changes[512];
	if (daemon_options_parse(argc, argv, &fresh, error) != OPTIONS_RUN) {
		access_count_reload(access, false);
		return false;
	}
	bool ok = inspect_options(&fresh, error) && access_reload(access, error);
	access_count_reload(access, ok);
	if (ok) {
		apply_log(options, &fresh);
		if (daemon_options_changes(options, &fresh, changes, sizeof(changes))[0] != '\0')
			log_warning("these options have changed and need a restart: %s", changes);
	}
	daemon_options_fini(&fresh);
	return ok;
}
