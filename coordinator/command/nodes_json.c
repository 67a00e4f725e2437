// See nodes_json.h.
#include "coordinator/command/nodes_json.h"

#include <jansson.h>

#include "common/base/strings.h"
#include "common/metrics/phases.h"
#include "coordinator/report/json_text.h"

enum { TEXT_SIZE = 256 };

// A daemon's text may be anything; JSON is UTF-8.
static json_t *text(const char *peers)
{
	char printable[TEXT_SIZE];
	return json_string(strings_printable(peers, printable, sizeof(printable)));
}

static json_t *seconds(uint64_t ns)
{
	return json_real((double)ns * 1e-9);
}

static json_t *device(const struct node_device *device)
{
	return json_pack("{s:o, s:I, s:I, s:I}", "name", text(device->name), "threads", (json_int_t)device->threads,
			 "memory_used_bytes", (json_int_t)device->memory_used_bytes, "memory_limit_bytes",
			 (json_int_t)device->memory_limit_bytes);
}

static json_t *traffic(const struct link_traffic *traffic)
{
	return traffic == NULL ? json_null()
			       : json_pack("{s:I, s:I}", "sent_bytes", (json_int_t)traffic->sent_bytes,
					   "received_bytes", (json_int_t)traffic->received_bytes);
}

static json_t *counters(const struct stage_counters *counters)
{
	if (counters == NULL)
		return json_null();
	json_t *object =
		json_pack("{s:I, s:I}", "steps", (json_int_t)counters->steps, "samples", (json_int_t)counters->samples);
	for (enum phase phase = 0; phase < PHASE_COUNT; phase++)
		json_object_set_new(object, phase_seconds_name(phase), seconds(counters->phase_ns[phase]));
	json_object_set_new(object, "previous", traffic(counters->previous));
	json_object_set_new(object, "next", traffic(counters->next));
	json_object_set_new(object, "previous_replica", traffic(counters->previous_replica));
	json_object_set_new(object, "next_replica", traffic(counters->next_replica));
	return object;
}

static json_t *stage(const struct running_stage *stage)
{
	return json_pack("{s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:o}", "job", text(stage->job), "model",
			 text(stage->model), "pipeline_stage", (json_int_t)stage->pipeline_stage, "replica",
			 (json_int_t)stage->replica, "device_index", (json_int_t)stage->device_index, "step",
			 (json_int_t)stage->step, "memory_bytes", (json_int_t)stage->memory_bytes, "counters",
			 counters(stage->counters));
}

static json_t *reached(const struct poll_node *node)
{
	const struct node_description *answer = node->answer;
	json_t *devices = json_array(), *running = json_array();
	for (uint32_t i = 0; i < answer->device_count; i++)
		json_array_append_new(devices, device(&answer->devices[i]));
	for (uint32_t i = 0; i < answer->running_count; i++)
		json_array_append_new(running, stage(&answer->running[i]));
	return json_pack("{s:s, s:s, s:b, s:o, s:I, s:s, s:I, s:I, s:o, s:o}", "type", "node", "address",
			 node->host->address, "reached", 1, "version", text(answer->version), "protocol_version",
			 (json_int_t)answer->protocol_version, "health", poll_health_name(node), "uptime_seconds",
			 (json_int_t)answer->uptime_seconds, "maximum_sessions", (json_int_t)answer->maximum_sessions,
			 "devices", devices, "running", running);
}

bool nodes_json_write(const struct poll_node *node, FILE *out, struct error *error)
{
	json_t *object = node->answer != NULL
				 ? reached(node)
				 : json_pack("{s:s, s:s, s:b, s:o}", "type", "node", "address", node->host->address,
					     "reached", 0, "error", text(node->error.message));
	return json_text_write(out, object, error);
}
