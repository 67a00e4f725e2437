// See status.h.
#include "stage_server/service/status.h"

#include <inttypes.h>
#include <stdio.h>

struct view {
	uint32_t count;
	char job[80];      // of the session that is listed first
	char stalled[160]; // of one whose device does not come back
	uint64_t step;
};

static void look_at(const struct session_summary *summary, void *user)
{
	struct view *view = user;
	uint64_t device_s = summary->device_ns / 1000000000;
	if (view->count++ == 0) {
		snprintf(view->job, sizeof(view->job), "%s", summary->job);
		view->step = summary->step;
	}
	if (device_s > SESSION_STALLED_S)
		snprintf(view->stalled, sizeof(view->stalled),
			 "; stage %u of job %s: its device has run one instruction for %" PRIu64 " s",
			 summary->pipeline_stage, summary->job, device_s / 60 * 60);
}

void status_describe(struct session_host *sessions, const char *stopping, char *into, size_t size)
{
	struct view view = {.count = 0};
	char running[160] = "no sessions";
	session_host_list(sessions, look_at, &view);
	if (view.count > 0)
		snprintf(running, sizeof(running), "%u session%s, step %" PRIu64 " of job %s", view.count,
			 view.count == 1 ? "" : "s", view.step, view.job);
	snprintf(into, size, "%s%s%s%s", stopping != NULL ? stopping : "", stopping != NULL ? ": " : "", running,
		 view.stalled);
}
