// A daemon's sessions: the list, what they count together, and the beat.
#include <inttypes.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "stage_server/session/internal.h"

// Sessions and exchanges that were never opened: so many are logged in so long.
#define REFUSALS_NS (10 * UINT64_C(1000000000))
enum { REFUSALS_LOGGED = 20 };

static const struct metric_family sessions_family = {"penstock_sessions", "Sessions open now.", METRIC_GAUGE, 1.0};
static const struct metric_family sessions_total_family = {"penstock_sessions_total", "Sessions opened.",
							   METRIC_COUNTER, 1.0};
static const struct metric_family errors_family = {"penstock_errors_total",
						   "Sessions that ended with an error, and refused requests, by kind.",
						   METRIC_COUNTER, 1.0};

static const struct metric_family stalled_family = {
	"penstock_stalled_stages", "Stages whose device has run one instruction for more than two minutes.",
	METRIC_GAUGE, 1.0};

struct session_host *session_host_create(const struct session_host_options *options)
{
	struct session_host *host = calloc(1, sizeof(*host));
	if (host == NULL)
		return NULL;
	host->options = *options;
	host->sessions_gauge = metrics_series(options->metrics, &sessions_family, "");
	host->stalled_gauge = metrics_series(options->metrics, &stalled_family, "");
	host->sessions_total = metrics_series(options->metrics, &sessions_total_family, "");
	return host;
}

void session_host_destroy(struct session_host *host)
{
	free(host);
}

void host_add(struct session_host *host, struct session *session)
{
	session->next = host->sessions;
	session->place = &host->sessions;
	if (session->next != NULL)
		session->next->place = &session->next;
	host->sessions = session;
	metric_set(host->sessions_gauge, ++host->count);
	metric_add(host->sessions_total, 1);
}

void host_remove(struct session_host *host, struct session *session)
{
	*session->place = session->next;
	if (session->next != NULL)
		session->next->place = session->place;
	metric_set(host->sessions_gauge, --host->count);
	host->holds_freed_memory = true;
}

void host_count_error(struct session_host *host, enum error_code code)
{
	char labels[64];
	snprintf(labels, sizeof(labels), "code=\"%s\"", error_code_name(code));
	metric_add(metrics_series(host->options.metrics, &errors_family, labels), 1);
}

// How many were not logged since the last one goes to `*ret_unlogged`.
static bool may_log_refusal(struct session_host *host, uint64_t *ret_unlogged)
{
	uint64_t now_ns = clock_now_ns();
	if (host->refusals_ns == 0 || now_ns - host->refusals_ns >= REFUSALS_NS) {
		host->refusals_ns = now_ns;
		host->refusals = 0;
	}
	bool may = host->refusals < REFUSALS_LOGGED;
	*ret_unlogged = host->refusals_unlogged;
	host->refusals += may;
	host->refusals_unlogged = may ? 0 : host->refusals_unlogged + 1;
	return may;
}

void host_log_refusal(struct session_host *host, enum log_level level, const struct log_fields *fields,
		      const char *format, ...)
{
	char line[ERROR_MESSAGE_SIZE + 256];
	uint64_t unlogged = 0;
	if (!may_log_refusal(host, &unlogged))
		return;
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	if (unlogged > 0)
		log_event(level, fields, "%s (and %" PRIu64 " more that were not opened, since the last such line)",
			  line, unlogged);
	else
		log_event(level, fields, "%s", line);
}

struct session *host_find_token(struct session_host *host, const uint8_t *token, enum neighbour *ret_side)
{
	for (struct session *session = host->sessions; session != NULL; session = session->next)
		for (enum neighbour side = 0; side < NEIGHBOUR_COUNT; side++) {
			uint8_t difference = 0; // as long for a near miss as for a wild guess
			for (int i = 0; i < PROTOCOL_TOKEN_BYTES; i++)
				difference |= session->token[side][i] ^ token[i];
			if (!session->has_token[side] || !session->opened || session->state == SESSION_ENDED ||
			    difference != 0)
				continue;
			*ret_side = side;
			return session;
		}
	return NULL;
}

