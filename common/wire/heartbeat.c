// Heartbeat, which both ends of a Session send.
#include "common/job/session.h"
#include "common/wire/internal.h"
#include "penstock/v1/stage_server.pb-c.h"

static const struct field heartbeat_fields[] = {
	SAME(Heartbeat, heartbeat_report, instructions),
	SAME(Heartbeat, heartbeat_report, device_ns),
};
const struct codec wire_heartbeat_codec =
	CODEC(penstock__v1__heartbeat__descriptor, heartbeat_report, heartbeat_fields);
