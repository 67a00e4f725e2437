// What gRPC logs, into our log. It has a line for each handshake that fails, so whoever reaches the port could fill a disk:
// of each place in gRPC that logs errors comes one line in ten seconds, with the number of those that did not come.
#include <inttypes.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/strings.h"
#include "common/rpc/internal.h"

#define QUIET_NS (10 * UINT64_C(1000000000))

enum { PLACES = 64 }; // the last stands for all that find none

static struct {
	pthread_mutex_t lock;
	struct place {
		const char *file; // a literal of gRPC's; NULL: free
		int line;
		uint64_t logged_ns, unlogged;
	} places[PLACES];
} written = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct place *find(const char *file, int line)
{
	struct place *place = written.places;
	while (place < written.places + PLACES - 1 && place->file != NULL &&
	       (place->file != file || place->line != line))
		place++;
	place->file = file;
	place->line = line;
	return place;
}

// `*ret_unlogged`: how many of the same place did not come since the last one that did.
static bool may_come(const gpr_log_func_args *line, uint64_t *ret_unlogged)
{
	uint64_t now_ns = clock_now_ns();
	pthread_mutex_lock(&written.lock);
	struct place *place = find(line->file, line->line);
	bool comes = place->logged_ns == 0 || now_ns - place->logged_ns >= QUIET_NS;
	*ret_unlogged = place->unlogged;
	place->unlogged = comes ? 0 : place->unlogged + 1;
	if (comes)
		place->logged_ns = now_ns;
	pthread_mutex_unlock(&written.lock);
	return comes;
}

static void on_line(gpr_log_func_args *line)
{
	uint64_t unlogged;
	if (line->severity != GPR_LOG_SEVERITY_ERROR) { // which somebody asked for, by GRPC_VERBOSITY
		log_event(LOG_LEVEL_DEBUG, NULL, "gRPC: %s", line->message);
	} else if (may_come(line, &unlogged)) {
		char more[64] = "";
		if (unlogged > 0)
			snprintf(more, sizeof(more), " (and %" PRIu64 " time%s since the last such line)", unlogged,
				 strings_plural(unlogged));
		log_event(LOG_LEVEL_WARNING, NULL, "gRPC: %s%s", line->message, more);
	}
}

void grpc_log_begin(void)
{
	gpr_set_log_function(on_line);
}