void session_host_tick(struct session_host *host)
{
	uint64_t now_ns = clock_now_ns();
	uint32_t stalled = 0;
	lateness_look(&host->lateness, now_ns, rpc_lag_ns());
	for (struct session *session = host->sessions; session != NULL; session = session->next) {
		session_tick(session, &host->lateness, now_ns);
		stalled += session->executor != NULL &&
			   executor_device_ns(session->executor) > SESSION_STALLED_S * UINT64_C(1000000000);
	}
	metric_set(host->stalled_gauge, stalled);
	inbound_tick(host, &host->lateness, now_ns);
	if (!host->holds_freed_memory)
		return;
	host->holds_freed_memory = false;
	malloc_trim(0); // not when the session ended: gRPC's threads let go of its last messages a little later
}

// Stages of one job on this daemon need each other: what any of them has begun, the others begin too. They can be no further
// apart than the steps that are ordered ahead; a larger distance is another job of the same name.
static uint64_t steps_to_end(const struct session_host *host, const struct session *session)
{
	uint64_t steps = session->held_steps;
	for (const struct session *other = host->sessions; other != NULL; other = other->next)
		if (session_can_drain(other) && strcmp(other->job, session->job) == 0 && other->held_steps > steps &&
		    other->held_steps <= session->held_steps + PROTOCOL_MAXIMUM_QUEUED_STEPS)
			steps = other->held_steps;
	return steps;
}

void session_host_drain(struct session_host *host)
{
	struct error error;
	host->draining = true;
	error_set(&error, ERROR_UNREACHABLE, "this daemon is stopping");
	for (struct session *session = host->sessions; session != NULL; session = session->next)
		if (session_can_drain(session))
			session->held_steps = executor_hold(session->executor);
		else
			session_end_with(session, &error);
	for (struct session *session = host->sessions; session != NULL; session = session->next)
		if (session_can_drain(session))
			executor_drain(session->executor, steps_to_end(host, session));
	inbound_drain(host);
}

void session_host_end(struct session_host *host, const char *why)
{
	struct error error;
	host->draining = true;
	error_set(&error, ERROR_UNREACHABLE, "this daemon is stopping%s%s", why[0] != '\0' ? ": " : "", why);
	for (struct session *session = host->sessions; session != NULL; session = session->next)
		session_end_with(session, &error);
	inbound_drain(host);
}

bool session_host_is_empty(const struct session_host *host)
{
	return host->sessions == NULL && host->inbound == NULL;
}

uint32_t session_host_count(const struct session_host *host)
{
	return host->count;
}

static void add_totals(const struct session *session, struct session_summary *summary)
{
	executor_totals(session->executor, &summary->totals);
	for (enum neighbour side = 0; side < NEIGHBOUR_COUNT; side++) {
		const struct link *link = executor_link(session->executor, side);
		summary->has_link[side] = link != NULL;
		if (link != NULL)
			summary->traffic[side] = link_traffic(link);
	}
	summary->has_totals = true;
}

void session_host_list(struct session_host *host, void (*visit)(const struct session_summary *summary, void *user),
		       void *user)
{
	for (struct session *session = host->sessions; session != NULL; session = session->next) {
		if (!session->has_plan || session->state == SESSION_ENDED)
			continue;
		struct session_summary summary = {
			.job = session->job,
			.model = session->plan.model.name,
			.replica = session->plan.replica,
			.pipeline_stage = session->plan.pipeline_stage,
			.device_index = session->device_index,
			.began_ns = session->arrived_ns,
			.step = session->executor != NULL ? executor_step(session->executor) : 0,
			.device_ns = session->executor != NULL ? executor_device_ns(session->executor) : 0,
			.memory_bytes = atomic_load(&session->reserved_bytes),
		};
		if (session->opened)
			add_totals(session, &summary);
		visit(&summary, user);
	}
}
